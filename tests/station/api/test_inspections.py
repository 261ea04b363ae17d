"""`/v1/inspections`: pages, filters, pictures, feedback."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from starlette.testclient import TestClient

from nfbmr.station.services import judge
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
    assert client.get("/v1/inspections?limit=0").status_code == 422


SAME = (
    "2026-11-27 04:27:16",
    "2026-11-27T04:27:16",
    "2026-11-27T04:27:16Z",
    "2026-11-27T04:27:16.000000+00:00",
    "2026-11-27 06:27:16+02:00",
    "2026-11-26T23:27:16-05:00",
)
NO_TIMES = (
    *("yesterday", "2026-99-99", "2026-02-30", "2026-11-27T25:00", "2026-11-27T", "2026-11"),
    *("2026-11-27-05:00", "2026-11-27T06:27:16 02:00", "0001-01-01T00:00+05:00", "20261127"),
)
LISTS = ("/v1/inspections", "/review/export.csv")


def found(client: TestClient, address: str, **times: str) -> int:
    """Counts the rows of a list."""
    answer = client.get(address, params={"label": "", **times})
    assert answer.status_code == 200, answer.text
    if address.startswith("/v1"):
        return len(answer.json()["inspections"])
    return len(answer.text.splitlines()) - 1


def test_a_moment_is_the_same_however_it_is_written(
    client: TestClient, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    for time in ("2026-11-27T04:27:15.999999+00:00", "2026-11-27T04:27:16.400000+00:00"):
        monkeypatch.setattr(judge, "now", lambda time=time: time)
        client.post(INSPECT, content=png(1))
    for address, said in product(LISTS, SAME):
        assert found(client, address, since=said) == 1, said
        assert found(client, address, until=said) == 1, said
    for address in LISTS:
        assert found(client, address, since="2026-11-27 05:27") == 0
        assert found(client, address, until="2026-11-27 05:27") == 2
        assert found(client, address, since="2026-11-27") == 2
        assert found(client, address, until="2026-11-27") == 0
        assert found(client, address, since="2026-11-27", until="2026-11-28") == 2


def test_a_misspelt_filter_is_refused_and_those_there_are_are_named(client: TestClient) -> None:
    for query in ("verdcit=defect", "="):
        answer = client.get(f"/v1/inspections?{query}")
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("unknown query parameter '")
        assert "verdict" in answer.json()["detail"]
    assert client.get("/v1/models?all=1").json()["detail"].endswith("'all'; expected: none")
    assert client.get("/v1/inspections?verdict=defect&limit=5").is_success
    assert client.get("/healthz?probe=1").is_success


def test_what_is_no_time_is_refused(client: TestClient) -> None:
    for address, said in product([*LISTS, "/review"], NO_TIMES):
        for name in ("since", "until"):
            answer = client.get(address, params={name: said})
            assert answer.status_code == 422
            assert answer.json()["detail"].startswith(f"{name}: found '{said}'")


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
