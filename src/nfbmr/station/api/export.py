"""`/v1/export.csv`, `.parquet`, `.zip`: the record as files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from nfbmr.station.api.forms import PROBLEMS
from nfbmr.station.api.inspections import Which
from nfbmr.station.deps import Reviewing, StationDep
from nfbmr.station.services.export import to_csv, to_parquet, to_zip

router = APIRouter(tags=["inspections"], responses=PROBLEMS)

CSV, PARQUET, ZIP = "text/csv", "application/vnd.apache.parquet", "application/zip"


def as_file(name: str, media: str, pieces: Iterator[str] | Iterator[bytes]) -> StreamingResponse:
    """Answers with a file that is made while it is sent."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=media, headers=headers)


def _described(media: str) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {"response_class": StreamingResponse, "responses": {200: {"content": {media: binary}}}}


@router.get("/v1/export.csv", summary="The record as CSV", **_described(CSV))
def export_csv(station: StationDep, _: Reviewing, which: Which) -> StreamingResponse:
    """Returns what the filters of `/v1/inspections` leave, the newest first."""
    return as_file("inspections.csv", f"{CSV}; charset=utf-8", to_csv(station.store, which))


@router.get("/v1/export.parquet", summary="The record as Parquet", **_described(PARQUET))
def export_parquet(station: StationDep, _: Reviewing, which: Which) -> StreamingResponse:
    """Returns the same with types, and the regions as JSON."""
    return as_file("inspections.parquet", PARQUET, to_parquet(station.store, which))


@router.get("/v1/export.zip", summary="Both, with the pictures", **_described(ZIP))
def export_zip(station: StationDep, _: Reviewing, which: Which) -> StreamingResponse:
    """Returns both tables, and each picture that is kept as `pictures/ID.ENDING`."""
    return as_file("inspections.zip", ZIP, to_zip(station.store, station.pictures, which))
