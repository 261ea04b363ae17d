"""Writing a file whole or not at all, and showing names that come from other people's folders."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Gives a new file beside `path` to write to, and renames it when the block ends well.

    Its name cannot be guessed, so nobody can have put a link there. A failure leaves `path` as it
    was and nothing beside it. The folder is made where it is absent.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        beside.chmod(0o644)  # mkstemp writes for the owner alone
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def printable(text: str) -> str:
    """Replaces what would steer a terminal, such as escape sequences in a file's name."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def spreadsheet_cell(text: str) -> str:
    """Keeps a spreadsheet from reading a name as a formula: puts ' before = + - @ and the like."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
