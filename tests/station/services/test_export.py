"""The record as files: whole, the same in each form, made in pieces."""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime

import pytest
from starlette.testclient import TestClient

from nfbmr.errors import MissingExtraError
from nfbmr.station.services import export
from nfbmr.station.services.export import CSV_COLUMNS, to_csv, to_parquet, to_zip
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter

Encoded = Callable[..., bytes]
INSPECT = "/v1/models/fitted/inspect"


@pytest.fixture
def pictures(client: TestClient, png: Encoded) -> list[bytes]:
    """Inspected pictures, in the order of their numbers."""
    found = [png(seed, defect=seed == 101) for seed in range(100, 105)]
    for number, data in enumerate(found, 1):
        client.post(f"{INSPECT}?part_id=P{number}", content=data)
    client.post("/v1/inspections/2/feedback", json={"label": "defect", "note": "a scratch"})
    return found


def test_a_zip_has_the_table_and_each_picture_that_is_kept(
    station: Station, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_AT_ONCE", 2)
    gone = station.store.read(queries.inspection, 3)
    assert gone is not None
    assert gone.file is not None
    station.pictures.delete(gone.file)
    pieces = list(to_zip(station.store, station.pictures, Filter()))
    assert len(pieces) > len(pictures), "they come one after another"
    assert max(map(len, pieces)) < sum(map(len, pictures))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert archive.testzip() is None
    expected = {f"pictures/{number}.png": data for number, data in enumerate(pictures, 1)}
    del expected["pictures/3.png"]
    names = {name for name in archive.namelist() if name.startswith("pictures/")}
    assert {name: archive.read(name) for name in names} == expected
    table = archive.read("inspections.csv").decode()
    assert table == "".join(to_csv(station.store, Filter()))
    assert [row["id"] for row in csv.DictReader(io.StringIO(table))] == ["5", "4", "3", "2", "1"]


def test_a_zip_has_the_other_table_or_says_why_not(
    station: Station, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def zipped() -> zipfile.ZipFile:
        whole = b"".join(to_zip(station.store, station.pictures, Filter(label="defect")))
        return zipfile.ZipFile(io.BytesIO(whole))

    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    assert pictures
    with zipped() as archive:
        assert archive.testzip() is None
        rows = parquet.read_table(io.BytesIO(archive.read("inspections.parquet"))).to_pylist()
        assert [(row["id"], row["note"]) for row in rows] == [(2, "a scratch")]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with zipped() as archive:
        assert set(archive.namelist()) == {"inspections.csv", "NO-PARQUET.txt", "pictures/2.png"}
        assert b"pyarrow is not installed" in archive.read("NO-PARQUET.txt")


@pytest.mark.parametrize("line", ["\r", "\n", "\x85", "\u2028"])
def test_a_name_that_breaks_lines_is_one_row(line: str) -> None:
    shown = "a" + line.encode("unicode_escape").decode() + "=1+1.png"
    text = export._lines([(1, export._cell(f"a{line}=1+1.png"), export._cell(f"{line}=1"))])
    assert text == f"1,{shown},{line.encode('unicode_escape').decode()}=1\n"


def test_parquet_has_the_same_rows_with_types(
    client: TestClient, station: Station, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    assert pictures
    monkeypatch.setattr(export, "_GROUP", 2)
    found = b"".join(to_parquet(station.store, Filter()))
    file = parquet.ParquetFile(io.BytesIO(found))
    assert file.num_row_groups == 3
    rows = file.read().to_pylist()
    assert [row["id"] for row in rows] == [5, 4, 3, 2, 1]
    assert set(rows[0]) == {*CSV_COLUMNS, "regions"}
    stored = station.store.read(queries.inspection, 2)
    assert stored is not None
    assert rows[3]["score"] == stored.score
    assert rows[3]["time"] == datetime.fromisoformat(stored.time)
    assert rows[3]["note"] == "a scratch"
    answer = client.get("/review/export.parquet?label=defect")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert parquet.read_table(io.BytesIO(answer.content)).num_rows == 1
    answer = client.get("/review/export.zip?label=")
    assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None


def test_the_api_gives_the_same_files(client: TestClient, pictures: list[bytes]) -> None:
    assert pictures
    for form in ("csv", "zip"):
        answer = client.get(f"/v1/export.{form}?label=defect&source=rest")
        page = client.get(f"/review/export.{form}?label=defect&source=rest")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == page.headers["content-type"]
        assert answer.headers["content-disposition"] == page.headers["content-disposition"]
    assert len(client.get("/v1/export.csv?label=defect").text.splitlines()) == 2
    assert len(client.get("/v1/export.csv").text.splitlines()) == 6
    assert client.get("/v1/export.csv?label=bad").status_code == 422


def test_without_pyarrow_it_is_said_before_anything_is_sent(
    client: TestClient, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="or take CSV"):
        to_parquet(station.store, Filter())
    answer = client.get("/review/export.parquet")
    assert answer.status_code == 501
    assert "pyarrow is not installed" in answer.json()["detail"]
