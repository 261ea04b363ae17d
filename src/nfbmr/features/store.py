"""Features in a file: how they are written and read.

A file is little-endian float32 in C order, (N, H', W', C): the vector of one position lies in
one piece.

    N = images, H' W' = grid, C = channels, P = positions
"""

from __future__ import annotations

import math
import os
import threading
import uuid
import weakref
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import DataError

Shape = tuple[int, int, int, int]


class FeatureStore:
    """Features of N images in a file; reading copies out of it, and keeps nothing in memory.

    The file is read at positions, not mapped into memory: touching one byte of a map makes
    current Linux kernels map a whole folio of the page cache (256 KiB per vector of 2 KiB was
    measured on 6.18), so the process would seem to hold the file. The page cache serves both.

    Safe to read from several threads. The file may be deleted meanwhile, except on Windows.

    Attributes:
        path: the file.
        shape: (N, H', W', C).
        key: names the content, where the store is an entry of a cache; else empty.
    """

    def __init__(self, path: Path, shape: Shape, *, key: str = "") -> None:
        """Opens a file of little-endian float32 in C order.

        Raises:
            DataError: the file's length is not that of `shape`, which has at least one number.
        """
        expected, found = 4 * math.prod(shape), path.stat().st_size
        if found != expected or not expected:
            raise DataError(f"{path}: {found} bytes, expected {expected} for {shape}; build it new")
        self.path, self.shape, self.key = path, shape, key
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        """Returns N."""
        return self.shape[0]

    @property
    def grid(self) -> tuple[int, int]:
        """(H', W')."""
        return self.shape[1:3]

    @property
    def channels(self) -> int:
        """C."""
        return self.shape[3]

    def read(self, indices: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Copies images `indices` (n,), in that order: float32 (n, H', W', C).

        Raises:
            DataError: the file was cut short since it was opened.
        """
        return self._read(indices, self.shape[1:], len(self))

    def read_positions(
        self, images: NDArray[np.integer[Any]], positions: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Copies one vector per pair (image, position), both (P,): float32 (P, C).

        A position is row * W' + column.

        Raises:
            DataError: the file was cut short since it was opened.
        """
        count = self.grid[0] * self.grid[1]
        assert ((positions >= 0) & (positions < count)).all(), "positions outside the grid"
        flat = images.astype(np.int64) * count + positions
        return self._read(flat, (self.channels,), len(self) * count)

    def _read(
        self, indices: NDArray[np.integer[Any]], item: tuple[int, ...], count: int
    ) -> NDArray[np.float32]:
        """Copies items of one shape, of which the file holds `count`."""
        assert ((indices >= 0) & (indices < count)).all(), "indices outside the store"
        out = np.empty((len(indices), *item), dtype="<f4")
        length = 4 * math.prod(item)
        target = out.reshape(-1).view(np.uint8).data
        for number, index in enumerate(indices.tolist()):
            self._fill(target[number * length : (number + 1) * length], index * length)
        return out

    def _fill(self, target: memoryview, offset: int) -> None:
        if hasattr(os, "preadv"):
            found = os.preadv(self._file.fileno(), [target], offset)
        else:  # Windows
            with self._lock:
                self._file.seek(offset)
                found = self._file.readinto(target)
        if found != len(target):
            raise DataError(f"{self.path}: cut short while it was in use; build it new")


def write_store(path: Path, shape: Shape, batches: Iterable[NDArray[np.float32]]) -> FeatureStore:
    """Writes batches (B, H', W', C), N images in all, to a file of their own; replaces an old one.

    Raises:
        DataError: the disk is full or the file cannot be written; an old file stays.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with blaming_disk(path.parent):
            write_rows(partial, shape, batches)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return FeatureStore(path, shape)


def write_rows(path: Path, shape: Shape, batches: Iterable[NDArray[np.float32]]) -> list[int]:
    """Writes all batches to a new file and to the disk; returns one CRC-32 per image."""
    checksums = []
    with path.open("xb") as handle:
        for rows in batches:
            assert rows.shape[1:] == shape[1:], (rows.shape, shape)
            for image in np.ascontiguousarray(rows, dtype="<f4"):
                checksums.append(zlib.crc32(image.data))
                handle.write(image.data)
        handle.flush()
        os.fsync(handle.fileno())
    assert len(checksums) == shape[0], (len(checksums), shape)
    return checksums


@contextmanager
def blaming_disk(folder: Path) -> Iterator[None]:
    """Turns what the operating system refuses under `folder` into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder}: features cannot be kept there ({error.strerror or error}); make room or "
            "give permission, or set NFBMR_CACHE to another folder"
        ) from error
