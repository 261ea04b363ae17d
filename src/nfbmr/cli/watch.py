"""The command `nfbmr watch`: its words, and one call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nfbmr.cli.arguments import Device, ModelPath, RuntimeName, Secret, Threads, refuse_swapped
from nfbmr.errors import SettingsError
from nfbmr.settings.text import parse_number
from nfbmr.system.files import in_words

if TYPE_CHECKING:
    from nfbmr.inspection.inspector import Inspector
    from nfbmr.inspection.watch import Watch

_log = logging.getLogger(__name__)

_Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The hot folder.")]
_Log = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        metavar="LOG",
        help="A .jsonl file. What is under way and what waits for --webhook lies beside it and is "
        "believed: where others fill FOLDER, name a folder that they cannot write to. "
        "[default: FOLDER/nfbmr.jsonl]",
    ),
]
_Move = Annotated[
    bool, typer.Option("--move", help="Move files to good/, look/, defect/ or error/ in FOLDER.")
]
_Recursive = Annotated[bool, typer.Option("--recursive", help="Look into sub-folders, too.")]
_Heatmaps = Annotated[
    bool, typer.Option("--heatmaps", help="Also draw each picture's heatmap, beside the log.")
]


def _seconds(option: str) -> Callable[[str], float]:
    return lambda text: parse_number(option, text, 0)


_Settle = Annotated[
    float,
    typer.Option(
        parser=_seconds("--settle"),
        metavar="SECONDS",
        help="Seconds without change until a file counts as whole that nobody said to be closed.",
    ),
]
_Patience = Annotated[
    float,
    typer.Option(
        parser=_seconds("--patience"),
        metavar="SECONDS",
        help="Seconds without change until a file that cannot be read counts as unreadable; an "
        "empty one six times that.",
    ),
]
_Poll = Annotated[
    bool,
    typer.Option(
        "--poll",
        help="Look twice a second instead of listening to the file system; done by itself on "
        "network drives.",
    ),
]
_Megabytes = Annotated[
    float,
    typer.Option(
        parser=lambda text: parse_number("--most-megabytes", text, 0.001, 1e6),
        metavar="MEGABYTES",
        help="Of a picture's file, at most; a larger one is not read, and counts as unreadable.",
    ),
]
_Once = Annotated[bool, typer.Option("--once", help="Inspect what is there, then end.")]
_Webhook = Annotated[
    str | None,
    typer.Option(
        envvar="NFBMR_WEBHOOK",
        metavar="URL",
        help="POST each defect to this address, until it is taken. One that holds a secret is "
        "better given by the environment.",
    ),
]


def watch(
    model: ModelPath,
    folder: _Folder,
    out: _Log = None,
    move: _Move = False,
    recursive: _Recursive = False,
    heatmaps: _Heatmaps = False,
    settle: _Settle = 1.0,
    patience: _Patience = 10.0,
    poll: _Poll = False,
    most_megabytes: _Megabytes = 512.0,
    once: _Once = False,
    webhook: _Webhook = None,
    secret: Secret = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Inspect each picture that comes into a folder, once, also after a restart."""
    from nfbmr.inspection.arrivals import refuse_no_folder
    from nfbmr.inspection.inspector import load
    from nfbmr.inspection.places import refuse_in_a_model
    from nfbmr.inspection.reading import MEGABYTE
    from nfbmr.inspection.watch import Watch
    from nfbmr.inspection.webhook import parse_address

    refuse_swapped("watch", model, [folder])
    refuse_no_folder(folder)
    log = out or folder / "nfbmr.jsonl"
    if log.suffix.lower() != ".jsonl" or log.is_dir():
        raise SettingsError(f"-o {log}: the log is a file that ends in .jsonl; name one")
    refuse_in_a_model("-o", log)
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
        most_bytes=int(most_megabytes * MEGABYTE),
    )
    kept = job.beside("heatmaps")
    if heatmaps and kept.exists() and not kept.is_dir():
        raise SettingsError(
            f"--heatmaps: found a file at {kept}; expected a folder, or nothing; take it away"
        )
    inspector = load(model, runtime=runtime, device=device, threads=threads)
    _log.info("Watching %s with %s; log: %s", folder, inspector.runtime.name, job.log)
    _run(inspector, job, webhook, secret)


def _run(inspector: Inspector, job: Watch, webhook: str | None, secret: str | None) -> None:
    from nfbmr.inspection.rows import open_writer
    from nfbmr.inspection.watch import watch as run
    from nfbmr.inspection.webhook import Webhook

    outbox = job.beside("outbox")
    with ExitStack() as stack:
        try:
            write = stack.enter_context(open_writer("table", None))
        except OSError as error:  # what is printed is in the log, too
            _log.warning("Nothing is printed: %s", in_words(error))
            write = _nothing
        hook: Webhook | None = None
        if webhook is not None:
            hook = stack.enter_context(Webhook(webhook, secret, outbox=outbox))
        elif any(outbox.glob("*.json")):
            _log.warning("Rows wait in %s for a receiver: give its --webhook", outbox)

        def alarm(row: dict[str, Any]) -> None:
            if hook is not None and row.get("is_defect"):
                hook.send(row)

        run(inspector, job, alarm=alarm, tell=write)


def _nothing(row: dict[str, Any]) -> None:
    """Prints no row."""
