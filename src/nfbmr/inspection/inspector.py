"""Inspecting pictures: `Inspector` turns an image into an `Inspection`, by whatever runtime.

Shapes: N = images, K = raw maps, H W = grid or pixels. Starting this module loads no torch;
the runtime that needs it does.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, load_with_size
from nfbmr.data.pose import Pose, Turn
from nfbmr.data.survey import survey
from nfbmr.errors import CalibrationError, ImageError, SettingsError
from nfbmr.inspection.result import Failure, Inspection
from nfbmr.model.bundle import Bundle, replace_calibration
from nfbmr.model.facts import Facts
from nfbmr.runtimes.choose import open_runtime
from nfbmr.runtimes.protocol import Runtime
from nfbmr.scoring.calibration import (
    Calibration,
    calibrate,
    image_scores,
    recalibrate,
)
from nfbmr.scoring.conformal import p_values
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.settings.schema import Settings

_log = logging.getLogger(__name__)

_LEAST_RATE = 1e-6  # as of the settings
_TILES = 8  # that pass the network at once


class Inspector:
    """A model ready to inspect. Keeps no state between pictures, so threads may share it."""

    def __init__(self, bundle: Bundle, runtime: Runtime, path: Path | None = None) -> None:
        """Joins a model directory's content and a runtime for it; `path` is where it lies."""
        self._bundle = bundle
        self._tiling = bundle.tiling
        self.runtime = runtime
        self.path = path

    def __repr__(self) -> str:
        """Says which model, and what computes it."""
        (height, width), where = self.size, self.path or "in memory"
        return (
            f"<Inspector of '{self.facts.name}' ({where}): {height} x {width} pixels, "
            f"{self.runtime.name}, threshold {self.threshold:.3g}>"
        )

    @property
    def calibration(self) -> Calibration:
        """Scales and threshold now in force."""
        return self._bundle.calibration

    @property
    def settings(self) -> Settings:
        """What the model was fitted with."""
        return self._bundle.settings

    @property
    def facts(self) -> Facts:
        """What is known of the fit."""
        return self._bundle.facts

    @property
    def others(self) -> tuple[str, ...]:
        """Exports that have another calibration than this one, e.g. `openvino:int8`."""
        exports = self._bundle.exports
        return tuple(
            f"{e.target}:{e.precision}" for e in exports if e.calibration != self._bundle.of
        )

    @property
    def threshold(self) -> float:
        """A score above it is a defect."""
        return self._bundle.calibration.threshold

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels that pictures are brought to; a tiled model then cuts them."""
        return self.facts.whole or self.facts.size

    def inspect(self, image: ImageInput) -> Inspection:
        """Inspects one picture.

        Args:
            image: a path, a file's bytes, a Pillow image, or an array uint8 / uint16 / float in
                [0, 1] of shape (H, W) or (H, W, 1|3|4), RGB.

        Raises:
            ImageError: the picture cannot be read.
        """
        pictures = [_decode(image, self.size, self._bundle.pose)]
        (result,) = self._judge(self._maps_of(pictures), pictures)
        if isinstance(result, Failure):
            raise ImageError(result.error)
        return result

    def inspect_many(
        self, images: Iterable[ImageInput], *, batch: int = 8, workers: int = 2
    ) -> Iterator[Inspection | Failure]:
        """Inspects a stream in order, in constant memory, decoding ahead of the network.

        Args:
            images: any iterable, as for `inspect`; endless ones too.
            batch: pictures per pass of the network.
            workers: decoding threads.

        Yields:
            An Inspection for each picture, or a Failure for one that cannot be read.
        """
        if self._tiling is not None:
            batch = 1  # its tiles make a batch already
        decoded = self._decode_ahead(iter(images), workers, ahead=2 * batch)
        # The graph computes a batch in a thread of its own while the one before is judged here.
        with ThreadPoolExecutor(1, thread_name_prefix="nfbmr-graph") as pool:
            before: _Group | None = None
            while True:
                try:
                    group = list(itertools.islice(decoded, batch))
                except Exception:  # of whoever gives the pictures: what is finished comes first
                    if before is not None:
                        yield from self._judged(*before)
                    raise
                pictures = [item for item in group if isinstance(item, _Decoded)]
                now = (group, pool.submit(self._maps_of, pictures))
                if before is not None:
                    yield from self._judged(*before)
                if not group:
                    return
                before = now

    def _judged(
        self, group: list[_Decoded | Failure], maps: Future[Maps | None]
    ) -> Iterator[Inspection | Failure]:
        pictures = [item for item in group if isinstance(item, _Decoded)]
        found = iter(self._judge(maps.result(), pictures))
        for item in group:
            yield next(found) if isinstance(item, _Decoded) else item

    def scores(self, images: Iterable[ImageInput]) -> NDArray[np.float64]:
        """Returns the scores (N,) of pictures that must all be readable.

        Raises:
            ImageError: one is not.
        """
        return np.array([result.score for result in self._each(images)], np.float64)

    def maps(self, images: Iterable[ImageInput]) -> Maps:
        """Returns the raw maps (N, K, H', W') of pictures that must all be readable.

        Raises:
            ImageError: one is not.
        """
        found = [result.maps for result in self._each(images)]
        if not found:
            return np.empty((0, len(MAPS), 1, 1), np.float32)
        return np.stack(found)

    def _each(self, images: Iterable[ImageInput]) -> Iterator[Inspection]:
        for result in self.inspect_many(images):
            if isinstance(result, Failure):
                raise ImageError(result.error)
            yield result

    def recalibrated(
        self,
        rate: float | None = None,
        good_images: Iterable[ImageInput] | None = None,
        *,
        look_rate: float | None = None,
    ) -> Inspector:
        """Returns an inspector with new thresholds; the network stays as it is.

        Args:
            rate: asked false-alarm rate, in (0, 1); by default the one now in force.
            good_images: good pictures that the model was not trained on; all scales and scores
                are learnt anew from them. Without them the stored scores serve.
            look_rate: asked share of good pictures that a person looks at, in (0, 1); by default
                the one now in force.

        Raises:
            SettingsError: a rate is not a share between 0 and 1.
            CalibrationError: too few pictures; some that were trained on, which score lower than
                new ones; or pictures that are all alike.
            ImageError: one cannot be read.
        """
        now = self.calibration
        rate = now.false_alarm_rate if rate is None else rate
        look_rate = now.look_rate if look_rate is None else look_rate
        for name, asked in (("false-alarm rate", rate), ("look rate", look_rate)):
            if not _LEAST_RATE <= asked < 1:
                raise SettingsError(
                    f"{name} {asked:g}: a share between 0 and 1 was expected, at least 1e-6"
                )
        if good_images is None:
            calibration = recalibrate(now, rate, look_rate)
        else:
            calibration = self._calibrated_on(good_images, rate, look_rate)
        bundle = replace(self._bundle, calibration=calibration)
        return Inspector(bundle, self.runtime, self.path)

    def _calibrated_on(
        self, good_images: Iterable[ImageInput], rate: float, look_rate: float
    ) -> Calibration:
        seen = survey(self.facts.name, good_images)
        for warning in seen.warnings:
            _log.warning("%s", warning)
        known = [
            one.name for one in seen.pictures if self.facts.trained(one.fingerprint, one.pixel_hash)
        ]
        if known:
            raise CalibrationError(
                f"{len(known)} of the {len(seen.pictures)} pictures were trained on "
                f"({', '.join(known[:5])}): the model knows them, so they score lower than new "
                "parts and the threshold would be too low; give good pictures it has not seen"
            )
        maps = self.maps(one.picture for one in seen.pictures)
        names = [one.pixel_hash for one in seen.pictures]
        return calibrate(maps, self.settings.scoring, rate, names, look_rate=look_rate)

    def save_calibration(self) -> None:
        """Writes the calibration now in force into the model directory it came from.

        Raises:
            SettingsError: the model came from none.
            BundleError: it cannot be written, or holds another model by now.
        """
        if self.path is None:
            raise SettingsError(
                f"'{self.facts.name}' is a model in memory: there is no directory to keep its "
                "calibration in; fit with a directory (out=...), or go on with this Inspector"
            )
        replace_calibration(self.path, self._bundle)

    def _decode_ahead(
        self, images: Iterator[ImageInput], workers: int, ahead: int
    ) -> Iterator[_Decoded | Failure]:
        waiting: deque[Future[_Decoded | Failure]] = deque()
        with ThreadPoolExecutor(workers, thread_name_prefix="nfbmr-decode") as pool:
            try:
                for image in images:
                    waiting.append(pool.submit(_try_decode, image, self.size, self._bundle.pose))
                    if len(waiting) > ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _maps_of(self, pictures: list[_Decoded]) -> Maps | None:
        """Runs the graph; None where there is nothing to run it on."""
        if not pictures:
            return None
        pixels = np.stack([picture.pixels for picture in pictures])
        return self.runtime.run(pixels) if self._tiling is None else self._of_tiles(pixels)

    def _judge(self, maps: Maps | None, pictures: list[_Decoded]) -> list[Inspection | Failure]:
        if maps is None:
            return []
        turns = [picture.turn for picture in pictures]
        return self.judge(maps, [(picture.path, picture.size) for picture in pictures], turns)

    def _of_tiles(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps pictures (N, H, W, 3) to the joined maps of their tiles (N, K, H', W')."""
        assert self._tiling is not None
        cuts = self._tiling.tiles(pixels)
        parts = []
        while group := list(itertools.islice(cuts, _TILES)):
            parts.append(self.runtime.run(np.stack(group)))
        return self._tiling.join(np.concatenate(parts))

    def judge(
        self,
        maps: Maps,
        pictures: Sequence[tuple[str | None, tuple[int, int]]],
        turns: Sequence[Turn | None] | None = None,
    ) -> list[Inspection | Failure]:
        """Judges raw maps: what follows the network, for pictures or for kept features of them.

        Args:
            maps: (N, K, H', W').
            pictures: the path and the size (H, W) of each, N of them.
            turns: how each was turned before the network; by default none was.
        """
        turns = turns or [None] * len(pictures)
        scores = image_scores(maps, self.settings.scoring, self.calibration)
        ps = p_values(scores, self.calibration.scores)
        return [
            Failure(path=path, error="the network gave values that are not finite")
            if not np.isfinite(raw).all()
            else Inspection(
                path=path,
                score=float(score),
                p_value=float(p_value),
                is_defect=bool(score > self.threshold),
                threshold=self.threshold,
                maps=raw,
                size=size,
                turn=turn,
                scoring=self.settings.scoring,
                calibration=self.calibration,
            )
            for (path, size), turn, raw, score, p_value in zip(
                pictures, turns, maps, scores, ps, strict=True
            )
        ]


@dataclass(frozen=True)
class _Decoded:
    path: str | None
    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    turn: Turn | None = None


_Group = tuple[list[_Decoded | Failure], Future[Maps | None]]


def _decode(image: ImageInput, size: tuple[int, int], pose: Pose | None) -> _Decoded:
    pixels, full = load_with_size(image, size)
    if pose is None:
        return _Decoded(_path_of(image), pixels, full)
    aligned, turn = pose.align(pixels)
    return _Decoded(_path_of(image), aligned, full, turn)


def _try_decode(image: ImageInput, size: tuple[int, int], pose: Pose | None) -> _Decoded | Failure:
    try:
        return _decode(image, size, pose)
    except (ImageError, MemoryError) as error:
        return Failure(path=_path_of(image), error=str(error) or "out of memory")


def _path_of(image: ImageInput) -> str | None:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None


def load(
    path: str | os.PathLike[str],
    *,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Inspector:
    """Loads a model directory.

    Args:
        path: what `fit` wrote.
        runtime: `auto`, `torch`, `onnx`, `openvino` or `tensorrt`. `auto` takes the fastest that
            is installed here and that the model was exported for.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        threads: for one picture; by default all cores.

    Raises:
        BundleError: there is none, it is damaged, or its format is newer.
        SettingsError: there is no such runtime, or the model was not exported for it.
        MissingExtraError: the runtime is not installed.
    """
    bundle, opened = open_runtime(Path(path), runtime, device=device, threads=threads)
    return Inspector(bundle, opened, Path(path))
