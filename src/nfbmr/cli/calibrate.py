"""The command `nfbmr calibrate`: its words, and one call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nfbmr.cli.arguments import Device, ModelPath, RuntimeName, Threads

if TYPE_CHECKING:
    from nfbmr.scoring.calibration import Calibration

_log = logging.getLogger(__name__)


def calibrate(
    model: ModelPath,
    good_images: Annotated[
        Path | None,
        typer.Argument(
            metavar="[GOOD_IMAGES]",
            help="Good pictures that the model was NOT trained on. "
            "Without them the scores kept from the fit serve.",
        ),
    ] = None,
    false_alarm_rate: Annotated[
        float | None, typer.Option(help="[default: the rate now in force]")
    ] = None,
    look_rate: Annotated[
        float | None,
        typer.Option(
            help="Share of good pictures that may be sent to a person, false alarms included. "
            "[default: the rate now in force]"
        ),
    ] = None,
    without: Annotated[
        list[Path] | None,
        typer.Option(
            help="A picture that calibrates now and is to have no part in the thresholds, such as "
            "one that `fit` called odd. May be given several times."
        ),
    ] = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Set another threshold, without retraining."""
    from nfbmr.data.layouts import read_data
    from nfbmr.inspection.inspector import load

    inspector = load(model, runtime=runtime, device=device, threads=threads)
    images = None
    if good_images is not None:
        found = read_data(good_images)
        _log.info("%s", found.describe())
        images = [sample.path for sample in found.to_learn_from()]
    changed = inspector.recalibrated(
        false_alarm_rate, images, look_rate=look_rate, without=without or ()
    )
    changed.save_calibration()
    _tell(inspector.calibration, changed.calibration)
    if own := inspector.others:
        _log.warning("Not changed: %s; calibrate each with --runtime", ", ".join(own))


def _tell(before: Calibration, after: Calibration) -> None:
    """Says where the thresholds were, and where they are."""
    import numpy as np

    print(
        f"Before: threshold {before.threshold:.3f} for a false-alarm rate of "
        f"{before.false_alarm_rate:.3g}, from {len(before.scores)} good images; a person looks "
        f"above {before.look_threshold:.3f}."
    )
    same = (before.statistic_mean, before.judge_mean) == (after.statistic_mean, after.judge_mean)
    if same and before.one is not None and after.one is not None:
        now = float(before.shown(np.array(after.one)))
        print(f"What is called a defect began at 1, and on that scale now begins at {now:.3f}.")
    for line in after.describe():
        print(line)
