"""The commands `nfbmr fleet`: a model for each of many products, on one machine or many."""

from __future__ import annotations

import enum
import logging
from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.arguments import Preset, refuse_file, refuse_folder
from nfbmr.system.words import quoted

_log = logging.getLogger(__name__)

fleet = typer.Typer(
    help="A model for each of many products, on one machine or many.", no_args_is_help=True
)


class Engine(enum.StrEnum):
    """Who does the work."""

    local = "local"
    ray = "ray"


Models = Annotated[
    Path, typer.Argument(metavar="MODELS", help="The folder that nfbmr fleet fit wrote to.")
]


@fleet.command()
def fit(
    plan: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN.toml|ROOT",
            help="A file of products (docs/scale.md shows one), or a folder of folders.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="MODELS", help="A folder: a model for each product."),
    ],
    engine: Annotated[
        Engine, typer.Option(help="local: processes on this machine; ray: a cluster.")
    ] = Engine.local,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Of the cluster, or auto. [default: one here]"),
    ] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="Where the plan names none. [default: fast]")
    ] = None,
    cpus: Annotated[
        int | None,
        typer.Option(min=1, help="Cores for each product, where the plan says none. [default: 1]"),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(min=0, help="GPUs for each, or a share of one. [default: 0, the CPU]"),
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Of this machine, to use at most. [default: all]")
    ] = None,
) -> None:
    """Learn all products of a plan; go on where it stopped, do finished ones not again."""
    from nfbmr.cli.console import shown_progress
    from nfbmr.errors import SettingsError
    from nfbmr.fleet.fit import fit_fleet
    from nfbmr.fleet.plan import read_plan
    from nfbmr.fleet.table import table

    if address is not None and engine is not Engine.ray:
        raise SettingsError("--address is that of a cluster; give --engine ray with it")
    asked = {"preset": None if preset is None else preset.value, "cpus": cpus, "gpus": gpus}
    refuse_file(out, "the models")
    read = read_plan(plan, asked)
    with shown_progress() as progress:
        states = fit_fleet(
            read,
            out,
            engine="ray" if engine is Engine.ray else "local",
            address=address,
            cpus=cores,
            progress=progress,
        )
    print("\n".join(table(states)))
    _log.info("Next:\n  nfbmr fleet report %s -o report.html", quoted(out))
    if any(state.status != "done" for state in states):
        raise typer.Exit(1)


@fleet.command()
def status(models: Models) -> None:
    """Say how far each product is, while a fleet is at work or after it."""
    from nfbmr.fleet.place import Place
    from nfbmr.fleet.table import table

    print("\n".join(table(Place(models).states())))


@fleet.command()
def report(
    models: Models,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="REPORT.html", help="The page.")],
) -> None:
    """Write a page of all products: figures, time, warnings, what does not fit."""
    from nfbmr.fleet.place import Place
    from nfbmr.fleet.report import write_report
    from nfbmr.inspection.places import is_page, refuse_to_overwrite

    refuse_folder("-o", out)
    refuse_to_overwrite("-o", out, "a report", is_page)
    write_report(out, Place(models))
    print(f"report: {out}")
