"""Words for Ray that do not go together are refused before it is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nfbmr.cli.app import app
from nfbmr.cli.archive import holds_unread
from nfbmr.errors import DataError, NfbmrError, SettingsError


def error_of(*words: object) -> NfbmrError:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(result.exception, NfbmrError), result.output
    return result.exception


@pytest.mark.parametrize("words", [("--address", "auto"), ("--workers", 2), ("--part", 10)])
def test_words_for_ray_need_the_engine(
    model: Path, good_folder: Path, words: tuple[object, ...]
) -> None:
    error = error_of("inspect", model, good_folder, *words)
    assert isinstance(error, SettingsError)
    assert f"{words[0]}: this is for --engine ray" in str(error)


def test_a_store_needs_the_engine(model: Path) -> None:
    error = error_of("inspect", model, "s3://bucket/x.png")
    assert isinstance(error, DataError)
    assert "s3://bucket/x.png: pictures in a store are read by --engine ray" in str(error)


@pytest.mark.parametrize("words", [(), ("-o", "rows.csv"), ("-o", "out", "--format", "jsonl")])
def test_on_ray_rows_are_a_folder_of_parquet(
    model: Path, good_folder: Path, words: tuple[str, ...]
) -> None:
    error = error_of("inspect", model, good_folder, "--engine", "ray", *words)
    assert "a folder of Parquet files" in str(error)


def test_on_ray_tiles_are_refused_as_without(
    model: Path, good_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    error = error_of("inspect", model, good_folder, "-o", out, "--engine", "ray", "--tiles")
    assert "learnt whole pictures" in str(error)


def test_a_script_hears_of_pictures_that_no_worker_is_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "notes.txt").touch()
    words = [str(tmp_path), str(tmp_path / "*.png"), "s3://bucket/x"]
    assert not holds_unread(words)
    (tmp_path / "sub" / "x.gif").touch()
    assert holds_unread(words)
    assert "x.gif is not inspected: nfbmr does not read .gif; convert it to PNG" in caplog.text


def test_a_station_without_ray_has_no_address(model: Path) -> None:
    assert "--engine ray" in str(error_of("serve", model, "--address", "auto"))
