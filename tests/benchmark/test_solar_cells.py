"""The demo's table: which solar cells, which split, and the same one every time."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

from nfbmr.benchmark import solar_cells
from nfbmr.benchmark.solar_cells import write_table
from nfbmr.data.layouts import read_data
from nfbmr.errors import MissingExtraError

installed = pytest.mark.skipif(
    importlib.util.find_spec("elpv_dataset") is None,
    reason="the pictures are not installed: pip install -e '.[demo]'",
)


@installed
def test_monocrystalline_cells_are_counted(tmp_path: Path) -> None:
    data = read_data(write_table("mono", tmp_path / "deep" / "mono.csv"))
    assert data.warnings == ()
    test = Counter(sample.defect for sample in data.test)
    assert len(data.train_good) == 441
    assert test == {"good": 147, "defect": 313}


@installed
def test_the_table_is_the_same_every_time(tmp_path: Path) -> None:
    one, two = (write_table("poly", tmp_path / name) for name in ("one.csv", "two.csv"))
    assert one.read_bytes() == two.read_bytes()
    with one.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["path", "label", "mask", "split"]
    good = [row["split"] for row in rows if row["label"] == "good"]
    assert good.count("train") == round(0.75 * len(good))
    assert {row["split"] for row in rows if row["label"] == "defect"} == {"test"}
    assert len({row["path"] for row in rows}) == len(rows)
    assert all(Path(row["path"]).is_file() for row in rows)


@installed
def test_the_pictures_are_not_all_read_to_write_a_table(tmp_path: Path) -> None:
    sys.modules.pop("elpv_dataset", None)
    write_table("mono", tmp_path / "mono.csv")
    assert "elpv_dataset" not in sys.modules


@installed
def test_as_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "mono.csv"
    monkeypatch.setattr("sys.argv", ["solar_cells", "mono", str(table)])
    solar_cells.main()
    assert capsys.readouterr().out.strip() == str(table)
    assert table.is_file()


def test_without_the_pictures_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install -e .\.\[demo\]"):
        write_table("mono", tmp_path / "mono.csv")
    assert not (tmp_path / "mono.csv").exists()
