"""Inspecting pictures: `Inspector` turns an image into an `Inspection`, by whatever runtime.

Shapes: N = images, K = raw maps, H W = grid or pixels. Starting this module loads no torch;
the runtime that needs it does.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput
from nfbmr.data.masks import MaskInput
from nfbmr.errors import BundleError, ImageError, SettingsError
from nfbmr.inspection import forks
from nfbmr.inspection.decoding import Decoded, Named, decode, try_decode
from nfbmr.inspection.opened import Opened
from nfbmr.inspection.recalibration import Model, calibrated_anew
from nfbmr.inspection.result import About, Failure, Inspection
from nfbmr.inspection.several import Several
from nfbmr.inspection.stream import Stream
from nfbmr.inspection.why import Why, compared
from nfbmr.model.bundle import Bundle, Identity, replace_calibration
from nfbmr.model.examples import decoded
from nfbmr.model.facts import Facts
from nfbmr.runtimes.choose import open_runtime
from nfbmr.runtimes.protocol import Runtime
from nfbmr.scoring.calibration import Calibration, image_scores
from nfbmr.scoring.conformal import p_values
from nfbmr.scoring.ignored import masked
from nfbmr.scoring.looks import looks_of_each
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.settings.schema import Settings
from nfbmr.system.cores import TOGETHER

_TILES = 8  # that pass the network at once


class Inspector:
    """A model ready to inspect. Keeps no state between pictures, so threads may share it.

    Sent to another process by `pickle`, it is loaded there anew from its directory. In a forked
    child it goes on, by torch with one thread.
    """

    def __init__(
        self,
        bundle: Bundle,
        runtime: Runtime,
        path: Path | None = None,
        opened: Opened | None = None,
    ) -> None:
        """Joins a model directory's content and a runtime for it.

        Args:
            bundle: the content.
            runtime: what computes its graph.
            path: where it lies.
            opened: how it was opened, to open it so again.
        """
        self._bundle = bundle
        self._tiling = bundle.tiling
        self.identity = bundle.identity
        """Which fit and which of its graphs."""
        self.runtime = runtime
        self.path = path
        self._opened = opened or Opened("torch" if runtime.name == "torch" else "auto")
        self._process = os.getpid()
        self._several = Several(bundle.facts)

    def __repr__(self) -> str:
        """Says which model, and what computes it."""
        (height, width), where = self.size, self.path or "in memory"
        return (
            f"<Inspector of '{self.facts.name}' ({where}): {height} x {width} pixels, "
            f"{self.runtime.name}, threshold {self.threshold:.3g}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Says how to load it anew in another process, with the calibration now in force.

        Raises:
            SettingsError: the model came from no directory.
        """
        if self.path is None:
            raise SettingsError(
                f"'{self.facts.name}' is a model in memory: there is no directory that another "
                "process could load it from; fit with a directory (out=...), then load that"
            )
        path = self.path.absolute()
        return _again, (path, self._opened, self._bundle.identity, self.calibration)

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
        of, exports = self._bundle.of, self._bundle.exports
        return tuple(f"{e.target}:{e.precision}" for e in exports if e.calibration != of)

    @property
    def threshold(self) -> float:
        """A score above it is a defect."""
        return self._bundle.calibration.threshold

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels that pictures are brought to; a tiled model then cuts them."""
        return self.facts.whole or self.facts.size

    def inspect(self, image: ImageInput | Named) -> Inspection:
        """Inspects one picture.

        Args:
            image: a path, a file's bytes, a Pillow image, or an array uint8 / uint16 / float in
                [0, 1] of shape (H, W) or (H, W, 1|3|4), RGB; or one of these with a name.

        Raises:
            ImageError: the picture cannot be read.
        """
        pictures = [decode(image, self._bundle)]
        (result,) = map(self._several.hear, self._judge(self._maps_of(pictures), pictures))
        if isinstance(result, Failure):
            raise ImageError(result.error)
        return result

    def inspect_many(
        self, images: Iterable[ImageInput | Named], *, batch: int = TOGETHER, workers: int = 2
    ) -> Iterator[Inspection | Failure]:
        """Inspects a stream in order, in constant memory, each result given as soon as it is ready.

        What comes slower than the network computes, as from a camera, is computed picture by
        picture; what waits, in batches. Pictures that are all there, as in a list, are computed in
        whole batches, which hold the same ones each time: results are the same bit for bit.

        Args:
            images: any iterable, as for `inspect`; endless ones too. It is read in a thread of its
                own, at most three batches ahead, and may block until an earlier result is out.
            batch: pictures per pass, at most; by default 8, or as many as there are cores (to 16).
            workers: decoding threads.

        Yields:
            An Inspection for each picture, or a Failure for one that cannot be read.
        """
        full = isinstance(images, Sized)
        yield from self._several.heard(self._stream(images, batch, workers, full=full))

    def _stream(
        self, images: Iterable[ImageInput | Named], batch: int, workers: int, *, full: bool
    ) -> Iterator[Inspection | Failure]:
        def compute(group: list[Decoded | Failure]) -> Maps | None:
            return self._maps_of([item for item in group if isinstance(item, Decoded)])

        with closing(
            Stream(
                images,
                lambda image: try_decode(image, self._bundle),
                compute,
                most=1 if self._tiling is not None else batch,  # its tiles make a batch already
                full=full,
                workers=workers,
            )
        ) as stream:
            for group, maps in stream:
                pictures = [item for item in group if isinstance(item, Decoded)]
                found = iter(self._judge(maps, pictures))
                for item in group:
                    yield next(found) if isinstance(item, Decoded) else item

    def why(
        self, image: ImageInput, result: Inspection, *, most: int | None = None
    ) -> tuple[Why, ...]:
        """Shows each of `result.regions` beside a good part; see `nfbmr.inspection.why.compared`.

        Args:
            image: the picture that was inspected, as for `inspect`.
            result: what was said of it.
            most: regions that are looked at, the highest first; by default all.

        Raises:
            ImageError: the picture cannot be read, or is not of the size of the one inspected.
            BundleTamperedError: an example is damaged.
        """
        return compared(image, result, self._examples, self.settings.data.white, most)

    @cached_property
    def _examples(self) -> tuple[NDArray[np.uint8], ...]:
        return decoded(self._bundle.examples)

    def scores(self, images: Iterable[ImageInput]) -> NDArray[np.float64]:
        """Returns the scores (N,) of pictures, as `inspected` judges them."""
        return np.array([result.score for result in self.inspected(images)], np.float64)

    def maps(self, images: Iterable[ImageInput]) -> Maps:
        """Returns the raw maps (N, K, H', W') of pictures, as `inspected` has them."""
        found = [result.maps for result in self.inspected(images)]
        return np.stack(found) if found else np.empty((0, len(MAPS), 1, 1), np.float32)

    def inspected(self, images: Iterable[ImageInput]) -> Iterator[Inspection]:
        """Yields what is said of pictures that must all be readable, in their order.

        Raises:
            ImageError: one is not.
        """
        for result in self._several.heard(self._stream(images, 8, 2, full=True)):
            if isinstance(result, Failure):
                raise ImageError(result.error)
            yield result

    def recalibrated(
        self,
        rate: float | None = None,
        good_images: Iterable[ImageInput] | None = None,
        *,
        look_rate: float | None = None,
        without: Iterable[ImageInput] = (),
        ignore: MaskInput | None = None,
    ) -> Inspector:
        """Returns an inspector with new thresholds; the network stays as it is.

        Args:
            rate: asked false-alarm rate, in (0, 1); by default the one now in force.
            good_images: good pictures that the model was not trained on, from which all scales
                are learnt anew. Without them the stored scores serve.
            look_rate: asked share of good pictures that a person looks at, likewise.
            without: pictures that calibrate now and are to have no part in the thresholds.
            ignore: a mask of what never counts from now on, with `good_images`; else that stays.

        Raises:
            SettingsError: a rate is not a share between 0 and 1, or a mask does not fit.
            CalibrationError: too few pictures, some that were trained on, or all alike.
            ImageError: one cannot be read.
        """
        now = self.calibration
        bare = self.with_calibration(replace(now, ignored=()))  # sees all of a picture
        model = Model(
            self.facts,
            self.settings,
            bare.inspected,
            turned=self._bundle.pose is not None,
            painted=self._bundle.ignore is not None,
        )
        calibration = calibrated_anew(now, model, (rate, look_rate), good_images, without, ignore)
        return self.with_calibration(calibration)

    def with_calibration(self, calibration: Calibration) -> Inspector:
        """Returns an inspector with another calibration of the same model."""
        bundle = replace(self._bundle, calibration=calibration)
        return Inspector(bundle, self.runtime, self.path, self._opened)

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

    def _maps_of(self, pictures: list[Decoded]) -> Maps | None:
        """Runs the graph; None where there is nothing to run it on."""
        if not pictures:
            return None
        if self._process != os.getpid():
            forks.use_torch_here(self.runtime)
            self._process = os.getpid()
        pixels = np.stack([picture.pixels for picture in pictures])
        return self.runtime.run(pixels) if self._tiling is None else self._of_tiles(pixels)

    def _judge(self, maps: Maps | None, pictures: list[Decoded]) -> list[Inspection | Failure]:
        if maps is None:
            return []
        return self.judge(maps, [picture.about for picture in pictures])

    def _of_tiles(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps pictures (N, H, W, 3) to the joined maps of their tiles (N, K, H', W')."""
        assert self._tiling is not None
        cuts = self._tiling.tiles(pixels)
        parts = []
        while group := list(itertools.islice(cuts, _TILES)):
            parts.append(self.runtime.run(np.stack(group)))
        return self._tiling.join(np.concatenate(parts))

    def judge(self, maps: Maps, pictures: Sequence[About]) -> list[Inspection | Failure]:
        """Judges raw maps: what follows the network, for pictures or for kept features of them.

        Args:
            maps: (N, K, H', W').
            pictures: what is known of each, N of them.
        """
        maps = masked(maps, self.calibration.ignored)
        scores = image_scores(maps, self.settings.scoring, self.calibration)
        ps = p_values(scores, self.calibration.scores)
        return [
            Failure(path=about.path, error="the network gave values that are not finite")
            if not np.isfinite(raw).all()
            else Inspection(
                **vars(about) | {"looks": looks},
                score=float(score),
                p_value=float(p_value),
                is_defect=bool(score > self.threshold),
                threshold=self.threshold,
                maps=raw,
                ignore=self._bundle.ignore,
                scoring=self.settings.scoring,
                calibration=self.calibration,
                mm_per_pixel=self.settings.mm_per_pixel,
            )
            for about, looks, raw, score, p_value in zip(
                pictures,
                looks_of_each(maps, [one.looks for one in pictures]),
                maps,
                scores,
                ps,
                strict=True,
            )
        ]


def _again(path: Path, opened: Opened, identity: Identity, calibration: Calibration) -> Inspector:
    """Loads a model that another process sent.

    Raises:
        BundleError: there is another at its place by now; or as `load`.
    """
    found = load(path, runtime=opened.runtime, device=opened.device, threads=opened.threads)
    if found.identity != identity:
        raise BundleError(
            f"{path} holds another model than the one that was sent to this process: it was "
            "replaced meanwhile; load it again where it was sent from"
        )
    return found.with_calibration(calibration)


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
        runtime: `auto` (the fastest here), `torch`, `onnx`, `openvino` or `tensorrt`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        threads: for one picture; by default all cores.

    Raises:
        BundleError: there is none, it is damaged, or its format is newer.
        SettingsError: there is no such runtime, or the model was not exported for it.
        MissingExtraError: the runtime is not installed.
    """
    forks.prepare_torch(runtime, threads)
    bundle, opened = open_runtime(Path(path), runtime, device=device, threads=threads)
    return Inspector(bundle, opened, Path(path), Opened(runtime, device, threads))
