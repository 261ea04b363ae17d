"""The outbox: written with what it tells of, in order, for each output; bounded, with an event."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from sqlalchemy import Connection

from nfbmr.station.api.forms import Verdict
from nfbmr.station.audit import Change
from nfbmr.station.store import outputs, queries, sources
from nfbmr.station.store.database import Store
from nfbmr.station.store.outputs import Wanted
from nfbmr.station.store.queries import Inspected
from nfbmr.station.store.writer import StoreError

HASH = "c" * 64
BOTH = (
    Wanted(name="mqtt", tells="defect", address="mqtt://h/t"),
    Wanted(name="webhook", tells="all", address="http://h/"),
)


def inspected(verdict: Literal["good", "look", "defect"], **changes: Any) -> Inspected:
    usual: dict[str, Any] = {
        "time": "2026-01-02T03:04:05.000006+00:00",
        "model": "m",
        "product": "p",
        "part_id": "A-1",
        "source": "rest",
        "actor": "local",
        "name": "a.png",
        "picture": "a" * 64,
        "file": "f",
        "bytes": 10,
        "height": 8,
        "width": 9,
        "bundle": "b" * 64,
        "calibration": HASH,
        "runtime": "torch",
        "threshold": 1.0,
        "look_threshold": 0.75,
        "score": 0.1 + 0.2,
        "p_value": 1 / 3,
        "verdict": verdict,
        "regions": [],
        "milliseconds": 1.5,
    }
    return Inspected(**(usual | changes))


@pytest.fixture
def told(store: Store) -> Store:
    """A record with two outputs."""
    store.write(queries.keep_calibration, HASH, "{}").result()
    store.write(outputs.configure, BOTH).result()
    return store


def bodies(store: Store, name: str) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in store.read(outputs.waiting, name)]


def test_each_output_is_told_what_it_wants_in_the_order_of_the_record(told: Store) -> None:
    for verdict in ("good", "defect", "look"):
        told.write(queries.record, inspected(verdict), None).result()
    change = Change(kind="threshold", subject="m", actor="ann", new={"threshold": 2.0})
    told.write(queries.append, change).result()
    told.write(queries.label, 1, "good", "", "ann").result()
    everything, defects = bodies(told, "webhook"), bodies(told, "mqtt")
    assert [one["kind"] for one in everything] == [*["inspection"] * 3, "event"]
    assert [one["inspection"]["verdict"] for one in everything[:3]] == ["good", "defect", "look"]
    assert defects == [everything[1], everything[3]], "both hear of it by the same id"
    assert len({one["id"] for one in everything}) == 4
    said = everything[1]["inspection"]
    assert said == Verdict.of(inspected("defect")).model_dump() | {"id": 2}
    assert everything[3]["event"]["new"] == {"threshold": 2.0}
    topics = [one.topic for one in told.read(outputs.waiting, "mqtt")]
    assert topics == ["inspections/m", "events/threshold"]


def test_what_is_not_recorded_is_not_told(told: Store) -> None:
    def fails(connection: Connection) -> None:
        queries.record(connection, inspected("defect"), None)
        raise ValueError("of the caller")

    with pytest.raises(ValueError, match="of the caller"):
        told.write(fails).result()
    assert bodies(told, "mqtt") == bodies(told, "webhook") == []


def test_without_outputs_nothing_waits(store: Store) -> None:
    store.write(queries.keep_calibration, HASH, "{}").result()
    store.write(queries.record, inspected("defect"), None).result()
    store.write(outputs.configure, BOTH).result()
    assert bodies(store, "webhook") == []


def test_an_output_says_how_it_fares(told: Store) -> None:
    for _ in range(3):
        told.write(queries.record, inspected("defect"), None).result()
    first, second, third = told.read(outputs.waiting, "webhook")
    told.write(outputs.failing, "webhook", "nobody").result()
    _, state = told.read(outputs.states)
    assert (state.waiting, state.failing, state.error) == (3, True, "nobody")
    assert state.delivered_at is None
    told.write(outputs.delivered, "webhook", first.number).result()
    told.write(outputs.refused, "webhook", second.number, "answered 400").result()
    _, state = told.read(outputs.states)
    assert (state.waiting, state.refused, state.error) == (1, 1, "answered 400")
    assert state.delivered_at is not None
    assert state.oldest is not None
    assert told.read(outputs.waiting, "webhook") == [third]
    assert len(told.read(outputs.waiting, "mqtt")) == 3
    told.write(outputs.configure, BOTH).result()
    assert told.read(outputs.waiting, "webhook") == [second, third], "the next start tries again"


def test_an_output_that_is_asked_for_no_more_keeps_what_waits(told: Store) -> None:
    told.write(queries.record, inspected("defect"), None).result()
    told.write(outputs.configure, BOTH[:1]).result()
    told.write(queries.record, inspected("defect"), None).result()
    mqtt, webhook = told.read(outputs.states)
    assert (mqtt.waiting, webhook.waiting) == (2, 1)
    assert webhook.tells == "nothing"
    told.write(outputs.delivered, "webhook", told.read(outputs.waiting, "webhook")[0].number)
    told.write(outputs.configure, BOTH[:1]).result()
    assert [one.name for one in told.read(outputs.states)] == ["mqtt"]


def test_too_much_and_too_old_are_given_up_the_oldest_first_with_an_event(told: Store) -> None:
    for _ in range(5):
        told.write(queries.record, inspected("good"), None).result()
    waiting = told.read(outputs.waiting, "webhook")
    assert told.write(outputs.give_up, 3, "2000").result() == {"webhook": 2}
    assert told.read(outputs.waiting, "webhook") == waiting[2:]
    assert told.write(outputs.give_up, 3, "2000").result() == {}
    assert told.write(outputs.give_up, 3, "9999").result() == {"webhook": 3}
    state = told.read(outputs.states)[1]
    assert (state.waiting, state.given_up, state.failing) == (0, 5, True)
    newest, before = told.read(queries.events, kinds=("output",))
    assert (before.new, newest.new) == ({"given_up": 2}, {"given_up": 3})
    assert "never delivered" in newest.reason


def test_an_arrival_is_recorded_once(store: Store) -> None:
    store.write(queries.keep_calibration, HASH, "{}").result()
    for arrival in (None, None, "d" * 64):
        store.write(queries.record, inspected("good", arrival=arrival), None).result()
    with pytest.raises(StoreError):
        store.write(queries.record, inspected("good", arrival="d" * 64), None).result()
    found = store.read(sources.arrived, "d" * 64)
    assert found is not None
    assert found.id == 3
    assert store.read(sources.arrived, "e" * 64) is None
    last = store.read(sources.last, "rest")
    assert last == found
    assert store.read(sources.last, "page") is None


def test_a_source_stays_paused_as_long_as_it_is_the_same(store: Store) -> None:
    store.write(sources.configure, [("watch-m", "m", "/in")]).result()
    store.write(sources.pause, "watch-m", True, "ann", "cleaning").result()
    store.write(sources.pause, "watch-m", True, "ann", "again").result()
    store.write(sources.failing, "watch-m", "away").result()
    store.write(sources.configure, [("watch-m", "m", "/in")]).result()
    (state,) = store.read(sources.states)
    assert (state.paused, state.failing, state.error) == (True, False, "away")
    (event,) = store.read(queries.events, kinds=("source",))
    assert (event.actor, event.old, event.new) == ("ann", {"paused": False}, {"paused": True})
    assert event.reason == "cleaning"
    store.write(sources.configure, [("watch-m", "m", "/elsewhere")]).result()
    (state,) = store.read(sources.states)
    assert (state.paused, state.address, state.error) == (False, "/elsewhere", "")
    event, _ = store.read(queries.events, kinds=("source",))
    assert (event.actor, event.old, event.new) == ("station", {"paused": True}, {"paused": False})
    assert "another now" in event.reason
