"""The command `nfbmr fit`: its words, and one call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.arguments import Device, Preset
from nfbmr.settings.text import parse_changes, parse_size, put

_log = logging.getLogger(__name__)


Seed = Annotated[
    int | None, typer.Option(min=0, help="Of split, weights and batches. [default: 0]")
]


Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting, e.g. flow.hidden=256; docs/settings.md lists them all.",
    ),
]


Fresh = Annotated[bool, typer.Option("--fresh", help="Do not go on from an interrupted fit.")]


Tiles = Annotated[
    bool,
    typer.Option(
        "--tiles", help="Cut large pictures into overlapping tiles; judge each as a whole."
    ),
]


ExportToo = Annotated[
    bool,
    typer.Option("--export/--no-export", help="Also make a graph that runs without torch."),
]


def fit(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder of good pictures, an MVTec AD category, a DAGM 2007 class, "
            "or a CSV/Parquet table of path, label, mask, split.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="MODEL", help="Where to write.")],
    preset: Annotated[Preset, typer.Option(help="What the fit is to be good at.")] = Preset.fast,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="S | HxW",
            help="Resize pictures to this, e.g. 320 or 320x448 (height x width). "
            "[default: by the pictures' median aspect ratio]",
        ),
    ] = None,
    seed: Seed = None,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(help="Share of good pictures that may be called defects. [default: 0.01]"),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Any timm network instead of the preset's.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Backbone weights: embedded, hub or file.")
    ] = None,
    set_: Changes = None,
    device: Device = "auto",
    fresh: Fresh = False,
    tiles: Tiles = False,
    export_: ExportToo = True,
) -> None:
    """Learn from good pictures."""
    from nfbmr.cli.console import shown_progress
    from nfbmr.fitting import fit as run

    changes = parse_changes(set_ or [])
    for key, value in (
        ("seed", seed),
        ("size", None if size is None else parse_size(size)),
        ("calibration.false_alarm_rate", false_alarm_rate),
        ("backbone.name", backbone),
        ("backbone.weights", weights),
        ("tiles.overlap", 0.25 if tiles else None),
    ):
        if value is not None:
            put(changes, key, value)
    changes |= {"preset": preset, "device": device, "fresh": fresh, "export": export_}
    with shown_progress() as progress:
        found = run(data, out, progress=progress, **changes)
    _log.info("Learnt in %.0f s: %s", found.facts.fit_seconds, out)
