"""Coarse precisions: SNN made coarse, the rest learnt again on it, and what is proved of that."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nfbmr.deployment.damage import beside, damaged_copies, judged
from nfbmr.deployment.export import export
from nfbmr.deployment.gate import Pictures
from nfbmr.deployment.relearn import GraphSource
from nfbmr.errors import ExportError, SettingsError, TrainingError
from nfbmr.inspection.inspector import load
from nfbmr.model.bundle import read_bundle, replace_calibration
from nfbmr.model.exports import Target
from nfbmr.networks.protocol import FeatureSource
from nfbmr.networks.source import SourceNetwork
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.maps import MAPS, Maps

Draw = Callable[..., NDArray[np.uint8]]

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnxscript", reason="torch's exporter is not installed")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_integers_are_learnt_again_and_proved(
    exported_copy: Path, mvtec: Path, draw: Draw, target: Target
) -> None:
    if target == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    before = read_bundle(exported_copy)
    done = export(exported_copy, to=target, precision="int8", calibrate_on=mvtec)
    assert (done.gate.good, done.gate.drawn) == (5, 16)  # those that calibrate
    assert done.gate.scores <= done.gate.scores_allowed == 1e-4
    assert len(done.gate.probe) == len(MAPS)
    assert done.gate.separates is not None
    assert done.gate.separated is not None
    assert done.gate.separates > 0.5
    assert done.gate.separated > 0.5
    after = read_bundle(exported_copy)
    assert after.calibration == before.calibration
    assert after.exports == (*before.exports, done)
    single, coarse = load(exported_copy), load(exported_copy, runtime=f"{target}:int8")
    assert coarse.calibration != single.calibration
    differs = 0.0
    for number in range(8):
        picture = draw(number, defect=number % 2 == 1)
        one, other = single.inspect(picture), coarse.inspect(picture)
        assert other.is_defect == one.is_defect == (number % 2 == 1)
        differs = max(differs, float(np.abs(one.maps - other.maps).max()))
    assert differs > 0


@pytest.mark.slow
def test_what_judges_drawn_pictures_otherwise_is_not_kept(
    model_copy: Path, mvtec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = read_bundle(model_copy)
    blind = replace(bundle.calibration, threshold=1e9)
    replace_calibration(model_copy, replace(bundle, calibration=blind))
    before = snapshot(model_copy.parent)
    with pytest.raises(ExportError, match="learnt again it judges drawn pictures otherwise"):
        export(model_copy, precision="int8", calibrate_on=mvtec)
    assert snapshot(model_copy.parent) == before


def test_a_model_that_finds_less_than_single_precision_is_refused(model: Path, mvtec: Path) -> None:
    bundle = read_bundle(model)
    single = TorchRuntime(bundle, "cpu")
    pictures = Pictures(good=sorted((mvtec / "train" / "good").iterdir()), drawn=[])
    copies = damaged_copies(pictures.good, bundle.facts.size)
    assert len(copies) == 64

    class Dull:
        name = "dull"
        share = 0.0

        def run(self, pixels: NDArray[np.uint8]) -> Maps:
            maps = single.run(pixels)
            flat = np.full_like(maps, 1.0)
            return (1 - self.share) * maps + self.share * flat

    dull = Dull()
    expected, found = (judged(bundle, runtime, pictures, copies) for runtime in (single, dull))
    same = beside(expected, found)
    assert same.separates == same.separated > 0.8
    assert same.p_values == 0
    dull.share = 1.0
    with pytest.raises(ExportError, match=r"good ones in 50.0 % of pairs, in single precision"):
        beside(expected, judged(bundle, dull, pictures, copies))


@pytest.mark.slow
def test_the_rate_in_force_is_that_of_what_is_learnt_again(model_copy: Path, mvtec: Path) -> None:
    load(model_copy).recalibrated(0.3).save_calibration()
    export(model_copy, precision="int8", calibrate_on=mvtec)
    coarse = load(model_copy, runtime="onnx:int8")
    assert coarse.calibration.false_alarm_rate == 0.3
    assert coarse.others == ()
    assert load(model_copy, runtime="torch").others == ("onnx:int8",)


def test_other_pictures_than_those_of_the_fit_are_refused(
    model_copy: Path, mvtec: Path, tmp_path: Path, draw: Draw
) -> None:
    some = tmp_path / "some"
    some.mkdir()
    for path in sorted((mvtec / "train" / "good").iterdir())[:9]:
        shutil.copy(path, some)
    for number in range(20):
        Image.fromarray(draw(100 + number)).save(some / f"new{number}.png")
    before = snapshot(model_copy)
    with pytest.raises(TrainingError, match=r"9 of the 16 good pictures .* among the 29 given"):
        export(model_copy, precision="int8", calibrate_on=some)
    assert snapshot(model_copy) == before


def test_no_pictures_are_refused(model_copy: Path) -> None:
    with pytest.raises(SettingsError, match="bf16 is learnt from good pictures"):
        export(model_copy, to="openvino", precision="bf16")


def test_a_source_leaves_the_computation_to_its_graph_and_shapes_to_torch(model: Path) -> None:
    settings = read_bundle(model).settings.backbone
    plain = SourceNetwork.of(settings)

    class Twice:
        name = "twice"

        def run(self, pixels: NDArray[np.uint8]) -> Any:
            return 2 * plain(torch.from_numpy(pixels)).numpy()

    source: FeatureSource = GraphSource(plain, Twice(), "twice")
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    assert torch.equal(source(pixels), 2 * plain(pixels))
    assert source.grid((64, 64)) == plain.grid((64, 64))
    assert source.outputs == plain.outputs == source.channels + source.detail_channels
    assert source.ready(torch.device("cpu")) is source
    tags = ("twice", "another")
    prints = {GraphSource(plain, Twice(), tag).fingerprint() for tag in tags}
    assert len(prints | {plain.fingerprint()}) == 3
