"""The command `nfbmr reproduce`: its words, and one call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.serve import Database, PicturesFolder, missing_station
from nfbmr.errors import StationError
from nfbmr.system.files import printable

_Model = Annotated[
    Path | None,
    typer.Option(metavar="MODEL", help="The model's directory. [default: as it was kept]"),
]


def reproduce(
    inspection: Annotated[int, typer.Argument(help="The number of an inspection.")],
    database: Database = "sqlite:///station.db",
    pictures: PicturesFolder = Path("station-pictures"),
    model: _Model = None,
) -> None:
    """Give a recorded verdict again, from its picture, its model and its calibration."""
    try:
        from nfbmr.station.services.reproduce import reproduce as again
        from nfbmr.station.store.database import Reader
        from nfbmr.station.store.pictures import Pictures
    except ModuleNotFoundError as error:
        raise missing_station(error) from None
    if not pictures.is_dir():
        raise StationError(
            f"{pictures} is no folder; name that of the station's pictures with --pictures"
        )
    store = Reader(database)
    try:
        found = again(store, Pictures(pictures), inspection, model)
    finally:
        store.close()
    row = found.recorded
    print(f"{'':<10} {'verdict':<8} {'score':>12} {'p-value':>10}")
    print(f"{'recorded':<10} {row.verdict:<8} {row.score:>12.6f} {row.p_value:>10.6f}")
    print(f"{'now':<10} {found.verdict:<8} {found.score:>12.6f} {found.p_value:>10.6f}")
    print(
        printable(
            f"picture {row.picture[:12]}, bundle {row.bundle[:12]} ({found.model}), calibration "
            f"{row.calibration[:12]}, {row.runtime}"
        )
    )
    print("The same." if found.same else "NOT THE SAME.")
    if not found.same:
        raise typer.Exit(1)
