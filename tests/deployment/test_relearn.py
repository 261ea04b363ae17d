"""Coarse precisions: SNN made coarse, the rest learnt again on it, and what is proved of that."""

from __future__ import annotations

import re
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

from nfbmr.data.ignore import GRAY, Ignored
from nfbmr.data.images import ImageInput, load_image
from nfbmr.data.survey import Survey, survey
from nfbmr.deployment import graphs
from nfbmr.deployment.export import export
from nfbmr.deployment.relearn import GraphSource, relearn
from nfbmr.errors import ExportError, SettingsError, TrainingError
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.learning.plan import Plan
from nfbmr.model.bundle import read_bundle, replace_calibration
from nfbmr.model.exports import Target
from nfbmr.networks.protocol import FeatureSource
from nfbmr.networks.source import SourceNetwork
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.maps import MAPS

Draw = Callable[..., NDArray[np.uint8]]

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnxscript", reason="torch's exporter is not installed")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_integers_are_learnt_again_and_proved(
    exported_copy: Path,
    mvtec: Path,
    draw: Draw,
    target: Target,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if target == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    before = read_bundle(exported_copy)
    done = export(exported_copy, to=target, precision="int8", calibrate_on=mvtec)
    assert (done.gate.good, done.gate.drawn) == (5, 16)  # those that are held out
    assert done.gate.scores <= done.gate.scores_allowed == 1e-4
    assert len(done.gate.probe) == len(MAPS)
    why = "5 good pictures are held out, 20 are needed"
    assert done.gate.certified is False
    assert why in done.gate.not_certified
    for said in (caplog.text, (exported_copy / "README.md").read_text("utf-8")):
        assert re.search(f"NOT CERTIFIED to find as much as single precision: {why}", said)
    after = read_bundle(exported_copy)
    assert after.calibration == before.calibration
    assert after.exports == (*before.exports, done)
    single, coarse = load(exported_copy), load(exported_copy, runtime=f"{target}:int8")
    assert coarse.calibration != single.calibration
    assert coarse.calibration.learnt == len(coarse.calibration.scores) == 16, "everyone, as there"
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
    monkeypatch.setattr("nfbmr.scoring.calibration.are_possible", lambda *_, **__: True)
    bundle = read_bundle(model_copy)
    blind = replace(bundle.calibration, one=1e9)
    replace_calibration(model_copy, replace(bundle, calibration=blind))
    before = snapshot(model_copy.parent)
    with pytest.raises(
        ExportError, match="onnx int8, learnt again, judges drawn pictures otherwise"
    ):
        export(model_copy, precision="int8", calibrate_on=mvtec)
    assert snapshot(model_copy.parent) == before


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


def known_and_new(mvtec: Path, draw: Draw) -> Survey:
    """The pictures of the fit, backwards, with new ones among them."""
    of_fit: list[ImageInput] = [*sorted((mvtec / "train" / "good").iterdir(), reverse=True)]
    return survey("mixed", [draw(500), *of_fit[:7], draw(501), *of_fit[7:], draw(502)])


def test_ranges_of_integers_and_training_see_no_picture_that_is_held_out(
    model: Path,
    mvtec: Path,
    draw: Draw,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class EnoughError(Exception):
        pass

    seen: list[NDArray[np.uint8]] = []

    def look(graph: Path, path: Path, pixels: NDArray[np.uint8]) -> None:
        seen.extend(pixels)
        raise EnoughError

    monkeypatch.setattr("nfbmr.deployment.graphs.write_source", lambda *_: None)
    monkeypatch.setattr("nfbmr.deployment.graphs.quantise", look)
    bundle = read_bundle(model)
    good = known_and_new(mvtec, draw)
    with pytest.raises(EnoughError):
        relearn(bundle, TorchRuntime(bundle, "cpu").detector, good, "onnx", "int8", tmp_path)
    trained = [one for one in good.pictures if one.fingerprint in bundle.facts.trained_on]
    assert len(seen) == len(trained) == 11
    for found, one in zip(seen, trained, strict=True):
        np.testing.assert_array_equal(found, load_image(one.picture, bundle.facts.size))
    assert "3 pictures are unknown to the model and left out" in caplog.text


def test_turned_parts_are_learnt_again_in_the_same_pose(
    turned_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[NDArray[np.uint8]] = []
    quantise = graphs.quantise

    def look(graph: Path, path: Path, pixels: NDArray[np.uint8]) -> None:
        seen.extend(pixels)
        quantise(graph, path, pixels)

    monkeypatch.setattr("nfbmr.deployment.graphs.quantise", look)
    bundle = read_bundle(turned_model)
    assert bundle.pose is not None
    good = survey("parts", sorted((turned_model.parent / "parts").iterdir()))
    detector = TorchRuntime(bundle, "cpu").detector
    learnt = relearn(bundle, detector, good, "onnx", "int8", tmp_path)
    assert learnt.bundle.pose is bundle.pose
    trained = [one for one in good.pictures if one.fingerprint in bundle.facts.trained_on]
    for found, one in zip(seen, trained, strict=True):
        aligned, _ = bundle.pose.align(load_image(one.picture, bundle.facts.size))
        np.testing.assert_array_equal(found, aligned)
    picture = good.pictures[0].picture
    single, again = (
        Inspector(b, r)
        for b, r in ((bundle, TorchRuntime(bundle, "cpu")), (learnt.bundle, learnt.reference))
    )
    assert single.inspect(picture).turn == again.inspect(picture).turn is not None


def test_what_is_ignored_is_painted_over_when_it_is_learnt_again(
    model: Path, mvtec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[NDArray[np.uint8]] = []
    plans: list[Plan] = []

    def look(graph: Path, path: Path, pixels: NDArray[np.uint8]) -> None:
        seen.extend(pixels)
        shutil.copyfile(graph, path)

    class EnoughError(Exception):
        pass

    def planned(good: Survey, plan: Plan, *_: object) -> None:
        plans.append(plan)
        raise EnoughError

    monkeypatch.setattr("nfbmr.deployment.graphs.quantise", look)
    monkeypatch.setattr("nfbmr.deployment.relearn.learn", planned)
    ignore = Ignored(np.tri(64, dtype=bool))
    bundle = replace(read_bundle(model), ignore=ignore)
    good = survey("product", sorted((mvtec / "train" / "good").iterdir()))
    with pytest.raises(EnoughError):
        relearn(bundle, TorchRuntime(bundle, "cpu").detector, good, "onnx", "int8", tmp_path)
    assert [plan.ignore for plan in plans] == [ignore]
    assert seen
    for picture in seen:
        np.testing.assert_array_equal(picture[ignore.mask], GRAY)
        assert (picture[~ignore.mask] != GRAY).any()


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
    assert (
        source.outputs
        == plain.outputs
        == sum((source.channels, source.detail_channels, source.finest_channels))
    )
    assert source.ready(torch.device("cpu")) is source
    tags = ("twice", "another")
    prints = {GraphSource(plain, Twice(), tag).fingerprint() for tag in tags}
    assert len(prints | {plain.fingerprint()}) == 3
