"""The command `nfbmr serve`: its words, and one call."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nfbmr.cli.arguments import (
    Address,
    Engine,
    EngineName,
    RuntimeName,
    Secret,
    Workers,
    refuse_without_ray,
)
from nfbmr.errors import MissingExtraError
from nfbmr.system.packages import how_to_install

if TYPE_CHECKING:
    from nfbmr.station.engine.pool import Judges
    from nfbmr.station.settings import StationSettings

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
_Learning = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Where products are learnt. [default: learning in --pictures]"
    ),
]
_LearningGigabytes = Annotated[
    float, typer.Option(help="Of good pictures to learn from, of all products together.")
]
_LearningDays = Annotated[
    float | None,
    typer.Option(
        help="Delete unfinished products that nobody did anything for, at a start. [default: "
        "whatever their age]"
    ),
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
_Watch = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL=FOLDER", help="Judge what comes into a folder; may be repeated."),
]
_Move = Annotated[
    bool, typer.Option("--watch-move", help="Move it into good/, look/, defect/ or error/ there.")
]
_Camera = Annotated[
    list[str] | None,
    typer.Option(
        envvar="NFBMR_CAMERA",
        metavar="MODEL=CAMERA",
        help="Judge pictures of a camera: its number, /dev/video0, or rtsp://...; may be repeated. "
        "One whose address holds a password is better given by the environment.",
    ),
]
_Every = Annotated[float, typer.Option(help="Seconds between a camera's pictures.")]
_Webhook = Annotated[
    str | None,
    typer.Option(
        envvar="NFBMR_WEBHOOK",
        metavar="URL",
        help="POST verdicts there, until they are taken. One that holds a secret is better given "
        "by the environment or by --webhook-file.",
    ),
]
_WebhookFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Holds that address, as its one line.")
]
_SecretFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Holds --webhook-secret, as its one line.")
]
_Mqtt = Annotated[
    str | None,
    typer.Option(
        metavar="mqtt[s]://HOST/TOPIC", help="Publish verdicts there, until acknowledged."
    ),
]
_Login = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="USER:PASSWORD for it. [default: the environment's NFBMR_MQTT_LOGIN]"
    ),
]
_Ca = Annotated[Path | None, typer.Option(metavar="FILE", help="Certificates to check its TLS by.")]
_Outputs = Annotated[
    str, typer.Option(metavar="defect|all", help="Which verdicts webhook and MQTT are told.")
]
_Most = Annotated[int, typer.Option(min=1, help="Messages that may wait for each of them.")]
_Wait = Annotated[float, typer.Option(help="Days for which they may wait.")]

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
    learning: _Learning = None,
    learning_gigabytes: _LearningGigabytes = 20.0,
    learning_days: _LearningDays = None,
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
    engine: EngineName = Engine.local,
    address: Address = None,
    workers: Workers = None,
    watch: _Watch = None,
    watch_move: _Move = False,
    camera: _Camera = None,
    camera_every: _Every = 1.0,
    webhook: _Webhook = None,
    webhook_file: _WebhookFile = None,
    webhook_secret: Secret = None,
    webhook_secret_file: _SecretFile = None,
    mqtt: _Mqtt = None,
    mqtt_login: _Login = None,
    mqtt_ca: _Ca = None,
    outputs: _Outputs = "defect",
    outbox_most: _Most = 100_000,
    outbox_days: _Wait = 7.0,
) -> None:
    """Run the inspection station: a page for people, an API for machines, a record of it all."""
    given = dict(locals())  # each option is a setting of its name
    from nfbmr.station.settings import StationSettings

    refuse_without_ray(engine, address=address, workers=workers)
    for several in ("models", "watch", "camera"):
        given[several] = tuple(given[several] or ())
    for of_ray in ("engine", "address", "workers"):
        del given[of_ray]
    _run(StationSettings(**given), engine, address, workers)


def _run(
    settings: StationSettings, engine: Engine, address: str | None, workers: int | None
) -> None:
    """Opens the station, and listens until it is told to stop."""
    try:
        from nfbmr.station.app import serve as run
        from nfbmr.station.station import Station
    except ModuleNotFoundError as error:
        raise missing_station(error) from None
    with ExitStack() as stack:
        judges = None
        if engine is Engine.ray:
            judges = stack.enter_context(_on_ray(settings, address, workers))
        station = stack.enter_context(Station(settings, judges))
        for loaded in station.pool.all():
            _log.info("Model %s: %s", loaded.name, loaded.inspector)
        run(station, ready=lambda address: _log.info("Listening on %s", address))


@contextmanager
def _on_ray(
    settings: StationSettings, address: str | None, workers: int | None
) -> Iterator[Judges]:
    """Joins a cluster for as long as the station runs; gives what finds workers for its models."""
    from nfbmr.fleet.cluster import check_nodes, connected, packages_that_judge
    from nfbmr.fleet.serving import RayJudges
    from nfbmr.station.engine.pool import models_in
    from nfbmr.station.services.learn import made_line_folder

    folder = made_line_folder(settings)
    seen = [folder] if folder.is_dir() else []  # the station says of one that is not there
    models = [path.resolve() for path in settings.models]
    models += [path for one in seen for path in models_in(one).values()]
    with connected(address, workers=workers) as cluster:
        check_nodes(models=models, seen=seen, packages=packages_that_judge(settings.runtime))
        yield RayJudges(cluster, settings.runtime, workers, settings.batch)


def missing_station(error: ModuleNotFoundError) -> Exception:
    """Says that the station's packages are not installed; other errors stay what they are."""
    if (error.name or "nfbmr").partition(".")[0] == "nfbmr":
        return error
    return MissingExtraError(
        f"{error.name} is not installed, and the station needs it; {how_to_install('station')}"
    )
