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
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Set another threshold, without retraining."""
    from nfbmr.data.images import fingerprint
    from nfbmr.data.layouts import read_data
    from nfbmr.inspection.inspector import load

    inspector = load(model, runtime=runtime, device=device, threads=threads)
    kept = inspector.calibration.false_alarm_rate
    rate = kept if false_alarm_rate is None else false_alarm_rate
    images = None
    if good_images is not None:
        found = read_data(good_images)
        _log.info("%s", found.describe())
        known = set(inspector.facts.trained_on)
        images = [s.path for s in found.train_good if fingerprint(s.path) not in known]
        if left_out := len(found.train_good) - len(images):
            _log.warning("%d pictures were trained on and are left out", left_out)
    changed = inspector.recalibrated(rate, images)
    changed.save_calibration()
    for line in changed.calibration.describe():
        print(line)
    if own := inspector.others:
        _log.warning("Not changed: %s; calibrate each with --runtime", ", ".join(own))
