"""Where results may be written: over no model, no input, and nothing that nfbmr did not write."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

from nfbmr.data.images import IMAGE_SUFFIXES
from nfbmr.errors import BundleTamperedError, SettingsError
from nfbmr.model.folder import is_bundle, read_json

_MOST_BYTES = 2**24  # of a first line, or of a page's head
_GENERATOR = b'<meta name="generator" content="nfbmr">'


def refuse_to_overwrite(
    option: str,
    file: Path,
    what: str,
    wrote: Callable[[Path], bool],
    inputs: Iterable[Path] = (),
) -> None:
    """Says before the work that a file would take the place of what is to be kept.

    Args:
        option: by which the place was named, such as `-o`.
        file: that is to be written.
        what: it holds, such as "rows".
        wrote: tells of a file that is there whether nfbmr wrote it, as one of these.
        inputs: what is read; files or folders.

    Raises:
        SettingsError: it is a part of a model or would lie among those, it is one of the inputs,
            its ending is that of a picture, or something else is in its place.
        OSError: what is in its place cannot be read.
    """
    refuse_in_a_model(option, file)
    if any(_is_same(file, one) for one in inputs):
        raise SettingsError(
            f"{option} {file}: found what is read by this command; expected another file for "
            f"{what}, since that one would be lost; name one"
        )
    if file.suffix.lower() in IMAGE_SUFFIXES:
        raise SettingsError(
            f"{option} {file}: found the ending {file.suffix}, as of a picture; expected a file "
            f"for {what}; name another"
        )
    if file.is_file() and file.stat().st_size and not wrote(file):
        raise SettingsError(
            f"{option} {file}: found a file there that is not {what} of nfbmr; expected nothing, "
            f"or earlier {what}, whose place it would take; name another, or take the file away"
        )


def refuse_in_a_model(option: str, file: Path) -> None:
    """Says that a file would lie among the parts of a model.

    Raises:
        SettingsError: it would.
    """
    folder = file.absolute().parent.resolve()
    if is_bundle(folder):
        raise SettingsError(
            f"{option} {file}: found the model {folder} there; expected a place outside of it, "
            "since no file is to take the place of its parts; name another"
        )


def _is_same(file: Path, other: Path) -> bool:
    try:
        return file.samefile(other)
    except OSError:
        return False


def header_of(line: str) -> list[str]:
    """Returns the names in the first line of a CSV; none where it is no such line."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def is_csv_with(*columns: str) -> Callable[[Path], bool]:
    """Returns what tells whether a file is CSV whose header has all of these columns."""

    def tells(path: Path) -> bool:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            return set(columns) <= set(header_of(stream.readline(_MOST_BYTES)))

    return tells


def is_json_with(*keys: str) -> Callable[[Path], bool]:
    """Returns what tells whether a file is one JSON object that has all of these keys."""

    def tells(path: Path) -> bool:
        try:
            return set(keys) <= set(read_json(path))
        except BundleTamperedError:
            return False

    return tells


def is_page(path: Path) -> bool:
    """Whether a file is a page that nfbmr made."""
    with path.open("rb") as stream:
        return _GENERATOR in stream.read(_MOST_BYTES)
