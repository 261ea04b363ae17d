"""The guard: who is asked before a body is read, how much is read, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from nfbmr.station.app import create_app
from nfbmr.station.auth import Scope, new_token
from nfbmr.station.security import SMALL_BODY
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]

INSPECT = "/v1/models/fitted/inspect"
FEEDBACK = "/v1/inspections/1/feedback"


@pytest.fixture
def shown(tmp_path: Path) -> dict[str, str]:
    """Shows an admin's token."""
    secret = new_token(tmp_path / "tokens", "ann", "admin")
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def app(settings: Settings, tmp_path: Path, shown: dict[str, str]) -> Iterator[FastAPI]:
    """Of a station that demands tokens."""
    assert shown
    with Station(settings(token_file=tmp_path / "tokens", seconds=0.05)) as station:
        yield create_app(station)


async def unread(app: FastAPI, path: str, headers: dict[str, str]) -> int:
    """The status of the answer to a request whose body is never sent."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("station.example", 80),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    await app(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize("path", [INSPECT, FEEDBACK, "/inspect/picture", "/threshold/save"])
def test_a_token_is_asked_for_before_a_body_is_read(app: FastAPI, path: str) -> None:
    length = {"Content-Length": "1000", "Content-Type": "application/json"}
    assert asyncio.run(unread(app, path, length)) == 401
    assert asyncio.run(unread(app, path, length | {"Authorization": "Bearer wrong"})) == 401


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ("inspect", FEEDBACK),
        ("review", "/v1/models/fitted/threshold"),
        ("review", "/models/version"),
        ("inspect", "/line/1/label"),
    ],
)
def test_a_scope_that_does_not_suffice_is_said_before_a_body_is_read(
    app: FastAPI, tmp_path: Path, scope: Scope, path: str
) -> None:
    secret = new_token(tmp_path / "tokens", "bob", scope)
    length = {"Content-Length": "1000", "Content-Type": "application/json"}
    asked = unread(app, path, length | {"Authorization": f"Bearer {secret}"})
    assert asyncio.run(asked) == 403


@pytest.mark.parametrize("path", [INSPECT, FEEDBACK, "/login"])
def test_a_body_that_does_not_arrive_is_given_up(
    app: FastAPI, shown: dict[str, str], path: str
) -> None:
    form = {"Content-Length": "1000", "Content-Type": "application/x-www-form-urlencoded"}
    assert asyncio.run(unread(app, path, form | shown)) == 503


def test_only_routes_of_pictures_take_large_bodies(app: FastAPI, shown: dict[str, str]) -> None:
    client = TestClient(app, base_url="http://station.example")
    large: dict[str, Any] = {"label": "good", "note": "x" * SMALL_BODY}
    assert client.post(FEEDBACK, json=large).status_code == 401
    answer = client.post(FEEDBACK, json=large, headers=shown)
    assert answer.status_code == 413
    assert "at most 0.064 megabytes" in answer.json()["detail"]
    pieces = iter([b"x" * (SMALL_BODY // 2)] * 3)
    json = {"Content-Type": "application/json"}
    assert client.post(FEEDBACK, content=pieces, headers=shown | json).status_code == 413
    assert client.post("/login", content=b"x" * (SMALL_BODY + 1)).status_code == 413
    picture = client.post(INSPECT, content=b"x" * (SMALL_BODY + 1), headers=shown)
    assert picture.status_code == 422


@pytest.mark.parametrize("text", ["a\x00b", "\x1b[2J", "two\nlines", "\x9b", "\u202eabc"])
def test_free_text_steers_nothing(client: TestClient, png: Encoded, text: str) -> None:
    client.post(INSPECT, content=png(1))
    assert client.post(FEEDBACK, json={"label": "good", "note": text}).status_code == 422
    for name in ("model", "part_id", "source"):
        assert client.get("/v1/inspections", params={name: text}).status_code == 422
    assert client.get("/review", params={"part_id": text}).status_code == 422
    assert client.get("/", params={"model": text}).status_code == 422
    assert client.post(INSPECT, params={"part_id": text}, content=png(1)).status_code == 422
    said = {"false_alarm_rate": 0.01, "look_rate": 0.05, "reason": text}
    assert client.post("/v1/models/fitted/threshold", json=said).status_code == 422
    plain = {"label": "good", "note": "größer, 大きい, ok"}
    assert client.post(FEEDBACK, json=plain).json()["note"] == plain["note"]
