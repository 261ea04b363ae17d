"""The log by day: rows whole or absent, one writer, and what a kill came into is known."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from nfbmr.errors import DataError
from nfbmr.inspection.journal import Journal

Row = dict[str, Any]


def row(name: str, day: str = "2026-03-01") -> Row:
    return {
        "path": name,
        "is_defect": False,
        "file": [name, 1, 2, 3, 4],
        "sha256": "",
        "time": f"{day}T10:00:00+00:00",
    }


def add(journal: Journal, one: Row) -> None:
    journal.turn(one["time"])
    journal.append(one)


def test_each_day_has_its_log_and_only_what_is_asked_for_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.jsonl"
    days = [f"2026-03-{day:02d}" for day in (1, 1, 2, 4)]
    with Journal(log) as journal:
        for number, day in enumerate(days[:3]):
            add(journal, row(str(number), day))
    with Journal(log) as journal:
        add(journal, row("3", days[3]))
        names = [one["path"] for one in journal.rows("2026-01-01")]
        assert names == ["0", "1", "2", "3"]
        (tmp_path / "log-2026-03-01.jsonl").write_text("not read\n")
        assert [one["path"] for one in journal.rows("2026-03-02")] == ["2", "3"]
        with pytest.raises(DataError, match=r"log-2026-03-01\.jsonl, line 1"):
            list(journal.rows("2026-03-01"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "log-2026-03-01.jsonl",
        "log-2026-03-02.jsonl",
        "log.jsonl",
    ]


def test_a_day_that_has_a_log_already_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "log-2026-03-01.jsonl").write_text(json.dumps(row("before")) + "\n")
    with Journal(tmp_path / "log.jsonl") as journal:
        add(journal, row("a"))
        add(journal, row("b", "2026-03-02"))
        assert [one["path"] for one in journal.rows("2026-03-01")] == ["before", "a", "b"]


def test_a_clock_that_goes_back_begins_no_new_log(tmp_path: Path) -> None:
    with Journal(tmp_path / "log.jsonl") as journal:
        add(journal, row("a", "2026-03-02"))
        add(journal, row("b", "2026-03-01"))
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_what_is_under_way_is_known_until_its_row_is_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with Journal(log) as journal:
        assert journal.unfinished() is None
        journal.begin(row("a"), "good/a")
    with Journal(log) as journal:
        assert journal.unfinished() == (row("a"), "good/a")
        journal.append(row("a"))
        assert journal.unfinished() is None
        journal.begin(row("b"), "good/b")
        held = (tmp_path / ".log.jsonl.next").read_bytes()
        journal.append(row("b"))
    (tmp_path / ".log.jsonl.next").write_bytes(held)
    with Journal(log) as journal:
        assert journal.unfinished() is None, "its row was in the log when the kill came"
        journal.begin(row("c"), "good/c")
    (tmp_path / ".log.jsonl.next").write_bytes(held[:20])
    with Journal(log) as journal:
        assert journal.unfinished() is None, "it was cut short: nothing was moved"


@pytest.mark.parametrize("cut", [b'{"pa', b"x" * 200_000])
def test_a_line_that_was_cut_short_is_taken_away(tmp_path: Path, cut: bytes) -> None:
    log = tmp_path / "log.jsonl"
    whole = (json.dumps(row("a")) + "\n").encode()
    for before in (b"", whole):
        log.write_bytes(before + cut)
        with Journal(log) as journal:
            assert len(list(journal.rows(""))) == bool(before)
        assert log.read_bytes() == before


def test_a_full_disk_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    log = tmp_path / "log.jsonl"
    with Journal(log) as journal:
        journal.append(row("a"))
        before, write = log.read_bytes(), os.write

        def full(handle: int, data: memoryview) -> int:
            if len(data) > 5:
                return write(handle, data[:5])
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("os.write", full)
            with pytest.raises(OSError, match="No space left") as caught:
                journal.append(row("b") | {"path": "12"})
            assert caught.value.filename == str(log)
            with pytest.raises(OSError, match="No space left") as caught:
                journal.begin(row("b") | {"path": "12"}, "good/b")
            assert caught.value.filename == str(log)
        assert log.read_bytes() == before


def test_a_log_that_was_taken_away_is_begun_anew(tmp_path: Path) -> None:
    log = tmp_path / "hot" / "log.jsonl"
    with Journal(log) as journal:
        add(journal, row("a"))
        log.rename(tmp_path / "elsewhere.jsonl")
        add(journal, row("b"))
        assert [one["path"] for one in journal.rows("")] == ["b"]


def test_one_writer(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no such locks here")
    with (
        Journal(tmp_path / "log.jsonl"),
        pytest.raises(DataError, match="another watch is writing to"),
    ):
        Journal(tmp_path / "log.jsonl")
    with Journal(tmp_path / "log.jsonl"):
        pass


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "[" * 100_000,
        "3",
        "[]",
        '{"other": 1}',
        '{"file": ["a", 1, 2], "is_defect": true}',
        '{"file": ["a", 1, 2], "path": "a", "error": "", "time": "noon"}',
        '{"file": ["a", 1, 2]}',
        '{"file": "abc", "is_defect": true}',
    ],
)
def test_what_no_watch_wrote_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "log.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"log\.jsonl, line 1, is none that a watch wrote"):
        Journal(tmp_path / "log.jsonl")


@pytest.mark.parametrize(
    "held",
    [
        b"garbage",
        b"\xff\xfe",
        b"[" * 100_000,
        b"x" * (1 << 24),
        b"3",
        b"[]",
        b"{}",
        b'{"row": {"file": [1]}, "to": "x", "at": 0}',
        json.dumps({"row": row("a"), "to": 1, "at": 0}).encode(),
        json.dumps({"row": row("a"), "to": "good/a", "at": "0"}).encode(),
        json.dumps({"row": row("a") | {"file": ["a", 1, 2]}, "to": "good/a", "at": 0}).encode(),
        json.dumps({"row": row("a") | {"sha256": None}, "to": "good/a", "at": 0}).encode(),
        json.dumps({"row": row("a") | {"time": 1}, "to": "good/a", "at": 0}).encode(),
        json.dumps({"row": row("a") | {"verdict": ["x"]}, "to": "good/a", "at": 0}).encode(),
        json.dumps({"row": row("a"), "to": "good/a\0", "at": 0}).encode(),
        json.dumps({"row": row("a"), "to": "good/a\ud800", "at": 0}).encode(),
    ],
)
def test_what_no_watch_wrote_of_a_move_is_refused_and_kept(tmp_path: Path, held: bytes) -> None:
    file = tmp_path / ".log.jsonl.next"
    file.write_bytes(held + b"\n")
    with (
        Journal(tmp_path / "log.jsonl") as journal,
        pytest.raises(
            DataError, match=r"log\.jsonl\.next: found what no watch wrote; .* move this"
        ),
    ):
        journal.unfinished()
    assert file.read_bytes() == held + b"\n"


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "sub/../../a.png"])
def test_a_move_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    for file, to in ((name, "good/a.png"), ("a.png", name)):
        begun = {"at": 0, "row": row(file), "to": to}
        (tmp_path / ".log.jsonl.next").write_text(json.dumps(begun) + "\n")
        with (
            Journal(tmp_path / "log.jsonl") as journal,
            pytest.raises(DataError, match="leads out of the folder"),
        ):
            journal.unfinished()


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system follows every link")
@pytest.mark.parametrize("name", ["log.jsonl", ".log.jsonl.next"])
def test_a_link_in_its_place_is_not_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "others").write_bytes(b"one\ntwo")
    (tmp_path / name).symlink_to(tmp_path / "others")
    with pytest.raises(OSError, match="symbolic links"):
        Journal(tmp_path / "log.jsonl")
    assert (tmp_path / "others").read_bytes() == b"one\ntwo"


def test_what_is_no_log_is_refused_before_it_is_cut(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b"SQLite format 3\n\0more")
    with pytest.raises(DataError, match=r"log\.jsonl, line 1"):
        Journal(tmp_path / "log.jsonl")
    assert (tmp_path / "log.jsonl").read_bytes() == b"SQLite format 3\n\0more"


def test_a_log_that_was_taken_away_has_no_rows_and_is_made_anew(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with Journal(log) as journal:
        add(journal, row("a"))
        log.unlink()
        assert list(journal.rows("2026-03-01")) == []
        add(journal, row("b"))
        assert [one["path"] for one in journal.rows("2026-03-01")] == ["b"]
