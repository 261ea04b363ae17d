"""Models of earlier versions open and judge as they did, so no change of format breaks them unseen.

`fixtures/format_1` is a model directory as format 1 was written first, with graphs for ONNX Runtime
and OpenVINO, and `fixtures/format_1_said.json` is what the program of that time said of pictures.
Where a test here fails, models on somebody's line fail: mend the reading, and never write the
fixture anew. A later format gets a fixture of its own beside it.
"""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nfbmr.cli.app import app
from nfbmr.inspection.inspector import load
from nfbmr.model.bundle import read_bundle
from nfbmr.runtimes.protocol import is_installed

FIXTURES = Path(__file__).parent / "fixtures"
OLD = FIXTURES / "format_1"
SAID: dict[str, list[dict[str, Any]]] = json.loads((FIXTURES / "format_1_said.json").read_bytes())
DRAW = runpy.run_path(str(Path(__file__).parents[1] / "inference_only" / "make_bundle.py"))["draw"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those that the old program judged, every second one defective."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(100, 112):
        DRAW(number, defect=number % 2 == 1).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("runtime", ["torch", "onnx", "openvino"])
def test_an_old_model_judges_as_it_did(runtime: str, pictures: Path) -> None:
    if not is_installed(runtime):
        pytest.skip(f"{runtime} is not installed")
    inspector = load(OLD, runtime=runtime, device="cpu")
    expected = SAID[runtime]
    assert [one["name"] for one in expected] == [path.name for path in sorted(pictures.iterdir())]
    assert [one["is_defect"] for one in expected] == 6 * [False, True]
    for one in expected:
        found = inspector.inspect(pictures / one["name"])
        assert (found.is_defect, found.threshold) == (one["is_defect"], one["threshold"])
        # Another processor adds up in another order.
        assert found.score == pytest.approx(one["score"], rel=1e-5, abs=0)
        assert found.p_value == pytest.approx(one["p_value"], rel=1e-5, abs=0)
        assert found.heatmap.max() == pytest.approx(one["heat"], rel=1e-4)


def test_what_an_old_model_says_of_itself_is_read() -> None:
    bundle = read_bundle(OLD)
    assert (bundle.facts.name, bundle.facts.size, bundle.facts.whole) == ("good", (32, 64), None)
    assert (bundle.facts.n_train, bundle.facts.n_held_out) == (19, 5)
    assert [export.name for export in bundle.exports] == ["onnx fp32", "openvino fp32"]
    text = run("info", OLD)
    assert text.startswith("# good: a defect detector by nfbmr")
    assert "commit 1fe8702fb95b" in text


def test_the_command_line_inspects_with_an_old_model(old: Path, pictures: Path) -> None:
    rows = run("inspect", old, pictures, "--format=jsonl").splitlines()
    verdicts = [json.loads(row)["is_defect"] for row in rows]
    assert verdicts == [one["is_defect"] for one in SAID["torch"]]


def test_an_old_model_is_calibrated_anew(old: Path, tmp_path: Path) -> None:
    before = load(old)
    run("calibrate", old, "--false-alarm-rate=0.4")
    assert load(old).threshold == before.recalibrated(0.4).threshold != before.threshold
    good = tmp_path / "good"
    good.mkdir()
    for number in range(200, 212):
        DRAW(number, defect=False).save(good / f"{number}.png")
    run("calibrate", old, good)
    after = load(old)
    assert len(after.calibration.scores) == 12
    assert (after.facts, after.settings) == (before.facts, before.settings)
    assert read_bundle(old).exports == read_bundle(OLD).exports
