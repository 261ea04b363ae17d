"""Features in files: how they are written and read.

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import DataError

Shape = tuple[int, int, int, int]


class FeatureFile:
    """One open file of features (N, H', W', C); its bytes are copied out, and none kept in memory.

    The file is read at positions, not mapped into memory: touching one byte of a map makes
    current Linux kernels map a whole folio of the page cache (256 KiB per vector of 2 KiB was
    measured on 6.18), so the process would seem to hold the file. The page cache serves both.

    Safe to read from several threads. The file may be deleted meanwhile, except on Windows.

    Attributes:
        path: the file.
        shape: (N, H', W', C).
    """

    def __init__(self, path: Path, shape: Shape) -> None:
        """Opens a file of little-endian float32 in C order.

        Raises:
            DataError: the file's length is not that of `shape`, which has at least one number.
        """
        expected, found = 4 * math.prod(shape), path.stat().st_size
        if found != expected or not expected:
            raise DataError(f"{path}: {found} bytes, expected {expected} for {shape}; build it new")
        self.path, self.shape = path, shape
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def __reduce__(self) -> tuple[Callable[..., FeatureFile], tuple[Path, Shape]]:
        """Goes to another process by its path: it is opened there."""
        return FeatureFile, (self.path, self.shape)

    def fill(self, target: memoryview, offset: int) -> None:
        """Fills `target` with the bytes from `offset` on.

        Raises:
            DataError: the file was cut short since it was opened.
        """
        if hasattr(os, "preadv"):
            found = os.preadv(self._file.fileno(), [target], offset)
        else:  # Windows
            with self._lock:
                self._file.seek(offset)
                found = self._file.readinto(target)
        if found != len(target):
            raise DataError(f"{self.path}: cut short while it was in use; build it new")


class FeatureStore:
    """Features of N images, wherever they lie: in one file, or here and there in several.

    Reading copies; safe to read from several threads.

    Attributes:
        files: where they lie.
        shape: (N, H', W', C).
        key: names the content, where the store is one of a cache; else empty.
    """

    def __init__(
        self, files: Sequence[FeatureFile], where: NDArray[np.int64] | None = None, *, key: str = ""
    ) -> None:
        """Makes one store of files whose images have one shape.

        Args:
            files: at least one.
            where: (N, 2), the file of each image and its place there, both from 0; by default
                all images of all files, one file after the other.
            key: what to call the content.
        """
        assert len({file.shape[1:] for file in files}) == 1, [file.shape for file in files]
        if where is None:
            counts = [file.shape[0] for file in files]
            places = np.concatenate([np.arange(count) for count in counts])
            where = np.stack([np.repeat(np.arange(len(files)), counts), places], axis=1)
        self.files, self.key = tuple(files), key
        self.shape: Shape = (len(where), *files[0].shape[1:])
        self._where = where.astype(np.int64)  # offsets of bytes pass 2 GiB

    def __reduce__(
        self,
    ) -> tuple[Callable[..., FeatureStore], tuple[tuple[FeatureFile, ...], NDArray[np.int64]]]:
        """Goes to another process as its files."""
        return partial(FeatureStore, key=self.key), (self.files, self._where)

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
            DataError: a file was cut short since it was opened.
        """
        return self._read(indices, None, self.shape[1:])

    def read_positions(
        self,
        images: NDArray[np.integer[Any]],
        positions: NDArray[np.integer[Any]],
        channels: int | None = None,
    ) -> NDArray[np.float32]:
        """Copies one vector per pair (image, position), both (P,): float32 (P, C).

        A position is row * W' + column. With `channels`, only so many of the first are read.

        Raises:
            DataError: a file was cut short since it was opened.
        """
        return self._read(images, positions, (channels or self.channels,))

    def _read(
        self,
        images: NDArray[np.integer[Any]],
        positions: NDArray[np.integer[Any]] | None,
        item: tuple[int, ...],
    ) -> NDArray[np.float32]:
        """Copies items of one shape: whole images, or the first of one position of each."""
        assert ((images >= 0) & (images < len(self))).all(), "indices outside the store"
        number, place = self._where[images].T
        apart = 4 * math.prod(self.shape[1:])
        if positions is not None:
            count = self.grid[0] * self.grid[1]
            assert ((positions >= 0) & (positions < count)).all(), "positions outside the grid"
            place, apart = place * count + positions, 4 * self.channels
        out = np.empty((len(images), *item), dtype="<f4")
        length = 4 * math.prod(item)
        target = out.reshape(-1).view(np.uint8).data
        starts = range(0, len(target), length)
        for start, file, offset in zip(
            starts, number.tolist(), (place * apart).tolist(), strict=True
        ):
            self.files[file].fill(target[start : start + length], offset)
        return out


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
    return FeatureStore([FeatureFile(path, shape)])


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
