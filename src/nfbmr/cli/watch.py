"""The command `nfbmr watch`: its words, and one call."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from nfbmr.cli.arguments import Device, ModelPath, RuntimeName, Threads

_log = logging.getLogger(__name__)


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
        bool,
        typer.Option("--move", help="Move files to good/, look/, defect/ or error/ in FOLDER."),
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
