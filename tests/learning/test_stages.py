"""Training is a function of its checkpoint: stopped anywhere, it ends in the same bits."""

from __future__ import annotations

import itertools
import math
import os
import random
import signal
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nfbmr.errors import TrainingError
from nfbmr.features.store import FeatureStore, write_store
from nfbmr.learning import checkpoint, stages
from nfbmr.learning.maps import calibration_maps
from nfbmr.learning.stages import (
    Trained,
    split_held_out,
    stage_keys,
    train,
)
from nfbmr.learning.training_data import TrainingData
from nfbmr.networks.detector import Detector
from nfbmr.networks.flow import Rows, TargetFlow, position_code
from nfbmr.networks.gaussian import PositionGaussians
from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.subspace import Subspace
from nfbmr.scoring.maps import MAPS
from nfbmr.settings.changes import with_changes
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import Settings
from nfbmr.system.progress import Progress, silent

STAGES = (2, 1)
N, GRID, CHANNELS = 9, (3, 4), 40
NEVER = math.inf
TINY: dict[str, Any] = {
    "flow": {"hidden": 8, "blocks": 2},
    "mapping": {"kind": "bmr", "latent": 8, "inner": 4, "n": 1},
    "gaussian": {"rank": 0},
    "scoring": {"maps": ["source", "target", "likelihood", "norm"]},
    "stage_one": {"steps": 6, "batch": 16},
    "stage_two": {"steps": 4, "batch": 2},
}
IMAGES = {"steps": 6, "batch": 3, "batch_of": "images"}
MODES: dict[str, dict[str, Any]] = {
    "positions": {},
    "images": {"stage_one": IMAGES},
    "neighbours": {"stage_one": IMAGES, "flow": {"kernel": 3}},
    "epochs": {  # 7 images to train on: the last batch of an epoch is smaller
        "stage_one": IMAGES | {"steps": None, "epochs": 2, "least_steps": 1},
        "stage_two": {"steps": None, "epochs": 1},
    },
    "b-pfm": {"mapping": {"kind": "b-pfm"}},
    "constant": {
        "stage_one": {"schedule": "constant", "clip_norm": None},
        "stage_two": {"schedule": "constant", "clip_norm": None, "weight_decay": 0},
    },
}


def settings_of(mode: str, **changes: Any) -> Settings:
    tiny = with_changes(preset("fast"), TINY)
    return with_changes(with_changes(tiny, MODES[mode]), changes)


@pytest.fixture(scope="module")
def source() -> SourceNetwork:
    return SourceNetwork("tf_efficientnet_lite0", STAGES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    y = np.random.default_rng(0).gamma(1.0, 2.0, (N, *GRID, CHANNELS)).astype(np.float32)
    store = write_store(tmp_path_factory.mktemp("features") / "y.f32", y.shape, [y])
    chosen, held_out = split_held_out(N, 2, 0)
    return TrainingData(store=store, train=chosen, held_out=held_out)


class Stopper:
    """Presses Ctrl-C, or dies, after a step of a stage."""

    def __init__(self, what: str, step: int, error: type[BaseException]) -> None:
        self.what, self.step, self.error = what, step, error

    def __call__(self, what: str, done: int, total: int, loss: float | None = None) -> None:
        if (what, done) == (self.what, self.step):
            raise self.error


class Recorder:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, int]] = []

    def __call__(self, what: str, done: int, total: int, loss: float | None = None) -> None:
        assert loss is not None
        assert math.isfinite(loss)
        self.heard.append((what, done, total))


def learn(
    source: SourceNetwork,
    data: TrainingData,
    settings: Settings,
    work: Path,
    progress: Progress = silent,
    checkpoint_seconds: float = NEVER,
) -> tuple[dict[str, Tensor], Trained]:
    assert source.channels == CHANNELS
    detector = Detector(source, settings)
    trained = train(
        detector,
        data,
        settings,
        work=work,
        device=torch.device("cpu"),
        progress=progress,
        checkpoint_seconds=checkpoint_seconds,
    )
    assert not any(module.training for module in detector.modules())
    return {name: value.clone() for name, value in detector.state_dict().items()}, trained


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert set(one) == set(other)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.fixture(scope="module")
def uninterrupted(
    source: SourceNetwork, data: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Tensor]]:
    work = tmp_path_factory.mktemp("uninterrupted")
    return {mode: learn(source, data, settings_of(mode), work / mode)[0] for mode in MODES}


# ---- resume


@pytest.mark.parametrize("mode", MODES)
def test_interrupted_anywhere_it_ends_in_the_same_bits(
    mode: str,
    source: SourceNetwork,
    data: TrainingData,
    uninterrupted: dict[str, dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    settings = settings_of(mode)
    for what, step in [("flow", 1), ("flow", 4), ("flow", 6), ("mapping", 1), ("mapping", 4)]:
        stop = Stopper(what, step, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            learn(source, data, settings, tmp_path, stop)
    recorder = Recorder()
    found, trained = learn(source, data, settings, tmp_path, recorder)
    assert recorder.heard == []  # Ctrl-C came after the last step: nothing was left to do
    assert set(trained.losses) == {"flow", "mapping"}
    assert_equal(found, uninterrupted[mode])


@pytest.mark.parametrize("mode", ["positions", "b-pfm"])
@pytest.mark.parametrize(("what", "step"), [("flow", 5), ("mapping", 3)])
def test_killed_it_goes_on_from_the_last_checkpoint(
    mode: str,
    what: str,
    step: int,
    source: SourceNetwork,
    data: TrainingData,
    uninterrupted: dict[str, dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    stop = Stopper(what, step, RuntimeError)  # nothing is saved on the way out
    with pytest.raises(RuntimeError):
        learn(source, data, settings_of(mode), tmp_path, stop, checkpoint_seconds=0)
    recorder = Recorder()
    found, _ = learn(source, data, settings_of(mode), tmp_path, recorder)
    assert recorder.heard[0] == (what, step, {"flow": 6, "mapping": 4}[what])
    assert_equal(found, uninterrupted[mode])


@pytest.mark.parametrize("mode", ["positions", "b-pfm"])
@pytest.mark.parametrize("where", ["flow_loss", "mapping_loss", "step"])
def test_ctrl_c_in_the_middle_of_a_step_changes_nothing(
    mode: str,
    where: str,
    source: SourceNetwork,
    data: TrainingData,
    uninterrupted: dict[str, dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    owner: Any = torch.optim.Adam if where == "step" else stages._Run
    original, calls = getattr(owner, where), 0

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(*args, **kwargs)
        if calls == 3:
            raise KeyboardInterrupt
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, where, interrupted)
        with pytest.raises(KeyboardInterrupt):
            learn(source, data, settings_of(mode), tmp_path, checkpoint_seconds=0)
    found, _ = learn(source, data, settings_of(mode), tmp_path)
    assert_equal(found, uninterrupted[mode])


def killed_after(
    at: tuple[str, int], source: SourceNetwork, data: TrainingData, settings: Settings, work: Path
) -> None:
    """Learns in a process of its own that dies of SIGKILL after a step.

    It is forked: to load torch anew would take longer than to learn.
    """
    said = work.with_name("said.txt")
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # whatever happens, it ends

        def die(what: str, done: int, total: int, loss: float | None = None) -> None:
            if (what, done) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            learn(source, data, settings, work, die, checkpoint_seconds=0)
        except BaseException:
            said.write_text(traceback.format_exc(), encoding="utf-8")
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    why = said.read_text(encoding="utf-8") if said.is_file() else "it did not end by the kill"
    if "Autograd-and-Fork" in why:
        pytest.skip("another test of this process made torch's autograd start threads: no fork")
    assert status == -signal.SIGKILL, why


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch learns in no fork where a GPU is")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_killed_at_random_moments_it_ends_in_the_same_bits(
    source: SourceNetwork, data: TrainingData, tmp_path: Path
) -> None:
    """SIGKILL after random steps, while checkpoints are written in the background."""
    settings = settings_of("b-pfm", stage_one={"steps": 16}, stage_two={"steps": 16})
    expected, _ = learn(source, data, settings, tmp_path / "uninterrupted")
    draw = random.Random(0)
    for what in ("flow", "mapping"):
        steps = sorted(draw.sample(range(3, 16, 2), 4))
        for step in steps:
            killed_after((what, step), source, data, settings, tmp_path / "work")
    recorder = Recorder()
    found, _ = learn(source, data, settings, tmp_path / "work", recorder)
    assert recorder.heard[0][0] == "mapping", "the flow was finished before the last kill"
    lost = steps[-1] - (recorder.heard[0][1] - 1)
    assert 1 <= lost <= 2, "the last step, and the one before where it was being saved"
    assert_equal(found, expected)


def test_another_seed_or_setting_does_not_go_on_from_this_checkpoint(
    source: SourceNetwork, data: TrainingData, tmp_path: Path
) -> None:
    stop = Stopper("flow", 3, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        learn(source, data, settings_of("positions"), tmp_path, stop)
    recorder = Recorder()
    found, _ = learn(source, data, settings_of("positions", seed=1), tmp_path, recorder)
    assert recorder.heard[0] == ("flow", 1, 6)
    expected, _ = learn(source, data, settings_of("positions", seed=1), tmp_path / "other")
    assert_equal(found, expected)


def test_keys_name_settings_seed_features_and_what_computes(
    data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = torch.device("cpu")
    other = FeatureStore(data.store.files, key="other")
    plain = settings_of("positions")
    keys = [
        stage_keys(plain, data, cpu),
        stage_keys(plain, data, torch.device("meta")),
        stage_keys(plain, replace(data, store=other), cpu),
        stage_keys(plain, replace(data, train=data.train[1:]), cpu),
        stage_keys(settings_of("positions", seed=1), data, cpu),
        stage_keys(settings_of("positions", flow={"clamp": 2.0}), data, cpu),
        stage_keys(settings_of("positions", stage_one={"learning_rate": 1e-5}), data, cpu),
    ]
    assert stage_keys(plain, data, cpu) == keys[0]
    for changes in ({"mapping": {"n": 2}}, {"stage_two": {"learning_rate": 1e-5}}):
        first, second = stage_keys(settings_of("positions", **changes), data, cpu)
        assert first == keys[0][0], "stage one does not depend on stage two"
        assert second not in {key for _, key in keys}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1000)
    keys.append(stage_keys(plain, data, cpu))
    assert len({key for pair in keys for key in pair}) == 2 * len(keys)


def test_mappings_that_are_compared_share_one_flow(
    source: SourceNetwork,
    data: TrainingData,
    uninterrupted: dict[str, dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    learn(source, data, settings_of("positions"), tmp_path)
    recorder = Recorder()
    found, trained = learn(source, data, settings_of("b-pfm"), tmp_path, recorder)
    assert {what for what, _, _ in recorder.heard} == {"mapping"}
    assert set(trained.losses) == {"flow", "mapping"}
    assert_equal(found, uninterrupted["b-pfm"])


def test_a_flow_alone_has_no_second_stage(
    source: SourceNetwork,
    data: TrainingData,
    uninterrupted: dict[str, dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    alone = {"mapping": {"kind": "none"}, "scoring": {"maps": ["likelihood"]}}
    found, trained = learn(source, data, settings_of("positions", **alone), tmp_path)
    assert set(trained.losses) == {"flow"}
    assert not any(name.startswith("mapping") for name in found)
    whole = uninterrupted["positions"]
    assert_equal(found, {k: v for k, v in whole.items() if not k.startswith("mapping")})


# ---- what is learnt


def test_same_seed_same_bits_and_another_seed_others(
    source: SourceNetwork,
    data: TrainingData,
    uninterrupted: dict[str, dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    torch.manual_seed(99)  # the caller's generator plays no part
    again, _ = learn(source, data, settings_of("positions"), tmp_path / "again")
    other, _ = learn(source, data, settings_of("positions", seed=1), tmp_path / "other")
    assert_equal(again, uninterrupted["positions"])
    for name in ("flow.blocks.0.net1.weight1", "mapping.shared.body.0.weight"):
        assert not torch.equal(again[name], other[name])


def test_every_trained_tensor_moves_and_the_source_does_not(
    source: SourceNetwork, data: TrainingData, uninterrupted: dict[str, dict[str, Tensor]]
) -> None:
    for mode in ("positions", "b-pfm"):
        before, after = Detector(source, settings_of(mode)).state_dict(), uninterrupted[mode]
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        fixed = {name for name in before if "permutation" in name or name.startswith("source.")}
        assert moved == set(before) - fixed
        assert fixed


def test_learning_lowers_both_losses(
    source: SourceNetwork, data: TrainingData, tmp_path: Path
) -> None:
    losses: dict[str, list[float]] = {"flow": [], "mapping": []}

    def note(what: str, done: int, total: int, loss: float | None = None) -> None:
        assert loss is not None
        losses[what].append(loss)

    steps = {"stage_one": {"steps": 80, "batch": 64}, "stage_two": {"steps": 80, "batch": 7}}
    learn(source, data, settings_of("positions", **steps), tmp_path, note)
    assert losses["flow"][0] == pytest.approx(0.5, abs=0.2)  # |y|^2 / 2 per standardised channel
    assert np.mean(losses["flow"][-5:]) < losses["flow"][0] - 0.05
    assert np.mean(losses["mapping"][-5:]) < 0.9 * losses["mapping"][0]


def test_statistics_are_those_of_the_training_images_alone(
    data: TrainingData, uninterrupted: dict[str, dict[str, Tensor]]
) -> None:
    rows = data.store.read(data.train).reshape(-1, CHANNELS).astype(np.float64)
    found = uninterrupted["positions"]
    np.testing.assert_allclose(found["standardisation.mean"].numpy(), rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["standardisation.std"].numpy(), rows.std(0), rtol=1e-5)


def test_held_out_images_are_drawn_once_from_the_seed() -> None:
    chosen, held_out = split_held_out(20, 5, 3)
    assert sorted([*chosen, *held_out]) == list(range(20))
    assert (len(chosen), len(held_out)) == (15, 5)
    assert (np.diff(chosen) > 0).all()
    assert (np.diff(held_out) > 0).all()
    assert split_held_out(20, 5, 3)[1].tolist() == held_out.tolist()
    assert split_held_out(20, 5, 4)[1].tolist() != held_out.tolist()


def test_calibration_maps_are_those_of_the_held_out_images(
    source: SourceNetwork, data: TrainingData
) -> None:
    detector = Detector(source, settings_of("positions"))
    maps = calibration_maps(detector, data, torch.device("cpu"))
    assert maps.shape == (2, len(MAPS), *GRID)
    with torch.no_grad():
        expected = detector.maps(torch.from_numpy(data.store.read(data.held_out))).numpy()
    np.testing.assert_allclose(maps, expected, rtol=1e-5)


DETAIL_SIZE = (12, 16)  # of pictures: stage 2's grid is GRID, stage 1 is twice as fine


@pytest.fixture(scope="module")
def detailed() -> SourceNetwork:
    return SourceNetwork("tf_efficientnet_lite0", (2,), detail=1)


@pytest.fixture(scope="module")
def detailed_data(
    tmp_path_factory: pytest.TempPathFactory, detailed: SourceNetwork
) -> TrainingData:
    shape = (N, *GRID, detailed.outputs)
    y = np.random.default_rng(0).gamma(1.0, 2.0, shape).astype(np.float32)
    store = write_store(tmp_path_factory.mktemp("features") / "y.f32", y.shape, [y])
    chosen, held_out = split_held_out(N, 2, 0)
    return TrainingData(store=store, train=chosen, held_out=held_out)


def learn_detailed(
    network: SourceNetwork,
    data: TrainingData,
    work: Path,
    progress: Progress = silent,
    **changes: Any,
) -> Detector:
    settings = settings_of("positions", subspace={"rank": 3}, gaussian={"rank": 5}, **changes)
    detector = Detector(network, settings, DETAIL_SIZE)
    train(
        detector,
        data,
        settings,
        work=work,
        device=torch.device("cpu"),
        progress=progress,
        checkpoint_seconds=NEVER,
    )
    return detector


def test_the_subspace_is_that_of_the_training_images(
    detailed: SourceNetwork, detailed_data: TrainingData, tmp_path: Path
) -> None:
    detector = learn_detailed(detailed, detailed_data, tmp_path)
    assert detector.subspace is not None
    features = detailed_data.store.read(detailed_data.train).astype(np.float64)
    features = (features - features.mean((0, 1, 2))) / features.std((0, 1, 2))
    rows = features[..., detailed.channels :].reshape(len(features), -1)
    assert rows.shape == (7, 3 * 4 * 16 * 4)
    np.testing.assert_allclose(detector.subspace.mean.numpy(), rows.mean(0), atol=1e-5)
    directions = np.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][:3]
    found = detector.subspace.basis.double().numpy()
    np.testing.assert_allclose(found @ found.T, directions.T @ directions, atol=1e-3)
    held_out = torch.from_numpy(detailed_data.store.read(detailed_data.held_out))
    with torch.no_grad():
        maps = detector.maps(held_out)
    assert maps.shape == (2, len(MAPS), 6, 8)
    calibrating = calibration_maps(detector, detailed_data, torch.device("cpu"))
    np.testing.assert_allclose(calibrating, maps.numpy(), rtol=1e-5)


def test_the_gaussians_are_those_of_the_training_images(
    detailed: SourceNetwork, detailed_data: TrainingData, tmp_path: Path
) -> None:
    detector = learn_detailed(detailed, detailed_data, tmp_path)
    assert detector.gaussians is not None
    features = detailed_data.store.read(detailed_data.train).astype(np.float64)
    features = (features - features.mean((0, 1, 2))) / features.std((0, 1, 2))
    rows = features[..., : detailed.channels] @ detector.gaussians.directions.double().numpy()
    expected = rows.mean(axis=0).reshape(12, 5)
    np.testing.assert_allclose(detector.gaussians.mean.numpy(), expected, atol=1e-4)


def test_stopped_or_started_again_the_subspace_has_the_same_bits(
    detailed: SourceNetwork, detailed_data: TrainingData, tmp_path: Path
) -> None:
    whole = learn_detailed(detailed, detailed_data, tmp_path / "whole").state_dict()
    assert whole["subspace.basis"].any()
    assert whole["gaussians.whitening"].any()
    stopper = Stopper("mapping", 2, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        learn_detailed(detailed, detailed_data, tmp_path / "stopped", stopper)
    stopped = learn_detailed(detailed, detailed_data, tmp_path / "stopped").state_dict()
    assert_equal(stopped, whole)
    finished = learn_detailed(detailed, detailed_data, tmp_path / "whole").state_dict()
    assert_equal(finished, whole)


def test_gaussians_and_subspace_are_found_once(
    detailed: SourceNetwork,
    detailed_data: TrainingData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[str] = []
    for kind in (PositionGaussians, Subspace):
        monkeypatch.setattr(kind, "learn", noting(kind, found))
    first = learn_detailed(detailed, detailed_data, tmp_path).state_dict()
    assert found == ["PositionGaussians", "Subspace"]
    again = learn_detailed(detailed, detailed_data, tmp_path).state_dict()
    assert_equal(first, again)
    learn_detailed(detailed, detailed_data, tmp_path, mapping={"kind": "b-pfm"})
    assert len(found) == 2, "neither depends on the mapping"
    data = replace(detailed_data, train=detailed_data.train[1:])
    learn_detailed(detailed, data, tmp_path)
    assert len(found) == 4
    learn_detailed(detailed, data, tmp_path, seed=1)
    assert len(found) == 6


def noting(kind: type[PositionGaussians] | type[Subspace], calls: list[str]) -> Callable[..., None]:
    original: Callable[..., None] = kind.learn

    def learn(self: nn.Module, *args: object, **words: object) -> None:
        calls.append(kind.__name__)
        original(self, *args, **words)

    return learn


def test_another_rank_trains_nothing_anew(
    detailed: SourceNetwork, detailed_data: TrainingData, tmp_path: Path
) -> None:
    first = learn_detailed(detailed, detailed_data, tmp_path).state_dict()
    settings = settings_of("positions", subspace={"rank": 2}, gaussian={"rank": 4})
    detector, recorder = Detector(detailed, settings, DETAIL_SIZE), Recorder()
    train(
        detector,
        detailed_data,
        settings,
        work=tmp_path,
        device=torch.device("cpu"),
        progress=recorder,
    )
    assert recorder.heard == []
    assert detector.state_dict()["subspace.basis"].shape == (3 * 4 * 16 * 4, 2)
    assert detector.state_dict()["gaussians.mean"].shape == (3 * 4, 4)
    assert torch.equal(
        detector.state_dict()["flow.blocks.0.net1.weight1"], first["flow.blocks.0.net1.weight1"]
    )


def test_detail_is_no_part_of_what_flow_and_mapping_see(
    detailed: SourceNetwork, detailed_data: TrainingData, tmp_path: Path
) -> None:
    plain = SourceNetwork("tf_efficientnet_lite0", (2,))
    y = detailed_data.store.read(np.arange(N))[..., : plain.channels]
    store = write_store(tmp_path / "y.f32", y.shape, [np.ascontiguousarray(y)])
    data = replace(detailed_data, store=store)
    with_detail = learn_detailed(detailed, detailed_data, tmp_path / "one").state_dict()
    without = learn_detailed(plain, data, tmp_path / "other").state_dict()
    learnt = [name for name in without if name.startswith(("flow", "mapping"))]
    assert learnt
    assert [n for n in learnt if not torch.equal(without[n], with_detail[n])] == []


@pytest.mark.parametrize("mode", ["positions", "images", "neighbours"])
def test_the_flow_is_told_where_the_drawn_positions_lie(
    mode: str,
    source: SourceNetwork,
    data: TrainingData,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Features are replaced by where they lie: what the flow is told must agree with them."""
    settings = settings_of(mode)
    rows = np.zeros((N, *GRID, CHANNELS), np.float32)
    rows[..., 0] = np.arange(GRID[0])[:, None]
    rows[..., 1] = np.arange(GRID[1])
    store = write_store(tmp_path / "y.f32", rows.shape, [rows])
    heard: list[tuple[Tensor, Tensor]] = []
    original = TargetFlow.forward

    def spy(
        self: TargetFlow, y: Tensor, where: Tensor | None = None, rows: Rows | None = None
    ) -> tuple[Tensor, Tensor]:
        assert where is not None
        heard.append((y.detach(), where))
        return original(self, y, where, rows)

    monkeypatch.setattr(TargetFlow, "forward", spy)
    detector = Detector(source, settings)
    train(
        detector,
        replace(data, store=store),
        settings,
        work=tmp_path / "work",
        device=torch.device("cpu"),
        progress=silent,
        checkpoint_seconds=NEVER,
    )
    assert len(heard) > 6
    code = position_code(GRID, settings.flow.position, torch.device("cpu"))
    mean, std = detector.standardisation.mean[:2], detector.standardisation.std[:2]
    for y, where in heard:
        cells = (y[..., :2] * std + mean).round().long()
        told = where.expand(*y.shape[:-1], -1)
        assert torch.equal(told, code[cells[..., 0], cells[..., 1]])


@pytest.mark.parametrize(("asked", "drawn"), [(16, 16), (1000, 2 * 3 * 4)])
def test_a_step_draws_no_more_positions_than_there_are(
    asked: int, drawn: int, source: SourceNetwork, data: TrainingData, tmp_path: Path
) -> None:
    settings = settings_of("positions", stage_one={"batch": asked})
    few = replace(data, train=data.train[:2])
    made = stages._Run(Detector(source, settings), few, settings, tmp_path, torch.device("cpu"))
    assert len(made.flow_batch(0)[0]) == drawn


def test_an_epoch_visits_every_training_image_once(
    source: SourceNetwork, data: TrainingData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read: list[list[int]] = []
    original = FeatureStore.read

    def spy(self: FeatureStore, indices: Any) -> Any:
        if self.files == data.store.files:
            read.append(indices.tolist())
        return original(self, indices)

    monkeypatch.setattr(FeatureStore, "read", spy)
    learn(source, data, settings_of("epochs"), tmp_path)
    batches = read[1 : 1 + 6]  # after the statistics; 2 epochs of 3 batches
    assert [len(batch) for batch in batches] == [3, 3, 1, 3, 3, 1]
    one, two = (list(itertools.chain(*batches[i : i + 3])) for i in (0, 3))
    assert sorted(one) == sorted(two) == data.train.tolist()
    assert one != two


# ---- trouble


@pytest.mark.parametrize("stage", ["one", "two"])
def test_a_loss_that_is_not_finite_stops_with_advice(
    stage: str, source: SourceNetwork, data: TrainingData, tmp_path: Path
) -> None:
    changes = {f"stage_{stage}": {"learning_rate": 1e30, "schedule": "constant", "steps": 30}}
    with pytest.raises(TrainingError, match=rf"no model was written.*stage_{stage}\.learning_rate"):
        learn(source, data, settings_of("positions", **changes), tmp_path)


@pytest.mark.parametrize("pause", [0, NEVER])
def test_a_full_disk_is_our_own_error(
    pause: float,
    source: SourceNetwork,
    data: TrainingData,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_checkpoint", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        learn(source, data, settings_of("positions"), tmp_path, checkpoint_seconds=pause)
