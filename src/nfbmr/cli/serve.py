"""The command `nfbmr serve`: its words, and one call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.arguments import RuntimeName
from nfbmr.errors import MissingExtraError
from nfbmr.system.packages import how_to_install

_log = logging.getLogger(__name__)

_Models = Annotated[
    list[Path] | None, typer.Argument(metavar="[MODEL]...", help="Model directories.")
]
_Folder = Annotated[
    Path | None, typer.Option("--models", metavar="FOLDER", help="A folder of model directories.")
]
_Host = Annotated[
    str, typer.Option(help="Where to listen. Beyond this machine, --token-file is demanded.")
]
Database = Annotated[
    str, typer.Option(help="sqlite:///FILE, or postgresql://USER@HOST/NAME.", metavar="ADDRESS")
]
PicturesFolder = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Where inspected pictures go.")
]
_Tokens = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Who may do what; made by 'nfbmr token'.")
]
_Waiting = Annotated[int, typer.Option(min=1, help="Pictures in work at once; beyond: 503.")]
_All = Annotated[float, typer.Option(help="Of all requests in work; beyond: 503.")]
_Megabytes = Annotated[float, typer.Option(help="Of a request's body, at most.")]
_Megapixels = Annotated[float, typer.Option(help="Of a picture, at most.")]
_Seconds = Annotated[float, typer.Option(help="For a request, at most.")]
_Days = Annotated[
    float | None, typer.Option(help="Delete older pictures. [default: whatever their age]")
]
_Gigabytes = Annotated[
    float, typer.Option(help="Of pictures to keep; beyond it the oldest good ones go first.")
]

_VersionGigabytes = Annotated[
    float, typer.Option(help="Of models to keep that were on the line before.")
]


def serve(
    models: _Models = None,
    folder: _Folder = None,
    host: _Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    database: Database = "sqlite:///station.db",
    pictures: PicturesFolder = Path("station-pictures"),
    token_file: _Tokens = None,
    runtime: RuntimeName = "auto",
    waiting: _Waiting = 64,
    waiting_megabytes: _All = 1024.0,
    most_megabytes: _Megabytes = 64.0,
    most_megapixels: _Megapixels = 100.0,
    seconds: _Seconds = 30.0,
    keep_days: _Days = None,
    keep_gigabytes: _Gigabytes = 50.0,
    keep_versions_gigabytes: _VersionGigabytes = 10.0,
) -> None:
    """Run the inspection station: a page for people, an API for machines, a record of it all."""
    from nfbmr.station.settings import StationSettings

    settings = StationSettings(
        models=tuple(models or ()),
        folder=folder,
        host=host,
        port=port,
        database=database,
        pictures=pictures,
        token_file=token_file,
        runtime=runtime,
        waiting=waiting,
        waiting_megabytes=waiting_megabytes,
        most_megabytes=most_megabytes,
        most_megapixels=most_megapixels,
        seconds=seconds,
        keep_days=keep_days,
        keep_gigabytes=keep_gigabytes,
        keep_versions_gigabytes=keep_versions_gigabytes,
    )
    try:
        from nfbmr.station.app import serve as run
        from nfbmr.station.station import Station
    except ModuleNotFoundError as error:
        raise missing_station(error) from None
    with Station(settings) as station:
        for loaded in station.pool.all():
            _log.info("Model %s: %s", loaded.name, loaded.inspector)
        run(station, ready=lambda address: _log.info("Listening on %s", address))


def missing_station(error: ModuleNotFoundError) -> Exception:
    """Says that the station's packages are not installed; other errors stay what they are."""
    if (error.name or "nfbmr").partition(".")[0] == "nfbmr":
        return error
    return MissingExtraError(
        f"{error.name} is not installed, and the station needs it; {how_to_install('station')}"
    )
