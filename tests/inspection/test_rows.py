"""Rows of inspections: their keys, their forms, and files that are whole or absent."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.errors import SettingsError
from nfbmr.inspection.drift import read_rows
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.result import Failure
from nfbmr.inspection.rows import COLUMNS, Format, open_writer, to_row, wrote

GOOD: dict[str, Any] = {
    "path": "a.png",
    "score": 1.25,
    "p_value": 0.5,
    "verdict": "good",
    "is_defect": False,
    "threshold": 2.0,
    "regions": [],
    "model": "models/m",
}
REGIONS: list[dict[str, Any]] = [
    {"box": [1, 2, 3, 4], "area": 4},
    {"box": [10, 20, 44, 32], "area": 300},
]
DEFECT = GOOD | {
    "path": 'b,"quoted".png',
    "verdict": "defect",
    "score": 30.0,
    "is_defect": True,
    "regions": REGIONS,
}
FAILED = {"path": "c.png", "error": "no picture"}
ROWS = [GOOD, DEFECT, FAILED]


def write(form: Format, path: Path | None) -> None:
    with open_writer(form, path) as writer:
        for row in ROWS:
            writer(row)


def test_a_row_has_these_keys(inspector: Inspector, draw: Callable[..., NDArray[np.uint8]]) -> None:
    result = inspector.inspect(draw(0))
    row = to_row(result, "m")
    assert tuple(row) == COLUMNS[:-1]
    assert row["verdict"] == result.verdict
    assert row["score"] == result.score
    assert row["is_defect"] is result.is_defect
    assert row["regions"] == [region.to_dict() for region in result.regions]
    failure = to_row(Failure(path="c.png", error="no picture"), "m")
    assert failure == FAILED
    assert to_row(result, "m\udcff")["model"] == "m\\udcff", "which CSV and Parquet can hold"


def test_jsonl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("jsonl", tmp_path / "rows.jsonl")
    text = (tmp_path / "rows.jsonl").read_text()
    assert [json.loads(line) for line in text.splitlines()] == ROWS
    write("jsonl", None)
    assert capsys.readouterr().out == text


def test_jsonl_refuses_what_is_no_number(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="JSON compliant"),
        open_writer("jsonl", tmp_path / "rows.jsonl") as writer,
    ):
        writer(GOOD | {"score": float("nan")})


def test_csv(tmp_path: Path) -> None:
    write("csv", tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert [row["path"] for row in rows] == [row["path"] for row in ROWS]
    assert [row["score"] for row in rows] == ["1.25", "30.0", ""]
    assert [row["error"] for row in rows] == ["", "", "no picture"]
    assert [json.loads(row["regions"] or "null") for row in rows] == [[], REGIONS, None]


@pytest.mark.parametrize("line", ["\r", "\n", "\r\n", "\x0b", "\x1c", "\x85", "\u2028"])
def test_a_name_that_breaks_lines_is_one_row_of_csv(tmp_path: Path, line: str) -> None:
    name = f"a{line}=1+1.png"
    with open_writer("csv", tmp_path / "rows.csv") as writer:
        writer(GOOD | {"path": name, "look_threshold": 2.0})
        writer({"path": name, "error": f"{name}: found none{line}=1+1"})
    text = (tmp_path / "rows.csv").read_bytes().decode()
    assert len(text.splitlines()) == text.count("\n") == 3
    shown = "a" + line.encode("unicode_escape").decode() + "=1+1.png"
    with (tmp_path / "rows.csv").open(newline="") as stream:
        cells = list(csv.reader(stream))
    assert [row[0] for row in cells] == ["path", shown, shown]
    assert not [cell for row in cells for cell in row if cell.startswith("=")]
    (read,) = read_rows([tmp_path / "rows.csv"])
    assert (read["path"], read["score"]) == (shown, 1.25)


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write("parquet", tmp_path / "rows.parquet")
    found = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    empty = dict.fromkeys(COLUMNS)
    for row in found:
        row["regions"] = json.loads(row["regions"] or "null")
    assert found == [empty | row for row in ROWS]


def test_parquet_of_many_rows_and_of_none(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    with open_writer("parquet", tmp_path / "many.parquet") as writer:
        for number in range(2500):
            writer(GOOD | {"path": str(number)})
    found = parquet.read_table(tmp_path / "many.parquet")
    assert found["path"].to_pylist() == [str(number) for number in range(2500)]
    with open_writer("parquet", tmp_path / "none.parquet"):
        pass
    none = parquet.read_table(tmp_path / "none.parquet")
    assert (none.num_rows, tuple(none.column_names)) == (0, COLUMNS)


def test_parquet_does_not_go_to_the_terminal() -> None:
    with (
        pytest.raises(SettingsError, match=r"give a file with -o"),
        open_writer("parquet", None),
    ):
        pass


def test_table_is_for_reading(capsys: pytest.CaptureFixture[str]) -> None:
    with open_writer("table", None) as writer:
        for row in [*ROWS, GOOD | {"path": "evil\x1b[2J\n.png"}]:
            writer(row)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["verdict", "score", "p-value", "path"]
    assert lines[1].split() == ["good", "1.25", "0.500", "a.png"]
    assert lines[2].split(maxsplit=3)[:3] == ["DEFECT", "30.00", "0.500"]
    assert lines[2].endswith(' b,"quoted".png: 2 places, largest 34 x 12 px')
    assert lines[3].split() == ["ERROR", "c.png:", "no", "picture"]
    assert lines[4].endswith("evil?[2J?.png")
    assert len(lines) == 5


def test_a_score_that_rounds_to_nothing_has_no_sign(capsys: pytest.CaptureFixture[str]) -> None:
    with open_writer("table", None) as writer:
        writer(GOOD | {"score": -0.001})
    assert capsys.readouterr().out.splitlines()[1].split()[1] == "0.00"


def test_a_name_that_is_no_unicode_is_escaped() -> None:
    name = os.fsdecode(b"part\xff.png")
    row = to_row(Failure(path=name, error=f"{name} is no picture"), "m")
    assert row == {"path": r"part\udcff.png", "error": r"part\udcff.png is no picture"}
    assert to_row(Failure(path=None, error="é"), "m") == {"path": None, "error": "é"}


@pytest.mark.parametrize("form", ["jsonl", "csv", "table", "parquet"])
def test_a_file_is_whole_or_absent(form: Format, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "rows"

    def broken() -> None:
        with open_writer(form, file) as writer:
            writer(GOOD)
            raise RuntimeError("the camera fell off")

    with pytest.raises(RuntimeError, match="camera"):
        broken()
    assert list(file.parent.iterdir()) == []
    write(form, file)
    before = file.read_bytes()
    with pytest.raises(RuntimeError, match="camera"):
        broken()
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_an_error_in_a_table_is_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    path = "x\ngood 0.10 0.900 forged.jpg"
    with open_writer("table", None) as write:
        write({"path": path, "error": f"{path}: no picture"})
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_files_of_others_are_no_rows_whatever_they_hold(tmp_path: Path) -> None:
    (tmp_path / "large.csv").write_text("x" * 200_000)
    assert not wrote("csv", tmp_path / "large.csv")
    damaged = b"PAR1" + b"\xff" * 300 + (300).to_bytes(4, "little") + b"PAR1"
    (tmp_path / "damaged.parquet").write_bytes(damaged)
    assert not wrote("parquet", tmp_path / "damaged.parquet")
    # As spreadsheets save what nfbmr wrote.
    (tmp_path / "saved.csv").write_text(",".join(COLUMNS) + "\n", encoding="utf-8-sig")
    assert wrote("csv", tmp_path / "saved.csv")


def test_a_table_names_a_picture_once(capsys: pytest.CaptureFixture[str]) -> None:
    with open_writer("table", None) as write:
        write({"path": "mix/b.png", "error": "mix/b.png: found no picture"})
    assert capsys.readouterr().out.splitlines()[-1].endswith("  mix/b.png: found no picture")
