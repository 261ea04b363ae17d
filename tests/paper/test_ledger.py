"""The ledger: rows by key, mended after a kill, refused where it is somebody else's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from nfbmr.data.layouts import read_data
from nfbmr.errors import DataError
from nfbmr.paper.ledger import Key, Ledger, Row, alone_in, data_mark, key_of


def row(system: str, mark: str = "a", **values: object) -> Row:
    keys = {"dataset": "mvtec", "category": "bottle", "system": system, "seed": 0}
    return {**keys, "mark": mark, **values}


def key(system: str) -> Key:
    return Key("mvtec", "bottle", system, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of three rows, the last of which replaces the first."""
    ledger = Ledger(tmp_path / "deep" / "results.jsonl")
    ledger.add(row("nf", auroc=0.5))
    ledger.add(row("pfm", auroc=None))
    ledger.add(row("nf", "b", auroc=0.75))
    return ledger.path


def test_without_a_file_there_are_no_rows_and_none_is_made(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "deep" / "results.jsonl")
    assert ledger.rows([key("nf")]) == []
    assert not ledger.has(key("nf"), "a")
    assert list(tmp_path.iterdir()) == []


def test_a_row_is_known_by_its_four_keys() -> None:
    assert key_of(row("nf")) == key("nf") == ("mvtec", "bottle", "nf", 0)


def test_rows_come_back_in_the_order_asked_for_and_the_last_one_counts(path: Path) -> None:
    ledger = Ledger(path)
    asked = [key("pfm"), key("mb-pfm"), key("nf")]
    assert ledger.rows(asked) == [row("pfm", auroc=None), row("nf", "b", auroc=0.75)]
    assert ledger.rows(reversed(asked)) == ledger.rows(asked)[::-1]
    assert ledger.rows([key("nf")._replace(seed=1)]) == []


def test_a_row_of_another_mark_is_not_there(path: Path) -> None:
    ledger = Ledger(path)
    assert ledger.has(key("nf"), "b")
    assert not ledger.has(key("nf"), "a"), "the row that was replaced"
    assert not ledger.has(key("mb-pfm"), "a")


def test_each_row_is_a_line_of_json_as_soon_as_it_is_added(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    assert [line[-1:] for line in lines] == [b"\n"] * 3
    assert [json.loads(line)["system"] for line in lines] == ["nf", "pfm", "nf"]
    ledger = Ledger(path)
    ledger.add(row("b-pfm", name="Zwölf\nLinien"))
    assert len(path.read_bytes().splitlines()) == 4
    assert Ledger(path).rows([key("b-pfm")]) == [row("b-pfm", name="Zwölf\nLinien")]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"deep": -float("inf")}]])
def test_a_number_that_json_does_not_know_is_refused_and_nothing_written(
    value: object, path: Path
) -> None:
    before = path.read_bytes()
    ledger = Ledger(path)
    with pytest.raises(ValueError, match="JSON compliant"):
        ledger.add(row("b-pfm", auroc=value))
    assert path.read_bytes() == before
    assert not ledger.has(key("b-pfm"), "a")


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_last_line_cut_short_is_dropped_and_the_next_row_has_a_line_of_its_own(
    kept: int, path: Path
) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    cut = b"".join(lines[:2]) + lines[2][:kept]
    path.write_bytes(cut)
    ledger = Ledger(path)
    assert path.read_bytes() == cut, "reading changes nothing"
    assert ledger.has(key("nf"), "a"), "the row before the one that was cut"
    ledger.add(row("b-pfm"))
    assert path.read_bytes().startswith(b"".join(lines[:2]) + b'{"dataset"')
    assert Ledger(path).rows([key("pfm"), key("b-pfm")]) == [row("pfm", auroc=None), row("b-pfm")]


def test_a_last_line_that_misses_only_its_end_is_kept_and_ended(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    ledger = Ledger(path)
    assert ledger.has(key("nf"), "b")
    assert path.read_bytes() == whole[:-1], "reading changes nothing"
    ledger.add(row("b-pfm"))
    assert path.read_bytes().startswith(whole)
    assert Ledger(path).rows([key("nf"), key("b-pfm")]) == [
        row("nf", "b", auroc=0.75),
        row("b-pfm"),
    ]


def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    with alone_in(tmp_path / "new"):
        with (
            pytest.raises(DataError, match="another run is writing there"),
            alone_in(tmp_path / "new"),
        ):
            pass
        with alone_in(tmp_path / "other"):
            pass
    with alone_in(tmp_path / "new"):
        pass


def test_a_mark_knows_labels_and_the_split(tmp_path: Path) -> None:
    marks = set()
    for split, label in (("test", "good"), ("test", "crack"), ("train", "good")):
        table = tmp_path / "cells.csv"
        for name in ("a.png", "b.png"):
            Image.new("RGB", (8, 8)).save(tmp_path / name)
        table.write_text(f"path,label,split\na.png,good,train\nb.png,{label},{split}\n")
        marks.add(data_mark(read_data(table)))
    assert len(marks) == 3


@pytest.mark.parametrize(
    "line", [b'{"dataset": "mvtec"', b"\xff", b"", b"3", b'{"dataset": "mvtec"}', b"[1, 2]"]
)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_whole_line_that_is_no_row_is_refused_by_its_number(
    place: int, line: bytes, path: Path
) -> None:
    lines = path.read_bytes().splitlines()
    content = b"\n".join([*lines[:place], line, *lines[place:], b""])
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"results\.jsonl: line {place + 1} is no row.*-o"):
        Ledger(path)
    assert path.read_bytes() == content


def test_a_row_without_a_mark_is_never_up_to_date(path: Path) -> None:
    unmarked = row("nf")
    del unmarked["mark"]
    Ledger(path).add(unmarked)
    ledger = Ledger(path)
    assert not ledger.has(key("nf"), "b")
    assert ledger.rows([key("nf")]) == [unmarked]
