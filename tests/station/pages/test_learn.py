"""The page *Learn*, in each of its states."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient

from nfbmr.station.app import create_app
from nfbmr.station.audit import Change
from nfbmr.station.pages.words import time_left
from nfbmr.station.station import Station
from nfbmr.station.store import learnings

Encoded = Callable[..., bytes]


@pytest.fixture
def user(client: TestClient, station: Station) -> TestClient:
    """Asks as the page does a station whose learner does nothing."""
    station.learner.close()
    key = re.search(r'data-form-key="(\w+)"', client.get("/learn").text)
    assert key is not None
    client.headers["X-Form-Key"] = key[1]
    return client


@pytest.fixture
def number(user: TestClient, png: Encoded) -> int:
    """A product with two pictures."""
    answer = user.post("/learn", data={"name": "bottle"})
    place = answer.headers["HX-Redirect"]
    for seed in range(2):
        sent = {"files": (f"good <{seed}>.png", png(seed))}
        assert user.post(f"{place}/picture", files=sent).status_code == 204
    return int(place.rpartition("/")[2])


def bring(station: Station, number: int, to: learnings.State, **values: object) -> None:
    since = (station.learn.shown(number).learning.state,)
    station.store.write(learnings.move, number, since, to, None, **values).result()


def part(user: TestClient, number: int) -> str:
    return unescape(user.get(f"/learn/{number}/part").text)


def test_it_is_named_and_filled(user: TestClient, number: int, png: Encoded) -> None:
    page = user.get(f"/learn/{number}").text
    assert "good &lt;0&gt;.png" in page
    assert "at least 10 are needed" in page
    assert page.count('aria-current="page"') == 1
    assert re.search(r"<button[^>]*disabled[^>]*>Start learning", page)
    pictures = re.findall(rf'"(/learn/{number}/picture/\d+)"', page)
    assert len(pictures) == 2
    shown = user.get(pictures[0])
    assert shown.headers["content-type"] == "image/jpeg"
    assert user.get(pictures[0].replace("picture", "heat")).headers["content-type"] == "image/png"
    refused = user.post(f"/learn/{number}/picture", files={"files": ("x.png", png(1))})
    assert refused.status_code == 422
    assert "the same as 'good <1>.png'" in refused.json()["detail"]
    less = user.post(f"{pictures[0]}/delete").text
    assert "good &lt;0&gt;.png" not in less
    listed = user.get("/learn").text
    assert f'href="/learn/{number}"' in listed
    assert user.post(f"/learn/{number}/delete").headers["HX-Redirect"] == "/learn"
    assert user.get(f"/learn/{number}").status_code == 404


def test_what_is_known_is_not_sent_again(user: TestClient, number: int, png: Encoded) -> None:
    known = re.search(r"part\?known=(\w+)", part(user, number))
    assert known is not None
    again = f"/learn/{number}/part?known={known[1]}"
    assert user.get(again).status_code == 204
    user.post(f"/learn/{number}/picture", files={"files": ("more.png", png(5))})
    assert "more.png" in user.get(again).text


def test_stage_progress_and_time_left_are_shown(
    user: TestClient, station: Station, number: int
) -> None:
    said: dict[str, Any] = {"stage": "Learning good parts", "done": 3, "total": 200, "share": 0.5}
    said |= {"left": 400.0, "time": time.time() - 100}
    bring(station, number, "waiting")
    assert "Waiting for its turn" in part(user, number)
    bring(station, number, "learning", progress=said, starts=2)
    text = part(user, number)
    assert "Learning good parts <small>3 of 200</small>" in text
    assert "About 5 min left." in text
    assert 'value="0.5"' in text
    assert "It was interrupted and went on, 1 time." in text
    cancelled = unescape(user.post(f"/learn/{number}/cancel").text)
    assert "Being stopped" in cancelled
    assert "data-busy" in cancelled
    bring(station, number, "failed", trouble="the disk is <full>")
    text = part(user, number)
    assert "Nothing was learnt" in text
    assert "the disk is <full>" in text
    assert "Start again" in text


RESULT: dict[str, Any] = {
    "seconds": 61.2,
    "trained": 19,
    "held_out": 6,
    "everyone": True,
    "size": [64, 64],
    "scores": [-0.5, 0.1, 0.2, 0.9],
    "threshold": 1.0,
    "look_threshold": 0.8,
    "false_alarm_rate": 0.01,
    "look_rate": 0.05,
    "expected_rate": 0.2,
    "interval": [0.0, 0.4],
    "extrapolated": True,
    "sentences": ["In a sentence."],
    "warnings": ["A warning."],
    "runtime": "torch",
}


def test_what_was_learnt_is_shown(
    user: TestClient, station: Station, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = station.learn.shown(number).pictures
    odd = [
        {"picture": first.pixels, "score": 1.7, "without": 0.6},
        {"picture": "0" * 64, "score": 1.6, "without": 0.7},
    ]
    heats = [{"kind": "typical", "pixels": second.pixels, "score": 0.1}]
    bring(station, number, "learning")
    change = Change(kind="learn", subject="bottle", actor="station")
    done = RESULT | {"odd": odd, "heats": heats}
    station.store.write(learnings.finish, number, done, {}, change).result()
    text = part(user, number)
    assert "Learnt in 61 s from 25 good pictures" in re.sub(r"</?strong>", "", text)
    assert "19 trained the networks, 6 were held out; each is judged without itself" in text
    assert "extrapolated" in text
    assert "good <0>.png</td><td>1.70</td><td>0.60</td>" in text
    assert "taken out since" in text
    assert "In a sentence." in text
    assert "A warning." in text
    assert "Put on the line" in text
    assert f"/learn/{number}/heat/{second.id}" in text
    bring(station, number, "learnt", placed="2026-01-02T03:04:05+00:00")
    text = part(user, number)
    assert "is not there any more: no model bottle is there now" in text
    assert "Put on the line" in text
    monkeypatch.setattr(station.learn, "is_on_line", lambda _: True)
    assert 'href="/inspect?model=bottle"' in part(user, number)


def test_an_empty_station_leads_here(settings: Callable[..., Any], user: TestClient) -> None:
    usual = settings()
    places = {"pictures": usual.pictures / "2", "learning": usual.pictures / "2" / "learning"}
    with Station(settings(models=(), database=f"{usual.database}2", **places)) as empty:
        client = TestClient(create_app(empty), base_url="http://127.0.0.1")
        for page in ("/", "/inspect", "/threshold"):
            assert '<a href="/learn">Learn one</a>' in client.get(page).text
    assert "Learn one" not in user.get("/").text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "a few seconds left"),
        (42.0, "about 40 s left"),
        (130.0, "about 2 min left"),
        (7200.0, "about 2.0 h left"),
    ],
)
def test_the_time_left_is_said_in_words(seconds: float, said: str) -> None:
    assert time_left(seconds) == said
