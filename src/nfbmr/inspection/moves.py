"""A picture brought from one place to another, and only that picture, never over another file."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from nfbmr.errors import DataError
from nfbmr.inspection.arrivals import FOLDERS, Mark, mark_of
from nfbmr.system.files import printable

_log = logging.getLogger(__name__)


_LONGEST_NAME = 255  # bytes that a file's name may have on most file systems


def make_places(folder: Path) -> None:
    """Makes the folders that pictures go to, so that the file system also says what is moved there.

    Raises:
        DataError: a file has the name of one.
        OSError: one cannot be made.
    """
    for place in (folder / name for name in FOLDERS):
        if place.exists() and not place.is_dir():
            raise DataError(
                f"{place}: found a file; expected a folder for pictures, or nothing at this path; "
                "rename the file"
            )
        place.mkdir(exist_ok=True)


def read_bytes(path: Path) -> tuple[bytes | None, str]:
    """Reads a file; returns None and why where it cannot be read."""
    try:
        return path.read_bytes(), ""
    except (OSError, MemoryError) as error:  # e.g. a writer that keeps others out
        return None, f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"


def is_there(path: Path, mark: Mark, sha256: str) -> bool:
    """Tells whether a picture is at a path, perhaps renamed since it had this mark."""
    found = mark_of(path)
    if found is None or mark.same_file(found):
        return found is not None
    data, _ = read_bytes(path) if found.size == mark.size else (None, "")
    return data is not None and hashlib.sha256(data).hexdigest() == sha256


def free_place(path: Path) -> Path:
    """Returns a path, or one like it, at which nothing is; few looks, however many are taken."""

    def like(number: int) -> Path:
        if not number:
            return path
        end = os.fsencode(f"-{number}{path.suffix}")
        stem, room = path.stem, _LONGEST_NAME - len(end)
        if len(os.fsencode(stem)) > room:
            stem = os.fsencode(stem)[:room].decode(errors="ignore")
        return path.with_name(f"{stem}{os.fsdecode(end)}")

    taken, free = -1, 0
    while like(free).exists():
        taken, free = free, 2 * free or 1
    while free - taken > 1:
        middle = (taken + free) // 2
        if like(middle).exists():
            taken = middle
        else:
            free = middle
    return like(free)


def move(path: Path, mark: Mark, sha256: str, target: Path) -> Path | None:
    """Moves a picture; asked again after a kill, it ends what was begun.

    Args:
        path: where it was when it was read.
        mark: what it was then.
        sha256: of its bytes.
        target: where it goes; nothing was there when this was chosen.

    Returns:
        Where it is: at `path` where it cannot be moved, which is said; None where it is no more,
        since another took its name. That one is in the folder of `path` then.
    """
    try:
        if target.exists():  # moved before a kill, or another took the free name
            if is_there(target, mark, sha256):
                return target
            if not is_there(path, mark, sha256):
                target.rename(free_place(path))
                return None
            target = free_place(target)
        if not is_there(path, mark, sha256):
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        if is_there(target, mark, sha256):
            return target
        target.rename(free_place(path))  # another took its name in this moment
    except OSError as error:
        _log.warning("%s", printable(f"{path} stays where it is: {error.strerror or error}"))
        return path if is_there(path, mark, sha256) else None
    return None
