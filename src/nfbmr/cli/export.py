"""The command `nfbmr export`: its words, and one call."""

from __future__ import annotations

import enum
import logging
from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.arguments import ModelPath, Threads

_log = logging.getLogger(__name__)


class Target(enum.StrEnum):
    """The runtimes of `export`."""

    onnx = "onnx"
    openvino = "openvino"


class Precision(enum.StrEnum):
    """The precisions of `export`."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"
    int8 = "int8"


def export(
    model: ModelPath,
    to: Annotated[Target, typer.Option(help="The runtime that has to prove it.")] = Target.onnx,
    precision: Annotated[
        Precision,
        typer.Option(
            help="fp16: half the file. int8, bf16: faster; learns again, needs --calibrate-on."
        ),
    ] = Precision.fp32,
    calibrate_on: Annotated[
        Path | None,
        typer.Option(
            metavar="GOOD_DIR",
            help="Good pictures to compare on; for int8 and bf16 those of the fit, and those that "
            "the model was calibrated with since.",
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Make a graph that runs without torch, and prove that it answers as torch does."""
    from nfbmr.cli.console import shown_progress
    from nfbmr.deployment.export import export as run

    with shown_progress() as progress:
        done = run(
            model,
            to=to.value,
            precision=precision.value,
            calibrate_on=calibrate_on,
            threads=threads,
            progress=progress,
        )
    if not done.gate.good:
        _log.warning("Compared on drawn pictures alone: give good ones with --calibrate-on")
    print(f"{done.name}: {done.describe()}")
    print(f"{model / done.file}")
