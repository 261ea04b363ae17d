"""A small run of the paper's experiments that tests may read but not write."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nfbmr.benchmark.dagm_like import write_tree
from nfbmr.evaluation import evaluate
from nfbmr.paper import structure
from nfbmr.paper.anatomy import anatomy
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


@pytest.fixture(autouse=True, scope="session")
def _anatomies_kept() -> Iterator[None]:
    """The same settings have the same structure, and working it out takes most of a drawing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "anatomy", functools.cache(anatomy))
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
def sources(once: Callable[..., Path], mvtec_tree: Callable[..., Path]) -> list[Source]:
    """A category of MVTec AD's layout and a class of DAGM's; tests only read them."""

    def build(folder: Path) -> None:
        mvtec_tree(folder / "mvtec", categories=("bottle",))
        write_tree(folder / "dagm", classes=(2,), n_good=12, n_defective=4, size=64)

    folder = once("paper_pictures", build)
    return [
        read_source("mvtec", "bottle", folder / "mvtec" / "bottle"),
        read_source("dagm", "Class2", folder / "dagm" / "Class2"),
    ]


@pytest.fixture(scope="session")
def tasks(sources: list[Source], ask: Callable[..., Request]) -> list[Task]:
    """All nine systems on the category, and three of them on the class."""
    of_class = ask(systems=("nf-bmr-2", "nfbmr", "b-pfm"))
    return make_tasks(sources[:1], ask()) + make_tasks(sources[1:], of_class)


@pytest.fixture(scope="session")
def results(once: Callable[..., Path], tasks: list[Task], ask: Callable[..., Request]) -> Path:
    """The results folder of `tasks`, finished."""

    def build(folder: Path) -> None:
        ledger = Ledger(folder / "results.jsonl")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Estimator, "rows", lambda self, tasks: [1.0] * len(tasks))
            patch.setattr(evaluate, "_TIMED", 2)  # pictures that show how long one takes
            assert run_tasks(tasks, ask(), ledger, folder, torch.device("cpu")) == []

    return once("paper_results", build)


@pytest.fixture(scope="session")
def rows(results: Path, tasks: list[Task]) -> dict[Key, Row]:
    """The rows of `tasks`, read back."""
    keys = [task.key for task in tasks]
    return dict(zip(keys, Ledger(results / "results.jsonl").rows(keys), strict=True))
