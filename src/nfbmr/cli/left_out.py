"""What a folder holds beside the pictures that are inspected, said on the screen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from nfbmr.cli.arguments import ENDINGS
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

_ROWS = frozenset(ENDINGS.values())
_MOST_NAMED = 10


def say_left_out(folder: Path, others: Sequence[Path]) -> bool:
    """Names the files of a folder that are not inspected, but for rows that nfbmr wrote.

    Returns:
        Whether one of them may show a part: a picture of a format that nfbmr does not read, or
        what ends like a picture and is no file.
    """
    from nfbmr.data.folders import UNREAD_PICTURES
    from nfbmr.data.images import IMAGE_SUFFIXES

    pictures = [p for p in others if p.suffix.lower() in IMAGE_SUFFIXES | UNREAD_PICTURES]
    unread = [path for path in pictures if path.is_file() or not path.exists()]
    no_files = sorted({*pictures} - {*unread})
    rest = [p for p in sorted({*others} - {*pictures}) if p.suffix.lower() not in _ROWS]
    _say_no_files(folder, no_files)
    _say_unread(folder, unread)
    _say_no_pictures(folder, rest)
    return bool(pictures)


def names(paths: Sequence[Path], folder: Path) -> str:
    """Returns the first of the names below a folder, and how many there are beside them."""
    named = ", ".join(str(path.relative_to(folder)) for path in paths[:_MOST_NAMED])
    return named + (f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else "")


def _say_no_files(folder: Path, paths: Sequence[Path]) -> None:
    if paths:
        what = counted(len(paths), "pipe, socket or device", "pipes, sockets or devices")
        _log.warning("Not inspected: %s in %s: %s", what, folder, names(paths, folder))


def _say_unread(folder: Path, paths: Sequence[Path]) -> None:
    endings = ", ".join(sorted({path.suffix.lower() for path in paths}))
    if len(paths) == 1:
        text = "%s is not inspected: nfbmr does not read %s; convert it to PNG"
        _log.warning(text, paths[0], endings)
    elif paths:
        text = (
            "%d pictures in %s are not inspected: nfbmr does not read %s; convert them to PNG: %s"
        )
        _log.warning(text, len(paths), folder, endings, names(paths, folder))


def _say_no_pictures(folder: Path, paths: Sequence[Path]) -> None:
    from nfbmr.data.images import IMAGE_SUFFIXES

    known = ", ".join(sorted(IMAGE_SUFFIXES))
    if len(paths) == 1:
        text = "%s is not inspected: by its name it is no picture (%s)"
        _log.warning(text, paths[0], known)
    elif paths:
        text = "%d files in %s are not inspected: by their names they are no pictures (%s): %s"
        _log.warning(text, len(paths), folder, known, names(paths, folder))
