"""The command line's words for deploying a model: what is heavy is imported in each command."""

from __future__ import annotations

import enum
import logging
from pathlib import Path
from typing import Annotated

import typer

from nfbmr.arguments import ModelPath, Threads

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
            help="fp32; fp16: half the file; bf16: OpenVINO, faster; int8: faster, needs pictures."
        ),
    ] = Precision.fp32,
    calibrate_on: Annotated[
        Path | None,
        typer.Option(
            metavar="GOOD_DIR", help="Good pictures to compare torch and the graph on, too."
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Make a graph that runs without torch, and prove that it answers as torch does."""
    from nfbmr.export import export as run

    done = run(
        model,
        to=to.value,
        precision=precision.value,
        calibrate_on=calibrate_on,
        threads=threads,
    )
    if calibrate_on is None:
        _log.warning("Compared on drawn pictures alone: give good ones with --calibrate-on")
    print(f"{done.name}: {done.gate.describe()}")
    print(f"{model / done.file}")
