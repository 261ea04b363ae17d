"""The command line's words for deploying: export, watch, and the choice of a runtime."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from nfbmr.cli.app import app, main
from nfbmr.errors import SettingsError
from nfbmr.model.bundle import read_bundle
from nfbmr.model.exports import Export

Draw = Callable[..., NDArray[np.uint8]]


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_inspect_by_any_runtime_prints_the_same(exported: Path, draw: Draw, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    Image.fromarray(draw(1, defect=True)).save(tmp_path / "a.png")
    torch, onnx = (
        run("inspect", exported, tmp_path / "a.png", "--runtime", name, "--threads", 1).stdout
        for name in ("torch", "onnx")
    )
    assert "DEFECT" in torch
    assert torch == onnx


def test_a_runtime_that_is_unknown_or_not_exported_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    for name, said in (("tflite", "choose one of auto"), ("onnx", "was not exported for onnx")):
        words = ["inspect", str(model), str(tmp_path / "a.png"), "--runtime", name]
        result = CliRunner().invoke(app, words)
        assert isinstance(result.exception, SettingsError)
        assert said in str(result.exception)


def test_export_says_what_was_compared(
    exported_copy: Path, good_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (known, *_) = read_bundle(exported_copy).exports
    asked: list[tuple[object, ...]] = []

    def remembered(path: Path, **options: object) -> Export:
        assert callable(options.pop("progress"))
        asked.append((path, *options.values()))
        return known

    monkeypatch.setattr("nfbmr.deployment.export.export", remembered)
    words = ("--to", "openvino", "--precision", "fp16", "--calibrate-on", good_folder)
    result = run("export", exported_copy, *words)
    assert result.exit_code == 0
    assert "compared on 16 drawn pictures alone, no good one" in result.stdout
    assert "model.onnx" in result.stdout
    assert asked == [(exported_copy, "openvino", "fp16", good_folder, None)]


def test_watch_once_inspects_moves_and_logs(model: Path, draw: Draw, tmp_path: Path) -> None:
    hot = tmp_path / "hot"
    hot.mkdir()
    Image.fromarray(draw(0)).save(hot / "good.png")
    Image.fromarray(draw(1, defect=True)).save(hot / "bad.png")
    result = run("watch", model, hot, "--once", "--move", "--settle", 0, "--device", "cpu")
    assert result.exit_code == 0
    assert "DEFECT" in result.stdout
    assert (hot / "defect" / "bad.png").is_file()
    assert (hot / "good" / "good.png").is_file()
    rows = [json.loads(line) for line in (hot / "nfbmr.jsonl").read_text().splitlines()]
    assert {Path(row["path"]).name for row in rows} == {"good.png", "bad.png"}


def watch_once(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    given = ["nfbmr", "watch", *words, "--once", "--settle", 0, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in given])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize("unread", [True, False])
def test_watch_inspects_whatever_can_be_printed(
    model: Path, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unread: bool
) -> None:
    hot = tmp_path / "hot"
    hot.mkdir()
    for name in ("零件.png", "b.png"):
        Image.fromarray(draw(1, defect=True)).save(hot / name)
    reader, writer = os.pipe()
    if unread:
        os.close(reader)
    with open(writer, "w", encoding="cp1252") as stream:  # noqa: PTH123 - a pipe
        monkeypatch.setattr(sys, "stdout", stream)
        words = (model, hot, "--move", "--webhook", "http://u:p@127.0.0.1:9/x")
        assert watch_once(monkeypatch, *words) == 0
    if not unread:
        with open(reader, "rb") as printed:  # noqa: PTH123
            assert b"\\u96f6\\u4ef6.png" in printed.read()
    assert sorted(path.name for path in (hot / "defect").iterdir()) == ["b.png", "零件.png"]
    waiting = [json.loads(path.read_text()) for path in (hot / "nfbmr_outbox").iterdir()]
    log = [json.loads(line) for line in (hot / "nfbmr.jsonl").read_text().splitlines()]
    assert {row["id"] for row in waiting} == {row["id"] for row in log}
    assert len(log) == 2


def test_watch_says_that_alarms_wait_for_a_receiver(
    model: Path, draw: Draw, tmp_path: Path
) -> None:
    hot = tmp_path / "hot"
    hot.mkdir()
    Image.fromarray(draw(1, defect=True)).save(hot / "a.png")
    words = ("watch", model, hot, "--once", "--settle", 0, "--recursive")
    assert run(*words, "--webhook", "http://127.0.0.1:9/x", "--heatmaps").exit_code == 0
    result = run(*words)
    assert "give its --webhook" in " ".join(result.stderr.split())
    assert "is not inspected" not in result.stderr
    assert len((hot / "nfbmr.jsonl").read_text().splitlines()) == 1
    assert len(list((hot / "nfbmr_heatmaps").rglob("*.png"))) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "log.csv"], "ends in .jsonl"),
        (["-o", "-"], "ends in .jsonl"),
        (["--webhook", "ftp://user:hidden@host/"], "http:// or https:// address"),
    ],
)
def test_watch_refuses_before_it_begins(words: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["watch", "nowhere", str(tmp_path), *words])
    assert isinstance(result.exception, SettingsError)
    assert said in str(result.exception)
    assert "hidden" not in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_fit_hands_on_tiles_and_export(
    good_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    class Enough(Exception):  # noqa: N818 - no error
        pass

    def remembered(*_: object, **options: object) -> None:
        asked.update(options)
        raise Enough

    monkeypatch.setattr("nfbmr.fitting.fit", remembered)
    words = ["fit", str(good_folder), "-o", str(tmp_path / "m"), "--tiles", "--no-export"]
    assert isinstance(CliRunner().invoke(app, words).exception, Enough)
    assert asked["tiles"] is True
    assert asked["export"] is False
    asked.clear()
    assert isinstance(CliRunner().invoke(app, words[:4]).exception, Enough)
    assert "tiles" not in asked
    assert asked["export"] is True
