"""No command writes over its input, a model, a picture, or a file of another kind."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nfbmr.cli.app import main

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs the program; gives its exit code, and what it said on standard error."""

    def called(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["nfbmr", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capsys.readouterr().err

    return called


@pytest.fixture
def place(
    model: Path, mvtec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> Path:
    """A folder in which lie a model `m` and another `m2`, pictures `pics`, and a user's files."""
    folder = tmp_path / "place"
    shutil.copytree(model, folder / "m")
    shutil.copytree(model, folder / "m2")
    shutil.copytree(mvtec / "train" / "good", folder / "pics")
    shutil.copytree(mvtec / "test", folder / "test")
    monkeypatch.chdir(folder)
    for name in ("rows.csv", "rows.jsonl"):
        assert call("inspect", "m", "pics", "-o", name)[0] == 0
    lines = [f"{path},good" for path in sorted((folder / "test" / "good").iterdir())]
    (folder / "labels.csv").write_text("\n".join(["path,label", *lines]))
    (folder / "notes.txt").write_text("verdict of the boss: score, p-value, path")
    (folder / "mine.jsonl").write_text('{"path": "a.png", "score": 1.0, "colour": "red"}\n')
    (folder / "mine.json").write_text('{"changed": true}')
    (folder / "log.jsonl").write_text(
        json.dumps(json.loads((folder / "rows.jsonl").read_text().splitlines()[0]) | {"id": "x"})
    )
    (folder / "t3").mkdir()
    (folder / "t3" / "scores.csv").write_text((folder / "labels.csv").read_text())
    (folder / "m.html").write_text("<html>mine</html>")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    found = folder.rglob("*")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.is_file()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("calibrate m --export m/calibration.json", "m there; expected a place outside of it"),
        ("calibrate m --export m2/new.json", "m2 there; expected a place outside of it"),
        ("calibrate m --export pic.jpg", "found the ending .jpg, as of a picture"),
        ("calibrate m --export mine.json", "found a file there that is not a calibration of nfbmr"),
        ("calibrate m --export labels.csv", "not a calibration of nfbmr; expected nothing, or"),
        ("calibrate m --export rows.csv --false-alarm-rate 0.1", "not a calibration of nfbmr"),
        ("calibrate m --import c.json --export c.json", "found what is read by this command"),
        ("drift m rows.csv -o m2/config.json", "m2 there; expected a place outside of it"),
        ("drift m rows.csv -o m/model.safetensors", "m there; expected a place outside of it"),
        ("drift m rows.csv -o rows.csv", "found what is read by this command"),
        ("drift m rows.csv rows.jsonl -o ./pics/../rows.jsonl", "found what is read by"),
        ("drift m link.csv -o rows.csv", "found what is read by this command"),
        ("drift m rows.csv -o pic.JPG", "found the ending .JPG, as of a picture"),
        ("drift m rows.csv -o mine.json", "not findings of drift of nfbmr"),
        ("drift m rows.csv -o notes.txt", "not findings of drift of nfbmr"),
        ("inspect m pics -o labels.csv", "not rows of nfbmr; expected nothing, or earlier rows"),
        ("inspect m labels.csv -o labels.csv", "found what is read by this command"),
        ("inspect m pics -o notes.txt", "not rows of nfbmr"),
        ("inspect m pics -o mine.jsonl", "not rows of nfbmr"),
        ("inspect m pics -o log.jsonl", "not rows of nfbmr"),
        ("inspect m pics -o m2/rows.csv", "m2 there; expected a place outside of it"),
        ("inspect m pics -o m2", "m2 there; expected a place outside of it"),
        ("evaluate m t3/scores.csv -o t3", "found what is read by this command"),
        ("evaluate m test -o t3", "scores.csv: found a file there that is not scores of nfbmr"),
        ("evaluate m test -o m2", "m2 there; expected a place outside of it"),
        ("watch m pics --once -o m2/log.jsonl", "m2 there; expected a place outside of it"),
        ("fleet report pics -o m/README.md", "m there; expected a place outside of it"),
        ("fleet report pics -o m.html", "not a report of nfbmr"),
    ],
)
def test_what_would_be_lost_is_refused_before_the_work(
    place: Path, monkeypatch: pytest.MonkeyPatch, call: Call, words: str, said: str
) -> None:
    (place / "link.csv").symlink_to("rows.csv")
    assert call("calibrate", "m", "--export", "c.json")[0] == 0
    before = contents(place)

    def worked(*_: object, **__: object) -> None:
        raise AssertionError

    for what in ("inspection.inspector.open_runtime", "runtimes.choose.calibrated_for"):
        monkeypatch.setattr(f"nfbmr.{what}", worked)
    code, text = call(*words.split())
    assert (code, len(text.splitlines())) == (2, 1), text
    assert said in text
    assert contents(place) == before


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("calibrate m --export c.json", "c.json"),
        ("drift m rows.csv -o d.json", "d.json"),
        ("drift m rows.csv -o d.txt", "d.txt"),
        ("inspect m pics -o r.csv", "r.csv"),
        ("inspect m pics -o r.jsonl", "r.jsonl"),
        ("inspect m pics -o r.txt", "r.txt"),
        ("inspect m pics -o r.parquet", "r.parquet"),
        ("inspect m pics -o pics --heatmaps", "pics/results.jsonl"),
        ("inspect m pics -o pics/r.csv", "pics/r.csv"),
        ("evaluate m test -o report", "report/scores.csv"),
    ],
)
def test_what_a_command_wrote_before_it_writes_again(
    place: Path, call: Call, words: str, file: str
) -> None:
    (place / file).parent.mkdir(exist_ok=True)
    (place / file).touch()  # as mktemp leaves it: nothing is lost
    for _ in range(2):
        assert call(*words.split())[0] == 0
        assert (place / file).stat().st_size


def test_rows_of_older_versions_and_of_broken_pictures_are_written_over(
    place: Path, call: Call
) -> None:
    older = "path,score,p_value,is_defect,threshold,model,error"
    (place / "r.csv").write_text(f"{older}\na.png,1,1,False,2,m,\n")
    (place / "r.jsonl").write_text('{"path": "a.png", "error": "broken"}\n')
    for name in ("r.csv", "r.jsonl"):
        assert call("inspect", "m", "pics", "-o", name)[0] == 0
        assert "look_threshold" in (place / name).read_text()
