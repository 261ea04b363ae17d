"""Learning scales and thresholds from the raw maps of good pictures.

Shapes: n = images that calibrate, K = raw maps, M = statistics, G = judges, H W = grid.
numpy alone, and nothing here ever sees a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import CalibrationError
from nfbmr.scoring.calibration import LOOK_RATE, Calibration
from nfbmr.scoring.conformal import TINY, images_needed, threshold_for
from nfbmr.scoring.grids import Factors, on_own_grid
from nfbmr.scoring.ignored import Area, masked
from nfbmr.scoring.judges import (
    as_if_held_out,
    by_judge,
    heard_left_out,
    judges_of,
    left_out_statistics,
)
from nfbmr.scoring.level import to_level, zero_for
from nfbmr.scoring.looks import in_order, looks_of_maps
from nfbmr.scoring.maps import (
    DETAIL,
    FINE,
    Floats,
    Maps,
    chosen_maps,
    fused_maps,
    repeats,
    shown_maps,
    statistics,
)
from nfbmr.scoring.rims import rim_scale, with_calm_rims
from nfbmr.scoring.spread import NO_SPREAD, refuse_alike, refuse_one_alone
from nfbmr.settings.schema import CalibrationSettings, MapName, ScoringSettings
from nfbmr.system.words import counted

LEAST_HELD_OUT = 5
"""With fewer, the scale of the scores is itself a guess."""


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


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a model knows of the very pictures that calibrate it."""

    learnt: int
    """Pictures that its Gaussians learnt from."""
    own: Mapping[str, float]
    """See `nfbmr.scoring.left_out`; the maps that come here are left out already."""
    trained: NDArray[np.bool_]
    """Which of the pictures (n,) the networks were trained on."""
    folds: int = 0
    """Models of others that made the maps, which then are as of new pictures; 0: it made them."""

    def kept(self) -> dict[str, Any]:
        """Returns what a calibration keeps of it."""
        return {"learnt": self.learnt, "own": dict(self.own), "folds": self.folds}


def calibrate(
    maps: Maps,
    scoring: ScoringSettings,
    rate: float,
    pictures: Sequence[str] = (),
    *,
    look_rate: float = LOOK_RATE,
    known: Known | None = None,
    ignored: tuple[Area, ...] = (),
    names: Sequence[str] = (),
) -> Calibration:
    """Learns scales and threshold from the raw maps of good images.

    Args:
        maps: (n, K, H, W), n >= LEAST_HELD_OUT, as of pictures that were not learnt from; in the
            order in which they came.
        scoring: which maps and statistics.
        rate: asked false-alarm rate, in (0, 1).
        pictures: what names each image, n of them; kept beside the scores.
        look_rate: asked share that a person looks at, in (0, 1).
        known: where the model learnt from some of them; by default from none.
        ignored: areas that count for no score.
        names: what to call each image in messages, n of them.

    Raises:
        CalibrationError: too few images, values that are not finite, or none that differ.
    """
    _refuse_few_or_broken(maps, rate)
    watched, rims = looks_of_maps(masked(maps, ignored)), rim_scale(maps, scoring)
    maps = masked(with_calm_rims(maps, rims), ignored)
    table = statistics(maps, scoring)
    if known is not None and not known.folds:
        table = _as_if_new(table, scoring, known)
    refuse_alike(table, scoring, names)
    said = _said_left_out(table, scoring)
    scale = _scale_of_judges(said, scoring, names)
    raw = heard_left_out(said, *scale, len(said), scoring.fusion) if scale else said[:, 0]
    order = np.argsort(raw, kind="stable")
    of_heat = _scale_of_heat(maps[order], scoring, rate)
    calibration = Calibration(
        statistic_mean=tuple(table.mean(axis=0).tolist()),
        statistic_std=tuple(table.std(axis=0, ddof=1).tolist()),
        scores=tuple(raw[order].tolist()),
        false_alarm_rate=rate,
        threshold=0.0,
        rank=1,
        look_rate=look_rate,
        pictures=tuple(pictures[i] for i in order) if pictures else (),
        places=tuple(order.tolist()),
        watched=in_order(watched, order),
        judge_mean=tuple(scale[0].tolist()) if scale else (),
        judge_std=tuple(scale[1].tolist()) if scale else (),
        **({} if known is None else known.kept()),
        rims=rims,
        ignored=ignored,
        **of_heat,
    )
    return _with_threshold(calibration, raw[order], levels=scoring.by_judges)


def _as_if_new(table: Floats, scoring: ScoringSettings, known: Known) -> Floats:
    """Brings what training saw to the scale of what it did not; Gaussians are left out already."""
    learnt = np.array([m not in known.own for m in scoring.maps for _ in scoring.statistics])
    if not learnt.any():
        return table
    found = table.copy()
    found[:, learnt] = as_if_held_out(table[:, learnt], known.trained)
    return found


def _said_left_out(table: Floats, scoring: ScoringSettings) -> Floats:
    """Returns what judges say (n, G) of statistics (n, M), each image on the others' scale."""
    centred = table - table.mean(axis=0)
    return by_judge(
        left_out_statistics(centred, (centred**2).sum(axis=0), len(table)),
        scoring,
    )


def _scale_of_judges(
    said: Floats, scoring: ScoringSettings, called: Sequence[str]
) -> tuple[Floats, Floats] | None:
    """Returns mean and spread of what judges say (n, G); None where there is but one scale.

    Raises:
        CalibrationError: one of them says the same of all images, or of all but one.
    """
    if scoring.fusion == "mean":
        return None
    spread = said.std(axis=0, ddof=1)
    flat = spread <= NO_SPREAD  # of statistics that have one of about 1
    if flat.any():
        names = " and ".join(judges_of(scoring)[int(flat.argmax())])
        raise CalibrationError(
            f"the {len(said)} good images do not differ at all in what {names} say together: no "
            "threshold can rest on that; give pictures of different good parts"
        )
    refuse_one_alone(
        said, [f"what {' and '.join(own)} say together" for own in judges_of(scoring)], called
    )
    return said.mean(axis=0), spread


def _scale_of_heat(maps: Maps, scoring: ScoringSettings, rate: float) -> dict[str, Any]:
    """Returns `map_mean`, `map_std`, `heat_zero`, `heat_one` and what judges need of their own.

    Raises:
        CalibrationError: a map never moves.
    """
    chosen = chosen_maps(maps, shown_maps(scoring))
    map_mean = chosen.mean(axis=(0, 2, 3))
    map_std = chosen.std(axis=(0, 2, 3))
    if not (map_std > NO_SPREAD * np.abs(chosen).max(axis=(0, 2, 3))).all():
        raise CalibrationError(
            "a map of the heatmap has the same value at every place of every good image: the "
            "network sees nothing in them. Give pictures that show the part, or another backbone"
        )
    found = {"map_mean": tuple(map_mean.tolist()), "map_std": tuple(map_std.tolist())}
    if scoring.by_judges:  # the heatmap's scale is the score's
        factors = (
            repeats(maps, tuple(name for name in scoring.maps if name not in FINE)),
            repeats(maps, tuple(name for name in scoring.maps if name in DETAIL)),
        )
        peaks = tuple(
            _peaks(maps, names, map_mean, map_std, scoring, factors) for names in judges_of(scoring)
        )
        return found | {
            "heat_zero": 0.0,
            "heat_one": 1.0,
            "factor": max(factors),
            "detail_factor": factors[1],
            "judge_peaks": peaks,
            "judge_peak": tuple(_peak(own, rate) for own in peaks),
        }
    fused = fused_maps(chosen, map_mean, map_std)
    zero = float(np.median(fused))
    one = threshold_for(np.sort(fused.max(axis=(1, 2))), rate)[0]
    return found | {"heat_zero": zero, "heat_one": max(one, zero + TINY)}


def _peaks(
    maps: Maps,
    names: tuple[MapName, ...],
    mean: Floats,
    std: Floats,
    scoring: ScoringSettings,
    factors: Factors,
) -> tuple[float, ...]:
    """Returns the highest positions of a judge's map in good pictures."""
    own = [scoring.maps.index(name) for name in names]
    fused = on_own_grid(maps, names, mean[own], std[own], factors)
    return tuple(fused.max(axis=(1, 2)).tolist())


def _peak(peaks: Sequence[float], rate: float) -> float:
    """Returns what the highest position exceeds in a share of good pictures, above 0."""
    return max(threshold_for(np.sort(peaks), rate)[0], TINY)


def _with_threshold(calibration: Calibration, raw: Floats, *, levels: bool) -> Calibration:
    """Sets scores and threshold from raw scores (n,), ascending, for the asked rate."""
    threshold, rank = threshold_for(raw, calibration.false_alarm_rate)
    if not levels:
        return replace(calibration, scores=tuple(raw.tolist()), threshold=threshold, rank=rank)
    zero = zero_for(raw, threshold)
    shown = to_level(raw, zero, threshold)
    return replace(
        calibration,
        scores=tuple(shown.tolist()),
        threshold=1.0,
        rank=rank,
        zero=zero,
        one=threshold,
    )


def _refuse_few_or_broken(maps: Maps, rate: float) -> None:
    """Checks that there are enough maps (n, K, H, W), and that all are finite.

    Raises:
        CalibrationError: too few, or some are not.
    """
    if len(maps) < LEAST_HELD_OUT:
        raise CalibrationError(
            f"{counted(len(maps), 'good image')} to calibrate with; at least {LEAST_HELD_OUT} are "
            f"needed, and {images_needed(rate)} for a false-alarm rate of {rate:g}"
        )
    if not np.isfinite(maps).all():
        raise CalibrationError(
            "the maps of good images hold values that are not finite; the model did not learn. "
            "Fit again with --fresh, and with float32 precision if it happens again"
        )


def with_looks(calibration: Calibration, looks: Mapping[str, Sequence[float]]) -> Calibration:
    """Returns a calibration that knows more of its good pictures.

    Args:
        calibration: that knows in which order they came.
        looks: of each statistic, its values (n,) in that order.
    """
    places = np.array(calibration.places)
    return replace(calibration, watched={**calibration.watched, **in_order(looks, places)})


def recalibrate(
    calibration: Calibration, rate: float, look_rate: float | None = None
) -> Calibration:
    """Returns the calibration with the thresholds of other rates; the images stay the same.

    Where scores are levels, 1 is then the end of the newly asked share. Else the heatmap's scale
    stays, so that pictures from before and after can be compared.
    """
    look = calibration.look_rate if look_rate is None else look_rate
    peaks = calibration.judge_peaks
    peak = tuple(_peak(own, rate) for own in peaks) if peaks else calibration.judge_peak
    asked = replace(calibration, false_alarm_rate=rate, look_rate=look, judge_peak=peak)
    raw = calibration.raw(np.array(calibration.scores))
    return _with_threshold(asked, raw, levels=calibration.one is not None)


def without(calibration: Calibration, pictures: Iterable[str]) -> Calibration:
    """Returns the calibration with thresholds that some pictures have no part in.

    The scales of the statistics stay: they rest on all pictures, and one more or less moves them
    little; the threshold is what one picture can move far.

    Args:
        calibration: that knows its pictures.
        pictures: as in `Calibration.pictures`; others are passed over.

    Raises:
        CalibrationError: too few pictures would be left.
    """
    left_out = set(pictures)
    kept = [n for n, name in enumerate(calibration.pictures) if name not in left_out]
    still = {*calibration.trained} | {calibration.pictures[n] for n in kept}
    if len(kept) < LEAST_HELD_OUT:
        raise CalibrationError(
            f"{counted(len(kept), 'good image')} would be left to calibrate with; at least "
            f"{LEAST_HELD_OUT} are needed"
        )
    raw = calibration.raw(np.array(calibration.scores))[kept]
    peaks = tuple(tuple(own[n] for n in kept) for own in calibration.judge_peaks)
    # The checks of a calibration hold for each step: scores and pictures change together.
    fewer = replace(
        calibration,
        scores=tuple(calibration.scores[n] for n in kept),
        pictures=tuple(calibration.pictures[n] for n in kept),
        places=tuple(calibration.places[n] for n in kept) if calibration.places else (),
        watched=in_order(calibration.watched, kept),
        names={one: name for one, name in calibration.names.items() if one in still},
        judge_peaks=peaks,
        judge_peak=tuple(_peak(own, calibration.false_alarm_rate) for own in peaks)
        or calibration.judge_peak,
        rank=1,
    )
    return _with_threshold(fewer, raw, levels=calibration.one is not None)
