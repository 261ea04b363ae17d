"""One category learnt by several systems: what they share, and that they judge as alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.images import load_image
from nfbmr.data.layouts import read_data
from nfbmr.errors import ImageError
from nfbmr.inspection.result import About
from nfbmr.learning.stages import split_held_out
from nfbmr.networks.weights import embedded_file
from nfbmr.paper.plan import Request, Source
from nfbmr.paper.product import Learnt, Product
from nfbmr.scoring.calibrate import calibrate
from nfbmr.scoring.maps import MAPS

Ask = Callable[..., Request]
KINDS = ("nf-bmr-2", "b-pfm")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def product(sources: list[Source], tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A category; it is not closed while tests use it."""
    return Product(sources[0].found, "fast", tmp_path_factory.mktemp("work"), CPU)


@pytest.fixture(scope="module")
def learnt(product: Product, ask: Ask) -> dict[str, Learnt]:
    return {key: product.learn(ask().system(key, 0)) for key in KINDS}


def pixels(paths: list[Path], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.stack([load_image(path, size) for path in paths])


@pytest.mark.parametrize("key", KINDS)
def test_maps_from_kept_features_are_those_of_the_pictures(
    key: str, learnt: dict[str, Learnt], product: Product
) -> None:
    inspector = learnt[key].inspector
    expected = inspector.runtime.run(
        pixels([sample.path for sample in product.test], inspector.facts.size)
    )
    maps = learnt[key].maps
    assert maps.shape == (8, len(MAPS), *((8, 8) if key == "nf-bmr-2" else (4, 4)))
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-4)
    judged = inspector.judge(maps, [About(size=size) for size in product.test_sizes])
    for sample, result in zip(product.test, judged, strict=True):
        found = inspector.inspect(sample.path)
        assert found.score == pytest.approx(getattr(result, "score", None), rel=1e-2, abs=1e-2)
        assert found.size == (80, 80)


@pytest.mark.parametrize("key", KINDS)
def test_the_held_out_pictures_calibrate_and_no_others(
    key: str, learnt: dict[str, Learnt], product: Product
) -> None:
    inspector = learnt[key].inspector
    train, held_out = split_held_out(16, 5, 0)
    facts = inspector.facts
    assert (facts.name, facts.size) == ("bottle", (64, 64))
    assert (facts.n_train, facts.n_held_out) == (len(train), len(held_out)) == (11, 5)
    maps = inspector.runtime.run(pixels([product.good.paths[i] for i in held_out], facts.size))
    expected = calibrate(maps, inspector.settings.scoring, 0.2)
    assert inspector.calibration.scores == pytest.approx(expected.scores, rel=1e-2, abs=1e-2)
    assert inspector.threshold == pytest.approx(expected.threshold, rel=1e-2, abs=1e-2)
    others = inspector.runtime.run(pixels([product.good.paths[i] for i in train[:5]], facts.size))
    wrong = calibrate(others, inspector.settings.scoring, 0.2)
    assert inspector.calibration.scores != pytest.approx(wrong.scores, rel=1e-2, abs=1e-2)


def test_one_way_judges_by_the_target_and_two_ways_by_both(learnt: dict[str, Learnt]) -> None:
    maps = learnt["b-pfm"].maps
    assert (maps[:, :2] > 0).all()
    assert (maps[:, 2:] == 0).all(), "a pair has no flow"
    assert learnt["b-pfm"].inspector.settings.scoring.maps == ("asm",)


def test_a_pair_sees_pictures_of_its_own_size(
    sources: list[Source], ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def size_of_pair(*given: object) -> tuple[int, int]:
        asked.append(given)
        return 64, 96

    monkeypatch.setattr("nfbmr.paper.product.pair_size", size_of_pair)
    product = Product(sources[0].found, "paper", tmp_path / "work", CPU)
    found = product.learn(ask().system("pfm", 0))
    assert asked == [("paper", (64, 64))]
    assert found.inspector.facts.size == (64, 96)
    assert found.maps.shape == (8, len(MAPS), 4, 6)
    assert (found.maps[:, 0] == 0).all(), "one way"


def test_what_is_shared_is_computed_once(sources: list[Source], ask: Ask, tmp_path: Path) -> None:
    heard: list[str] = []

    def note(what: str, done: int, total: int, loss: float | None = None) -> None:
        if what != "features" or done < total:  # all at once: they were there
            heard.append(what)

    product = Product(sources[0].found, "fast", tmp_path / "work", CPU, note)
    steps = []
    for key, seed in (("nf", 0), ("nf-bmr-2", 0), ("nfbmr", 0), ("nf", 1)):
        heard.clear()
        product.learn(ask().system(key, seed))
        steps.append(set(heard))
    assert steps == [{"survey", "features", "flow"}, {"mapping"}, set(), {"flow"}]


@pytest.mark.usefixtures("learnt")
def test_shared_features_count_into_every_systems_time(product: Product, ask: Ask) -> None:
    file = product.work / "seconds_per_image.json"
    measured = json.loads(file.read_text("utf-8"))
    assert len(measured) == 2 * (1 + 2), "good and test pictures: SNN, both networks of the pair"
    assert all(0 < value < 60 for value in measured.values())
    file.write_text(json.dumps(dict.fromkeys(measured, 1000.0)), "utf-8")
    times = [product.learn(ask().system(key, 0)).fit_seconds for key in ("nf", "b-pfm")]
    file.write_text(json.dumps(measured), "utf-8")
    assert 16_000 < times[0] < 17_000, "the test pictures are no part of learning"
    assert 32_000 < times[1] < 33_000, "through both networks"


def test_what_goes_on_from_a_shared_flow_is_what_it_would_be_alone(
    product: Product, learnt: dict[str, Learnt], ask: Ask
) -> None:
    alone = product.learn(ask().system("nf", 0))
    again = product.learn(ask().system("nf-bmr-2", 0))
    first = learnt["nf-bmr-2"]
    assert again.inspector.facts.losses == first.inspector.facts.losses
    assert again.inspector.calibration == first.inspector.calibration
    assert again.weights == first.weights
    np.testing.assert_array_equal(again.maps, first.maps)
    np.testing.assert_array_equal(alone.maps[:, 2:], first.maps[:, 2:])
    assert (alone.maps[:, :2] == 0).all()


def test_another_score_of_one_network_is_what_it_would_be_alone(
    product: Product, ask: Ask, sources: list[Source], tmp_path: Path
) -> None:
    weights = {"": str(embedded_file("tf_efficientnet_lite0"))}
    request = replace(ask(), weights=weights)
    product.learn(request.system("nf-bmr-2", 0))
    after = product.learn(request.system("nfbmr", 0))
    apart = Product(sources[0].found, "fast", tmp_path / "work", CPU)
    alone = apart.learn(request.system("nfbmr", 0))
    assert after.inspector.settings == alone.inspector.settings, "where a file lies is no setting"
    found, expected = (
        replace(one.inspector.calibration, watched={}, names={}, trained={})
        for one in (after, alone)
    )
    assert found == expected
    assert after.inspector.facts.losses == alone.inspector.facts.losses
    assert after.weights == alone.weights
    np.testing.assert_array_equal(after.maps, alone.maps)
    other_seed = product.learn(request.system("nfbmr", 1))
    assert other_seed.inspector.facts.losses != after.inspector.facts.losses


def test_copies_are_left_out_and_closing_deletes_what_was_shared(
    mvtec: Path, ask: Ask, tmp_path: Path
) -> None:
    good = mvtec / "train" / "good"
    shutil.copy(good / "003.png", good / "copy.png")
    found = read_data(mvtec)
    assert len(found.train_good) == 17
    product = Product(found, "fast", tmp_path / "work" / "widget", CPU)
    assert len(product.good.pictures) == 16
    facts = product.learn(ask().system("nf", 0)).inspector.facts
    assert facts.n_train + facts.n_held_out == 16
    assert product.work.is_dir()
    product.close()
    assert not product.work.exists()
    assert (tmp_path / "work").is_dir()
    product.close()  # nothing is left to delete


def test_copies_are_told_by_what_is_white(mvtec: Path, tmp_path: Path) -> None:
    good = mvtec / "train" / "good"
    for name, level in (("a.png", 1000), ("b.png", 1012)):  # of 4095
        Image.fromarray(np.full((80, 80), level, np.uint16)).save(good / name)
    found = read_data(mvtec)
    counts = [
        len(Product(found, "fast", tmp_path / "work", CPU, white=white).good.pictures)
        for white in (None, 4095)
    ]
    assert counts == [17, 18]


def test_test_pictures_that_are_learnt_from_are_said(
    mvtec: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.open(mvtec / "train" / "good" / "003.png").save(mvtec / "test" / "good" / "again.bmp")
    product = Product(read_data(mvtec), "fast", tmp_path / "work", CPU)
    assert len(product._unseen) == 9
    said = "widget: 1 of 9 test pictures are also learnt from, kept, so that the figures flatter: "
    assert caplog.messages == [f"{said}again.bmp"]


def test_a_broken_picture_is_our_own_error(mvtec: Path, ask: Ask, tmp_path: Path) -> None:
    picture = mvtec / "test" / "blob" / "002.png"
    picture.write_bytes(picture.read_bytes()[:500])
    product = Product(read_data(mvtec), "fast", tmp_path / "work", CPU)
    with pytest.raises(ImageError, match=r"002\.png"):
        product.learn(ask().system("nf", 0))
