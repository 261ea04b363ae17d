"""What lies in a folder, in a fixed order: pictures, other files, sub-folders; no hidden ones."""

from __future__ import annotations

import os
from pathlib import Path

from nfbmr.data.images import IMAGE_SUFFIXES

_HIDDEN = frozenset({"thumbs.db", "desktop.ini", "__macosx"})

OUTPUT_MARK = ".nfbmr-output"
"""An empty file of this name says that a folder holds what nfbmr drew, and no pictures to read."""


def list_pictures(folder: Path, *, deep: bool) -> tuple[list[Path], list[Path]]:
    """Lists the pictures by their suffixes, and the other files; each sorted by path.

    With `deep`, sub-folders too, but none with an `OUTPUT_MARK` in it. Links are followed, but no
    folder is entered twice, so a link that leads back up ends there.

    Raises:
        OSError: a folder cannot be read.
    """
    pictures: list[Path] = []
    others: list[Path] = []
    entered: set[Path] = set()
    for here, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        real = Path(here).resolve()
        ours = OUTPUT_MARK in files and Path(here) != Path(folder)
        if real in entered or ours:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if deep and not is_hidden(name))
        for path in (Path(here, name) for name in files if not is_hidden(name)):
            (pictures if path.suffix.lower() in IMAGE_SUFFIXES else others).append(path)
    return sorted(pictures), sorted(others)


def list_folders(folder: Path | None) -> list[Path]:
    """Lists the sub-folders, sorted; none where `folder` is None.

    Raises:
        OSError: the folder cannot be read.
    """
    entries = folder.iterdir() if folder is not None else ()
    return sorted(path for path in entries if path.is_dir() and not is_hidden(path.name))


def find_entry(folder: Path | None, name: str) -> Path | None:
    """Finds a file or folder by its name, without regard to case; None where there is none.

    Raises:
        OSError: the folder cannot be read.
    """
    entries = sorted(folder.iterdir()) if folder is not None and folder.is_dir() else ()
    return next((path for path in entries if path.name.lower() == name.lower()), None)


def _raise(error: OSError) -> None:
    raise error


def is_hidden(name: str) -> bool:
    """Tells whether a name is one that systems keep for themselves, or hides itself by a dot."""
    return name.startswith(".") or name.lower() in _HIDDEN
