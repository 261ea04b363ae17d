"""`/v1/inspections`: pages, filters, pictures, feedback."""

from __future__ import annotations

from collections.abc import Callable

from starlette.testclient import TestClient

from nfbmr.station.station import Station
from nfbmr.station.store import queries

Encoded = Callable[..., bytes]

INSPECT = "/v1/models/fitted/inspect"


def ids(answer: dict[str, list[dict[str, int]]]) -> list[int]:
    return [row["id"] for row in answer["inspections"]]


def test_pages_follow_one_another_without_gap(client: TestClient, png: Encoded) -> None:
    for number in range(5):
        client.post(f"{INSPECT}?part_id=P{number}", content=png(number))
    first = client.get("/v1/inspections?limit=2").json()
    second = client.get(f"/v1/inspections?limit=2&before={first['next']}").json()
    last = client.get(f"/v1/inspections?limit=2&before={second['next']}").json()
    assert ids(first) + ids(second) + ids(last) == [5, 4, 3, 2, 1]
    assert last["next"] is None


def test_filters_find_what_they_say(client: TestClient, png: Encoded) -> None:
    client.post(f"{INSPECT}?part_id=L1%25x", content=png(100))
    client.post(f"{INSPECT}?part_id=L1-22", content=png(2, defect=True))
    client.post("/v1/inspections/2/feedback", json={"label": "good", "note": "a reflection"})
    for asked, expected in {
        "verdict=defect": [2],
        "verdict=good": [1],
        "label=none": [1],
        "label=good": [2],
        "label=any": [2],
        "part_id=L1-22": [2],
        "part_id=L1%25": [1],
        "part_id=L1": [2, 1],
        "model=fitted": [2, 1],
        "model=other": [],
        "source=page": [],
        "since=2000-01-01": [2, 1],
        "until=2000-01-01": [],
    }.items():
        assert ids(client.get(f"/v1/inspections?{asked}").json()) == expected, asked
    assert client.get("/v1/inspections?since=yesterday").status_code == 422
    assert client.get("/v1/inspections?limit=0").status_code == 422


def test_the_picture_is_the_file_that_was_sent(client: TestClient, png: Encoded) -> None:
    data = png(1, form="TIFF")
    client.post(INSPECT, content=data)
    answer = client.get("/v1/inspections/1/picture")
    assert answer.content == data
    assert answer.headers["content-type"] == "image/tiff"
    assert client.get("/v1/inspections/2/picture").status_code == 404


def test_feedback_is_on_the_row_and_an_event_with_what_was_before(
    client: TestClient, station: Station, png: Encoded
) -> None:
    client.post(INSPECT, content=png(1, defect=True))
    client.post("/v1/inspections/1/feedback", json={"label": "defect"})
    said = client.post("/v1/inspections/1/feedback", json={"label": "good", "note": "dust"}).json()
    assert (said["label"], said["note"], said["labelled_by"]) == ("good", "dust", "local")
    newest, before = station.store.read(queries.events, kinds=("feedback",))
    assert newest.old == {"label": "defect", "note": ""}
    assert newest.new == {"label": "good", "note": "dust"}
    assert newest.previous == before.hash
    taken_back = client.post("/v1/inspections/1/feedback", json={"label": None}).json()
    assert (taken_back["label"], taken_back["labelled_at"]) == (None, None)
    assert client.post("/v1/inspections/9/feedback", json={"label": None}).status_code == 404
