"""Errors as answers, in JSON and as a page; how the server is started."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape

import pytest
import uvicorn
from starlette.testclient import TestClient

from nfbmr.errors import BundleError, SettingsError, StationError
from nfbmr.station.app import create_app, serve
from nfbmr.station.connections import Watched
from nfbmr.station.engine.gate import BusyError
from nfbmr.station.services.judge import LateError, PictureError
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store.writer import StoreError

HTML = {"Accept": "text/html"}

PROBLEMS = [
    (StoreError("the disk is full"), 507, None),
    (OSError(28, "No space left on device"), 507, None),
    (BusyError("come again", 7), 503, "7"),
    (LateError("too late"), 503, "1"),
    (StationError("the network failed"), 503, "1"),
    (BundleError("no model"), 409, None),
    (SettingsError("out of range"), 422, None),
    (PictureError("no picture"), 422, None),
    (ZeroDivisionError("a secret"), 500, None),
]


@pytest.mark.parametrize(("error", "status", "again"), PROBLEMS)
def test_each_error_has_its_status(
    station: Station,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    again: str | None,
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    app = create_app(station)
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    monkeypatch.setattr(station.store, "read", failing)
    answer = client.get("/v1/inspections")
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == again
    said = answer.json()["detail"]
    assert said
    assert "secret" not in said
    page = client.get("/", headers=HTML)
    assert page.status_code == status
    assert page.headers.get("retry-after") == again
    assert page.headers["content-type"].startswith("text/html")
    assert said in unescape(page.text)


def test_what_is_not_as_expected_is_a_page_in_a_browser(client: TestClient) -> None:
    page = client.get("/review?after=x", headers=HTML)
    assert page.status_code == 422
    assert "That did not work" in page.text
    assert "after: " in page.text
    assert "after: " in client.get("/review?after=x").json()["detail"]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("x", "application/json", "body: found no JSON (Expecting value, at letter 0); expected"),
        ('{"reason": ', "application/json", "body: found no JSON (Expecting value, at letter 11)"),
        ("[1]", "application/json", "body: found [1]; expected a JSON object"),
        ("", "application/json", "body: Field required"),
        ("x", "text/plain", "body: found text; expected a JSON object"),
        ("{}", "application/json", "false_alarm_rate: Field required"),
    ],
)
def test_a_body_that_is_no_json_object_is_said(
    client: TestClient, body: str, kind: str, said: str
) -> None:
    answer = client.post(
        "/v1/models/fitted/threshold", content=body, headers={"Content-Type": kind}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(said)


def test_a_station_that_is_not_ready_says_when_to_ask_again(
    client: TestClient, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "retry-after" not in client.get("/readyz").headers
    monkeypatch.setattr(station.pool, "all", list)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


def test_the_server_limits_its_connections(
    settings: Callable[..., StationSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[uvicorn.Config] = []

    def run(server: uvicorn.Server, sockets: object) -> None:
        assert sockets
        started.append(server.config)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    with Station(settings(port=0)) as station:
        serve(station)
    (config,) = started
    assert config.limit_concurrency is not None
    assert 64 <= config.limit_concurrency < 1024
    assert isinstance(config.http, type)
    assert issubclass(config.http, Watched)
    assert 2 * config.backlog < config.limit_concurrency
