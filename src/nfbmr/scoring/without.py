"""A calibration that some of its pictures have no part in, as where they turn out not to be good.

Shapes: n = images that calibrate, M = statistics.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import CalibrationError
from nfbmr.scoring.calibrate import LEAST_HELD_OUT, scales_of, with_threshold
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.heat_scale import peak_of, peaks_as_if_new
from nfbmr.scoring.judges import LEAST_UNSEEN, judges_of
from nfbmr.scoring.looks import in_order
from nfbmr.scoring.maps import Floats
from nfbmr.scoring.odd import name_of
from nfbmr.settings.schema import ScoringSettings
from nfbmr.system.words import counted


def without(
    calibration: Calibration, pictures: Iterable[str], scoring: ScoringSettings
) -> Calibration:
    """Returns the calibration with scales and thresholds that some pictures have no part in.

    What networks and Gaussians learnt of them stays, and so do the scales of maps and rims, which
    rest on all places of all pictures that are not wild. Calibrations of older versions keep their
    scales of scores, too.

    Args:
        calibration: that knows its pictures.
        pictures: as in `Calibration.pictures`; others are passed over.
        scoring: of the model.

    Raises:
        CalibrationError: too few pictures would be left, or too few of those that the fit held
            out, or those that are left do not differ.
    """
    left_out = set(pictures)
    kept = [n for n, name in enumerate(calibration.pictures) if name not in left_out]
    if len(kept) < LEAST_HELD_OUT:
        raise CalibrationError(
            f"{counted(len(kept), 'good image')} would be left to calibrate with; at least "
            f"{LEAST_HELD_OUT} are needed"
        )
    scales: dict[str, Any] = {}
    raw = calibration.raw(np.array(calibration.scores))[kept]
    peaks = [np.array(own)[kept] for own in calibration.judge_peaks]
    if calibration.table and len(kept) < len(calibration.pictures):
        seen = np.array(calibration.seen)[kept] if calibration.seen else None
        if seen is not None:
            _refuse_too_few_new(np.array(calibration.seen), seen)
            # On the scale of all that were held out, those that go among them; brought to another
            # one they are what they would be had they never been on it.
            peaks = [
                peaks_as_if_new(own, names, calibration.own, seen)
                for names, own in zip(judges_of(scoring), peaks, strict=False)
            ]
        names = [name_of(calibration, calibration.pictures[n]) for n in kept]
        table = np.array(calibration.table)[kept]
        scales, raw, _ = scales_of(table, scoring, seen, calibration.own, names)
        # Nobody knows what those that do not calibrate would score on the new scales.
        calibration = replace(calibration, trained={})
    order = np.argsort(raw, kind="stable")
    raw, peaks = raw[order], [own[order] for own in peaks]
    fewer = _of(calibration, [kept[n] for n in order], raw, peaks, scales)
    return with_threshold(fewer, raw, levels=calibration.one is not None)


def _of(
    calibration: Calibration,
    kept: list[int],
    raw: Floats,
    peaks: list[Floats],
    scales: dict[str, Any],
) -> Calibration:
    """Returns the calibration of those in `kept`, in that order, with raw scores and peaks (n,)."""
    still = {*calibration.trained} | {calibration.pictures[n] for n in kept}
    # The checks of a calibration hold for each step: scores and pictures change together.
    return replace(
        calibration,
        scores=tuple(calibration.shown(raw).tolist()),
        pictures=tuple(calibration.pictures[n] for n in kept),
        places=tuple(calibration.places[n] for n in kept) if calibration.places else (),
        watched=in_order(calibration.watched, kept),
        names={one: name for one, name in calibration.names.items() if one in still},
        table=tuple(calibration.table[n] for n in kept) if calibration.table else (),
        seen=tuple(calibration.seen[n] for n in kept) if calibration.seen else (),
        judge_peaks=tuple(tuple(own.tolist()) for own in peaks),
        judge_peak=tuple(peak_of(own, calibration.false_alarm_rate) for own in peaks)
        or calibration.judge_peak,
        rank=1,
        **scales,
    )


def _refuse_too_few_new(seen: NDArray[np.bool_], left: NDArray[np.bool_]) -> None:
    """Checks that enough held-out pictures are left, where there were enough.

    Raises:
        CalibrationError: they are too few.
    """
    new = int((~left).sum())
    if new < LEAST_UNSEEN <= (~seen).sum():
        raise CalibrationError(
            f"{counted(new, 'picture')} that the fit held out would be left; at least "
            f"{LEAST_UNSEEN} are needed to know how training changes what it saw. Fit again "
            "without those that are to go, or calibrate with good pictures that the model has not "
            "seen"
        )
