"""Workers that train together take the steps that one would take of the same batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn

from nfbmr.errors import NfbmrError, SettingsError, TrainingError
from nfbmr.features.store import write_store
from nfbmr.learning.maps import feature_maps
from nfbmr.learning.share import ALONE, Loss, part_of, part_of_batch
from nfbmr.learning.stages import stage_keys, train
from nfbmr.learning.training_data import TrainingData
from nfbmr.networks.detector import Detector
from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.sums import Sums
from nfbmr.settings.changes import with_changes
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import Settings

CPU = torch.device("cpu")
N, GRID, SIZE = 13, (3, 4), (12, 16)


class Thready:
    """One of several workers, each of which is a thread here."""

    def __init__(self, rank: int, barrier: Barrier, given: list[Sums]) -> None:
        self.rank, self.workers = rank, barrier.parties
        self._barrier, self._given = barrier, given

    def together(self, sums: Sums) -> None:
        self._given[self.rank] = sums
        self._barrier.wait()
        whole = Sums(**{name: part.clone() for name, part in self._given[0].parts.items()})
        for other in self._given[1:]:
            whole.merge(other)
        self._barrier.wait()
        for name, part in sums.parts.items():
            part.copy_(whole.parts[name])
        self._barrier.wait()

    def averaged(self, network: nn.Module, loss: Loss) -> Loss:
        def mean(gradient: Tensor) -> Tensor:
            total = gradient.clone()
            self.together(Sums(gradient=total))
            return total / self.workers

        for parameter in network.parameters():
            parameter.register_hook(mean)  # type: ignore[no-untyped-call]
        return loss


def settings_of(**changes: Any) -> Settings:
    tiny = {
        "flow": {"hidden": 8, "blocks": 2, "dropout": 0.0},
        "mapping": {"kind": "bmr", "latent": 8, "inner": 4, "n": 1},
        "gaussian": {"rank": 5},
        "local": {"rank": 3},
        "subspace": {"rank": 3},
        "backbone": {"finest": None},
        "scoring": {"maps": ["source", "target", "norm", "distance", "fine"]},
        "stage_one": {"steps": 12, "batch": 17},
        "stage_two": {"steps": 6, "batch": 3},
    }
    return with_changes(with_changes(preset("fast"), tiny), changes)


@pytest.fixture(scope="module")
def source() -> SourceNetwork:
    return SourceNetwork("tf_efficientnet_lite0", (2,), detail=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, source: SourceNetwork) -> TrainingData:
    y = np.random.default_rng(0).gamma(1.0, 2.0, (N, *GRID, source.outputs)).astype(np.float32)
    store = write_store(tmp_path_factory.mktemp("features") / "y.f32", y.shape, [y])
    return TrainingData(store=store, train=np.arange(10), held_out=np.arange(10, N), everyone=True)


def trained_by(
    workers: int,
    source: SourceNetwork,
    data: TrainingData,
    settings: Settings,
    work: Path,
    seconds: float = 1e9,
    progress: Callable[..., None] | None = None,
) -> list[Detector]:
    """Trains with so many threads; returns each one's detector."""
    detectors = [Detector(source, settings, SIZE) for _ in range(workers)]
    barrier, given = Barrier(workers, timeout=60), [Sums() for _ in range(workers)]
    failures: list[BaseException] = []

    def run(rank: int) -> None:
        # Autocast keeps its casts of weights for a whole process; each worker has one of its own.
        torch.set_autocast_cache_enabled(False)
        heard = {} if progress is None else {"progress": progress}
        try:
            train(
                detectors[rank],
                data,
                settings,
                work=work,
                device=CPU,
                checkpoint_seconds=seconds,
                share=ALONE if workers == 1 else Thready(rank, barrier, given),
                **heard,
            )
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [Thread(target=run, args=(rank,)) for rank in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [one for one in failures if isinstance(one, NfbmrError)] or failures
    if told:
        raise told[0]
    return detectors


WAYS: dict[str, dict[str, Any]] = {
    "positions": {},
    "images": {"stage_one": {"steps": 6, "batch": 3, "batch_of": "images"}},
    "a last batch of one": {
        "stage_one": {
            "steps": None,
            "epochs": 2,
            "least_steps": 1,
            "batch": 9,
            "batch_of": "images",
        }
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_two_workers_rank_pictures_as_one_does(
    way: str, source: SourceNetwork, data: TrainingData, tmp_path: Path
) -> None:
    settings = settings_of(**WAYS[way])
    (one,) = trained_by(1, source, data, settings, tmp_path / "one")
    two = trained_by(2, source, data, settings, tmp_path / "two")
    for name, value in two[0].state_dict().items():
        assert torch.equal(two[1].state_dict()[name], value), f"{name}: all know the same"
    every = np.arange(N)
    maps = [feature_maps(each, data.store, every, CPU) for each in (one, two[0])]
    for number in np.flatnonzero(maps[0].std(axis=(0, 2, 3)) > 0):
        scores = [of[:, number].max(axis=(1, 2)) for of in maps]
        assert spearmanr(*scores).statistic > 0.99
        np.testing.assert_allclose(scores[1], scores[0], rtol=0.02)


def test_workers_that_were_stopped_go_on_from_the_firsts_checkpoint(
    source: SourceNetwork, data: TrainingData, tmp_path: Path
) -> None:
    settings = settings_of()
    whole = trained_by(2, source, data, settings, tmp_path / "whole")

    def stop(what: str, done: int, total: int, loss: float | None = None) -> None:
        if (what, done) == ("flow", 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained_by(2, source, data, settings, tmp_path / "stopped", seconds=0, progress=stop)
    heard: list[int] = []

    def hear(what: str, done: int, total: int, loss: float | None = None) -> None:
        if what == "flow":
            heard.append(done)

    again = trained_by(2, source, data, settings, tmp_path / "stopped", progress=hear)
    assert min(heard) in (5, 6), "the second may be stopped before the first has saved"
    assert max(heard) == 12
    for name, value in whole[0].state_dict().items():
        assert torch.equal(again[0].state_dict()[name], value), name


def test_checkpoints_of_other_workers_are_not_gone_on_from(data: TrainingData) -> None:
    settings = settings_of()
    keys = [stage_keys(settings, data, CPU, workers) for workers in (1, 2, 3)]
    assert len({key for pair in keys for key in pair}) == 6
    assert stage_keys(settings, data, CPU) == keys[0]


def test_workers_that_read_different_checkpoints_are_stopped(
    source: SourceNetwork, data: TrainingData, tmp_path: Path
) -> None:
    """As on a folder that one of them does not see: it begins anew, the other would go on."""
    from nfbmr.learning.share import refuse_strange_place

    barrier, given = Barrier(2, timeout=60), [Sums(), Sums()]
    said: list[str] = []

    def begin(rank: int) -> None:
        try:
            refuse_strange_place(Thready(rank, barrier, given), 10 * rank, CPU)
        except TrainingError as error:
            said.append(str(error))

    threads = [Thread(target=begin, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 2
    assert "[0, 10]" in said[0]


def test_what_cannot_be_shared_is_said(
    source: SourceNetwork, data: TrainingData, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"b-pfm with 2 workers"):
        trained_by(2, source, data, settings_of(mapping={"kind": "b-pfm"}), tmp_path)
    few = replace(data, train=np.arange(2))
    with pytest.raises(TrainingError, match=r"3 workers for 2 pictures"):
        trained_by(3, source, few, settings_of(), tmp_path)


class Ranked:
    """A share that joins nothing."""

    def __init__(self, rank: int, workers: int) -> None:
        self.rank, self.workers = rank, workers

    def together(self, sums: Sums) -> None:
        raise AssertionError

    def averaged(self, network: nn.Module, loss: Loss) -> Loss:
        raise AssertionError


@pytest.mark.parametrize("workers", [2, 3, 5])
@pytest.mark.parametrize("batch", [1, 4, 10])
def test_parts_of_a_batch_average_to_the_batch(workers: int, batch: int) -> None:
    drawn = np.random.default_rng(0).integers(100, size=batch)
    values: NDArray[np.float64] = np.random.default_rng(1).normal(size=100)
    total, seen = 0.0, 0
    for rank in range(workers):
        (part,), where = part_of_batch(Ranked(rank, workers), drawn)
        assert where is not None
        first, whole = where.rows
        assert whole == batch
        np.testing.assert_array_equal(part, drawn[first : first + len(part)])
        total += float(values[part].mean()) * where.weight / workers
        seen += len(part_of(Ranked(rank, workers), drawn))
    assert seen == batch
    assert total == pytest.approx(float(values[drawn].mean()))


def test_of_many_pictures_a_bounded_number_calibrates_drawn_evenly(data: TrainingData) -> None:
    assert replace(data, most_calibrating=4).calibrating.tolist() == [0, 4, 8, 12]
    assert replace(data, most_calibrating=N).calibrating.tolist() == list(range(N))
    held_out = replace(data, everyone=False, most_calibrating=2)
    assert held_out.calibrating.tolist() == [10, 12]
    assert held_out.learnt.tolist() == list(range(10)), "what is learnt from is all that trains"
