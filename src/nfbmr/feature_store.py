"""Features in a file: how they are written, mapped into memory and read.

A file is little-endian float32 in C order, (N, H', W', C): the vector of one position lies in
one piece.

    N = images, H' W' = grid, C = channels, P = positions
"""

from __future__ import annotations

import math
import mmap
import os
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import DataError

RESIDENT_BYTES = 64 * 2**20
"""Pages of one file that reading may leave in this process before they are handed back."""

_FAULT_BYTES = 64 * 2**10  # Linux maps up to this much around one touched byte

Shape = tuple[int, int, int, int]


class FeatureStore:
    """Features of N images in a file, mapped into memory; reading copies out of it.

    Pages that were read do not pile up in the process: see `RESIDENT_BYTES`. Safe to read from
    several threads. The file may be deleted while a store on it is open, except on Windows.

    Attributes:
        path: the file.
        shape: (N, H', W', C).
        key: names the content, where the store is an entry of a cache; else empty.
    """

    def __init__(self, path: Path, shape: Shape, *, key: str = "") -> None:
        """Maps a file of little-endian float32 in C order.

        Raises:
            DataError: the file's length is not that of `shape`, which has at least one number.
        """
        expected, found = 4 * math.prod(shape), path.stat().st_size
        if found != expected or not expected:
            raise DataError(f"{path}: {found} bytes, expected {expected} for {shape}; build it new")
        self.path, self.shape, self.key = path, shape, key
        with path.open("rb") as handle:
            self._map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        self._images: NDArray[np.float32] = np.frombuffer(self._map, dtype="<f4").reshape(shape)
        self._touched = 0  # bytes, since pages were last handed back

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
        """Copies images `indices` (n,), in that order: float32 (n, H', W', C)."""
        return self._read(self._images, indices, 4 * math.prod(self.shape[1:]))

    def read_positions(
        self, images: NDArray[np.integer[Any]], positions: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """Copies one vector per pair (image, position), both (P,): float32 (P, C).

        A position is row * W' + column.
        """
        count = self.grid[0] * self.grid[1]
        assert ((positions >= 0) & (positions < count)).all(), "positions outside the grid"
        rows = self._images.reshape(-1, self.channels)  # (N * H' * W', C)
        return self._read(rows, images.astype(np.int64) * count + positions, 4 * self.channels)

    def _read(
        self, source: NDArray[np.float32], indices: NDArray[np.integer[Any]], item_bytes: int
    ) -> NDArray[np.float32]:
        out = np.empty((len(indices), *source.shape[1:]), dtype=np.float32)
        cost = max(item_bytes, _FAULT_BYTES)
        step = max(1, RESIDENT_BYTES // 4 // cost)
        for start in range(0, len(indices), step):
            chosen = indices[start : start + step]
            out[start : start + step] = source[chosen]
            self._hand_back(len(chosen) * cost)
        return out

    def _hand_back(self, touched: int) -> None:
        self._touched += touched
        if self._touched < RESIDENT_BYTES or len(self._map) < RESIDENT_BYTES:
            return
        self._touched = 0
        advice = getattr(mmap, "MADV_DONTNEED", None)  # none on Windows, which trims by itself
        if advice is not None:
            self._map.madvise(advice)


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
