"""The command `nfbmr paper`: its words, and one call."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.arguments import refuse_file
from nfbmr.errors import SettingsError
from nfbmr.settings.text import (
    parse_changes,
    parse_numbers,
    parse_pairs,
    parse_weights,
    parse_words,
)
from nfbmr.system.files import printable


class PaperBackbone(enum.StrEnum):
    """The paper's networks, or those that are installed with nfbmr."""

    paper = "paper"
    fast = "fast"


_Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", metavar="RESULTS", help="A folder; --dry-run needs none."),
]
_Mvtec = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="MVTec AD, or any folder of categories of its layout."),
]
_Dagm = Annotated[
    Path | None, typer.Option(metavar="DIR", help="DAGM 2007, with Class1 to Class10.")
]
_Data = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=PATH", help="A further data set, of any layout; may be repeated."),
]
_Backbone = Annotated[
    PaperBackbone,
    typer.Option(help="EfficientNet-B5 and ResNets, or the small networks that come with nfbmr."),
]
_Categories = Annotated[str | None, typer.Option(metavar="A,B", help="Only these. [default: all]")]
_Seeds = Annotated[str, typer.Option(metavar="0,1", help="Of split, weights and batches.")]
_Tables = Annotated[str, typer.Option(metavar="1,5", help="Only what these tables need.")]
_Systems = Annotated[
    str | None, typer.Option(metavar="A,B", help="Only these, e.g. nf,nf-bmr-2. [default: all]")
]
_Weights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NETWORK=]FILE",
        help="Weights of SNN, or of another network by its name; may be repeated. "
        "'random' gives times and shapes, no accuracy.",
    ),
]
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting, e.g. stage_two.steps=100; docs/settings.md lists them all. pair.KEY is "
        "of the stage that trains the nets of PFM, B-PFM and MB-PFM.",
    ),
]
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
_DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Only show the rows and how long they will take; without data, of the official sets.",
    ),
]


def paper(
    out: _Out = None,
    mvtec: _Mvtec = None,
    dagm: _Dagm = None,
    data: _Data = None,
    backbone: _Backbone = PaperBackbone.paper,
    categories: _Categories = None,
    seeds: _Seeds = "0,1,2",
    tables: _Tables = "1,2,3,4,5",
    systems: _Systems = None,
    weights: _Weights = None,
    set_: _Set = None,
    device: _Device = "auto",
    dry_run: _DryRun = False,
) -> None:
    """Reproduce the paper: every table and figure, on data sets that you have."""
    from nfbmr.cli.console import shown_progress
    from nfbmr.paper.command import Data, describe_plan, reproduce
    from nfbmr.paper.plan import Request

    if out is not None:
        refuse_file(out, "the results")
    where = Data(
        mvtec=mvtec,
        dagm=dagm,
        others=tuple((name, Path(path)) for name, path in parse_pairs("--data", data or [])),
        only=parse_words(categories or ""),
    )
    request = Request(
        backbone=backbone.value,
        seeds=parse_numbers("--seeds", seeds),
        tables=parse_numbers("--tables", tables),
        systems=parse_words(systems or ""),
        weights=parse_weights(weights or []),
        changes=parse_changes(set_ or []),
    )
    if dry_run:
        for line in describe_plan(where, out, request, device):
            print(printable(line))
        return
    if out is None:
        raise SettingsError(
            "no -o RESULTS: expected a folder for rows, tables, figures and the page; only "
            "--dry-run goes without"
        )
    with shown_progress() as progress:
        failed = reproduce(where, out, request, device=device, progress=progress)
    for one in failed:
        print(printable(f"failed: {one.name}: {one.reason}"))
    if failed:
        raise typer.Exit(1)
