"""Folders of heatmaps: each says that nfbmr drew it, so that none is taken for a picture."""

from __future__ import annotations

import logging
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.folders import is_drawn
from nfbmr.data.images import IMAGE_SUFFIXES, ImageInput, load_image, read_image
from nfbmr.errors import ImageError
from nfbmr.inspection.pictures import write_heatmap
from nfbmr.inspection.result import Inspection
from nfbmr.settings.schema import DataSettings
from nfbmr.system.files import flushed_beside, made_folder, written_beside

_log = logging.getLogger(__name__)

_THREADS = 2  # each holds a whole picture, and what is drawn over it
_AHEAD = 2 * _THREADS
_MOST_SIDE = 2048  # pixels: as much as a screen shows, in a fraction of a large picture's time
_OF_A_RUN = re.compile(r"\d{6,}_.*\.png")


class Heatmaps:
    """A folder that heatmaps are written to; made with the first of them.

    As a context, it ends with what `finish` does; after an error, what waits is not written.
    """

    def __init__(self, folder: Path, white: int | None = None, *, flushed: bool = False) -> None:
        """Names the folder.

        Args:
            folder: for the heatmaps.
            white: what is white in the pictures, as `read_image` takes it.
            flushed: whether each is on the disk once it is kept: a power loss leaves it whole.
        """
        self.folder, self._white, self._flushed = folder, white, flushed
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()

    @classmethod
    def of_one_run(cls, folder: Path, white: int | None = None) -> Heatmaps:
        """Returns a folder that holds no heatmaps of runs before: its own are taken away first.

        Other files in it stay; where pictures lie in it that nfbmr did not draw, it is left alone,
        and a folder beside it, `NAME-1`, serves.

        Raises:
            OSError: it cannot be read, or they cannot be taken away.
        """
        place, number = folder, 1
        while place.exists() and not _only_ours(place):
            place, number = folder.with_name(f"{folder.name}-{number}"), number + 1
        if place.is_dir():
            for path in place.iterdir():
                if _OF_A_RUN.fullmatch(path.name):
                    path.unlink()
        return cls(place, white)

    def keep(self, name: str, source: ImageInput, result: Inspection) -> Path:
        """Draws a picture's heatmap over it, whole or not at all; returns the file.

        One of more than 2,048 pixels on a side is drawn at a half, a third ... of its sides.

        Args:
            name: below the folder, without its ending; the same name is written over.
            source: what was inspected.
            result: what was found.

        Raises:
            OSError: it cannot be written.
            ImageError: the picture is not there any more.
        """
        file = self.folder / f"{name}.png"
        image = self._read(source, result.size)
        if self._flushed:
            made_folder(file.parent)
        with (flushed_beside if self._flushed else written_beside)(file) as beside:
            write_heatmap(beside, image, result)
        return file

    def _read(self, source: ImageInput, size: tuple[int, int]) -> NDArray[np.uint8]:
        pieces = -(-max(size) // _MOST_SIDE)
        if pieces == 1:
            return read_image(source, self._white)
        small = max(1, size[0] // pieces), max(1, size[1] // pieces)
        how = DataSettings(reading="scaled", white=self._white)
        return load_image(source, small, how, room=1)  # a JPEG's half is decoded as such

    def keep_soon(self, name: str, source: ImageInput, result: Inspection) -> None:
        """Does what `keep` does in a thread beside; it waits where a few are still to be written.

        Of a picture that is not there any more it says so: its verdict stands.

        Raises:
            OSError: one that was given before could not be kept.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="nfbmr-heatmap")
        self._waiting.append(self._pool.submit(self._keep_or_say, name, source, result))
        try:
            while self._waiting and (len(self._waiting) > _AHEAD or self._waiting[0].done()):
                self._waiting.popleft().result()
        except BaseException:
            self._stop()
            raise

    def _keep_or_say(self, name: str, source: ImageInput, result: Inspection) -> None:
        try:
            self.keep(name, source, result)
        except ImageError as error:
            _log.warning("No heatmap, though the verdict stands: %s", error)

    def finish(self) -> None:
        """Waits until all that was given to `keep_soon` is written; errors as there.

        After one that could not be kept, those that still wait are not written.
        """
        try:
            while self._waiting:
                self._waiting.popleft().result()
        finally:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self._stop()

    def _stop(self) -> None:
        """Ends the threads once they have written what they are at."""
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _only_ours(place: Path) -> bool:
    if not place.is_dir():
        return False
    return all(
        is_drawn(path)
        for path in place.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
