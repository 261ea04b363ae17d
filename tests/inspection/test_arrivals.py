"""Which files of a hot folder are whole, by what is said of them and by how long they stay."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nfbmr.inspection import arrivals as module
from nfbmr.inspection.arrivals import Arrivals, Mark


class Clock:
    """Seconds that pass when a test says so; for files as for the program."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    found = module.mark_of

    def dated(path: Path) -> Mark | None:  # nobody can set a file's time of status
        mark = found(path)
        return mark and mark._replace(status=mark.changed)

    monkeypatch.setattr(module, "mark_of", dated)
    return clock


def put(path: Path, data: bytes, clock: Clock) -> None:
    path.write_bytes(data)
    os.utime(path, ns=(0, int(clock.now * 1e9)))


def arrivals(folder: Path, **options: Any) -> Arrivals:
    given: dict[str, Any] = {"deep": False, "settle": 1.0, "patience": 10.0}
    return Arrivals(folder, is_done=lambda *_: False, **(given | options))


def ready(found: Arrivals) -> list[tuple[str, bool]]:
    there = found.look()
    assert there is not None
    found.expect(there)
    return [(one.name, one.last) for one in found.ready()]


def test_a_file_that_nobody_closed_has_to_stay_the_same(tmp_path: Path, clock: Clock) -> None:
    found = arrivals(tmp_path)
    put(tmp_path / "a.png", b"1", clock)
    assert ready(found) == []
    clock.now += 0.9
    put(tmp_path / "a.png", b"12", clock)
    clock.now += 0.9
    assert ready(found) == []
    clock.now += 0.2
    assert ready(found) == [], "it grew"
    clock.now += 1.0
    assert ready(found) == [("a.png", False)]
    found.forget("a.png")
    assert len(found) == 0


def test_a_file_that_was_closed_is_whole_at_once(tmp_path: Path, clock: Clock) -> None:
    found = arrivals(tmp_path)
    put(tmp_path / "a.png", b"1", clock)
    found.heard("a.png", closed=False)
    assert found.ready() == []
    found.heard("a.png", closed=True)
    assert [one.name for one in found.ready()] == ["a.png"]
    for name in ("sub/a.png", ".a.png", "a.txt", "good/a.png", "none.png"):
        found.heard(name, closed=True)
    assert found.names() == ["a.png"]


def test_an_empty_file_waits_for_a_minute(tmp_path: Path, clock: Clock) -> None:
    found = arrivals(tmp_path)
    put(tmp_path / "a.png", b"", clock)
    found.heard("a.png", closed=True)
    for _ in range(59):
        clock.now += 1.0
        assert ready(found) == []
    clock.now += 1.0
    assert ready(found) == [("a.png", True)]
    put(tmp_path / "b.png", b"", clock)
    found.heard("b.png", closed=True)
    put(tmp_path / "b.png", b"1", clock)
    found.heard("b.png", closed=True)
    assert ("b.png", False) in ready(found)


def test_what_could_not_be_read_is_tried_again_when_it_changed_or_at_last(
    tmp_path: Path, clock: Clock
) -> None:
    found = arrivals(tmp_path)
    put(tmp_path / "a.png", b"1", clock)
    found.heard("a.png", closed=True)
    assert ready(found) == [("a.png", False)]
    found.try_later("a.png", "truncated")
    clock.now += 5.0
    assert ready(found) == []
    put(tmp_path / "a.png", b"12", clock)
    found.heard("a.png", closed=True)
    assert ready(found) == [("a.png", False)], "it changed"
    found.try_later("a.png", "truncated")
    clock.now += 9.0
    assert ready(found) == []
    clock.now += 1.0
    assert ready(found) == [("a.png", True)]


def test_what_lay_there_for_long_is_tried_twice_all_the_same(tmp_path: Path, clock: Clock) -> None:
    found = arrivals(tmp_path)
    put(tmp_path / "a.png", b"1", clock)
    clock.now += 1e6
    ready(found)
    clock.now += 1.0
    assert ready(found) == [("a.png", False)]
    found.try_later("a.png", "truncated")
    assert ready(found) == []
    clock.now += 1.0
    assert ready(found) == [("a.png", True)]


def test_the_oldest_come_first(tmp_path: Path, clock: Clock) -> None:
    found = arrivals(tmp_path, settle=0.0)
    for name in ("c.png", "a.png", "b.png"):
        put(tmp_path / name, b"1", clock)
        clock.now += 1.0
    assert [name for name, _ in ready(found)] == ["c.png", "a.png", "b.png"]


def test_a_folder_that_is_away_is_said_once_a_minute(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    found = arrivals(tmp_path / "away")
    for _ in range(239):
        assert found.look() is None
        clock.now += 0.5
    assert caplog.text.count("away cannot be read") == 2


def test_what_is_no_picture_by_its_name_is_named_once_of_each_kind(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.pgm", "b.pgm", "IMG4", "c.png.tmp", ".hidden.pgm", "log.jsonl", "Thumbs.db"):
        (tmp_path / name).touch()
    found = arrivals(tmp_path)
    for _ in range(3):
        assert ready(found) == []
    assert len(caplog.records) == 2
    assert "a.pgm is not inspected: nfbmr does not read .pgm, so save pictures" in caplog.text
    assert "IMG4 is not inspected: by its name it is no picture (.bmp, " in caplog.text
