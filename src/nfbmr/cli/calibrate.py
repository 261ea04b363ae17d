"""The command `nfbmr calibrate`: its words, and one call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.arguments import Device, ModelPath, RuntimeName, Threads

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
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Set another threshold, without retraining."""
    import numpy as np

    from nfbmr.data.layouts import read_data
    from nfbmr.inspection.inspector import load

    inspector = load(model, runtime=runtime, device=device, threads=threads)
    images = None
    if good_images is not None:
        found = read_data(good_images)
        _log.info("%s", found.describe())
        images = [sample.path for sample in found.to_learn_from()]
    changed = inspector.recalibrated(false_alarm_rate, images, look_rate=look_rate)
    changed.save_calibration()
    before = inspector.calibration
    print(
        f"Before: threshold {before.threshold:.3f} for a false-alarm rate of "
        f"{before.false_alarm_rate:.3g}, from {len(before.scores)} good images; a person looks "
        f"above {before.look_threshold:.3f}."
    )
    now = changed.calibration
    for line in now.describe():
        print(line)
    if good_images is None and now.one is not None:
        level = float(now.shown(before.raw(np.array(1.0))))
        print(f"What scored 1 until now scores {level:.3f}.")
    if own := inspector.others:
        _log.warning("Not changed: %s; calibrate each with --runtime", ", ".join(own))
