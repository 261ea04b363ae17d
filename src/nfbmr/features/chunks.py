"""Features under way: finished chunks of images, so that a killed build loses one chunk at most.

    FOLDER/NUMBER.chunk    little-endian float32 of CHUNK images (fewer in the last), then a CRC-32

A chunk is written beside and renamed. Processes that build the same features at once write the
same chunks, and the first that has finished clears them away.

    N = images, H' W' = grid, C = channels
"""

from __future__ import annotations

import math
import os
import shutil
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfbmr.features.store import Shape, blaming_disk

CHUNK = 64
"""Images of a chunk; a multiple of every batch."""


class MissingChunkError(Exception):
    """A chunk is gone, or damaged, that was there."""


class Chunks:
    """The chunks of features of one shape (N, H', W', C), in a folder of their own."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        """Names the folder; it is made by the first chunk."""
        self._folder = folder
        self._shape = shape
        self.count = math.ceil(shape[0] / CHUNK)

    def images(self, number: int) -> range:
        """Returns the images of a chunk."""
        return range(number * CHUNK, min((number + 1) * CHUNK, self._shape[0]))

    def size_bytes(self, numbers: Iterable[int]) -> int:
        """Returns the bytes of the rows of chunks."""
        return 4 * math.prod(self._shape[1:]) * sum(len(self.images(n)) for n in numbers)

    def missing(self) -> list[int]:
        """Returns the numbers of chunks that are absent or damaged."""
        return [number for number in range(self.count) if self._read(number) is None]

    def write(self, number: int, rows: NDArray[np.float32]) -> None:
        """Keeps the rows of a chunk.

        Raises:
            DataError: the disk is full or the folder cannot be written; nothing half-written stays.
            MissingChunkError: the folder went meanwhile: another process has finished the same.
        """
        assert rows.shape == (len(self.images(number)), *self._shape[1:]), rows.shape
        data = np.ascontiguousarray(rows, dtype="<f4").data.cast("B")
        path = self._path(number)
        beside = path.with_name(f"{uuid.uuid4().hex}.part")
        try:
            with blaming_disk(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
                try:
                    with beside.open("wb") as stream:
                        stream.write(data)
                        stream.write(zlib.crc32(data).to_bytes(4, "little"))
                    beside.replace(path)
                except FileNotFoundError:
                    raise MissingChunkError(f"{path}") from None
        finally:
            beside.unlink(missing_ok=True)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Yields the rows of every chunk, in order.

        Raises:
            MissingChunkError: one is absent or damaged.
        """
        for number in range(self.count):
            rows = self._read(number)
            if rows is None:
                raise MissingChunkError(f"{self._path(number)}")
            yield rows

    def touch(self) -> None:
        """Marks the chunks that are there as in use now."""
        with suppress(OSError):
            os.utime(self._folder)

    def forget(self) -> None:
        """Deletes the chunks."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.chunk"

    def _read(self, number: int) -> NDArray[np.float32] | None:
        shape = (len(self.images(number)), *self._shape[1:])
        try:
            content = memoryview(self._path(number).read_bytes())
        except FileNotFoundError:
            return None
        data, checksum = content[:-4], content[-4:]
        if len(data) != 4 * math.prod(shape) or zlib.crc32(data).to_bytes(4, "little") != checksum:
            return None
        return np.frombuffer(data, dtype="<f4").reshape(shape)
