"""What lies in a folder, in a fixed order: pictures, other files, sub-folders; no hidden ones."""

from __future__ import annotations

import os
from pathlib import Path

from nfbmr.data.images import IMAGE_SUFFIXES

_HIDDEN = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


def list_pictures(folder: Path, *, deep: bool) -> tuple[list[Path], list[Path]]:
    """Lists the pictures by their suffixes, and the other files; each sorted by path.

    With `deep`, sub-folders too. Links are followed, but no folder is entered twice, so a link that
    leads back up ends there.

    Raises:
        OSError: a folder cannot be read.
    """
    pictures: list[Path] = []
    others: list[Path] = []
    entered: set[Path] = set()
    for here, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        real = Path(here).resolve()
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if deep and not _is_hidden(name))
        for path in (Path(here, name) for name in files if not _is_hidden(name)):
            (pictures if path.suffix.lower() in IMAGE_SUFFIXES else others).append(path)
    return sorted(pictures), sorted(others)


def list_folders(folder: Path | None) -> list[Path]:
    """Lists the sub-folders, sorted; none where `folder` is None.

    Raises:
        OSError: the folder cannot be read.
    """
    entries = folder.iterdir() if folder is not None else ()
    return sorted(path for path in entries if path.is_dir() and not _is_hidden(path.name))


def find_entry(folder: Path | None, name: str) -> Path | None:
    """Finds a file or folder by its name, without regard to case; None where there is none.

    Raises:
        OSError: the folder cannot be read.
    """
    entries = sorted(folder.iterdir()) if folder is not None and folder.is_dir() else ()
    return next((path for path in entries if path.name.lower() == name.lower()), None)


def _raise(error: OSError) -> None:
    raise error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _HIDDEN
