"""Webhooks of the station: at least once, by one id, the oldest first, and never in the way."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import httpx2
import pytest
from starlette.testclient import TestClient

from nfbmr.errors import SettingsError
from nfbmr.inspection.webhook import signature
from nfbmr.station.app import create_app
from nfbmr.station.outputs import outbox
from nfbmr.station.outputs.outbox import Outputs
from nfbmr.station.outputs.webhook import Webhook
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]
Until = Callable[[Callable[[], object]], None]

INSPECT = "/v1/models/fitted/inspect"


class Hears(Protocol):
    """The server of the fixture `receiver`."""

    answers: list[int]
    usual: int
    elsewhere: str
    poison: dict[int, int]
    slow: Any
    heard: list[dict[str, Any]]
    headers: list[Any]
    url: str
    numbers: Callable[[], list[int]]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfbmr.station.station.Outputs", partial(Outputs, first_pause=0.01))


def send(station: Station, *pictures: bytes) -> list[dict[str, Any]]:
    client = TestClient(create_app(station), base_url="http://127.0.0.1")
    found = [client.post(INSPECT, content=picture) for picture in pictures]
    assert {answer.status_code for answer in found} == {200}
    return [answer.json()["inspections"][0] for answer in found]


def state_of(station: Station) -> dict[str, Any]:
    client = TestClient(create_app(station), base_url="http://127.0.0.1")
    (state,) = client.get("/v1/outputs").json()["outputs"]
    assert isinstance(state, dict)
    return state


def test_verdicts_arrive_signed_as_they_are_recorded(
    settings: Settings, png: Encoded, receiver: Hears, until: Until
) -> None:
    made = settings(webhook=receiver.url, webhook_secret="s", outputs="all")
    with Station(made) as station:
        rows = send(station, png(1), png(2, defect=True))
        until(lambda: state_of(station)["waiting"] == 0)
        state = state_of(station)
    assert receiver.numbers() == [1, 2]
    for row, heard, headers in zip(rows, receiver.heard, receiver.headers, strict=True):
        said = heard["inspection"]
        assert {name: row[name] for name in said} == said
        assert headers["X-Nfbmr-Id"] == heard["id"]
        assert headers["X-Nfbmr-Signature"].startswith("sha256=")
    assert state["delivered_at"] is not None
    assert (state["failing"], state["error"]) == (False, "")
    assert state["address"] == f"{receiver.url.rpartition('/')[0]}/..."


def test_address_and_secret_come_from_files_and_are_not_shown(
    settings: Settings, png: Encoded, receiver: Hears, until: Until, tmp_path: Path
) -> None:
    address, secret = tmp_path / "address", tmp_path / "secret"
    address.write_text(f"{receiver.url}/hidden?key=hidden\n")
    secret.write_text("of both\n")
    with Station(settings(webhook_file=address, webhook_secret_file=secret)) as station:
        send(station, png(1, defect=True))
        until(lambda: state_of(station)["waiting"] == 0)
        assert state_of(station)["address"] == f"{receiver.url.rpartition('/')[0]}/..."
    (headers,) = receiver.headers
    body = json.dumps(receiver.heard[0]).encode()
    assert headers["X-Nfbmr-Signature"] == signature(body, "of both")
    secret.write_text("of\nboth\n")
    with pytest.raises(SettingsError, match=r"--webhook-secret-file .*: one line .* found 2 lines"):
        Station(settings(webhook_file=address, webhook_secret_file=secret))
    with pytest.raises(SettingsError, match=r"--webhook-file .* cannot be read"):
        Station(settings(webhook_file=tmp_path / "none"))
    with pytest.raises(SettingsError, match="webhook_secret and webhook_secret_file: found both"):
        settings(webhook_secret="of both", webhook_secret_file=secret)


def test_defects_alone_are_told_unless_all_is_asked_for(
    settings: Settings, png: Encoded, receiver: Hears, until: Until
) -> None:
    with Station(settings(webhook=receiver.url)) as station:
        rows = send(station, png(100), png(2, defect=True))
        assert [row["verdict"] for row in rows] == ["good", "defect"]
        until(lambda: receiver.heard)
    assert receiver.numbers() == [2]


def test_a_receiver_that_fails_gets_the_same_again_and_no_one_else_does(
    settings: Settings, png: Encoded, receiver: Hears, another: Hears, until: Until
) -> None:
    receiver.answers, receiver.elsewhere = [503, 302, 500], another.url
    with Station(settings(webhook=receiver.url)) as station:
        send(station, png(1, defect=True))
        until(lambda: len(receiver.heard) == 4)
        until(lambda: state_of(station)["waiting"] == 0)
        state = state_of(station)
    assert len({one["id"] for one in receiver.heard}) == 1
    assert another.heard == []
    assert (state["failing"], state["error"]) == (False, "answered 503")


def test_a_slow_receiver_holds_up_no_verdict_and_is_tried_again(
    settings: Settings,
    png: Encoded,
    receiver: Hears,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver.slow = threading.Event()
    hooks: list[Webhook] = []

    def hook(url: str, secret: str | None) -> Webhook:
        hooks.append(Webhook(url, secret, seconds=0.05))
        return hooks[-1]

    monkeypatch.setattr(outbox, "Webhook", hook)
    with Station(settings(webhook=receiver.url)) as station:
        send(station, png(1, defect=True), png(2, defect=True))
        until(lambda: len(receiver.heard) >= 2)
        assert receiver.numbers()[:2] == [1, 1], "the oldest first"
        until(lambda: state_of(station)["failing"])
        hooks[0]._post._seconds = 60.0
        receiver.slow.set()
        until(lambda: state_of(station)["waiting"] == 0)
    assert set(receiver.numbers()) == {1, 2}


@pytest.mark.parametrize(("answer", "why"), [(404, "answered 404"), (0, "without response")])
def test_a_message_that_is_never_taken_is_set_aside_and_seen_while_the_others_pass(
    settings: Settings,
    png: Encoded,
    receiver: Hears,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
    answer: int,
    why: str,
) -> None:
    monkeypatch.setattr("nfbmr.inspection.courier.MOST_TRIES", 2)
    receiver.poison = {1: answer}
    with Station(settings(webhook=receiver.url)) as station:
        client = TestClient(create_app(station), base_url="http://127.0.0.1")
        send(station, png(1, defect=True))
        until(lambda: len(receiver.heard) > 2)
        count = 1
        while not state_of(station)["refused"]:
            count += 1
            send(station, png(count, defect=True))
        until(lambda: state_of(station)["waiting"] == 0)
        assert 'nfbmr_output_refused{output="webhook"} 1' in client.get("/metrics").text
        assert "1 set aside" in client.get("/line/lights").text
        state = state_of(station)
    assert (state["refused"], state["given_up"]) == (1, 0)
    assert why in state["error"]
    assert "2 times while it took others" in state["error"]
    others = [number for number in receiver.numbers() if number != 1]
    assert others == list(range(2, count + 1)), "each once, in their order"
    receiver.poison = {}
    with Station(settings(webhook=receiver.url)) as station:
        until(lambda: state_of(station)["refused"] == state_of(station)["waiting"] == 0)
    assert receiver.numbers()[-1] == 1, "the next start tries it again"


def test_too_much_that_waits_is_said_loudly_until_somebody_takes_it(
    settings: Settings, png: Encoded, receiver: Hears, until: Until
) -> None:
    receiver.usual = 503
    with Station(settings(webhook=receiver.url, outbox_most=2)) as station:
        client = TestClient(create_app(station), base_url="http://127.0.0.1")
        send(station, *(png(seed, defect=True) for seed in range(3)))
        station.outputs.trim()
        assert "1 message was given up: more than 2 waited" in client.get("/review").text
        assert client.get("/readyz").json()["notes"] == ["output webhook is in trouble, 2 wait"]
        text = client.get("/metrics").text
        assert 'nfbmr_output_given_up{output="webhook"} 1' in text
        assert 'nfbmr_output_waiting{output="webhook"} 2' in text
        assert 'nfbmr_output_alive{output="webhook"} 0' in text
        receiver.usual = 200
        until(lambda: state_of(station)["waiting"] == 0)
        until(lambda: "given up" not in client.get("/review").text)
        assert state_of(station)["given_up"] == 1
    assert set(receiver.numbers()[-2:]) == {2, 3}


def test_an_address_without_sense_ends_the_start(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="http:// or https:// address was expected"):
        Station(settings(webhook="ftp://x/"))
    with pytest.raises(SettingsError, match="outputs some"):
        settings(outputs="some")
    assert "hidden" not in repr(settings(webhook="http://u:hidden@h/", webhook_secret="hidden"))


def test_what_a_kill_leaves_is_told_by_the_next_start_with_the_same_id(
    model: Path,
    settings: Settings,
    png: Encoded,
    receiver: Hears,
    until: Until,
    serving: Callable[..., Any],
) -> None:
    receiver.usual = 503
    made = settings()
    words = ["--database", made.database, "--pictures", made.pictures, "--runtime", "torch"]
    words += ["--webhook", receiver.url, "--outputs", "all"]
    with serving(model, *words) as (process, address):
        for seed in range(4):
            answer = httpx2.post(f"{address}{INSPECT}", content=png(seed), timeout=60)
            assert answer.status_code == 200
        until(lambda: receiver.heard)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {one["inspection"]["id"]: one["id"] for one in receiver.heard}
    receiver.heard.clear()
    receiver.usual = 200
    with Station(settings(webhook=receiver.url, outputs="all")) as station:
        until(lambda: state_of(station)["waiting"] == 0)
    assert receiver.numbers() == [1, 2, 3, 4]
    after = {one["inspection"]["id"]: one["id"] for one in receiver.heard}
    assert before
    assert before.items() <= after.items()
