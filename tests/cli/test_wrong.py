"""What is typed wrong: one line that says what was found and what to do, before any work."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nfbmr.cli.app import main
from nfbmr.scoring.calibration import Calibration


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> str:
    """Runs the program, which is to end with 2; returns its one line, without `nfbmr: `."""
    monkeypatch.setattr(sys, "argv", ["nfbmr", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr()
    assert caught.value.code == 2, said
    (line,) = [line for line in said.err.splitlines() if line.startswith("nfbmr: ")]
    assert said.err.splitlines()[-1] == line, "nothing comes behind it"
    assert "Errno" not in line
    assert ".." not in line
    return line.removeprefix("nfbmr: ")


# ---- arguments


@pytest.mark.parametrize(
    "words",
    [
        ["info", ""],
        ["inspect", "model", ""],
        ["fit", "parts", "-o", ""],
        ["evaluate", "model", "parts", "--out="],
        ["calibrate", "model", "--export="],
    ],
)
def test_a_word_of_no_letters_is_no_path(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "found an argument without a value" in refused(monkeypatch, capsys, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", ["0,05", "150%", "-1", "nan", "inf", "5%%", "five"])
@pytest.mark.parametrize("option", ["--false-alarm-rate", "--look-rate"])
def test_what_is_no_rate_is_said_with_its_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, rate: str
) -> None:
    for words in (["calibrate", "model"], ["fit", "parts", "-o", "model"]):
        said = refused(monkeypatch, capsys, *words, option, rate)
        assert said.startswith(f"{option} {rate}: expected a share of good pictures")


@pytest.mark.parametrize("option", ["--settle", "--patience", "--most-megabytes"])
@pytest.mark.parametrize("value", ["nan", "-1", "long"])
def test_what_is_no_number_is_said_with_its_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    said = refused(monkeypatch, capsys, "watch", "model", "hot", option, value)
    assert said.startswith(f"{option} {value}: expected a number, at least 0")


@pytest.mark.parametrize("found", ["a file", "nothing"])
def test_a_folder_to_watch_that_is_not_there_is_said_before_anything_is_printed(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: str,
) -> None:
    if found == "a file":
        (tmp_path / "hot").write_bytes(b"")
    said = refused(monkeypatch, capsys, "watch", model, tmp_path / "hot", "--once")
    assert said == f"{tmp_path / 'hot'} is not a folder: found {found}; make it, or name another"


@pytest.mark.parametrize(
    "command", [["inspect"], ["evaluate", "-o", "r"], ["calibrate"], ["watch"], ["bench", "speed"]]
)
def test_a_model_is_no_picture_wherever_it_stands(
    model: Path,
    good_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    name = " ".join(word for word in command if word.isalpha() and len(word) > 1)
    said = refused(monkeypatch, capsys, *command, good_folder, model)
    assert said.startswith(f"{model} is a model, and {good_folder} is none")
    assert said.endswith(f"Did you mean: nfbmr {name} {model} {good_folder}")
    said = refused(monkeypatch, capsys, *command, model, model)
    assert said.startswith(f"{model} is a model, as {model} is: one was expected")
    assert sorted(tmp_path.rglob("*")) == before


# ---- places


def test_a_message_is_one_line_whatever_a_file_is_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = tmp_path / "a\nnfbmr: b\x1b[1m"
    assert "a nfbmr: b?[1m does not exist" in refused(monkeypatch, capsys, "info", place)


def test_a_file_is_not_said_to_be_absent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    file.write_text("x")
    said = refused(monkeypatch, capsys, "inspect", file, file)
    assert said.startswith(f"{file} is a file: a folder with manifest.json was expected")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "give this user the right to it"),
        (errno.EROFS, "give this user the right to it"),
        (errno.ENOSPC, "make room there"),
        (errno.ENOTDIR, "a file is where a folder is needed"),
        (errno.EISDIR, "a folder is where a file is needed"),
        (errno.EIO, "check the path, its permissions and the free space"),
    ],
)
def test_what_the_system_refuses_is_said_with_what_helps(
    model: Path,
    good_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    number: int,
    advice: str,
) -> None:
    def trouble(_: Path) -> None:
        raise OSError(number, os.strerror(number), "a name beside it")

    monkeypatch.setattr("nfbmr.system.halves._made", trouble)
    file = tmp_path / "rows.csv"
    said = refused(monkeypatch, capsys, "inspect", model, good_folder, "-o", file)
    assert said.startswith(f"{file}: {os.strerror(number)}; {advice}")


def test_a_report_is_not_begun_for_a_link_to_nothing(
    model: Path,
    mvtec: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    said = refused(monkeypatch, capsys, "evaluate", model, mvtec, "-o", tmp_path / "out")
    assert "out is a link to where nothing is" in said
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("command", ["calibrate", "export"])
def test_a_model_that_cannot_be_changed_is_said_before_the_work(
    model_copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    def trouble(dir: Path, prefix: str) -> TemporaryDirectory[str]:
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/{prefix}")

    def worked(*_: object, **__: object) -> Calibration:
        raise AssertionError

    monkeypatch.setattr("nfbmr.model.place.TemporaryDirectory", trouble)
    monkeypatch.setattr("nfbmr.inspection.inspector.Inspector.recalibrated", worked)
    monkeypatch.setattr("nfbmr.deployment.export.TorchRuntime", worked)
    said = refused(monkeypatch, capsys, command, model_copy)
    assert said.startswith(f"cannot write a model to {model_copy}: Permission denied (it is put")


def test_a_cache_that_cannot_be_written_is_said_before_pictures_are_looked_at(
    good_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("NFBMR_CACHE", str(tmp_path / "file"))
    words = ("fit", good_folder, "-o", tmp_path / "model", "--size=64", "--device=cpu")
    monkeypatch.setattr("nfbmr.fitting.look_over", lambda *_, **__: 1 / 0)
    said = refused(monkeypatch, capsys, *words)
    assert "features cannot be kept there" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "product"]


@pytest.mark.parametrize(
    ("name", "why"),
    [("nothing.json", "No such file or directory"), ("folder", "Is a directory")],
)
def test_a_path_comes_once_in_a_message(
    model_copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    why: str,
) -> None:
    (tmp_path / "folder").mkdir()
    said = refused(monkeypatch, capsys, "calibrate", model_copy, "--import", tmp_path / name)
    assert f"({'is not readable'} ({why}))" in said
    assert said.count(str(tmp_path / name)) == 1
    for words in (
        ["drift", model_copy, tmp_path / "nothing.csv"],
        ["fleet", "fit", tmp_path / "nothing.toml", "-o", tmp_path / "fleet"],
    ):
        assert refused(monkeypatch, capsys, *words).count("/nothing.") == 1


# ---- models


def test_a_model_of_a_later_version_or_half_a_model_is_named(
    model_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = model_copy / "manifest.json"
    said = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(said | {"format": 99}))
    for command in (["info"], ["calibrate"], ["export"]):
        text = refused(monkeypatch, capsys, *command, model_copy)
        assert "has format 99, this program reads up to" in text
        assert text.endswith("update nfbmr")
    manifest.write_text(json.dumps(said)[:40])
    for command in (["info"], ["calibrate"], ["export"]):
        assert "manifest.json is not readable" in refused(monkeypatch, capsys, *command, model_copy)
