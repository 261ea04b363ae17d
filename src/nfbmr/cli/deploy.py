"""The command line's words for deploying a model: what is heavy is imported in each command."""

from __future__ import annotations

import enum
import logging
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from nfbmr.cli.arguments import Device, ModelPath, RuntimeName, Threads

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
            help="Good pictures to compare on; for int8 and bf16 those of the fit.",
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
    if calibrate_on is None:
        _log.warning("Compared on drawn pictures alone: give good ones with --calibrate-on")
    print(f"{done.name}: {done.describe()}")
    print(f"{model / done.file}")


def watch(
    model: ModelPath,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The hot folder.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="LOG", help="A .jsonl file. [default: FOLDER/nfbmr.jsonl]"
        ),
    ] = None,
    move: Annotated[
        bool, typer.Option("--move", help="Move files to good/, defect/ or error/ in FOLDER.")
    ] = False,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds without change until a file counts as whole.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Inspect what is there, then end.")] = False,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="POST each defect to this address.")
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            envvar="NFBMR_WEBHOOK_SECRET",
            metavar="TEXT",
            help="Signs what is sent; better given "
            "by the environment, where other users cannot read it.",
        ),
    ] = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Inspect each picture that comes into a folder, once, also after a restart."""
    from contextlib import ExitStack

    from nfbmr.inspection.inspector import load
    from nfbmr.inspection.rows import open_writer
    from nfbmr.inspection.watch import Watch
    from nfbmr.inspection.watch import watch as run
    from nfbmr.inspection.webhook import Webhook

    job = Watch(folder=folder, log=out or folder / "nfbmr.jsonl", move=move, settle=settle)
    inspector = load(model, runtime=runtime, device=device, threads=threads)
    _log.info("Watching %s with %s; log: %s", folder, inspector.runtime.name, job.log)
    with ExitStack() as stack:
        write = stack.enter_context(open_writer("table", None))
        hook = None if webhook is None else stack.enter_context(Webhook(webhook, secret))

        def tell(row: dict[str, Any]) -> None:
            write(row)
            if hook is not None and row.get("is_defect"):
                hook.send(row)

        def until() -> bool:
            return once and time.monotonic() - started > settle + 2 * job.every

        started = time.monotonic()  # not before: loading takes seconds
        run(inspector, job, until=until, tell=tell)
