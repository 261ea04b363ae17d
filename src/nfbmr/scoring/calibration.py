"""Raw maps of held-out good pictures -> scales and threshold; raw maps of a picture -> its score.

Shapes: N = images, K = raw maps, M = statistics, H W = grid. Higher = more anomalous.
numpy alone, and nothing here ever sees a label: everything is scaled by held-out good images.

Why this fusion. Which map and which reduction separates best depends on the product: a scratch
shows in the maximum, a wrong finish in the mean; TNF's likelihood is best on one product, |z|^2
or a mapping error on another. Without defects nobody can tell beforehand. So every statistic of
every map is put on one scale, standard deviations from the held-out good images' mean, and the
image score is their average: usually near the best single one (docs/research.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from nfbmr.errors import BundleTamperedError, CalibrationError
from nfbmr.scoring.conformal import TINY, images_needed, threshold_for
from nfbmr.scoring.maps import Floats, Maps, chosen_maps, fused_maps, shown_maps, statistics
from nfbmr.settings.schema import CalibrationSettings, ScoringSettings

Verdict = Literal["good", "look", "defect"]

LEAST_HELD_OUT = 5
"""With fewer, the scale of the scores is itself a guess."""

_FEW_HELD_OUT = 20
_HUGE = 1e30
_LOOK_RATE = CalibrationSettings().look_rate
_ASM = "half the sum"
_NO_SPREAD = 1e-6  # of a statistic's size; float32 knows no finer


def held_out_count(n: int, settings: CalibrationSettings) -> int:
    """Returns how many of n good images to hold out: `LEAST_HELD_OUT` at least, n - 5 at most.

    The settings' share; more, up to `held_out_at_most`, where the asked rate needs more. None at
    all where the share is 0.
    """
    if not settings.held_out:
        return 0
    wanted = max(
        round(settings.held_out * n),
        min(images_needed(settings.false_alarm_rate), int(settings.held_out_at_most * n)),
    )
    return min(max(wanted, LEAST_HELD_OUT), n - LEAST_HELD_OUT)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Calibration:
    """What held-out good images say about the scores; all that a verdict needs.

    Scores are averages of standard deviations, so a typical good picture has about 0.
    """

    statistic_mean: tuple[float, ...]
    """Of each statistic over the held-out images, (M,)."""
    statistic_std: tuple[float, ...]
    """Likewise, (M,), above 0."""
    map_mean: tuple[float, ...]
    """Of each map of the heatmap over all positions of the held-out images."""
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
    look_rate: float = _LOOK_RATE
    """The share of good images that may be sent to a person, in (0, 1); those called defects are
    among them."""
    pictures: tuple[str, ...] = ()
    """sha256 of the decoded pixels of the calibration images, in the order of `scores`; none in
    calibrations of older versions."""

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
            and max(map(abs, (*self.statistic_mean, *self.map_mean, *self.scores))) < _HUGE
            and len(self.statistic_mean) == len(self.statistic_std)
            and len(self.map_mean) == len(self.map_std)
            and self.heat_one > self.heat_zero
            and len(self.pictures) in (0, n)
        )
        if not sound:
            raise ValueError(
                "its values contradict one another; expected are scores ascending, rates in "
                "(0, 1), spreads above 0 and as many of them as means"
            )
        return self

    @cached_property
    def look_threshold(self) -> float:
        """A score above it is for a person to look at; `threshold` at most."""
        rate = max(self.look_rate, self.false_alarm_rate)
        return min(threshold_for(np.array(self.scores), rate)[0], self.threshold)

    def verdict(self, score: float) -> Verdict:
        """Returns `defect` above the threshold, `look` above the one for a person, else `good`."""
        if score > self.threshold:
            return "defect"
        return "look" if score > self.look_threshold else "good"

    @property
    def extrapolated(self) -> bool:
        """Whether the asked rate lies beyond what n images can show."""
        return self.rank > len(self.scores)

    @property
    def attainable_rate(self) -> float:
        """The expected false-alarm rate of the threshold; 1 / (n + 1) where extrapolated."""
        n = len(self.scores)
        return (n + 1 - min(self.rank, n)) / (n + 1)

    def rate_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Returns the interval of the true false-alarm rate of a rank-th smallest threshold.

        For exchangeable images it is Beta(n + 1 - rank, rank) (Vovk 2012). Where the threshold is
        extrapolated, that of the largest calibration score, on which the threshold may lie lower.
        """
        from scipy.special import betaincinv  # scipy.stats takes seconds to load

        n = len(self.scores)
        rank = min(self.rank, n)
        half = (1 - confidence) / 2
        low, high = betaincinv(n + 1 - rank, rank, [half, 1 - half])
        return (0.0 if self.extrapolated else float(low)), float(high)

    def describe(self) -> list[str]:
        """Returns sentences for the screen, the model card and the report."""
        n = len(self.scores)
        low, high = self.rate_interval()
        asked = f"{self.false_alarm_rate:.3g}"
        beyond = images_needed(self.look_rate) > n
        look = [
            f"A person is to look at scores above {self.look_threshold:.3f}"
            f"{', which is EXTRAPOLATED' if beyond else ''}; about {self.look_rate:.3g} of good "
            "pictures are expected to score that high, those called defects among them."
        ]
        if self.look_threshold >= self.threshold:
            look = []
        few = (
            [
                f"Only {n} good images calibrate: the scale of the scores is uncertain, and good "
                "parts may be called defects several times as often as asked."
            ]
            if n < _FEW_HELD_OUT
            else []
        )
        if self.extrapolated:
            more = images_needed(self.false_alarm_rate) - n
            return [
                f"Threshold {self.threshold:.3f} is EXTRAPOLATED: a false-alarm rate of {asked} "
                f"needs {images_needed(self.false_alarm_rate)} good images held out, there are "
                f"{n}; hold out or calibrate with {more} more.",
                f"The lowest rate that {n} images attain is {self.attainable_rate:.3g} "
                f"(95 % interval of the true rate: 0 to {high:.3g}).",
                *look,
                *few,
            ]
        return [
            f"Threshold {self.threshold:.3f} for a false-alarm rate of {asked}, from {n} good "
            f"images held out; expected rate {self.attainable_rate:.3g} "
            f"(95 % interval of the true rate: {low:.3g} to {high:.3g}).",
            *look,
            *few,
        ]


def calibrate(
    maps: Maps,
    scoring: ScoringSettings,
    rate: float,
    pictures: Sequence[str] = (),
    *,
    look_rate: float = _LOOK_RATE,
) -> Calibration:
    """Learns scales and threshold from the raw maps of good images never trained on.

    Args:
        maps: (n, K, H, W), n >= LEAST_HELD_OUT.
        scoring: which maps and statistics.
        rate: asked false-alarm rate, in (0, 1).
        pictures: what names each image, n of them; kept beside the scores.
        look_rate: asked share that a person looks at, in (0, 1).

    Raises:
        CalibrationError: too few images, or values that are not finite.
    """
    _refuse_few_or_broken(maps, rate)
    table = statistics(maps, scoring)
    _refuse_alike(table, scoring)
    chosen = chosen_maps(maps, shown_maps(scoring))
    map_mean = chosen.mean(axis=(0, 2, 3))
    map_std = chosen.std(axis=(0, 2, 3))
    if not (map_std > _NO_SPREAD * np.abs(chosen).max(axis=(0, 2, 3))).all():
        raise CalibrationError(
            "a map of the heatmap has the same value at every place of every good image: the "
            "network sees nothing in them. Give pictures that show the part, or another backbone"
        )
    fused = fused_maps(chosen, map_mean, map_std)
    zero = float(np.median(fused))
    peaks = fused.max(axis=(1, 2))
    unsorted = _leave_one_out_scores(table)
    order = np.argsort(unsorted, kind="stable")
    scores = unsorted[order]
    threshold, rank = threshold_for(scores, rate)
    return Calibration(
        statistic_mean=tuple(table.mean(axis=0).tolist()),
        statistic_std=tuple(table.std(axis=0, ddof=1).tolist()),
        map_mean=tuple(map_mean.tolist()),
        map_std=tuple(map_std.tolist()),
        heat_zero=zero,
        heat_one=max(threshold_for(np.sort(peaks), rate)[0], zero + TINY),
        scores=tuple(scores.tolist()),
        false_alarm_rate=rate,
        threshold=threshold,
        rank=rank,
        look_rate=look_rate,
        pictures=tuple(pictures[i] for i in order) if pictures else (),
    )


def _refuse_few_or_broken(maps: Maps, rate: float) -> None:
    """Checks that there are enough maps (n, K, H, W), and that all are finite.

    Raises:
        CalibrationError: too few, or some are not.
    """
    if len(maps) < LEAST_HELD_OUT:
        raise CalibrationError(
            f"{len(maps)} good images to calibrate with; at least {LEAST_HELD_OUT} are needed, and "
            f"{images_needed(rate)} for a false-alarm rate of {rate:g}"
        )
    if not np.isfinite(maps).all():
        raise CalibrationError(
            "the maps of good images hold values that are not finite; the model did not learn. "
            "Fit again with --fresh, and with float32 precision if it happens again"
        )


def _refuse_alike(table: Floats, scoring: ScoringSettings) -> None:
    """Checks that the statistics (n, M) of good images differ: no scale rests on a spread of none.

    Raises:
        CalibrationError: one has no spread, or more than half of the images are the same.
    """
    n = len(table)
    names = [f"{kind} of {name}" for name in scoring.maps for kind in scoring.statistics]
    flat = table.std(axis=0) <= _NO_SPREAD * np.abs(table).max(axis=0)
    same = int(np.unique(table, axis=0, return_counts=True)[1].max())
    if not flat.any() and 2 * same <= n:
        return
    what = (
        f"{same} of the {n} good images give the very same values"
        if 2 * same > n
        else f"the {n} good images do not differ at all in {names[int(flat.argmax())]}"
    )
    raise CalibrationError(
        f"{what}: are they copies of one picture, or is the camera stuck? No threshold can rest "
        "on that; give pictures of different good parts"
    )


def _leave_one_out_scores(table: Floats) -> Floats:
    """Scores each image (M,) of a table (n, M) on the scale of the n - 1 others, as a new image is.

    An image that took part in its own scale would look calmer than a new one by about M / n.
    """
    centred = table - table.mean(axis=0)
    return _left_out(centred, (centred**2).sum(axis=0), len(table))


def _left_out(centred: Floats, squares: Floats, n: int) -> Floats:
    """Scores images (N, M) on the scale of n images less itself.

    Args:
        centred: statistics less their means over the n images.
        squares: (M,), the sum of squares of what all n of them have there.
        n: images that the scale is of, those scored among them.
    """
    mean = -centred / (n - 1)
    variance = np.maximum(squares - centred**2 - (n - 1) * mean**2, 0) / (n - 2)
    # Where all others are equal, their spread of nothing would make any difference infinite.
    std = np.maximum(np.sqrt(variance), 1e-3 * np.sqrt(squares / n))
    return np.asarray(((centred - mean) / std).mean(axis=1))


def calibration_scores(maps: Maps, scoring: ScoringSettings, calibration: Calibration) -> Floats:
    """Scores calibration images again, (N,), as `calibrate` scored them: on the others' scale.

    From the scales alone, so some of the images are enough; whatever computes their maps (N, K,
    H, W) can be compared with `Calibration.scores`.
    """
    n = len(calibration.scores)
    mean, std = np.array(calibration.statistic_mean), np.array(calibration.statistic_std)
    return _left_out(statistics(maps, scoring) - mean, (n - 1) * std**2, n)


def recalibrate(
    calibration: Calibration, rate: float, look_rate: float | None = None
) -> Calibration:
    """Returns the calibration with the thresholds of other rates; the images stay the same.

    The heatmap's scale stays too, so that pictures from before and after can be compared.
    """
    threshold, rank = threshold_for(np.array(calibration.scores), rate)
    look = calibration.look_rate if look_rate is None else look_rate
    return replace(
        calibration, false_alarm_rate=rate, threshold=threshold, rank=rank, look_rate=look
    )


def image_scores(maps: Maps, scoring: ScoringSettings, calibration: Calibration) -> Floats:
    """Scores raw maps (N, K, H, W): the average standardised statistic, (N,)."""
    table = statistics(maps, scoring)
    mean, std = np.array(calibration.statistic_mean), np.array(calibration.statistic_std)
    return np.asarray(((table - mean) / std).mean(axis=1))


def calibration_to_dict(calibration: Calibration) -> dict[str, Any]:
    """Returns the JSON form, which also says what `asm` meant when it was made."""
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(calibration).items()}
    return values | {"asm": _ASM}


def calibration_from_dict(values: Mapping[str, Any], scoring: ScoringSettings) -> Calibration:
    """Reads the JSON form back and checks every value.

    A form that does not say what `asm` is was made when it was the whole sum: its scales of it are
    halved, which is exact, so scores and verdicts stay to the last bit.

    Raises:
        BundleTamperedError: keys are missing or unknown, or values are impossible.
    """
    kept = {k: v for k, v in values.items() if k != "asm" or v != _ASM}
    if "false_alarm_rate" in kept:  # older versions have two verdicts
        kept.setdefault("look_rate", kept["false_alarm_rate"])
    try:
        found = TypeAdapter(Calibration).validate_python(kept)
        return found if "asm" in values else _with_half_sums(found, scoring)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "values"
        raise BundleTamperedError(
            f"calibration refused: {where}: {first['msg']}; restore the file or calibrate again"
        ) from None


def _with_half_sums(old: Calibration, scoring: ScoringSettings) -> Calibration:
    """Brings scales of eq. 14 without its half to those with it."""
    by_statistic = [name for name in scoring.maps for _ in scoring.statistics]

    def halved(values: tuple[float, ...], names: Sequence[str]) -> tuple[float, ...]:
        if len(values) != len(names):  # another model's: whoever knows both says so
            return values
        return tuple(v / 2 if n == "asm" else v for v, n in zip(values, names, strict=True))

    return replace(
        old,
        statistic_mean=halved(old.statistic_mean, by_statistic),
        statistic_std=halved(old.statistic_std, by_statistic),
        map_mean=halved(old.map_mean, shown_maps(scoring)),
        map_std=halved(old.map_std, shown_maps(scoring)),
    )
