"""`POST /v1/models/{name}/inspect`: what is answered, and that the row was there before."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.requests import Request
from starlette.testclient import TestClient

from nfbmr.errors import StationError
from nfbmr.inspection.inspector import Inspector
from nfbmr.station import intake
from nfbmr.station.auth import LOCAL
from nfbmr.station.services.judge import Answer, Given, LateError
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
    assert answer.status_code == 207
    first, second, third = answer.json()["inspections"]
    assert (first["name"], first["verdict"]) == ("a.png", "good")
    assert (second["name"], second["verdict"]) == ("b.png", "defect")
    assert third["name"] == "c.png"
    assert "expected a JPEG, PNG" in third["error"]
    assert (third["status"], third["unrecorded"]) == (422, None)
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
    assert not [path for path in station.pictures.folder.glob("????/**/*") if path.is_file()]


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
    assert not [path for path in station.pictures.folder.glob("????/**/*") if path.is_file()]


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


def sent(*pictures: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("files", (f"{n}.png", data, "image/png")) for n, data in enumerate(pictures)]


FAILURES = [
    (LateError("no verdict within 30 s"), 503, "no verdict within"),
    (StationError("the network failed"), 503, "the network failed"),
    (OSError(28, "No space left on device"), 507, "No space left"),
    (ZeroDivisionError("a secret"), 500, "its log says where"),
]


@pytest.mark.parametrize(("error", "status", "said"), FAILURES)
def test_one_failure_among_several_takes_no_verdict_away(
    client: TestClient,
    station: Station,
    png: Encoded,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    said: str,
) -> None:
    inspect = station.judge.inspect

    async def failing(given: Given) -> Answer:
        if given.name == "1.png":
            raise error
        return await inspect(given)

    monkeypatch.setattr(station.judge, "inspect", failing)
    answer = client.post(INSPECT, files=sent(png(1), png(2), png(3), b"no picture"))
    assert answer.status_code == 207
    first, second, third, fourth = answer.json()["inspections"]
    assert {first["id"], third["id"]} == {1, 2}
    assert (second["name"], second["status"], second["unrecorded"]) == ("1.png", status, None)
    assert said in second["error"]
    assert fourth["status"] == 422


def test_unrecorded_verdicts_of_several_are_each_in_their_place(
    client: TestClient, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StationError("database or disk is full")

    monkeypatch.setattr(queries, "record", full)
    answer = client.post(INSPECT, files=sent(png(100), png(1, defect=True)))
    assert answer.status_code == 207
    outcomes = answer.json()["inspections"]
    assert [one["status"] for one in outcomes] == [507, 507]
    assert [one["unrecorded"]["verdict"] for one in outcomes] == ["good", "defect"]


def test_several_without_any_verdict_are_one_error(
    client: TestClient, station: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client.post(INSPECT, files=sent(b"no picture", b"nor this"))
    assert answer.status_code == 422
    assert answer.json()["detail"].count("another kind of content") == 2

    async def late(given: Given) -> Answer:
        raise LateError(f"{given.name} is late")

    monkeypatch.setattr(station.judge, "inspect", late)
    answer = client.post(INSPECT, files=sent(png(1), png(2)))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_nothing_is_read_back_once_a_verdict_is_recorded(
    client: TestClient, station: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"X-Form-Key": station.sessions.form_key(LOCAL)}

    def failing(*_: object, **__: object) -> None:
        raise StationError("the database cannot be read")

    monkeypatch.setattr(station.store, "read", failing)
    answer = client.post(f"{INSPECT}?heatmap=true", content=png(1, defect=True))
    assert answer.status_code == 200
    assert answer.json()["inspections"][0]["heatmap_png"]
    form = {"model": "fitted", "part_id": "A-1"}
    page = client.post("/inspect/picture", data=form, files=sent(png(2)), headers=key)
    assert page.status_code == 200
    assert "part A-1" in page.text


def test_a_body_that_arrives_takes_no_place_of_what_is_judged(
    client: TestClient, station: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    read = intake._read

    async def looked(request: Request, most: int) -> intake.Taken:
        seen.append((station.judge.gate.inside, station.arriving.bytes_inside))
        return await read(request, most)

    monkeypatch.setattr(intake, "_read", looked)
    assert client.post(INSPECT, content=png(1)).status_code == 200
    assert seen == [(0, len(png(1)))]
    assert station.arriving.inside == station.judge.gate.inside == 0
    with station.arriving.passed(station.arriving.most_bytes):
        answer = client.post(INSPECT, content=png(1))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "too much arrives" in answer.json()["detail"]


def test_what_is_sent_again_is_judged_once(
    client: TestClient, station: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Idempotency-Key": "part-17/try"}
    first = client.post(f"{INSPECT}?heatmap=true", content=png(1, defect=True), headers=key)
    (loaded,) = station.pool.all()
    with monkeypatch.context() as patch:
        patch.setattr(loaded.batcher, "submit", lambda _: pytest.fail("it was judged again"))
        again = client.post(f"{INSPECT}?heatmap=true", content=png(1, defect=True), headers=key)
        assert again.status_code == 200
        assert again.json() == first.json()
        other = client.post(INSPECT, content=png(2), headers=key)
        assert other.status_code == 422
        assert "was used for another picture (inspection 1)" in other.json()["detail"]
        part = client.post(f"{INSPECT}?part_id=B", content=png(1, defect=True), headers=key)
        assert part.status_code == 422
        assert "was used for another part (inspection 1)" in part.json()["detail"]
    files = [("files", (f"{n}.png", png(n), "image/png")) for n in range(3)]
    broken = [*files[:2], ("files", ("2.png", b"no picture", "image/png"))]
    several = {"Idempotency-Key": "three"}
    assert client.post(INSPECT, files=broken, headers=several).status_code == 207
    mended = client.post(INSPECT, files=files, headers=several).json()["inspections"]
    assert sorted(one["id"] for one in mended) == [2, 3, 4]
    assert len(client.get("/v1/inspections").json()["inspections"]) == 4
    assert len(list(station.pictures.folder.glob("????/**/*.png"))) == 4
    assert client.post(INSPECT, content=png(1, defect=True)).json() != first.json()
    for wrong in ("", "two words", "x" * 201):
        answer = client.post(INSPECT, content=png(1), headers={"Idempotency-Key": wrong})
        assert answer.status_code == 422


def test_a_request_that_comes_twice_at_once_has_one_row(station: Station, png: Encoded) -> None:
    given = Given(data=png(1), model="fitted", request="a" * 64)

    async def twice() -> list[Answer]:
        return list(await asyncio.gather(*(station.judge.inspect(given) for _ in range(2))))

    first, second = asyncio.run(twice())
    assert first.recorded == second.recorded
    assert sorted((first.again, second.again)) == [False, True]
    assert len(list(station.pictures.folder.glob("????/**/*.png"))) == 1


def test_what_comes_twice_at_once_for_two_parts_is_refused_once(
    station: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise StationError("the disk is full")

    monkeypatch.setattr(station.pictures, "keep", full)  # so no row can be told by its file
    given = Given(data=png(1), model="fitted", request="a" * 64, part_id="A")

    async def twice() -> list[Answer | BaseException]:
        asked = (station.judge.inspect(replace(given, part_id=part)) for part in ("A", "B"))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    answers = asyncio.run(twice())
    assert sorted(type(one).__name__ for one in answers) == ["Answer", "PictureError"]
