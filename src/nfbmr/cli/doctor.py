"""The command `nfbmr doctor`: its words, and one call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.arguments import Preset
from nfbmr.system.files import printable


def doctor(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DATA]",
            help="A data set to check before a fit; or a model, whose oddest good pictures are "
            "listed after one.",
        ),
    ] = None,
    preset: Annotated[Preset, typer.Option(help="The fit to plan for.")] = Preset.fast,
) -> None:
    """Check this machine; a data set, with the time that a fit will take; or what a fit learnt."""
    from nfbmr.cli.console import shown_progress
    from nfbmr.learning import diagnosis
    from nfbmr.model.folder import is_bundle

    if data is not None and is_bundle(data):
        for line in diagnosis.model(data):
            print(printable(line))
        return
    for line in diagnosis.machine():
        print(line)
    if data is not None:
        with shown_progress() as progress:
            lines = diagnosis.data_set(data, preset.value, progress)
        for line in lines:
            print(printable(line))
