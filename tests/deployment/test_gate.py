"""The gate: what it calls pictures; calibrated scores are those of the serving processor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.data.survey import Surveyed, survey
from nfbmr.deployment.export import add_graphs
from nfbmr.deployment.gate import Pictures, Prover
from nfbmr.errors import ExportError
from nfbmr.model.bundle import Bundle, read_bundle
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.maps import Maps


@pytest.fixture
def bundle(model: Path) -> Bundle:
    return read_bundle(model)


@pytest.fixture
def held_out(model: Path, bundle: Bundle) -> list[Surveyed]:
    known = set(bundle.facts.held_out)
    folder = model.parent / "widget" / "train" / "good"
    return [one for one in survey("widget", folder.iterdir()).pictures if one.fingerprint in known]


def prover(bundle: Bundle, held_out: list[Surveyed], told: list[None]) -> Prover:
    pictures = Pictures(good=[one.picture for one in held_out], drawn=[])
    return Prover(bundle, TorchRuntime(bundle, "cpu"), pictures, lambda: told.append(None))


def test_a_model_scores_the_pictures_that_calibrated_it_as_it_did_then(
    bundle: Bundle, held_out: list[Surveyed]
) -> None:
    told: list[None] = []
    gate = prover(bundle, held_out, told)
    assert 0 < len(held_out) == len(told) == bundle.facts.n_held_out
    assert len(bundle.calibration.scores) > len(held_out), "what trained calibrates, too"
    assert gate.check_calibration([one.pixel_hash for one in held_out]) < 1e-5


def test_a_calibration_from_another_processor_that_scores_otherwise_is_refused(
    bundle: Bundle, held_out: list[Surveyed]
) -> None:
    scores = [score + 0.01 * (1 + abs(score)) for score in bundle.calibration.scores]
    other = replace(bundle, calibration=replace(bundle.calibration, scores=tuple(scores)))
    gate = prover(other, held_out, [])
    with pytest.raises(ExportError, match="learnt from other scores than this processor gives"):
        gate.check_calibration([one.pixel_hash for one in held_out])


def test_no_graph_is_made_where_other_scores_are_stored_and_each_pass_is_counted(
    model: Path, bundle: Bundle, held_out: list[Surveyed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("nfbmr.deployment.export._graph")
    scores = [score + 0.01 * (1 + abs(score)) for score in bundle.calibration.scores]
    other = replace(bundle, calibration=replace(bundle.calibration, scores=tuple(scores)))
    heard: list[tuple[object, ...]] = []
    with pytest.raises(ExportError, match="learnt from other scores than this processor gives"):
        add_graphs(
            model,
            other,
            TorchRuntime(bundle, "cpu"),
            [("onnx", "fp32"), ("openvino", "fp32")],
            [one.picture for one in held_out],
            calibrated=[one.pixel_hash for one in held_out],
            progress=lambda *said: heard.append(said),
        )
    passes = len(held_out) + 16  # drawn ones
    assert heard == [("export", done, 3 * passes) for done in range(1, passes + 1)]


def test_a_graph_that_is_right_for_some_numbers_of_pictures_only_is_refused(
    bundle: Bundle, held_out: list[Surveyed]
) -> None:
    torch = TorchRuntime(bundle, "cpu")

    class AloneOtherwise:
        name = "otherwise"

        def run(self, pixels: NDArray[np.uint8]) -> Maps:
            return torch.run(pixels) * np.float32(1.01 if len(pixels) == 1 else 1)

    pictures = Pictures(good=[held_out[0].picture] * 8, drawn=[])
    gate = Prover(bundle, torch, pictures)
    with pytest.raises(
        ExportError, match=r"of a picture alone than .* part by 0\.0099 of their size"
    ):
        gate.compare("onnx", "fp32", AloneOtherwise())


def test_pictures_without_a_file_are_called_by_kind_and_number() -> None:
    plain = np.zeros((8, 8, 3), np.uint8)
    pictures = Pictures(good=[plain, Path("good/one.png"), plain], drawn=[plain, plain])
    assert [pictures.name(number) for number in range(5)] == [
        "good picture 1",
        str(Path("good/one.png")),
        "good picture 3",
        "drawn picture 1",
        "drawn picture 2",
    ]
