"""`POST /v1/models/{name}/inspect`: what is answered, and that the row was there before."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from nfbmr.errors import StationError
from nfbmr.inspection.inspector import Inspector
from nfbmr.station.station import Station
from nfbmr.station.store import queries

Draw = Callable[..., NDArray[np.uint8]]
Encoded = Callable[..., bytes]

INSPECT = "/v1/models/fitted/inspect"


def test_the_answer_is_the_row(
    client: TestClient, station: Station, png: Encoded, inspector: Inspector
) -> None:
    data = png(1, defect=True)
    answer = client.post(f"{INSPECT}?part_id=A-7", content=data)
    assert answer.status_code == 200
    (said,) = answer.json()["inspections"]
    expected = inspector.inspect(data)
    assert said["verdict"] == expected.verdict == "defect"
    assert said["score"] == pytest.approx(expected.score, rel=1e-5)
    assert said["p_value"] == expected.p_value
    assert said["regions"][0]["box"] == list(expected.regions[0].box)
    assert said["picture"] == hashlib.sha256(data).hexdigest()
    assert (said["part_id"], said["source"], said["actor"]) == ("A-7", "rest", "local")
    row = station.store.read(queries.inspection, said["id"])
    assert row is not None
    assert (row.score, row.bundle, row.calibration) == (
        said["score"],
        said["bundle"],
        said["calibration"],
    )
    assert row.file is not None
    assert station.pictures.read(row.file) == data
    assert client.get(f"/v1/inspections/{said['id']}").json() == said


def test_several_pictures_are_answered_in_order_and_a_broken_one_says_why(
    client: TestClient, png: Encoded
) -> None:
    parts = [("a.png", png(1)), ("b.png", png(2, defect=True)), ("c.png", b"no picture")]
    files = [("files", (name, data, "image/png")) for name, data in parts]
    answer = client.post(INSPECT, files=files, data={"part_id": "B-1"})
    assert answer.status_code == 200
    first, second, third = answer.json()["inspections"]
    assert (first["name"], first["verdict"]) == ("a.png", "good")
    assert (second["name"], second["verdict"]) == ("b.png", "defect")
    assert third["name"] == "c.png"
    assert "expected a JPEG, PNG" in third["error"]
    assert {first["part_id"], second["part_id"]} == {"B-1"}
    assert len(client.get("/v1/inspections").json()["inspections"]) == 2


def test_a_heatmap_comes_where_it_is_asked_for(client: TestClient, png: Encoded) -> None:
    (said,) = client.post(f"{INSPECT}?heatmap=true", content=png(1, defect=True)).json()[
        "inspections"
    ]
    drawn = base64.b64decode(said["heatmap_png"])
    layer = np.asarray(Image.open(io.BytesIO(drawn)))
    assert layer.shape == (80, 80, 4)
    left, top, right, bottom = said["regions"][0]["box"]
    assert layer[(top + bottom) // 2, (left + right) // 2, 3] > 0
    assert client.get(f"/v1/inspections/{said['id']}/heatmap").content == drawn
    (good,) = client.post(f"{INSPECT}?heatmap=true", content=png(100)).json()["inspections"]
    clear = np.asarray(Image.open(io.BytesIO(base64.b64decode(good["heatmap_png"]))))
    assert good["verdict"] == "good"
    assert clear[..., 3].max() < layer[..., 3].max()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no picture"),
        (b"text", "another kind of content"),
        (b"\x89PNG\r\n\x1a\n", "expected a JPEG, PNG"),
    ],
)
def test_a_broken_picture_is_refused_with_a_reason(
    client: TestClient, content: bytes, said: str
) -> None:
    answer = client.post(INSPECT, content=content)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert client.get("/v1/inspections").json()["inspections"] == []


def test_a_picture_that_breaks_off_leaves_no_file_and_no_row(
    client: TestClient, station: Station, png: Encoded
) -> None:
    answer = client.post(INSPECT, content=png(1)[:2000])
    assert answer.status_code == 422
    assert not [path for path in station.pictures.folder.rglob("*") if path.is_file()]


def test_an_unknown_model_is_named(client: TestClient, png: Encoded) -> None:
    answer = client.post("/v1/models/other/inspect", content=png(1))
    assert answer.status_code == 404
    assert "there: fitted" in answer.json()["detail"]


def test_beyond_the_gate_is_told_when_to_come_again(
    client: TestClient, station: Station, png: Encoded
) -> None:
    gate = station.judge.gate
    with gate.passed(gate.most_bytes):
        answer = client.post(INSPECT, content=png(1))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert client.post(INSPECT, content=png(1)).status_code == 200
    assert gate.inside == gate.bytes_inside == 0


def test_a_database_that_takes_nothing_is_an_error_and_no_lost_verdict(
    client: TestClient, station: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StationError("database or disk is full")

    monkeypatch.setattr(queries, "record", full)
    answer = client.post(INSPECT, content=png(1, defect=True))
    assert answer.status_code == 507
    assert "disk is full" in answer.json()["detail"]
    assert answer.json()["unrecorded"]["verdict"] == "defect"
    assert not [path for path in station.pictures.folder.rglob("*") if path.is_file()]


def test_a_picture_that_cannot_be_kept_is_said_beside_its_verdict(
    client: TestClient, station: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise StationError("the picture cannot be kept (No space left on device)")

    monkeypatch.setattr(station.pictures, "keep", full)
    (said,) = client.post(INSPECT, content=png(1)).json()["inspections"]
    assert "No space left" in said["trouble"]
    assert said["picture_kept"] is False
    assert client.get(f"/v1/inspections/{said['id']}").json()["verdict"] == said["verdict"]
    assert client.get(f"/v1/inspections/{said['id']}/picture").status_code == 404
