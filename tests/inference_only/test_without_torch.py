"""The deployed program: no torch in the environment, and the same verdicts."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nfbmr
from nfbmr.errors import MissingExtraError, SettingsError


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs `nfbmr` in a process of its own."""
    program = Path(sys.executable).with_name("nfbmr")
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_torch_is_not_here(left: Path) -> None:
    assert left.is_dir()
    for package in ("torch", "torchvision", "timm", "onnx", "sklearn", "matplotlib"):
        assert importlib.util.find_spec(package) is None


def test_scores_and_verdicts_are_those_of_torch(left: Path, said: list[dict[str, Any]]) -> None:
    inspector = nfbmr.load(left / "model")
    assert inspector.runtime.name.startswith("onnx")
    assert {one["is_defect"] for one in said} == {False, True}
    for one in said:
        found = inspector.inspect(left / "pictures" / one["name"])
        assert found.score == pytest.approx(one["score"], rel=1e-4, abs=1e-4)
        assert (found.p_value, found.is_defect) == (one["p_value"], one["is_defect"])
        assert found.heatmap.shape == (80, 80)
        assert bool(found.regions) == found.is_defect
        why = inspector.why(left / "pictures" / one["name"], found)
        assert len(why) == len(found.regions)


def test_the_command_inspects(left: Path, said: list[dict[str, Any]], tmp_path: Path) -> None:
    done = command("inspect", left / "model", left / "pictures", "-o", tmp_path, "--heatmaps")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [row["is_defect"] for row in rows] == [one["is_defect"] for one in said]
    assert len(list(tmp_path.rglob("*.png"))) == len(said)


def test_the_command_watches_calibrates_and_tells(
    left: Path, said: list[dict[str, Any]], tmp_path: Path
) -> None:
    hot = tmp_path / "hot"
    hot.mkdir()
    for path in (left / "pictures").iterdir():
        (hot / path.name).write_bytes(path.read_bytes())
    done = command("watch", left / "model", hot, "--once", "--move", "--settle", "0")
    assert done.returncode == 0, done.stderr
    moved = sorted(path.name for path in (hot / "defect").iterdir())
    assert moved == [one["name"] for one in said if one["is_defect"]]
    assert len(list((hot / "good").iterdir())) == len(said) - len(moved)
    assert command("info", left / "model").returncode == 0
    changed = tmp_path / "model"
    changed.mkdir()
    for path in (left / "model").iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    done = command("calibrate", changed, "--false-alarm-rate", "0.4")
    assert done.returncode == 0, done.stderr
    lax, strict = (nfbmr.load(model).calibration for model in (changed, left / "model"))
    assert lax.threshold == strict.threshold == 1
    assert lax.one is not None
    assert strict.one is not None
    assert lax.one < strict.one


def test_what_needs_torch_says_so(left: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MissingExtraError, match=r'torch is not installed.*pip install -e "\.\[train\]"'
    ):
        nfbmr.load(left / "model", runtime="torch")
    if importlib.util.find_spec("openvino") is None:
        with pytest.raises((SettingsError, MissingExtraError), match="openvino"):
            nfbmr.load(left / "model", runtime="openvino")
    done = command("fit", left / "good", "-o", tmp_path / "model")
    assert done.returncode == 2
    assert "pip install" in done.stderr


def test_doctor_says_what_is_here_and_looks_at_pictures(left: Path) -> None:
    done = command("doctor", left / "good")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].startswith("torch, torchvision, timm: not installed, so this machine does not")
    assert 'pip install -e ".[train]"' in lines[1]
    assert any(line.startswith("inspects with: onnxruntime") for line in lines)
    assert any("good to learn from" in line for line in lines)
    assert lines[-1].startswith("A fit needs torch, torchvision, timm; run, in the folder of")


def test_evaluate_says_before_the_work_what_it_lacks(left: Path, tmp_path: Path) -> None:
    done = command("evaluate", left / "model", left / "good", "-o", tmp_path / "report")
    assert done.returncode == 2
    assert "needs jinja2, matplotlib, sklearn, not installed here" in done.stderr
    assert "Inspecting" not in done.stderr
    assert not (tmp_path / "report").exists()


def test_the_example_without_nfbmr_gives_the_same_scores(
    left: Path, said: list[dict[str, Any]]
) -> None:
    example = Path(__file__).parents[2] / "examples" / "onnx_alone.py"
    pictures = [left / "pictures" / one["name"] for one in said]
    code = (
        "import sys, runpy; sys.modules['nfbmr'] = None; "
        f"sys.argv = {[str(example), str(left / 'model'), *map(str, pictures)]!r}; "
        f"runpy.run_path({str(example)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert [line[0] == "DEFECT" for line in lines] == [one["is_defect"] for one in said]
    for line, one in zip(lines, said, strict=True):
        assert float(line[1]) == pytest.approx(one["score"], rel=1e-4, abs=1e-3)
        assert float(line[2]) == pytest.approx(one["p_value"], abs=1e-4)


def test_starting_is_light(left: Path) -> None:
    assert left.is_dir()
    code = "import sys, nfbmr.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "nfbmr.cli.app" in loaded
    assert "onnxruntime" not in loaded
