"""`/v1/learn`: what its answers are, and who may ask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from nfbmr.station.app import create_app
from nfbmr.station.auth import new_token
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import learnings

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]


def files(*pictures: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f"good-{n}.png", data)) for n, data in enumerate(pictures)]


def test_a_product_is_named_filled_and_deleted(client: TestClient, png: Encoded) -> None:
    made = client.post("/v1/learn", json={"name": "bottle"})
    assert made.status_code == 201
    one = made.json()
    assert (one["name"], one["preset"], one["state"], one["pictures"]) == (
        "bottle",
        "fast",
        "collecting",
        0,
    )
    place = f"/v1/learn/{one['id']}"
    raw = client.post(f"{place}/pictures", content=png(1))
    assert raw.status_code == 200
    assert raw.json()["pictures"][0]["name"] == "picture"
    several = client.post(f"{place}/pictures", files=files(png(2), b"x", png(1)))
    assert several.status_code == 207
    kept, broken, copy = several.json()["pictures"]
    assert kept["name"] == "good-0.png"
    assert (broken["name"], broken["status"]) == ("good-1.png", 422)
    assert "the same as 'picture'" in copy["error"]
    assert client.post(f"{place}/pictures", files=files(b"x")).status_code == 422
    assert client.get(place).json()["pictures"] == 2
    assert client.delete(f"{place}/pictures/{kept['id']}").status_code == 204
    assert [p["name"] for p in client.get(f"{place}/pictures").json()["pictures"]] == ["picture"]
    (listed,) = client.get("/v1/learn").json()["learnings"]
    assert (listed["id"], listed["pictures"]) == (one["id"], 1)
    too_few = client.post(f"{place}/start")
    assert too_few.status_code == 409
    assert "at least 10 are needed" in too_few.json()["detail"]
    assert client.post(f"{place}/cancel").status_code == 409
    assert client.post(f"{place}/line").status_code == 409
    assert client.delete(place).status_code == 204
    for gone in (client.get(place), client.post(f"{place}/pictures", content=png(1))):
        assert gone.status_code == 404
    kinds = [event["kind"] for event in client.get("/v1/events").json()["events"]]
    assert kinds == ["learn", *["good_picture"] * 3, "learn", "started", "model"]


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a b", "a/b", "ä", "x" * 101, "fitted"])
def test_names_that_no_model_can_have_are_refused(client: TestClient, name: str) -> None:
    assert client.post("/v1/learn", json={"name": name}).status_code in (409, 422)
    assert client.get("/v1/learn").json()["learnings"] == []


def test_how_far_it_is_is_told_while_it_is_learnt(station: Station, client: TestClient) -> None:
    station.learner.close()  # nobody looks whether there is such a process
    number = client.post("/v1/learn", json={"name": "bottle"}).json()["id"]
    said: dict[str, Any] = {
        "pid": 1,
        "state": "learning",
        "stage": "Learning good parts",
        "done": 3,
        "total": 200,
        "share": 0.5,
        "left": 20.0,
        "time": 0.0,
        "reason": "",
        "result": None,
    }
    since: tuple[learnings.State, ...] = ("collecting",)
    station.store.write(learnings.move, number, since, "learning", progress=said).result()
    found = client.get(f"/v1/learn/{number}").json()
    assert found["progress"]["stage"] == "Learning good parts"
    assert (found["progress"]["left"], found["progress"]["share"]) == (20.0, 0.5)


def test_reviewers_collect_and_admins_start(
    settings: Settings, png: Encoded, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    given = {
        scope: {"Authorization": f"Bearer {new_token(file, scope, scope)}"}
        for scope in ("review", "admin")
    }
    with Station(settings(token_file=file)) as station:
        client = TestClient(create_app(station), base_url="http://station.example")
        made = client.post("/v1/learn", json={"name": "bottle"}, headers=given["review"])
        place = f"/v1/learn/{made.json()['id']}"
        picture = client.post(f"{place}/pictures", content=png(1), headers=given["review"])
        assert picture.json()["pictures"][0]["actor"] == "review"
        assert client.post(f"{place}/start", headers=given["review"]).status_code == 403
        assert client.post(f"{place}/start", headers=given["admin"]).status_code == 409
        number = made.json()["id"]
        station.store.write(learnings.move, number, ("collecting",), "failed").result()
        assert client.delete(place, headers=given["review"]).status_code == 403
        one = f"{place}/pictures/{picture.json()['pictures'][0]['id']}"
        refused = client.delete(one, headers=given["review"])
        assert refused.status_code == 403
        assert "or pictures of it, needs the scope admin" in refused.json()["detail"]
        assert client.get(place, headers=given["review"]).json()["pictures"] == 1
        assert client.delete(one, headers=given["admin"]).status_code == 204
        assert client.delete(place, headers=given["admin"]).status_code == 204
