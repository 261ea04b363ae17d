"""Learning scales and thresholds from the raw maps of good pictures.

Shapes: n = images that calibrate, K = raw maps, M = statistics, G = judges, H W = grid.
numpy alone, and nothing here ever sees a label.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import CalibrationError
from nfbmr.scoring.calibration import LOOK_RATE, Calibration
from nfbmr.scoring.conformal import images_needed, threshold_for
from nfbmr.scoring.heat_scale import factors_of, heat_scale, peak_of
from nfbmr.scoring.ignored import Area, masked
from nfbmr.scoring.judges import (
    as_if_held_out,
    by_judge,
    heard_left_out,
    judges_of,
    of_others,
)
from nfbmr.scoring.level import to_level, zero_for
from nfbmr.scoring.looks import in_order, looks_of_maps
from nfbmr.scoring.maps import Floats, Maps, statistics
from nfbmr.scoring.rims import rim_scale, with_calm_rims
from nfbmr.scoring.spread import refuse_alike, refuse_copies, refuse_one_alone, say_alike
from nfbmr.scoring.tails import NO_SPREAD, calm_ones
from nfbmr.settings.schema import CalibrationSettings, ScoringSettings
from nfbmr.system.words import counted

LEAST_HELD_OUT = 5
"""With fewer, the scale of the scores is itself a guess."""

_RIMS_DOMINATED = 10.0
"""Times as wide as without wild pictures: what these are of rims, before rims are scaled."""


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
    bare = masked(maps, ignored)
    calm, _ = calm_ones(statistics(bare, scoring), _RIMS_DOMINATED)
    watched = looks_of_maps(bare)
    rims = rim_scale(maps if calm.all() else maps[calm], scoring, ignored)
    factors = factors_of(maps, scoring)  # before an area cuts through a cell
    maps = masked(with_calm_rims(maps, rims), ignored)
    table = statistics(maps, scoring)
    trained = None if known is None or known.folds else known.trained
    own = () if known is None else tuple(known.own)
    scales, raw, calm = scales_of(table, scoring, trained, own, names)
    say_alike(table, scoring)
    order = np.argsort(raw, kind="stable")
    maps, trained = maps[order], None if trained is None else trained[order]
    calibration = Calibration(
        **scales,
        scores=tuple(raw[order].tolist()),
        false_alarm_rate=rate,
        threshold=0.0,
        rank=1,
        look_rate=look_rate,
        pictures=tuple(pictures[i] for i in order) if pictures else (),
        places=tuple(order.tolist()),
        watched=in_order(watched, order),
        table=tuple(map(tuple, table[order].tolist())),
        seen=() if trained is None else tuple(trained.tolist()),
        **({} if known is None else known.kept()),
        rims=rims,
        ignored=ignored,
        **heat_scale(maps, scoring, rate, factors, ignored, own, trained, calm[order]),
    )
    return with_threshold(calibration, raw[order], levels=scoring.by_judges)


def scales_of(
    table: Floats,
    scoring: ScoringSettings,
    trained: NDArray[np.bool_] | None,
    own: Collection[str],
    names: Sequence[str],
) -> tuple[dict[str, Any], Floats, NDArray[np.bool_]]:
    """Returns what a calibration keeps of the scales of statistics (n, M), and raw scores (n,).

    And which images (n,) the scales rest on: not the wild ones.

    Args:
        table: of good pictures; of maps in `own` as of pictures that were left out.
        scoring: which maps and statistics.
        trained: which of the pictures (n,) the networks were trained on; None where none was.
        own: names of maps that training on a picture does not change here.
        names: what to call each image in messages, n of them.

    Raises:
        CalibrationError: of some statistic or judge all are alike.
    """
    if trained is not None:
        table = _as_if_new(table, scoring, trained, own)
    refuse_copies(table)
    calm, ends = calm_ones(table)
    called = [name for name, is_calm in zip(names, calm, strict=False) if is_calm]
    usual, n = table[calm], int(calm.sum())
    refuse_alike(usual, scoring, called)
    said = _said_of_others(table, scoring, calm)
    scale = _scale_of_judges(said[calm], scoring, called)
    raw = heard_left_out(said, *scale, n, calm, scoring.fusion) if scale else said[:, 0]
    kept = {
        "statistic_mean": tuple(usual.mean(axis=0).tolist()),
        "statistic_std": tuple(usual.std(axis=0, ddof=1).tolist()),
        "judge_mean": tuple(scale[0].tolist()) if scale else (),
        "judge_std": tuple(scale[1].tolist()) if scale else (),
        "calm": 0 if calm.all() else n,
        "wild_from": () if calm.all() else tuple(ends.tolist()),
    }
    return kept, raw, calm


def _as_if_new(
    table: Floats, scoring: ScoringSettings, trained: NDArray[np.bool_], own: Collection[str]
) -> Floats:
    """Brings what training saw to the scale of what it did not; Gaussians are left out already."""
    learnt = np.array([m not in own for m in scoring.maps for _ in scoring.statistics])
    if not learnt.any():
        return table
    found = table.copy()
    found[:, learnt] = as_if_held_out(table[:, learnt], trained)
    return found


def _said_of_others(table: Floats, scoring: ScoringSettings, calm: NDArray[np.bool_]) -> Floats:
    """Returns what judges say (n, G) of statistics (n, M), each image on the calm others' scale."""
    centred = table - table[calm].mean(axis=0)
    squares = (centred[calm] ** 2).sum(axis=0)
    return by_judge(of_others(centred, squares, int(calm.sum()), calm), scoring)


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


def with_threshold(calibration: Calibration, raw: Floats, *, levels: bool) -> Calibration:
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
    peak = tuple(peak_of(own, rate) for own in peaks) if peaks else calibration.judge_peak
    asked = replace(calibration, false_alarm_rate=rate, look_rate=look, judge_peak=peak)
    raw = calibration.raw(np.array(calibration.scores))
    return with_threshold(asked, raw, levels=calibration.one is not None)
