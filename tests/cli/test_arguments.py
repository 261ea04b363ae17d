"""Where rows go: by the ending of a file, by a format, or into a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from nfbmr.cli.arguments import refuse_file, where_to_write
from nfbmr.errors import SettingsError


@pytest.mark.parametrize(
    ("name", "form", "file"),
    [
        ("r.csv", "csv", "r.csv"),
        ("R.CSV", "csv", "R.CSV"),
        ("r.txt", "table", "r.txt"),
        ("new", "jsonl", "new/results.jsonl"),
    ],
)
def test_the_ending_says_the_form(tmp_path: Path, name: str, form: str, file: str) -> None:
    assert where_to_write(None, tmp_path / name)[:2] == (form, tmp_path / file)


def test_an_ending_and_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"ending \.csv and --format parquet; expected \.parquet"
    ):
        where_to_write("parquet", tmp_path / "r.csv")
    assert where_to_write("csv", tmp_path / "r.csv")[0] == "csv"


def test_a_file_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(
        SettingsError, match=r"out: found a file there; expected a folder, or a file"
    ):
        where_to_write(None, tmp_path / "out")


@pytest.mark.parametrize("place", ["r.csv", "out/results.jsonl"])
def test_a_folder_is_not_taken_for_a_file_of_rows(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    out = tmp_path / place.partition("/")[0]
    with pytest.raises(SettingsError, match=rf"{place}: found a folder .*expected a file"):
        where_to_write(None, out)
    assert where_to_write(None, tmp_path / "other.csv")[0] == "csv"


def test_a_file_is_not_taken_for_a_folder_of_results(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("mine")
    for out in (file, file / "report"):
        with pytest.raises(SettingsError, match=r"found a file at .*r\.csv; expected a folder for"):
            refuse_file(out, "the report")
    with pytest.raises(SettingsError, match=r"new\.csv: found the ending \.csv, as of a file"):
        refuse_file(tmp_path / "new.csv", "the report")
    (tmp_path / "made.csv").mkdir()
    for name in ("made.csv", "new", "part.v2", "a/b/new"):
        refuse_file(tmp_path / name, "the report")
