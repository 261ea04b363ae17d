"""One entry of the feature cache: y of some pictures of one shelf, and what it is checked by.

KEY/header.json     shelf, pictures, shape, one checksum per row, where it came from
KEY/features.f32    little-endian float32, C order, (N, H', W', C)

N = rows, T for each picture; T = 1, or the tiles that a picture is cut into
H' W' = grid, C = channels of y
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nfbmr.features.store import Shape

_log = logging.getLogger(__name__)

FORMAT = 4
"""Of an entry, and of what its numbers mean; part of a shelf's name."""

HEADER, DATA = "header.json", "features.f32"


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Where y of pictures stands that were all computed in the same way."""

    name: str
    """64 hexadecimal digits: all that y of a picture depends on, but the picture."""
    row: tuple[int, int, int]
    """(H', W', C)."""
    tiles: int
    """T."""
    backbone: str
    """Name and stages, for people."""
    size: tuple[int, int]
    """(H, W) in pixels that passes SNN, for people."""

    def key(self, pictures: Sequence[str]) -> str:
        """Names y of pictures, in their order: 64 digits, the first 32 those of the shelf."""
        return key_of(self.name, pictures)

    def shape(self, pictures: Sequence[str]) -> Shape:
        """Returns (N, H', W', C)."""
        return (len(pictures) * self.tiles, *self.row)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an entry says of itself."""

    format: int
    shelf: str
    pictures: list[str]
    """Hashes of their content; T rows each, in this order."""
    shape: Shape
    """(N, H', W', C)."""
    checksums: list[int]
    """CRC-32 per row."""
    backbone: str
    size: tuple[int, int]
    created: float
    """Seconds since 1970."""


class DamagedError(Exception):
    """An entry is not what was written; the cache removes it."""


def key_of(shelf: str, pictures: Sequence[str]) -> str:
    """Returns `Shelf.key` for a shelf's name."""
    return shelf[:32] + hashlib.sha256(json.dumps([shelf, *pictures]).encode()).hexdigest()[:32]


def read_header(folder: Path) -> tuple[Header, bytes]:
    """Returns the header of an entry, and its bytes.

    Raises:
        DamagedError: it does not describe this entry in this format.
        FileNotFoundError: there is none.
    """
    text = (folder / HEADER).read_bytes()
    try:
        header = Header(**json.loads(text))
        n, height, width, channels = (int(side) for side in header.shape)
        sound = (
            header.format == FORMAT
            and key_of(header.shelf, header.pictures) == folder.name
            and min(n, height, width, channels) >= 1
            and len(header.checksums) == n
            and n % len(header.pictures) == 0
        )
        size = (int(header.size[0]), int(header.size[1]))
        created = float(header.created)
    except (ValueError, TypeError, ArithmeticError, LookupError) as error:
        raise DamagedError(f"{folder / HEADER} cannot be read: {error}") from error
    if not sound:
        raise DamagedError(f"{folder / HEADER} does not describe this entry")
    return replace(header, shape=(n, height, width, channels), size=size, created=created), text


def compare_checksums(path: Path, header: Header) -> None:
    """Reads the rows of an entry.

    Raises:
        DamagedError: they are not those that were written.
    """
    length = 4 * math.prod(header.shape[1:])
    found, expected = path.stat().st_size, header.shape[0] * length
    if found != expected:
        raise DamagedError(f"{path}: {found} bytes, expected {expected}")
    with path.open("rb") as handle:
        for number, checksum in enumerate(header.checksums):
            if zlib.crc32(handle.read(length)) != checksum:
                raise DamagedError(f"{path}: row {number} differs from what was written")


def last_used(folder: Path) -> float:
    """Returns when an entry was last opened, in seconds since 1970; 0 where nothing says so."""
    try:
        return (folder / HEADER).stat().st_mtime
    except OSError:
        return 0.0


def bytes_in(folder: Path) -> int:
    """Returns the bytes of an entry's files; 0 where it has been removed meanwhile."""
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except OSError:
        return 0


def remove(folder: Path) -> None:
    """Removes an entry: first out of sight in one step, then from the disk."""
    hidden = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        folder.rename(hidden)
    except OSError as error:  # gone already, or held open on Windows
        _log.info("%s was not removed: %s", folder, error)
        return
    shutil.rmtree(hidden, ignore_errors=True)
