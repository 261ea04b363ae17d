"""Exporting: what passes the gate answers as torch does; what does not leaves nothing behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.deployment.export import export
from nfbmr.deployment.gate import Agreement, Pictures, Prover
from nfbmr.errors import ExportError, SettingsError
from nfbmr.fitting import fit
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.model.bundle import read_bundle
from nfbmr.model.exports import Precision, Target
from nfbmr.runtimes.choose import open_graph
from nfbmr.runtimes.protocol import Runtime
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.settings.schema import Settings

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnxscript", reason="torch's exporter is not installed")

Draw = Callable[..., NDArray[np.uint8]]


def snapshot(path: Path) -> dict[str, str]:
    files = sorted(path.rglob("*"))
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}


class Off:
    """A runtime whose maps are wrong on pictures after the first `right`."""

    name = "off"

    def __init__(self, runtime: Runtime, factor: float, right: int = 0) -> None:
        self.runtime, self.factor, self.left = runtime, factor, right

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        maps = self.runtime.run(pixels)
        for picture in maps:
            if self.left <= 0:
                picture *= self.factor
            self.left -= 1
        return maps


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes every exported graph answer wrongly."""

    def make(factor: float, right: int = 0) -> None:
        def wrong(
            target: Target, precision: Precision, graph: Path, threads: int | None = None
        ) -> Runtime:
            return Off(open_graph(target, precision, graph, threads), factor, right)

        monkeypatch.setattr("nfbmr.deployment.export.open_graph", wrong)

    return make


@pytest.mark.slow
def test_scores_and_verdicts_are_those_of_torch(
    model_copy: Path, good_folder: Path, draw: Draw
) -> None:
    done = export(model_copy, calibrate_on=good_folder)
    assert (done.name, done.gate.good, done.gate.drawn) == ("onnx fp32", 12, 16)
    assert done.gate.scores <= 1e-4
    assert done.gate.milliseconds > 0
    assert read_bundle(model_copy).exports == (done,)
    torch, onnx = load(model_copy, runtime="torch"), load(model_copy, runtime="onnx")
    for number in range(8):
        picture = draw(number, defect=number % 2 == 1)
        one, other = torch.inspect(picture), onnx.inspect(picture)
        assert other.score == pytest.approx(one.score, rel=1e-4, abs=1e-4)
        assert other.is_defect == one.is_defect == (number % 2 == 1)


@pytest.mark.slow
def test_a_graph_that_answers_otherwise_leaves_nothing_behind(
    model_copy: Path, good_folder: Path, off: Callable[..., None]
) -> None:
    before = snapshot(model_copy.parent)
    off(1.01, right=3)
    worst = r"maps of .*0(0[3-9]|1[01])\.png part by 0\.01"  # any but the first three
    with pytest.raises(ExportError, match=rf"{worst}.*1e-03 is allowed"):
        export(model_copy, calibrate_on=good_folder)
    off(float("nan"), right=13)
    with pytest.raises(ExportError, match=r"drawn picture \d+ cannot be judged: .*not finite"):
        export(model_copy, calibrate_on=good_folder)
    assert snapshot(model_copy.parent) == before


def test_another_verdict_is_refused_however_near_the_scores(exported: Path) -> None:
    bundle = read_bundle(exported)
    torch = TorchRuntime(bundle, "cpu")
    picture = np.full((64, 64, 3), 100, np.uint8)
    score = Inspector(bundle, torch).inspect(picture).score

    class Near(Off):
        def run(self, pixels: NDArray[np.uint8]) -> Maps:
            return self.runtime.run(pixels) * np.float32(1 + 2e-6)

    def compared(threshold: float) -> Agreement:
        calibration = replace(bundle.calibration, threshold=threshold)
        pictures = Pictures(good=[picture], drawn=[])
        prover = Prover(replace(bundle, calibration=calibration), torch, pictures)
        return prover.compare("onnx", "fp32", Near(torch, 1))

    assert 0 < compared(score + 1).scores < 1e-4
    with pytest.raises(ExportError, match="onnx fp32 gives another verdict than torch on 1 of 1"):
        compared(score)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"precision": "bf16"}, "bf16 is OpenVINO's alone"),
        ({"precision": "int8"}, "int8 is learnt from good pictures: give those of the fit"),
    ],
)
def test_wishes_that_do_not_go_together_are_refused(
    model: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        export(model, **options)


@pytest.mark.slow
def test_an_export_on_drawn_pictures_alone_takes_no_stronger_proof_away(
    exported_copy: Path, good_folder: Path
) -> None:
    strong = export(exported_copy, calibrate_on=good_folder)
    weak = export(exported_copy)
    assert weak.graph == strong.graph, "the same model makes the same graph"
    assert weak.gate.good == strong.gate.good > 0
    assert weak in read_bundle(exported_copy).exports
    said = f"same verdict on {strong.gate.good} good and 16 drawn pictures"
    assert said in (exported_copy / "README.md").read_text("utf-8")


def test_half_the_space_for_weights(exported_copy: Path, good_folder: Path) -> None:
    done = export(exported_copy, precision="fp16", calibrate_on=good_folder)
    assert done.gate.scores_allowed > 1e-4
    single, half = exported_copy / "model.onnx", exported_copy / "model.fp16.onnx"
    assert half.stat().st_size < 0.7 * single.stat().st_size
    names = [export.name for export in read_bundle(exported_copy).exports]
    assert "onnx fp16" in names
    assert "onnx fp32" in names


def test_the_threshold_changes_after_the_export_and_the_graph_does_not(
    exported_copy: Path,
) -> None:
    before = snapshot(exported_copy)
    inspector = load(exported_copy, runtime="onnx")
    changed = inspector.recalibrated(0.4)
    changed.save_calibration()
    after = snapshot(exported_copy)
    kept = [str(exported_copy / name) for name in ("model.onnx", "exports.json", "config.json")]
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    again = load(exported_copy, runtime="onnx")
    assert again.calibration == changed.calibration
    assert changed.calibration.one != inspector.calibration.one, "the raw score that is shown as 1"
    inspector.save_calibration()
    assert load(exported_copy, runtime="onnx").calibration == inspector.calibration


@pytest.mark.slow
@pytest.mark.exports
def test_a_fit_exports_by_itself(mvtec: Path, tmp_path: Path, tiny: Settings) -> None:
    fitted = fit(mvtec, tmp_path / "model", settings=tiny, device="cpu")
    assert not isinstance(fitted.runtime, TorchRuntime)
    exports = read_bundle(tmp_path / "model").exports
    assert {export.gate.good for export in exports} == {5}  # those that calibrate
    assert "onnx fp32" in {export.name for export in exports}
    assert len(MAPS) == fitted.inspect(np.zeros((9, 9, 3), np.uint8)).maps.shape[0]


@pytest.mark.slow
@pytest.mark.exports
def test_a_fit_whose_export_fails_keeps_its_model(
    mvtec: Path,
    tmp_path: Path,
    tiny: Settings,
    off: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    off(2.0)
    fitted = fit(mvtec, tmp_path / "model", settings=tiny, device="cpu")
    assert isinstance(fitted.runtime, TorchRuntime)
    assert "runs with torch alone: the graph does not answer as torch does" in caplog.text
    assert read_bundle(tmp_path / "model").exports == ()
    assert not list((tmp_path / "model").glob("*.onnx"))
