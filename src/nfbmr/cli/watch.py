"""The command `nfbmr watch`: its words, and one call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from nfbmr.cli.arguments import Device, ModelPath, RuntimeName, Threads
from nfbmr.errors import SettingsError

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
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Look into sub-folders, too.")
    ] = False,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Also draw each picture's heatmap, beside the log.")
    ] = False,
    settle: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds without change until a file counts as whole that nobody said to be "
            "closed.",
        ),
    ] = 1.0,
    patience: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds without change until a file that cannot be read counts as unreadable; "
            "an empty one six times that.",
        ),
    ] = 10.0,
    poll: Annotated[
        bool,
        typer.Option(
            "--poll",
            help="Look twice a second instead of listening to the file system; done by itself on "
            "network drives.",
        ),
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Inspect what is there, then end.")] = False,
    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="POST each defect to this address, until it is taken."),
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

    from nfbmr.cli.console import StandardOutput
    from nfbmr.inspection.inspector import load
    from nfbmr.inspection.rows import open_writer
    from nfbmr.inspection.watch import Watch
    from nfbmr.inspection.watch import watch as run
    from nfbmr.inspection.webhook import Webhook, parse_address

    log = out or folder / "nfbmr.jsonl"
    if log.suffix.lower() != ".jsonl" or log.is_dir():
        raise SettingsError(f"-o {log}: the log is a file that ends in .jsonl; name one")
    if webhook is not None:
        parse_address(webhook)
    job = Watch(
        folder=folder,
        log=log,
        move=move,
        recursive=recursive,
        heatmaps=heatmaps,
        poll=poll,
        once=once,
        settle=settle,
        patience=patience,
    )
    inspector = load(model, runtime=runtime, device=device, threads=threads)
    _log.info("Watching %s with %s; log: %s", folder, inspector.runtime.name, job.log)
    outbox = job.beside("outbox")
    with ExitStack() as stack:
        write = stack.enter_context(open_writer("table", None, StandardOutput()))
        hook: Webhook | None = None
        if webhook is not None:
            hook = stack.enter_context(Webhook(webhook, secret, outbox=outbox))
        elif any(outbox.glob("*.json")):
            _log.warning("Rows wait in %s for a receiver: give its --webhook", outbox)

        def alarm(row: dict[str, Any]) -> None:
            if hook is not None and row.get("is_defect"):
                hook.send(row)

        run(inspector, job, alarm=alarm, tell=write)
