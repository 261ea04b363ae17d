"""What nfbmr says of one picture, or why it can say nothing.

Shapes: K = raw maps, H W = grid or pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.ignore import Ignored
from nfbmr.data.images import resize_map
from nfbmr.data.pose import Turn
from nfbmr.data.sizes import within
from nfbmr.inspection.regions import Judged, Region, regions_of
from nfbmr.scoring.calibration import Calibration, Verdict
from nfbmr.scoring.guided import along_edges
from nfbmr.scoring.heat import (
    LOW,
    alarm_of,
    as_judged,
    calm,
    fused_heatmap,
    own_maps,
    with_verdict,
)
from nfbmr.scoring.ignored import inside
from nfbmr.scoring.maps import Maps
from nfbmr.settings.schema import ScoringSettings

WORK = 2**20
"""Pixels of a heatmap that regions are looked for in, and of a picture that it follows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class About:
    """What is known of a picture beside what the network makes of it; as in `Inspection`."""

    path: str | None = None
    size: tuple[int, int]
    turn: Turn | None = None
    looks: Mapping[str, float] = field(default_factory=dict)
    has_more: bool = False
    bits: int = 8
    guide: NDArray[np.uint8] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What nfbmr says of one picture."""

    path: str | None
    """The picture's file, where it came from one, or what its sender calls it."""
    score: float
    """0 = typical good, 1 = where the asked share of good pictures ends, growing by the logarithm
    beyond; of older models, and without `scoring.by_judges`, standard deviations above what
    good pictures have. Higher = more anomalous."""
    p_value: float
    """Conformal: a good picture scores this high or higher with about this probability."""
    is_defect: bool
    """Whether the score is above the threshold."""
    threshold: float
    """On the score's scale."""
    maps: Maps = field(repr=False)
    """Raw maps (K, H', W') on the model's grid, of the picture as it was turned."""
    size: tuple[int, int]
    """(H, W) of the picture, after orientation."""
    scoring: ScoringSettings = field(repr=False)
    calibration: Calibration = field(repr=False)
    mm_per_pixel: float | None = field(default=None, repr=False)
    """Of the picture, as the settings say."""
    turn: Turn | None = field(default=None, repr=False)
    """How the picture was turned before the network saw it; None where it stayed as it lay."""
    ignore: Ignored | None = field(default=None, repr=False)
    """What of it never counts; the heatmap is 0 there."""
    looks: Mapping[str, float] = field(default_factory=dict, repr=False)
    """What is watched of it beside the score, by the names of `nfbmr.scoring.looks.LOOKS`."""
    has_more: bool = field(default=False, repr=False)
    """Whether its file holds other pages or frames than the first, which were not looked at."""
    bits: int = field(default=8, repr=False)
    """Of a channel of the picture, as it is stored."""
    guide: NDArray[np.uint8] | None = field(default=None, repr=False)
    """How bright the picture is as the network saw it, (h, w), a megapixel at most: the heatmap
    follows its edges. None where grids are no judges, or only maps were given."""

    @property
    def about(self) -> About:
        """What was known of the picture beside its maps."""
        return About(**{one.name: getattr(self, one.name) for one in fields(About)})

    @property
    def verdict(self) -> Verdict:
        """`defect` above the threshold, `look` for a person above the lower one, else `good`."""
        return self.calibration.verdict(self.score)

    @property
    def look_threshold(self) -> float:
        """Above it a person is to look; `threshold` at most."""
        return self.calibration.look_threshold

    @property
    def heatmap(self) -> NDArray[np.float32]:
        """Where: float32 (H, W) of the picture; 0 = typical good, 1 = as high as good ones get.

        The scale is the good pictures'; the highest point of a defect lies above 1, but in older
        models. Computed at each call.
        """
        return self.heatmap_at(self.size)

    def heatmap_at(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Returns the heatmap at another size (H, W), e.g. that of a thumbnail."""
        return self._verdict_in(self._found_at(size))

    def levels_at(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Returns the map at a size (H, W) before it is brought to what is said of the picture.

        Each picture is taken as one that is called a defect: figures that compare pixels of several
        pictures then owe nothing to verdicts. What a person is shown is `heatmap`.
        """
        return replace(self, score=math.inf)._found_at(size)

    def _verdict_in(self, found: NDArray[np.float32]) -> NDArray[np.float32]:
        return with_verdict(found, self.score) if self._one_scale else found

    def _found_at(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Returns the heatmap at a size (H, W) before it is brought to what the verdict is."""
        if self.guide is not None:  # at any size the map has the same places
            found = np.array(resize_map(self._along_edges, size))
        elif self.turn is not None:
            found = resize_map(self.turn.back(self._upright(self.turn.size)), size)
        else:
            return self._upright(size)
        counts = None if self.turn is not None else self._counts(size)
        return found if counts is None else found * counts

    @cached_property
    def _along_edges(self) -> NDArray[np.float32]:
        """The heatmap at the guide's size, along the edges that the network saw."""
        assert self.guide is not None
        size = self._own_size
        cell = size[0] / len(self._own_maps[-1])
        found, counts = along_edges(self._upright(size), self.guide, cell), self._seen(size)
        found = found if counts is None else found * counts
        return found if self.turn is None else self.turn.back(found)

    def _upright(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Returns that of the picture as the network saw it, at a size."""
        counts = self._seen(size)
        if not self.scoring.by_judges:
            return fused_heatmap(self.maps, self.scoring, self.calibration, size, counts)
        alarm = alarm_of(self.calibration, self.score)
        return as_judged(self._own_maps, self.score, size, counts, alarm)

    @cached_property
    def _own_maps(self) -> list[NDArray[np.float32]]:
        """What each judge sees, on its own grid: of heatmaps of several sizes, and of regions."""
        return own_maps(self.maps, self.scoring, self.calibration)

    def _counts(self, size: tuple[int, int]) -> NDArray[np.float32] | None:
        """Returns float32 of a size (H, W): 0 where nothing counts, else 1; None where all does."""
        found = None if self.ignore is None else self.ignore.counts(size)
        if self.calibration.ignored:
            counts = np.asarray(~inside(self.calibration.ignored, size), np.float32)
            found = counts if found is None else found * counts
        return found

    def _seen(self, size: tuple[int, int]) -> NDArray[np.float32] | None:
        """Returns that of the picture as the network saw it."""
        if self.turn is None:
            return self._counts(size)
        counts = self.turn.counts()
        return None if counts is None else resize_map(counts, size)

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The places that made the verdict, the highest first; none of a good picture.

        Those as high as a good picture has anywhere in the share that a person looks at: at least
        one. In older models, of a defect those above `threshold`, of a picture for a person those
        above `look_threshold`. Found on about a megapixel at most, once.
        """
        if self.verdict == "good":
            return ()
        size = within(self.size, WORK)
        # The map of a picture for a person is pressed below 1; its places are found before that.
        is_calm = self._one_scale and self.score <= 1
        first, heat = (self._found_at(at) for at in (self._own_size, size))
        if not is_calm:
            first, heat = self._verdict_in(first), self._verdict_in(heat)
        found = regions_of(
            heat,
            self._alarm,
            self.size,
            self._judged(size),
            edge=LOW * self.threshold if self._one_scale else None,
            highest=float(first.max()),
            mm_per_pixel=self.mm_per_pixel,
        )
        if not is_calm:
            return found
        peaks = np.array([one.peak for one in found], np.float32)
        peaks = calm(peaks, float(peaks.max())).tolist()
        return tuple(replace(one, peak=peak) for one, peak in zip(found, peaks, strict=True))

    def _judged(self, size: tuple[int, int]) -> Judged:
        """Returns what each judge sees, and saw in good pictures; nothing where none is known."""
        known = self.calibration.known_peaks
        if not known:
            return ()
        if self.turn is None:
            seen = (resize_map(one, size) for one in self._own_maps)
            return list(zip(seen, known, strict=True))
        turned = (self.turn.back(resize_map(one, self.turn.size)) for one in self._own_maps)
        return [(resize_map(seen, size), peaks) for seen, peaks in zip(turned, known, strict=True)]

    @property
    def _own_size(self) -> tuple[int, int]:
        """(h, w) at which the heatmap is before any resizing."""
        own = self.maps.shape[1:] if self.guide is None else self.guide.shape
        return own[0], own[1]

    @property
    def _one_scale(self) -> bool:
        """Whether score and heatmap have one scale; in older models each has its own."""
        return self.calibration.one is not None

    @property
    def _alarm(self) -> float:
        """What a place has to reach on the heatmap's scale to be shown."""
        if not self._one_scale:
            return 1.0
        if self.calibration.judge_peaks:
            return self.calibration.look_peak
        return self.threshold if self.is_defect else self.look_threshold

    def to_dict(self) -> dict[str, Any]:
        """Returns what is said as JSON holds it, `regions` as a list of `Region.to_dict`.

        The keys are `path, verdict, score, p_value, is_defect, threshold, look_threshold, size,
        regions`, and those of `looks`.
        """
        return {
            "path": self.path,
            "verdict": self.verdict,
            "score": self.score,
            "p_value": self.p_value,
            "is_defect": self.is_defect,
            "threshold": self.threshold,
            "look_threshold": self.look_threshold,
            "size": list(self.size),
            "regions": [region.to_dict() for region in self.regions],
            **self.looks,
        }


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A picture of a stream that could not be read; the stream goes on."""

    path: str | None
    error: str
