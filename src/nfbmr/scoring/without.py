"""A calibration that some of its pictures have no part in, as where they turn out not to be good.

Shapes: n = images that calibrate, M = statistics.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from nfbmr.errors import CalibrationError
from nfbmr.scoring.calibrate import LEAST_HELD_OUT, scales_of, with_threshold
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.heat_scale import peak_of
from nfbmr.scoring.looks import in_order
from nfbmr.scoring.odd import name_of
from nfbmr.settings.schema import ScoringSettings
from nfbmr.system.words import counted


def without(
    calibration: Calibration, pictures: Iterable[str], scoring: ScoringSettings
) -> Calibration:
    """Returns the calibration with scales and thresholds that some pictures have no part in.

    What networks and Gaussians learnt of them stays, and so do the scales of maps, which rest on
    all places of all pictures. Calibrations of older versions keep their scales of scores, too.

    Args:
        calibration: that knows its pictures.
        pictures: as in `Calibration.pictures`; others are passed over.
        scoring: of the model.

    Raises:
        CalibrationError: too few pictures would be left, or those that are left do not differ.
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
    if calibration.table and len(kept) < len(calibration.pictures):
        seen = np.array(calibration.seen)[kept] if calibration.seen else None
        scales, raw = scales_of(
            np.array(calibration.table)[kept],
            scoring,
            seen,
            calibration.own,
            [name_of(calibration, calibration.pictures[n]) for n in kept],
        )
        order = np.argsort(raw, kind="stable")
        kept, raw = [kept[n] for n in order], raw[order]
        # Nobody knows what those that do not calibrate would score on the new scales.
        calibration = replace(calibration, trained={})
    still = {*calibration.trained} | {calibration.pictures[n] for n in kept}
    peaks = tuple(tuple(own[n] for n in kept) for own in calibration.judge_peaks)
    # The checks of a calibration hold for each step: scores and pictures change together.
    fewer = replace(
        calibration,
        scores=tuple(np.sort(calibration.shown(raw)).tolist()),
        pictures=tuple(calibration.pictures[n] for n in kept),
        places=tuple(calibration.places[n] for n in kept) if calibration.places else (),
        watched=in_order(calibration.watched, kept),
        names={one: name for one, name in calibration.names.items() if one in still},
        table=tuple(calibration.table[n] for n in kept) if calibration.table else (),
        seen=tuple(calibration.seen[n] for n in kept) if calibration.seen else (),
        judge_peaks=peaks,
        judge_peak=tuple(peak_of(own, calibration.false_alarm_rate) for own in peaks)
        or calibration.judge_peak,
        rank=1,
        **scales,
    )
    return with_threshold(fewer, raw, levels=calibration.one is not None)
