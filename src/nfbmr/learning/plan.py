"""What a fit will do, before it starts: the pictures' size and the split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nfbmr.data.ignore import Ignored
from nfbmr.data.sizes import choose_size
from nfbmr.data.survey import Survey
from nfbmr.data.tiles import CELL, LARGEST, MOST_TILES, Tiling, whole_size
from nfbmr.errors import SettingsError, TrainingError
from nfbmr.scoring.calibrate import LEAST_HELD_OUT, held_out_count
from nfbmr.scoring.chosen import Chosen
from nfbmr.scoring.conformal import images_needed
from nfbmr.scoring.ignored import Area
from nfbmr.settings.schema import Settings
from nfbmr.system.words import counted

_ENOUGH = 5_000  # pictures to calibrate with


@dataclass(frozen=True, kw_only=True)
class InForce:
    """What a model that is learnt again takes over of the calibration now in force."""

    new: tuple[int, ...]
    """Pictures that nothing learns from, ascending numbers from 0."""
    calibrating: tuple[int, ...] | None
    """Pictures that calibrate, likewise; None: those that calibrate after a fit."""
    ignored: tuple[Area, ...]
    """Areas that count for no score."""
    chosen: Chosen | None
    """How people chose the pictures."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a fit will do, known before it starts."""

    size: tuple[int, int]
    """(H, W) in pixels, of a tile where pictures are cut."""
    tiling: Tiling | None = None
    chosen: bool
    """Whether the size was chosen here, and not asked for."""
    n_train: int
    n_held_out: int
    held_out: tuple[int, ...] | None = None
    """Which pictures are held out, ascending numbers from 0; None: drawn from the seed."""
    everyone: bool = False
    """Whether every picture calibrates, and the Gaussians learn from all of them."""
    rate: float
    """Asked false-alarm rate."""
    ignore: Ignored | None = None
    """What never counts; never of pictures that are cut."""
    in_force: InForce | None = None
    """Where a model is learnt again."""

    @property
    def most_calibrating(self) -> int:
        """Pictures that calibrate at most, for their maps are in memory together.

        Ten times as many as the asked rate needs, which leaves it uncertain by a third of itself,
        and five thousand at least; of more, so many are drawn evenly.
        """
        return max(_ENOUGH, 10 * images_needed(self.rate))

    def describe(self) -> list[str]:
        """Returns sentences for the screen."""
        height, width = self.size
        why = "chosen from the median aspect ratio" if self.chosen else "as asked"
        size = f"Pictures are resized to {height} x {width} (H x W), {why}"
        if self.tiling is not None:
            whole, count = self.tiling.whole, len(self.tiling.corners)
            size = (
                f"Pictures are resized to {whole[0]} x {whole[1]} (H x W), their median, and cut "
                f"into {count} tiles of {height} x {width}"
            )
        if self.ignore is not None:
            size += f". {self.ignore.describe()}"
        if not self.n_held_out:
            return [
                size,
                f"All {self.n_train} good pictures train and none is held out: there will be no "
                "threshold to rest a verdict on",
            ]
        split = f"{self.n_train} good pictures to train on, {self.n_held_out} held out"
        may, kind = self.n_held_out, "held-out"
        if self.everyone:
            may, kind = self.n_train + self.n_held_out, "good"
        calibrating = min(may, self.most_calibrating)
        drawn = f"{calibrating} of {'all' if self.everyone else 'them'}, drawn evenly,"
        if self.everyone:
            who = f"all {may}" if may == calibrating else drawn
            split += f"; {who} calibrate, each judged without itself"
        else:
            split += " to calibrate" if may == calibrating else f"; {drawn} calibrate"
        needed = images_needed(self.rate)
        if calibrating >= needed:
            return [size, split]
        return [
            size,
            split,
            f"A false-alarm rate of {self.rate:g} needs {needed} {kind} pictures: the "
            f"threshold will be extrapolated (attainable: {1 / (calibrating + 1):.3g})",
        ]


FEWEST_IMAGES = 2 * LEAST_HELD_OUT
"""As many to train on as to hold out: below that nothing can be said."""


def plan_fit(good: Survey, settings: Settings) -> Plan:
    """Chooses size and split for good training pictures.

    Raises:
        TrainingError: too few pictures.
        SettingsError: they cannot be cut into tiles as asked.
    """
    sizes = [picture.size for picture in good.pictures]
    if len(sizes) < FEWEST_IMAGES:
        raise TrainingError(
            f"{counted(len(sizes), 'good picture')} to learn from; at least {FEWEST_IMAGES} are "
            "needed, and 100 or more are better"
        )
    held_out = held_out_count(len(sizes), settings.calibration)
    size = settings.size or choose_size(
        sizes if settings.tiles is None else [(1, 1)], settings.pixel_budget
    )
    return Plan(
        size=size,
        tiling=None if settings.tiles is None else _tiling(sizes, size, settings.tiles.overlap),
        chosen=settings.size is None,
        n_train=len(sizes) - held_out,
        n_held_out=held_out,
        # Tiles of one picture know each other.
        everyone=settings.calibration.everyone and bool(held_out) and settings.tiles is None,
        rate=settings.calibration.false_alarm_rate,
    )


def _tiling(sizes: list[tuple[int, int]], tile: tuple[int, int], overlap: float) -> Tiling:
    if any(side % CELL for side in tile):
        raise SettingsError(
            f"size {tile[0]} x {tile[1]}: sides of a tile are multiples of {CELL}, e.g. 320"
        )
    height, width = (int(np.median(sides)) for sides in zip(*sizes, strict=True))
    whole = whole_size((height, width), tile)
    if max(whole) > LARGEST:
        raise SettingsError(
            f"pictures of {height} x {width} pixels: up to {LARGEST} a side can be cut into tiles; "
            "cut or shrink them first"
        )
    tiling = Tiling(whole, tile, overlap)
    if len(tiling.corners) > MOST_TILES:
        raise SettingsError(
            f"{len(tiling.corners)} tiles a picture, {MOST_TILES} at most; make the tiles larger "
            "(--size) or let them overlap less"
        )
    return tiling
