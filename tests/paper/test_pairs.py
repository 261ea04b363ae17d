"""PFM, B-PFM and MB-PFM: maps by hand, and training that ends in the same bits wherever it stops.

Letters: N = images, c d = channels of a level of source and target, h w = its grid.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from nfbmr.errors import TrainingError
from nfbmr.features.store import FeatureStore, write_store
from nfbmr.learning.stage import Optimiser
from nfbmr.networks.mapping import BidirectionalMapping
from nfbmr.networks.source import SourceNetwork
from nfbmr.paper.pairs import (
    LevelData,
    Pair,
    PairRuntime,
    normalised,
    pair_maps,
    train_pair,
)
from nfbmr.paper.systems import Level, PairSettings
from nfbmr.scoring.maps import MAPS
from nfbmr.settings.schema import StageSettings
from nfbmr.system.progress import Progress, silent

N = 18  # more than go through a network at a time
TRAIN = np.arange(0, N, 2)
CPU = torch.device("cpu")
FINE = Level(source=2, target=2, latent=6)
COARSE = Level(source=3, target=3, latent=8)
POSITIONS = StageSettings(steps=6, batch=32, batch_of="positions")
IMAGES = StageSettings(epochs=2, batch=4)
TWO_WAYS = PairSettings(
    source="tf_efficientnet_lite0",
    target="tf_efficientnet_lite1",
    source_weights="random",
    target_weights="random",
    levels=(FINE, COARSE),
    one_way=False,
    stage=POSITIONS,
)
KINDS = {
    "mb-pfm": TWO_WAYS,
    "b-pfm": replace(TWO_WAYS, levels=(COARSE,)),
    "pfm": replace(TWO_WAYS, levels=(COARSE,), one_way=True),
    "b-pfm on images": replace(TWO_WAYS, levels=(COARSE,), stage=IMAGES),
    "pfm on images": replace(TWO_WAYS, levels=(COARSE,), one_way=True, stage=IMAGES),
}
Built = Callable[[PairSettings], Pair]


@pytest.fixture(scope="module")
def build() -> Built:
    """Untrained pairs; each call gives one of its own."""
    built = {len(KINDS[kind].levels): Pair(KINDS[kind], 0) for kind in ("b-pfm", "mb-pfm")}

    def pair(settings: PairSettings) -> Pair:
        whole = built[len(settings.levels)]
        found = copy.copy(whole)  # the frozen networks are shared
        found._modules = whole._modules | {"mappings": copy.deepcopy(whole.mappings)}
        found.settings = settings  # nothing else is built from direction and stage
        return found

    return pair


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, build: Built) -> list[LevelData]:
    """Features of both levels, the finest first; the target's follow from the source's."""
    folder, rng = tmp_path_factory.mktemp("features"), np.random.default_rng(0)
    found = []
    for number, (level, side) in enumerate(((FINE, (4, 6)), (COARSE, (2, 3)))):
        c, d = (network.channels for network in build(TWO_WAYS).networks(level))
        y = rng.standard_normal((N, *side, c)).astype(np.float32)
        z = np.maximum(y @ rng.standard_normal((c, d)).astype(np.float32), 0) + 0.1
        stores = []
        for name, x in ((f"y{number}", y), (f"z{number}", z.astype(np.float32))):
            files = write_store(folder / name, (N, *side, x.shape[-1]), [x]).files
            stores.append(FeatureStore(files, key=name))
        found.append(LevelData(source=stores[0], target=stores[1]))
    return found


def of(settings: PairSettings, data: list[LevelData]) -> list[LevelData]:
    """The data of the levels that a pair has."""
    return data[-len(settings.levels) :]


def learn(
    pair: Pair,
    data: list[LevelData],
    work: Path,
    progress: Progress = silent,
    checkpoint_seconds: float = math.inf,
    seed: int = 0,
) -> float:
    optimiser = Optimiser(
        work=work, device=CPU, progress=progress, checkpoint_seconds=checkpoint_seconds
    )
    return train_pair(pair, of(pair.settings, data), TRAIN, seed, optimiser)


def tensors(pair: Pair) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in pair.state_dict().items()}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    assert set(one) == set(other)
    return {name for name in one if not torch.equal(one[name], other[name])}


class Recorder:
    """Remembers what it hears; presses Ctrl-C at its stop."""

    def __init__(self, stop: int | None = None, error: type[BaseException] = KeyboardInterrupt):
        self.heard: list[tuple[str, int, int]] = []
        self.losses: list[float] = []
        self.stop, self.error = stop, error

    def __call__(self, what: str, done: int, total: int, loss: float | None = None) -> None:
        assert loss is not None
        self.heard.append((what, done, total))
        self.losses.append(loss)
        if done == self.stop:
            raise self.error


# ---- maps


def by_hand(
    pair: Pair, number: int, y: NDArray[np.float32], z: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Source and target errors (N, 2, h, w) of a level, from features (N, h, w, c or d)."""
    y, z = (x / np.sqrt((x.astype(np.float64) ** 2).sum(-1, keepdims=True)) for x in (y, z))
    mapping = pair.mappings[number]
    assert isinstance(mapping, BidirectionalMapping)

    def mapped(way: Callable[[Tensor], Tensor], x: NDArray[np.float32]) -> NDArray[np.float64]:
        columns = torch.from_numpy(np.moveaxis(x, 3, 1).astype(np.float32))
        with torch.no_grad():
            return np.moveaxis(way(columns).double().numpy(), 1, 3)

    target = ((z - mapped(mapping.to_target, y)) ** 2).sum(-1)
    source = ((y - mapped(mapping.to_source, z)) ** 2).sum(-1)
    return np.stack([np.zeros_like(target) if pair.settings.one_way else source, target], axis=1)


def enlarged(maps: NDArray[np.float64], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Brings maps (N, 2, h, w) to a finer grid, linearly between the cells' centres."""
    for axis, length in zip((2, 3), grid, strict=True):
        old = maps.shape[axis]
        centres = np.clip((np.arange(length) + 0.5) * old / length - 0.5, 0, old - 1)
        before = np.minimum(centres.astype(int), old - 2)
        share = np.expand_dims(centres - before, (0, 1, 5 - axis))
        low, high = (np.take(maps, cells, axis) for cells in (before, before + 1))
        maps = low + share * (high - low)
    return maps


@pytest.mark.parametrize("kind", ["pfm", "b-pfm", "mb-pfm"])
def test_maps_are_squared_differences_of_normalised_features(
    kind: str, build: Built, data: list[LevelData]
) -> None:
    pair, own = build(KINDS[kind]), of(KINDS[kind], data)
    every = np.arange(N)
    levels = [(level.source.read(every), level.target.read(every)) for level in own]
    with torch.no_grad():
        maps = pair.maps([(torch.from_numpy(y), torch.from_numpy(z)) for y, z in levels]).numpy()
    grid = own[0].source.grid
    assert maps.shape == (N, len(MAPS), *grid)
    assert (maps[:, 2:] == 0).all(), "there is no flow"
    assert (maps[:, 0] == 0).all() == (kind == "pfm")
    errors = [enlarged(by_hand(pair, i, y, z), grid) for i, (y, z) in enumerate(levels)]
    np.testing.assert_allclose(maps[:, :2], np.mean(errors, axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(pair_maps(pair, own, every, CPU), maps, rtol=1e-5, atol=1e-6)
    some = pair_maps(pair, own, np.array([5, 2]), CPU)
    np.testing.assert_allclose(some, maps[[5, 2]], rtol=1e-5, atol=1e-6)


def test_every_position_has_length_one() -> None:
    features = torch.rand(2, 3, 4, 5) + 0.1
    found = normalised(7 * features)
    assert found.shape == (2, 5, 3, 4)
    torch.testing.assert_close(found.square().sum(dim=1), torch.ones(2, 3, 4))
    torch.testing.assert_close(found, normalised(features), msg="a brighter copy is the same")
    assert normalised(torch.zeros(1, 1, 1, 5)).isfinite().all()


def test_pixels_give_the_maps_of_their_features(build: Built) -> None:
    pair = build(TWO_WAYS)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 64, 96, 3), dtype=torch.uint8, generator=generator)
    levels = []
    for level in pair.settings.levels:
        y, z = (network(pixels).permute(0, 2, 3, 1) for network in pair.networks(level))
        levels.append((y, z))
    with torch.no_grad():
        expected = pair.maps(levels)
    assert expected.shape == (3, len(MAPS), 16, 24)
    found = PairRuntime(pair, CPU).run(pixels.numpy())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-7)


def test_networks_at_a_level_have_the_weights_that_are_loaded() -> None:
    settings = replace(TWO_WAYS, levels=(COARSE,), source_weights="embedded")
    pair = Pair(settings, 0)
    before = [network.fingerprint() for network in pair.networks(COARSE)]
    weights = pair.load()
    assert weights.startswith("embedded efficientnet-lite0")
    assert weights.endswith(" and random (seed 0): for tests and timing only")
    source, target = pair.networks(COARSE)
    assert source.fingerprint() == pair.source.fingerprint() != before[0]
    assert target.fingerprint() == before[1]
    assert isinstance(source, SourceNetwork)


# ---- training


@pytest.fixture(scope="module")
def uninterrupted(
    build: Built, data: list[LevelData], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Tensor]]:
    work, found = tmp_path_factory.mktemp("uninterrupted"), {}
    for kind, settings in KINDS.items():
        pair = build(settings)
        assert learn(pair, data, work / kind) > 0
        assert not any(module.training for module in pair.modules())
        found[kind] = tensors(pair)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_or_killed_it_ends_in_the_same_bits(
    kind: str,
    error: type[BaseException],
    build: Built,
    data: list[LevelData],
    uninterrupted: dict[str, dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    for stop in (2, 5):
        with pytest.raises(error):
            learn(build(KINDS[kind]), data, tmp_path, Recorder(stop, error), checkpoint_seconds=0)
    pair, recorder = build(KINDS[kind]), Recorder()
    learn(pair, data, tmp_path, recorder)
    on_images, levels = "images" in kind, len(pair.settings.levels)
    assert len(recorder.heard) == (6 * levels - (5 if error is KeyboardInterrupt else 4))
    assert {total for _, _, total in recorder.heard} == {6}, "9 pictures, 4 a step, twice"
    assert on_images == (pair.settings.stage.epochs is not None)
    assert differing(tensors(pair), uninterrupted[kind]) == set()


def test_every_tensor_of_the_nets_is_trained_and_the_networks_are_not(
    build: Built, uninterrupted: dict[str, dict[str, Tensor]]
) -> None:
    for kind in ("b-pfm", "mb-pfm", "b-pfm on images"):
        before = tensors(build(KINDS[kind]))
        moved = differing(before, uninterrupted[kind])
        assert moved == {name for name in before if name.startswith("mappings.")}


@pytest.mark.parametrize("kind", ["pfm", "pfm on images"])
def test_one_way_leaves_the_way_back_untrained(
    kind: str, build: Built, uninterrupted: dict[str, dict[str, Tensor]]
) -> None:
    before = tensors(build(KINDS[kind]))
    moved = differing(before, uninterrupted[kind])
    assert moved == {n for n in before if n.startswith(("mappings.0.tmnn.", "mappings.0.shared."))}


@pytest.mark.parametrize("kind", ["pfm", "b-pfm", "b-pfm on images"])
def test_training_lowers_loss_and_maps(
    kind: str, build: Built, data: list[LevelData], tmp_path: Path
) -> None:
    stage = replace(KINDS[kind].stage, epochs=None, steps=60, learning_rate=3e-3)
    pair, recorder = build(KINDS[kind]), Recorder()
    pair.settings = replace(KINDS[kind], stage=stage)
    before = pair_maps(pair, of(pair.settings, data), TRAIN, CPU)
    learn(pair, data, tmp_path, recorder)
    assert np.mean(recorder.losses[-5:]) < 0.8 * np.mean(recorder.losses[:2])
    after = pair_maps(pair, of(pair.settings, data), TRAIN, CPU)
    assert after.mean() < 0.9 * before.mean()


def test_the_first_loss_is_the_mean_square_of_both_ways(
    build: Built, data: list[LevelData], tmp_path: Path
) -> None:
    """A batch of all images and batch-norm's own statistics: counted from the maps' formula."""
    stage = replace(IMAGES, epochs=None, steps=1, batch=len(TRAIN), precision="float32")
    expected = []
    for kind in ("pfm", "b-pfm"):
        pair, recorder = build(KINDS[kind]), Recorder()
        pair.settings = replace(KINDS[kind], stage=stage)
        two_ways = copy.deepcopy(pair).train()
        two_ways.settings = replace(pair.settings, one_way=False)
        (level,) = of(pair.settings, data)
        y, z = level.source.read(TRAIN), level.target.read(TRAIN)
        back, there = by_hand(two_ways, 0, y, z).mean(axis=(0, 2, 3))
        loss = there / z.shape[-1] + (0 if kind == "pfm" else back / y.shape[-1])
        learn(pair, data, tmp_path / kind, recorder)
        assert recorder.losses == pytest.approx([loss], rel=1e-4)
        expected.append(loss)
    assert expected[0] < expected[1]


@pytest.mark.parametrize("kind", ["b-pfm", "b-pfm on images"])
def test_batches_are_of_training_pictures_the_same_from_both_networks(
    kind: str, build: Built, data: list[LevelData], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read: list[tuple[str, list[list[int]]]] = []
    for name in ("read", "read_positions"):
        original = getattr(FeatureStore, name)

        def spy(self: FeatureStore, *asked: Any, original: Any = original) -> Any:
            read.append((self.key, [indices.tolist() for indices in asked]))
            return original(self, *asked)

        monkeypatch.setattr(FeatureStore, name, spy)
    learn(build(KINDS[kind]), data, tmp_path)
    assert [key for key, _ in read] == ["y1", "z1"] * 6
    batches = [asked for _, asked in read[::2]]
    assert batches == [asked for _, asked in read[1::2]]
    assert len({str(batch) for batch in batches}) == 6, "another one at every step"
    drawn = [image for images, *_ in batches for image in images]
    assert set(drawn) <= set(TRAIN.tolist())
    if "images" in kind:  # 2 epochs
        assert sorted(drawn[:9]) == sorted(drawn[9:]) == TRAIN.tolist()


def test_a_level_that_another_pair_has_trained_is_taken_from_there(
    build: Built,
    data: list[LevelData],
    uninterrupted: dict[str, dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    learn(build(KINDS["b-pfm"]), data, tmp_path)
    pair, recorder = build(KINDS["mb-pfm"]), Recorder()
    assert learn(pair, data, tmp_path, recorder) > 0
    assert {what for what, _, _ in recorder.heard} == {"b-pfm at 4.6"}
    assert differing(tensors(pair), uninterrupted["mb-pfm"]) == set()


@pytest.mark.parametrize(
    "changes",
    [{"one_way": True}, {"stage": replace(POSITIONS, learning_rate=2e-3)}, {}],
    ids=["one way", "rate", "seed"],
)
def test_another_training_does_not_go_on_from_this_one(
    changes: dict[str, object], build: Built, data: list[LevelData], tmp_path: Path
) -> None:
    learn(build(KINDS["b-pfm"]), data, tmp_path)
    other, recorder = build(KINDS["b-pfm"]), Recorder()
    other.settings = replace(other.settings, **changes)  # type: ignore[arg-type]
    learn(other, data, tmp_path, recorder, seed=0 if changes else 1)
    assert [done for _, done, _ in recorder.heard] == [1, 2, 3, 4, 5, 6]


def test_other_pictures_do_not_go_on_from_this_training(
    build: Built, data: list[LevelData], tmp_path: Path
) -> None:
    learn(build(KINDS["b-pfm"]), data, tmp_path)
    coarse, other = data[1], data[1].target
    stores = FeatureStore(other.files, key="other")
    recorder = Recorder()
    changed = [LevelData(source=coarse.source, target=stores)]
    learn(build(KINDS["b-pfm"]), changed, tmp_path, recorder)
    assert len(recorder.heard) == 6


def test_a_loss_that_is_not_finite_is_our_own_error(
    build: Built, data: list[LevelData], tmp_path: Path
) -> None:
    pair = build(KINDS["b-pfm"])
    stage = replace(POSITIONS, learning_rate=1e30, schedule="constant", steps=30)
    pair.settings = replace(pair.settings, stage=stage)
    with pytest.raises(TrainingError, match=r"loss of the b-pfm at 2\.3 became"):
        learn(pair, data, tmp_path)
