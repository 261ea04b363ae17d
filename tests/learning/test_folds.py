"""Few pictures: each is judged by a model that has not learnt from it, and all are judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nfbmr.deployment.export import export
from nfbmr.features.cache import FeatureCache
from nfbmr.features.store import FeatureStore
from nfbmr.fitting import fit
from nfbmr.inspection.inspector import load
from nfbmr.learning.folds import FOLDS, are_few, folded, maps_by_others
from nfbmr.learning.training_data import TrainingData
from nfbmr.networks.detector import Detector
from nfbmr.scoring.calibration import image_scores
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import Settings


def data(n: int, held_out: int, **how: Any) -> TrainingData:
    order = np.random.default_rng(0).permutation(n)
    return TrainingData(
        store=cast(FeatureStore, None),
        train=np.sort(order[held_out:]),
        held_out=np.sort(order[:held_out]),
        everyone=how.pop("everyone", True),
        **how,
    )


def test_each_part_learns_from_the_others_alone_and_together_they_judge_everyone() -> None:
    whole = data(22, 5)
    parts = folded(whole, 3)
    assert len(parts) == FOLDS
    judged = np.concatenate([part.calibrating for part in parts])
    np.testing.assert_array_equal(np.sort(judged), whole.calibrating)
    for part in parts:
        assert not part.judges_without_itself
        assert not np.isin(part.calibrating, part.learnt).any()
        np.testing.assert_array_equal(
            np.sort(np.concatenate([part.learnt, part.calibrating])), whole.learnt
        )
    other = [part.calibrating.tolist() for part in folded(whole, 4)]
    assert other != [part.calibrating.tolist() for part in parts]


def test_few_are_those_that_everyone_calibrates_below_a_number() -> None:
    assert are_few(data(22, 5), 23)
    assert not are_few(data(22, 5), 22)
    assert not are_few(data(22, 5), 0)
    assert not are_few(data(22, 5, everyone=False), 80)
    assert not are_few(data(22, 5, chosen=np.arange(22, 30)), 80)


def test_maps_come_in_the_order_of_what_calibrates_and_from_models_of_others(
    tmp_path: Path,
) -> None:
    whole, heard, works = data(22, 5), [], []

    def learns(part: TrainingData, work: Path, progress: Any) -> Detector:
        works.append(work)
        for step in (1, 2):
            progress("flow", step, 2)
            progress("mapping", step, 2)
        return cast(Detector, SimpleNamespace(learnt=part.learnt))

    def maps_of(one: Any, part: TrainingData) -> np.ndarray[Any, Any]:
        assert not np.isin(part.calibrating, one.learnt).any()
        return np.asarray(part.calibrating[:, None, None, None], np.float32)

    maps = maps_by_others(whole, 0, tmp_path, learns, maps_of, lambda *said: heard.append(said[:3]))
    np.testing.assert_array_equal(maps[:, 0, 0, 0], whole.calibrating)
    assert len(set(works)) == FOLDS
    assert heard == [("folds", done, 2 * FOLDS) for done in range(1, 2 * FOLDS + 1)]


@pytest.fixture
def few(tmp_path: Path, mvtec: Path, tiny: Settings) -> Path:
    how = with_changes(tiny, {"calibration": {"folded_below": 50}})
    cache = FeatureCache(tmp_path / "cache")
    fit(mvtec, tmp_path / "model", settings=how, device="cpu", cache=cache, export=False)
    return tmp_path / "model"


def test_a_fit_of_few_pictures_keeps_what_models_of_others_said(few: Path, model: Path) -> None:
    """The networks are those of a fit without folds: only the calibration is another."""
    one, other = load(few), load(model)
    assert one.calibration.folds == FOLDS
    assert one.calibration.learnt == other.calibration.learnt == len(one.calibration.scores)
    assert "each judged by a model of others" in one.calibration.describe()[0]
    assert other.calibration.folds == 0
    picture = torch.zeros(64, 64, 3, dtype=torch.uint8).numpy()
    np.testing.assert_array_equal(one.maps([picture]), other.maps([picture]))
    assert one.calibration.scores != other.calibration.scores


def test_known_pictures_look_nearer_to_the_model_than_to_those_of_others(
    few: Path, mvtec: Path
) -> None:
    one = load(few)
    maps = one.maps(sorted((mvtec / "train" / "good").glob("*.png")))
    again = image_scores(maps, one.settings.scoring, one.calibration)
    assert again.mean() < np.mean(one.calibration.scores)


def test_another_rate_keeps_the_folds_and_new_pictures_forget_them(
    few: Path, draw: Callable[..., NDArray[np.uint8]]
) -> None:
    one = load(few)
    assert one.recalibrated(0.3).calibration.folds == FOLDS
    new = [draw(seed) for seed in range(400, 408)]
    assert one.recalibrated(0.3, new).calibration.folds == 0


@pytest.mark.exporter
def test_a_model_of_few_pictures_is_exported(few: Path) -> None:
    assert export(few, to="onnx").target == "onnx"
