"""Words for people: how many of what, and how unusual."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from subprocess import list2cmdline

_ROUNDING = 1e-9  # of a p-value, which is a ratio of whole numbers: 1 / 0.04 is 25


def counted(number: float, one: str, many: str = "") -> str:
    """Returns `1 picture`, `2 pictures`; `many` where it is not `one` with an s."""
    shown = str(number) if isinstance(number, int) else f"{number:g}"
    return f"{shown} {one if number == 1 else many or f'{one}s'}"


def listed_counts(counts: Mapping[str, int]) -> str:
    """Returns `2 defect, 31 good`: names with their numbers, of those that there are."""
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()) if number)


def percent(share: float) -> str:
    """Returns a share in percent, `0.7 %`, `5 %`, `12 %`, in few digits."""
    found = 100 * share
    if found < 9.5:
        return f"{found:.2g} %"
    return f"{found:.0f} %" if found < 99.5 or share >= 1 else f"{min(found, 99.9):.1f} %"


def quoted(word: Path | str, *, windows: bool = os.name == "nt") -> str:
    """Returns a path or word as a command to copy has it, in quotes where the shell needs them.

    What begins with a dash would be an option, so it is written as one in this folder.
    """
    text = str(word)
    text = f"./{text}" if text.startswith("-") else text
    return list2cmdline([text]) if windows else shlex.quote(text)


def at_most_one(what: str, p_value: float) -> str:
    """Returns `at most about one WHAT in 24`, of p in (0, 0.5]; the number makes `at most` true."""
    return f"at most about one {what} in {int((1 + _ROUNDING) / p_value)}"


def how_unusual(p_value: float) -> str:
    """Says how unusual a part is among good ones, p in (0, 1]."""
    if p_value > 0.5:
        return "most good parts look at least this unusual"
    return f"{at_most_one('good part', p_value)} looks this unusual"


def without_path(why: str, path: Path | str) -> str:
    """Returns why a file failed without the path that it begins with, for where it stands before.

    Both `a.png: found ...` and `a.png cannot be read` begin so.
    """
    name = str(path)
    return why.removeprefix(f"{name}: ").removeprefix(f"{name} ")
