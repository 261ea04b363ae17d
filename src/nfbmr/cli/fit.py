"""The command `nfbmr fit`: its words, and one call."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated, cast

import typer

from nfbmr.cli.arguments import Device, FalseAlarmRate, LookRate, Preset, refuse_file
from nfbmr.errors import SettingsError
from nfbmr.settings.keywords import Keywords
from nfbmr.settings.text import parse_changes, parse_size
from nfbmr.system.words import quoted

_log = logging.getLogger(__name__)


Size = Annotated[
    str | None,
    typer.Option(
        metavar="S | HxW",
        help="Resize pictures to this, e.g. 320 or 320x448 (height x width). "
        "[default: by the pictures' median aspect ratio]",
    ),
]


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


Backbone = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Any timm network instead of the preset's; stages are chosen by its strides. "
        "Needs --weights, too.",
    ),
]


Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Backbone weights: embedded, hub (downloads them) or a file."
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


Ignore = Annotated[
    Path | None,
    typer.Option(
        metavar="MASK.png",
        help="What never counts, a picture that is not 0 there; learnt with the model.",
    ),
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
    size: Size = None,
    seed: Seed = None,
    false_alarm_rate: FalseAlarmRate = None,
    look_rate: LookRate = None,
    backbone: Backbone = None,
    weights: Weights = None,
    set_: Changes = None,
    device: Device = "auto",
    fresh: Fresh = False,
    tiles: Tiles = False,
    export_: ExportToo = True,
    ignore: Ignore = None,
) -> None:
    """Learn from good pictures."""
    from nfbmr.cli.console import shown_progress
    from nfbmr.fitting import fit as run

    _refuse_a_model(data, out)
    refuse_file(out, "the model")
    keywords = _given(
        seed=seed,
        size=None if size is None else parse_size(size),
        false_alarm_rate=false_alarm_rate,
        look_rate=look_rate,
        backbone=backbone,
        weights=weights,
        tiles=tiles or None,
    )
    started = time.monotonic()
    with shown_progress() as progress:
        found = run(
            data,
            out,
            preset=preset,
            changes=parse_changes(set_ or []),
            ignore=ignore,
            device=device,
            fresh=fresh,
            progress=progress,
            export=export_,
            **keywords,
        )
    # Of a fit that went on, what was done before counts, too.
    seconds = max(time.monotonic() - started, found.facts.fit_seconds)
    _log.info("Learnt in %.0f s: %s", seconds, out)
    for line in _next_steps(out):
        _log.info("%s", line)


def _refuse_a_model(data: Path, out: Path) -> None:
    from nfbmr.model.folder import is_bundle

    if is_bundle(data):
        raise SettingsError(
            f"{data} is a model; expected good pictures first, and behind -o where the model goes: "
            f"nfbmr fit {quoted(out)} -o {quoted(data)}"
        )


def _next_steps(out: Path) -> list[str]:
    model = quoted(out)
    return [
        "Next:",
        f"  nfbmr inspect {model} PICTURES -o results.csv --heatmaps   judge new pictures",
        f"  nfbmr evaluate {model} LABELLED -o report   where some are known to be defective",
        f"  nfbmr info {model}   what it learnt from, and its threshold",
    ]


def _given(**asked: object) -> Keywords:
    """Returns what was asked for; the rest stays as the preset, or --set, has it."""
    return cast(Keywords, {name: value for name, value in asked.items() if value is not None})
