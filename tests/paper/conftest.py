"""A small run of the paper's experiments that tests may read but not write."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nfbmr.benchmark.dagm_like import write_tree
from nfbmr.evaluation import evaluate
from nfbmr.networks import cutting, source, weights
from nfbmr.networks.source import SourceNetwork
from nfbmr.paper.ledger import Key, Ledger, Row
from nfbmr.paper.plan import Estimator, Request, Source, Task, make_tasks, read_source
from nfbmr.paper.runner import run_tasks

CHANGES: dict[str, Any] = {
    "size": [64, 64],
    "backbone": {"stages": [3, 2]},
    "flow": {"hidden": 16, "blocks": 2},
    "mapping": {"latent": 16, "inner": 8},
    "stage_one": {"steps": 20, "batch": 64},
    "stage_two": {"steps": 5, "batch": 2},
    "calibration": {"false_alarm_rate": 0.2},
    "pair": {"steps": 5, "batch": 64},
}


@contextmanager
def networks_built_once() -> Iterator[None]:
    """Most of a tiny run is building the same networks with the same weights: copies them."""
    build, built = cutting.build, dict[str, nn.Module]()
    grid, grids = SourceNetwork.grid, dict[tuple[object, ...], tuple[int, int]]()

    def copied(name: str) -> nn.Module:
        if name not in built:
            built[name] = build(name)
        return copy_of(built[name])

    def grid_of(self: SourceNetwork, size: tuple[int, int]) -> tuple[int, int]:
        key = (self.name, self.stages, self.padding, size)
        if key not in grids:
            grids[key] = grid(self, size)
        return grids[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "build", copied)
        patch.setattr(SourceNetwork, "grid", grid_of)
        patch.setattr(weights, "read_tensors", functools.cache(weights.read_tensors))
        yield


def copy_of(module: nn.Module) -> nn.Module:
    """As `copy.deepcopy`, which takes as long as building: tensors of its own, all else shared."""
    found = copy.copy(module)
    for name, value in vars(module).items():
        if isinstance(value, dict):  # hooks, submodules, tensors
            vars(found)[name] = value.copy()
    for name, child in module.named_children():
        found._modules[name] = copy_of(child)
    for tensors in (found._parameters, found._buffers):
        tensors.update((k, copy.deepcopy(v)) for k, v in list(tensors.items()))  # type: ignore
    return found


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Networks are built once and copied from then on."""
    with networks_built_once():
        yield


@pytest.fixture(scope="session")
def ask() -> Callable[..., Request]:
    """What to compute, tiny: `ask(systems=("nf",), seeds=(0,), changes={...})`."""

    def request(
        systems: tuple[str, ...] = (),
        seeds: tuple[int, ...] = (0,),
        changes: dict[str, Any] | None = None,
    ) -> Request:
        chosen = CHANGES | (changes or {})
        return Request(backbone="fast", seeds=seeds, systems=systems, weights={}, changes=chosen)

    return request


@pytest.fixture(scope="session")
def sources(
    tmp_path_factory: pytest.TempPathFactory, mvtec_tree: Callable[..., Path]
) -> list[Source]:
    """A category of MVTec AD's layout and a class of DAGM's; tests only read them."""
    root = mvtec_tree(tmp_path_factory.mktemp("mvtec"), categories=("bottle",))
    dagm = tmp_path_factory.mktemp("dagm")
    write_tree(dagm, classes=(2,), n_good=12, n_defective=4, size=64)
    return [
        read_source("mvtec", "bottle", root / "bottle"),
        read_source("dagm", "Class2", dagm / "Class2"),
    ]


@pytest.fixture(scope="session")
def tasks(sources: list[Source], ask: Callable[..., Request]) -> list[Task]:
    """All nine systems on the category, and three of them on the class."""
    of_class = ask(systems=("nf-bmr-2", "nfbmr", "b-pfm"))
    return make_tasks(sources[:1], ask()) + make_tasks(sources[1:], of_class)


@pytest.fixture(scope="session")
def results(
    tmp_path_factory: pytest.TempPathFactory, tasks: list[Task], ask: Callable[..., Request]
) -> Path:
    """The results folder of `tasks`, finished."""
    folder = tmp_path_factory.mktemp("results")
    ledger = Ledger(folder / "results.jsonl")
    with networks_built_once(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Estimator, "rows", lambda self, tasks: [1.0] * len(tasks))
        patch.setattr(evaluate, "_TIMED", 2)  # pictures that show how long one takes
        assert run_tasks(tasks, ask(), ledger, folder, torch.device("cpu")) == []
    return folder


@pytest.fixture(scope="session")
def rows(results: Path, tasks: list[Task]) -> dict[Key, Row]:
    """The rows of `tasks`, read back."""
    keys = [task.key for task in tasks]
    return dict(zip(keys, Ledger(results / "results.jsonl").rows(keys), strict=True))
