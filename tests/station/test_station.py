"""What the station notices by itself is an event: its settings, tokens, models that are gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from nfbmr.errors import StationError
from nfbmr.station.audit import Event
from nfbmr.station.auth import new_token
from nfbmr.station.engine import pool
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import queries

Settings = Callable[..., StationSettings]
Until = Callable[[Callable[[], object]], None]


def events(station: Station, kind: str) -> list[Event]:
    """The first first."""
    return station.store.read(queries.events, kinds=(kind,))[::-1]


def test_what_it_is_started_with_is_an_event_where_it_is_another_and_holds_no_secret(
    settings: Settings, tmp_path: Path
) -> None:
    for _ in range(2):
        with Station(settings()) as station:
            (first,) = events(station, "started")
    assert first.new is not None
    assert first.new["pictures"] == str(tmp_path / "pictures")
    assert (first.new["keep_days"], first.new["told"]) == (None, {})
    hot = tmp_path / "hot"
    hot.mkdir()
    other = {"watch": (f"fitted={hot}",), "keep_days": 30.0, "keep_gigabytes": float("inf")}
    secret = {"webhook": "http://ann:passw0rd@127.0.0.1:9/key", "webhook_secret": "passw0rd"}
    with Station(settings(**other, **secret)) as station:
        _, second = events(station, "started")
    assert second.old == first.new
    assert second.new is not None
    assert (second.new["keep_days"], second.new["keep_gigabytes"]) == (30.0, "inf")
    assert second.new["sources"]["watch-fitted"] == str(hot)
    assert second.new["told"] == {"webhook": "http://127.0.0.1:9/..."}
    assert "passw0rd" not in json.dumps(asdict(second))


def test_tokens_that_come_and_go_are_events(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    secret = new_token(file, "first", "admin")
    made = settings(token_file=file)

    def told(station: Station) -> list[tuple[str, str | None]]:
        found = events(station, "token")
        return [(one.subject, None if one.new is None else one.new["scope"]) for one in found]

    with Station(made) as station:
        assert station.tokens is not None
        assert told(station) == [("first", "admin")]
        new_token(file, "ann", "review")
        assert station.tokens.of_secret(secret) is not None
        assert told(station)[1:] == [("ann", "review")]
        text = file.read_text("utf-8")
        file.write_text(text.replace("ann review", "ann inspect"), "utf-8")
        assert station.tokens.of_name("ann") is not None
        assert told(station)[2:] == [("ann", "inspect")]
    lines = file.read_text("utf-8").splitlines()
    file.write_text(f"{lines[0]}\n", "utf-8")
    for _ in range(2):
        with Station(made) as station:
            assert told(station)[3:] == [("ann", None)]
            said = json.dumps([asdict(one) for one in events(station, "token")])
            assert secret not in said
            assert lines[0].split()[-1] not in said, "some of its hash suffices"


def test_a_change_of_tokens_that_the_record_does_not_take_holds_all_the_same_and_is_told_later(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tokens"
    new_token(file, "first", "admin")

    def full(*_: object) -> None:
        raise StationError("the database takes nothing")

    with Station(settings(token_file=file)) as station:
        assert station.tokens is not None
        other = new_token(file, "ann", "review")
        monkeypatch.setattr(station.store, "write", full)
        assert station.tokens.of_secret(other) is not None
        monkeypatch.undo()
        assert len(events(station, "token")) == 1
        assert station.tokens.of_secret(other) is not None
        assert [one.subject for one in events(station, "token")] == ["first", "ann"]


def test_a_model_that_leaves_the_line_and_comes_back_was_away_meanwhile(
    settings: Settings, model: Path, tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_EVERY", 0.01)
    folder, away = tmp_path / "models", tmp_path / "away"
    shutil.copytree(model, folder / "part")
    made = settings(models=(), folder=folder)
    with Station(made) as station:
        (folder / "part").rename(away)
        until(lambda: station.pool.get("part") is None)
        came, left = events(station, "model")
        assert (left.old, left.new, left.actor) == (came.new, None, "station")
        assert "gone from the folder" in left.reason
        away.rename(folder / "part")
        until(lambda: station.pool.get("part") is not None)
        now, before = station.line.history("part")
        assert (before.since, before.until, now.until) == (came.time, left.time, None)
        assert now.since > left.time
    shutil.rmtree(folder / "part")
    for _ in range(2):
        with Station(made) as station:
            *_, last = events(station, "model")
            assert last.new is None
            assert last.reason == "was not there when the station started"
            assert len(events(station, "model")) == 4
            assert station.line.history("part")[0].until == last.time


def test_a_model_that_cannot_be_loaded_any_more_left_the_line_and_why_is_said(
    settings: Settings, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(model, folder / "part")
    made = settings(models=(), folder=folder)
    with Station(made):
        pass
    (folder / "part" / "config.json").write_text("{}", "utf-8")
    with Station(made) as station:
        assert events(station, "model")[-1].new is None
        assert events(station, "model")[-1].reason.startswith("cannot be loaded: ")
