"""A picture brought from one place to another, and only that picture, never over another file."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from nfbmr.errors import DataError
from nfbmr.inspection.arrivals import FOLDERS, Mark, mark_of
from nfbmr.system.files import printable, sha256_of

_log = logging.getLogger(__name__)


_LONGEST_NAME = 255  # bytes that a file's name may have on most file systems


def make_places(folder: Path, *, deep: bool = False) -> None:
    """Makes the folders that pictures go to, so that the file system also says what is moved there.

    Args:
        folder: that is watched.
        deep: whether its sub-folders are, too.

    Raises:
        DataError: a file has the name of one, or a link that leads to where pictures come in:
            what is moved there would come in again.
        OSError: one cannot be made.
    """
    root = folder.resolve()
    for place in (folder / name for name in FOLDERS):
        if place.exists() and not place.is_dir():
            raise DataError(
                f"{place}: found a file; expected a folder for pictures, or nothing at this path; "
                "rename the file"
            )
        place.mkdir(exist_ok=True)
        where = place.resolve()
        inside = where.relative_to(root).parts if where.is_relative_to(root) else FOLDERS
        if where.samefile(root) or (deep and inside[0] not in FOLDERS):
            raise DataError(
                f"{place}: found a link to {where}, where pictures come in; expected a folder of "
                "its own; take the link away"
            )


def is_there(path: Path, mark: Mark, sha256: str) -> bool:
    """Tells whether a picture is at a path, perhaps renamed since it had this mark."""
    found = mark_of(path)
    if found is None or mark.same_file(found):
        return found is not None
    if found.size != mark.size or not sha256:  # one that could not be read has none
        return False
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False


def _is_taken(path: Path) -> bool:
    """Tells whether a rename would replace something at a path, and be it a link to nothing."""
    return path.is_symlink() or path.exists()


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
    while _is_taken(like(free)):
        taken, free = free, 2 * free or 1
    while free - taken > 1:
        middle = (taken + free) // 2
        if _is_taken(like(middle)):
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
        if _is_taken(target):  # moved before a kill, or another took the free name
            if is_there(target, mark, sha256):
                return target
            if not is_there(path, mark, sha256):
                return _brought_back(path, mark, sha256, target)
            target = free_place(target)
        if not is_there(path, mark, sha256):
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        if is_there(target, mark, sha256):
            return target
        return _brought_back(path, mark, sha256, target)
    except OSError as error:
        _log.warning("%s", printable(f"{path} stays where it is: {error.strerror or error}"))
        return path if is_there(path, mark, sha256) else None


def _brought_back(path: Path, mark: Mark, sha256: str, target: Path) -> Path | None:
    """Renames what is at `target`, where the picture is not to be read, back to its folder.

    Returns:
        `path` where that is the picture after all, which is said: nothing of it is to be done
        again. Else None: another took its name in the moment of the move.
    """
    back = free_place(path)
    target.rename(back)
    if back != path or not is_there(path, mark, sha256):
        return None
    why = (
        "it is a link that leads elsewhere from another folder; link by a whole path, or copy it"
        if path.is_symlink()
        else f"it could not be read at {target}"
    )
    _log.warning("%s", printable(f"{path} stays where it is: {why}"))
    return path
