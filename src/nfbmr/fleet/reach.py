"""Whether pictures can be reached at all: a lost mount is no damage of each picture behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from nfbmr.fleet.sources import read_stored
from nfbmr.fleet.words import is_stored
from nfbmr.system.files import NotAFileError, plain_file, reason_of

_OF_ONE = (FileNotFoundError, PermissionError, IsADirectoryError, NotAFileError)
"""What the system says of one file, on storage that answers."""


def why_unreached(pictures: Iterable[str], folders: Sequence[Path]) -> str | None:
    """Says why none of some pictures can be opened here; None where one can be.

    One that is gone, or kept from us, on storage that is seen speaks for the storage: a store says
    that it has none of this name, or a folder above it is there and holds other things.

    Args:
        pictures: paths and addresses; those behind the first that speaks are not looked at.
        folders: absolute, that the pictures were looked for in.
    """
    first = None
    for picture in pictures:
        try:
            if is_stored(picture):
                read_stored(picture)
            else:
                with plain_file(Path(picture)) as stream:
                    stream.read(1)
            return None
        except Exception as error:  # stores raise kinds of their own
            if _speaks_for_storage(error, picture, folders):
                return None
            first = first or f"{picture}: {reason_of(error)}"
    return first


def _speaks_for_storage(error: Exception, picture: str, folders: Sequence[Path]) -> bool:
    if is_stored(picture):
        return isinstance(error, FileNotFoundError)
    return isinstance(error, _OF_ONE) and _is_seen(Path(picture), folders)


def _is_seen(picture: Path, folders: Sequence[Path]) -> bool:
    """Whether the storage that a picture lies on is there: a folder above it holds something.

    An empty one may be where the storage was mounted.
    """
    above = [folder for folder in folders if folder in picture.parents]
    top = min(above, key=lambda folder: len(folder.parts), default=picture.parent)
    for folder in picture.parents:
        try:
            return any(folder.iterdir())
        except FileNotFoundError:
            if folder == top:
                return False
        except OSError:
            return False
    return False
