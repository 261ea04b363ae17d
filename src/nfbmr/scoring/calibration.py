"""Raw maps of good pictures -> scales and threshold; raw maps of a picture -> its score.

Shapes: N = images, K = raw maps, M = statistics, G = judges, H W = grid. Higher = more anomalous.
numpy alone, and nothing here ever sees a label: everything is scaled by good images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from itertools import chain
from typing import Literal

import numpy as np
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from nfbmr.data.ignore import share_in_words
from nfbmr.scoring.bounds import HUGE, MOST_CELLS, are_possible
from nfbmr.scoring.chosen import Chosen
from nfbmr.scoring.conformal import TINY, Attained, images_needed, threshold_for
from nfbmr.scoring.ignored import Area, are_areas, inside, masked
from nfbmr.scoring.judges import by_judge, heard, heard_left_out, of_others
from nfbmr.scoring.left_out import left_out
from nfbmr.scoring.level import to_level, to_raw
from nfbmr.scoring.maps import MAPS, Floats, Maps, statistics
from nfbmr.scoring.rims import RimScale, is_scale, with_calm_rims
from nfbmr.scoring.tails import is_calm
from nfbmr.settings.schema import CalibrationSettings, ScoringSettings

Verdict = Literal["good", "look", "defect"]

_FEW_HELD_OUT = 30
LOOK_RATE = CalibrationSettings().look_rate
_HOLDS = "That holds for good parts that come alike, but for the scale that held-out ones share."
_HOLDS_NEARLY = "That holds nearly: what was learnt from calibrates (calibration.everyone)."


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Calibration:
    """What good images say about the scores; all that a verdict needs.

    A typical good picture has about 0. With `one`, the scale is that of `nfbmr.scoring.level` and
    the threshold is 1; without, scores are standard deviations.
    """

    statistic_mean: tuple[float, ...]
    """Of each statistic over the calibration images, (M,)."""
    statistic_std: tuple[float, ...]
    """Likewise, (M,), above 0."""
    map_mean: tuple[float, ...]
    """Of each map of the heatmap over all positions of the calibration images."""
    map_std: tuple[float, ...]
    """Likewise, above 0."""
    heat_zero: float
    """Fused map's median over good positions: 0 on the heatmap's scale."""
    heat_one: float
    """What the fused map's maximum exceeds in a share of good images: 1 on the scale."""
    scores: tuple[float, ...]
    """Scores of the calibration images, ascending, (n,)."""
    false_alarm_rate: float
    """The rate that was asked for, in (0, 1)."""
    threshold: float
    """A score above it is a defect."""
    rank: int
    """The threshold is the rank-th smallest score; n + 1 where it is extrapolated."""
    look_rate: float = LOOK_RATE
    """The share of good images that may be sent to a person, in (0, 1); those called defects are
    among them."""
    pictures: tuple[str, ...] = ()
    """sha256 of the decoded pixels of the calibration images, in the order of `scores`; none in
    calibrations of older versions."""
    judge_mean: tuple[float, ...] = ()
    """Of what each judge says, (G,); none where all maps are one judge."""
    judge_std: tuple[float, ...] = ()
    """Likewise, above 0."""
    judge_peak: tuple[float, ...] = ()
    """What the highest position of a judge's fused map exceeds in the asked share of good
    pictures, (G,), above 0."""
    zero: float = 0.0
    """The raw score that is shown as 0."""
    one: float | None = None
    """The raw score that is shown as 1; None: raw scores are shown."""
    factor: int = 1
    """Cells of the maps along the side of a cell of y, whose maps are repeated on them."""
    detail_factor: int = 1
    """Likewise of a cell of the detail."""
    judge_peaks: tuple[tuple[float, ...], ...] = ()
    """Highest positions of each judge's fused map in the good pictures, in the order of `scores`,
    (G, n); what `judge_peak` is taken from. Empty in calibrations of older versions."""
    learnt: int = 0
    """Pictures that the Gaussians learnt from, the calibration images among them; 0: none of the
    calibration images was learnt from."""
    own: Mapping[str, float] = field(default_factory=dict)
    """See `nfbmr.scoring.left_out`."""
    folds: int = 0
    """Models that judged the calibration images, each those that it had not learnt from, in place
    of this one; 0: it did so itself. See `nfbmr.learning.folds`."""
    rims: RimScale = field(default_factory=dict)
    """See `nfbmr.scoring.rims`; none in calibrations of older versions."""
    ignored: tuple[Area, ...] = ()
    """See `nfbmr.scoring.ignored`."""
    watched: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Of each statistic of `nfbmr.scoring.looks`, its values in the good pictures, in the order of
    `scores`, (n,); none in calibrations of older versions."""
    places: tuple[int, ...] = ()
    """The place of each good picture, in the order of `scores`, among all of them in the order in
    which they came; none in calibrations of older versions."""
    chosen: Chosen | None = None
    """How people chose the pictures among the parts of a line; None where nobody says that."""
    names: Mapping[str, str] = field(default_factory=dict)
    """File names, without folders, by sha256 of the pixels: see `nfbmr.scoring.odd`."""
    trained: Mapping[str, float] = field(default_factory=dict)
    """Highest raw scores of pictures that were learnt from and do not calibrate, likewise."""
    table: tuple[tuple[float, ...], ...] = ()
    """Raw statistics of the good pictures, in the order of `scores`, (n, M): what all scales of
    scores are taken from. None in calibrations of older versions."""
    seen: tuple[bool, ...] = ()
    """Which of them the networks were trained on, (n,); none where none was."""
    calm: int = 0
    """How many of them scales of scores and maps rest on, where some are wild; 0: all."""
    wild_from: tuple[float, ...] = ()
    """Where each statistic of a picture is wild, (M,), see `nfbmr.scoring.tails`; none where none
    is."""

    @model_validator(mode="after")
    def _check(self) -> Calibration:
        n = len(self.scores)
        sound = (
            n >= 2
            and list(self.scores) == sorted(self.scores)
            and 0 < self.false_alarm_rate < 1
            and 0 < self.look_rate < 1
            and 1 <= self.rank <= n + 1
            # Half of it: scales of older versions are halved for eq. 14.
            and min((*self.statistic_std, *self.map_std), default=0) >= TINY / 2
            and are_possible(
                n,
                self.false_alarm_rate,
                maps=(self.statistic_mean, self.statistic_std, self.map_mean, self.map_std),
                others=(
                    *chain(*self.rims.values()),
                    *self.watched.values(),
                    *self.table,
                    (self.threshold,),
                ),
                scores=self.scores,
                judges=(self.judge_mean, self.judge_std),
                peaks=(*self.judge_peaks, self.judge_peak, (self.heat_zero, self.heat_one)),
                scale=None if self.one is None else (self.zero, self.one),
            )
            and len(self.statistic_mean) == len(self.statistic_std)
            and len(self.map_mean) == len(self.map_std)
            and self.heat_one > self.heat_zero
            and len(self.pictures) in (0, n)
            and len(self.table) in (0, n)
            and all(len(row) == len(self.statistic_mean) for row in self.table)
            and len(self.seen) in (0, n)
            and (self.calm == 0 or (n < 2 * self.calm < 2 * n and len(self.table) == n))
            and len(self.wild_from) == (len(self.statistic_mean) if self.calm else 0)
            and len(self.judge_mean) == len(self.judge_std)
            and len(self.judge_mean) == len(self.judge_peak)
            and min((*self.judge_std, *self.judge_peak), default=1) >= TINY / 2
            and (self.one is None or self.one > self.zero)
            and MOST_CELLS >= self.factor >= self.detail_factor >= 1
            and len(self.judge_peaks) in (0, len(self.judge_peak))
            and all(len(peaks) == n for peaks in self.judge_peaks)
            and (self.learnt == 0 or HUGE > self.learnt >= max(n, 2))
            and (self.folds == 0 or (self.folds > 1 and self.learnt > 0))
            and all(name in MAPS and 0 <= weight <= 1 for name, weight in self.own.items())
            and is_scale(self.rims)
            and are_areas(self.ignored)
            and all(len(values) == n for values in self.watched.values())
            and len(set(self.places)) == len(self.places)
            and len(self.places) in (0, n)
            and max(map(abs, self.trained.values()), default=0) < HUGE
        )
        if not sound:
            raise ValueError(
                "its values contradict one another; expected are scores ascending, rates in "
                "(0, 1), spreads above 0, as many of them as means, none beyond what pictures give"
            )
        return self

    @cached_property
    def look_threshold(self) -> float:
        """A score above it is for a person to look at; `threshold` at most."""
        return min(float(self.shown(np.array(self._look[0]))), self.threshold)

    @property
    def for_person(self) -> Attained:
        """The share of good pictures above `look_threshold`."""
        return Attained(rank=min(self._look[1], self.rank), n=len(self.scores))

    @cached_property
    def _look(self) -> tuple[float, int]:
        rate = max(self.look_rate, self.false_alarm_rate)
        return threshold_for(self.raw(np.array(self.scores)), rate)

    @cached_property
    def known_peaks(self) -> tuple[tuple[float, ...], ...]:
        """Highest levels of each judge in good pictures, ascending, (G, n), on the heatmap's scale.

        Empty where the calibration does not know them.
        """
        return tuple(
            tuple(to_level(np.sort(np.maximum(peaks, 0)), 0.0, peak).tolist())
            for peaks, peak in zip(self.judge_peaks, self.judge_peak, strict=False)
        )

    @cached_property
    def look_peak(self) -> float:
        """What a place exceeds, on the heatmap's scale, in the share of good pictures to look at.

        Of calibrations with `judge_peaks`; above 0, and 1 at most.
        """
        rate = max(self.look_rate, self.false_alarm_rate)
        peak = max(threshold_for(np.sort(self.judge_peaks[-1]), rate)[0], TINY)
        return min(float(to_level(np.array(peak), 0.0, self.judge_peak[-1])), 1.0)

    def shown(self, raw: Floats) -> Floats:
        """Brings raw scores to the scale that is shown."""
        return raw if self.one is None else to_level(raw, self.zero, self.one)

    def raw(self, scores: Floats) -> Floats:
        """Brings scores that are shown back to raw ones."""
        return scores if self.one is None else to_raw(scores, self.zero, self.one)

    def verdict(self, score: float) -> Verdict:
        """Returns `defect` above the threshold, `look` above the one for a person, else `good`."""
        if score > self.threshold:
            return "defect"
        return "look" if score > self.look_threshold else "good"

    @property
    def false_alarms(self) -> Attained:
        """The share of good pictures above `threshold`."""
        return Attained(rank=self.rank, n=len(self.scores))

    @property
    def extrapolated(self) -> bool:
        """Whether the asked rate lies beyond what n images can show."""
        return self.false_alarms.extrapolated

    @property
    def attainable_rate(self) -> float:
        """The expected false-alarm rate of the threshold; 1 / (n + 1) where extrapolated."""
        return self.false_alarms.expected

    def rate_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Returns the interval of the true false-alarm rate: see `Attained.interval`."""
        return self.false_alarms.interval(confidence)

    def describe(self) -> list[str]:
        """Returns sentences for the screen, the model card and the report."""
        n = len(self.scores)
        low, high = self.rate_interval()
        asked = f"{self.false_alarm_rate:.3g}"
        person = self.for_person
        least, most = person.interval()
        look = [
            f"A person is to look at scores above {self.look_threshold:.3f}"
            f"{', which is EXTRAPOLATED' if person.extrapolated else ''}, "
            f"for a rate of {self.look_rate:.3g}; expected rate {person.expected:.3g} "
            f"(95 % interval: {least:.3g} to {most:.3g}), those called defects among them."
        ]
        if self.look_threshold >= self.threshold:
            why = "so few good images leave nothing between the two"
            if self.look_rate <= self.false_alarm_rate:
                why = "the share that may be is no larger than that of false alarms"
            look = [f"No score is for a person to look at: {why}."]
        few = (
            [
                f"Only {n} good images calibrate: the scale of the scores is uncertain, and good "
                "parts may be called defects many times as often as asked."
            ]
            if n < _FEW_HELD_OUT
            else []
        )
        if self.chosen is not None:
            few += self.chosen.describe()
        if self.ignored:
            share = share_in_words(float(inside(self.ignored, (200, 200)).mean()))
            few.append(f"{share} of the picture is ignored: what is seen there never counts.")
        how = ", each judged without itself" if self.learnt else " held out"
        if self.folds:
            how = ", each judged by a model of others"
        if self.extrapolated:
            needed = images_needed(self.false_alarm_rate)
            more = f"hold out or calibrate with {needed - n} more"
            if self.learnt:
                more = f"fit with {needed - n} more, or calibrate with {needed} others"
            return [
                f"Threshold {self.threshold:.3f} is EXTRAPOLATED: a false-alarm rate of {asked} "
                f"needs {needed} good images{how}, there are {n}; {more}.",
                f"The lowest rate that {n} images attain is {self.attainable_rate:.3g} "
                f"(95 % interval of the true rate: 0 to {high:.3g}).",
                *look,
                *few,
            ]
        return [
            f"Threshold {self.threshold:.3f} for a false-alarm rate of {asked}, from {n} good "
            f"images{how}; expected rate {self.attainable_rate:.3g} "
            f"(95 % interval of the true rate: {low:.3g} to {high:.3g}).",
            _HOLDS_NEARLY if self.learnt else _HOLDS,
            *look,
            *few,
        ]


def calibration_scores(maps: Maps, scoring: ScoringSettings, calibration: Calibration) -> Floats:
    """Scores calibration images again, (N,), as `calibrate` scored them: on the others' scale.

    From the scales alone, so some of the images are enough; whatever computes their maps (N, K,
    H, W) can be compared with `Calibration.scores`. None of them was trained on.
    """
    if calibration.learnt:
        maps = left_out(maps, calibration.learnt, calibration.own)
    n = calibration.calm or len(calibration.scores)
    table = statistics(placed(maps, calibration), scoring)
    calm = np.ones(len(table), np.bool_)
    if calibration.calm:
        calm = is_calm(table, np.array(calibration.wild_from))
    mean, std = np.array(calibration.statistic_mean), np.array(calibration.statistic_std)
    said = by_judge(of_others(table - mean, (n - 1) * std**2, n, calm), scoring)
    if not calibration.judge_std:
        return calibration.shown(said[:, 0])
    scale = np.array(calibration.judge_mean), np.array(calibration.judge_std)
    return calibration.shown(heard_left_out(said, *scale, n, calm, scoring.fusion))


def image_scores(maps: Maps, scoring: ScoringSettings, calibration: Calibration) -> Floats:
    """Scores raw maps (N, K, H, W), (N,), on the calibration's scale."""
    return _fused(_said(placed(maps, calibration), scoring, calibration), scoring, calibration)


def placed(maps: Maps, calibration: Calibration) -> Maps:
    """Returns raw maps (N, K, H, W) as scores and heatmaps take them.

    Rims are on the scale of what lies inside, and what is ignored is at each map's lowest.
    """
    return masked(with_calm_rims(maps, calibration.rims), calibration.ignored)


def _said(maps: Maps, scoring: ScoringSettings, calibration: Calibration) -> Floats:
    mean, std = np.array(calibration.statistic_mean), np.array(calibration.statistic_std)
    return by_judge((statistics(maps, scoring) - mean) / std, scoring)


def _fused(said: Floats, scoring: ScoringSettings, calibration: Calibration) -> Floats:
    """Fuses what judges say (N, G) to scores (N,) on the calibration's scale."""
    scale = np.array(calibration.judge_mean), np.array(calibration.judge_std)
    raw = heard(said, *scale, scoring.fusion) if calibration.judge_std else said[:, 0]
    return calibration.shown(raw)
