"""Words for people: how many of what."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from subprocess import list2cmdline


def counted(number: float, one: str, many: str = "") -> str:
    """Returns `1 picture`, `2 pictures`; `many` where it is not `one` with an s."""
    shown = str(number) if isinstance(number, int) else f"{number:g}"
    return f"{shown} {one if number == 1 else many or f'{one}s'}"


def quoted(word: Path | str, *, windows: bool = os.name == "nt") -> str:
    """Returns a path or word as a command to copy has it, in quotes where the shell needs them.

    What begins with a dash would be an option, so it is written as one in this folder.
    """
    text = str(word)
    text = f"./{text}" if text.startswith("-") else text
    return list2cmdline([text]) if windows else shlex.quote(text)
