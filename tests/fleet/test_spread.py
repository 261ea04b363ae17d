"""Products on a cluster: as on one machine, through a death, and one by several workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from nfbmr.data.layouts import read_data
from nfbmr.errors import FleetError
from nfbmr.features.cache import FeatureCache
from nfbmr.features.compute import build_features
from nfbmr.fleet.cluster import connected
from nfbmr.fleet.fit import fit_fleet
from nfbmr.fleet.place import Place
from nfbmr.fleet.plan import FleetPlan, Product, Resources
from nfbmr.fleet.together import RayHelpers
from nfbmr.inspection.inspector import load
from nfbmr.networks.source import SourceNetwork
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import Settings

pytestmark = pytest.mark.fleet


@pytest.fixture(scope="module")
def address(cluster: Any) -> str:
    """Where two CPUs are; what runs there has a thread each."""
    return str(cluster.address)


def product_of(name: str, data: Path, settings: Settings, **resources: Any) -> Product:
    return Product(
        name=name,
        data=data,
        test=data,
        ignore=None,
        settings=settings,
        resources=Resources(memory_gb=0.2, **resources),
    )


class Killer:
    """Kills a process once there is one to kill; once."""

    def __init__(self, find: Callable[[], int | None]) -> None:
        self.killed, self._ended = False, Event()
        self._thread = Thread(target=self._run, args=(find,))

    def _run(self, find: Callable[[], int | None]) -> None:
        while not self._ended.wait(0.01):
            if (process := find()) is not None:
                os.kill(process, signal.SIGKILL)
                self.killed = True
                return

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def who_works(place: Place, name: str, what: str) -> int | None:
    """Returns the process that works on a product, while it does something."""
    state = place.read(name)
    if state is not None and (state.status, state.what) == ("running", what):
        return int(state.where.rpartition(" ")[2])
    return None


def who_trains(cluster: Any, models: Path) -> int | None:
    """Returns one of the processes that train together, once stage one is in a checkpoint."""
    if not any(models.rglob("flow.safetensors")):
        return None
    named = [one for node in cluster.nodes for one in node.processes().items()]
    return max((pid for pid, words in named if "TrainWorker" in words), default=None)


def test_features_of_workers_are_those_of_one_to_the_last_bit(address: str, tmp_path: Path) -> None:
    network = SourceNetwork("tf_efficientnet_lite0", (2,))
    pictures: list[tuple[Any, str]] = []
    for number in range(150):
        path = tmp_path / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        pictures.append((path, f"{number:064d}"))
    heard: list[tuple[int, int]] = []
    one = build_features(pictures, network, (32, 32), cache=FeatureCache(tmp_path / "one"))
    with connected(address):
        helpers = RayHelpers(Resources(workers=2, cpus=torch.get_num_threads()))
        spread = helpers.build_features(
            pictures,
            network,
            (32, 32),
            cache=FeatureCache(tmp_path / "two"),
            progress=lambda done, total: heard.append((done, total)),
        )
        assert len(spread.files) == 3, "an entry for each part"
        every = np.arange(len(pictures))
        np.testing.assert_array_equal(spread.read(every), one.read(every))
        assert heard[-1] == (150, 150)


def test_what_no_node_has_is_said_before_the_work(
    address: str, tmp_path: Path, tiny: Settings, mvtec: Path
) -> None:
    plan = FleetPlan(products=(product_of("widget", mvtec, tiny, cpus=7),))
    with pytest.raises(FleetError, match=r"'widget' wants 7 CPU.*the most are 2 CPU"):
        fit_fleet(plan, tmp_path / "models", engine="ray", address=address)
    state = Place(tmp_path / "models").read("widget")
    assert state is not None
    assert state.status == "waiting"


def test_two_workers_learn_one_product_as_one_does_though_one_of_them_dies(
    cluster: Any, tmp_path: Path, tiny: Settings, mvtec: Path
) -> None:
    # Stage two is long enough to be met in; there is a checkpoint of stage one then.
    changes = {"flow": {"dropout": 0.1}, "calibration": {"everyone": True}}
    settings = with_changes(tiny, changes | {"stage_two": {"steps": 150}})
    single = product_of("widget", mvtec, settings)
    shared = replace(single, resources=replace(single.resources, workers=2))
    (one,) = fit_fleet(FleetPlan(products=(single,)), tmp_path / "one")
    with Killer(partial(who_trains, cluster, tmp_path / "two")) as killer:
        (two,) = fit_fleet(
            FleetPlan(products=(shared,)), tmp_path / "two", engine="ray", address=cluster.address
        )
    assert killer.killed
    assert (one.status, two.status, two.error) == ("done", "done", "")
    assert two.attempts == 1, "only those that train began again"
    test = [sample.path for sample in read_data(mvtec).test]
    scores = [
        load(tmp_path / name / "widget", runtime="torch", device="cpu").scores(test)
        for name in ("one", "two")
    ]
    assert spearmanr(*scores).statistic > 0.99
    np.testing.assert_allclose(scores[1], scores[0], rtol=0.05)
    assert not np.array_equal(scores[0], scores[1]), "workers divide the sums: other last digits"


def test_a_worker_that_dies_is_replaced_and_ends_in_the_same_model(
    address: str, tmp_path: Path, tiny: Settings, mvtec_tree: Callable[..., Path]
) -> None:
    root = mvtec_tree(tmp_path / "root")
    for path in sorted((root / "carpet" / "train" / "good").iterdir())[9:]:
        path.unlink()
    # Long enough to be met while it trains.
    settings = with_changes(tiny, {"stage_one": {"steps": 1500}})
    bottle = product_of("bottle", root / "bottle", settings)
    plan = FleetPlan(products=(bottle, product_of("carpet", root / "carpet", tiny)))
    place = Place(tmp_path / "models")
    with Killer(partial(who_works, place, "bottle", "flow")) as killer:
        states = fit_fleet(plan, place.models, engine="ray", address=address)
    assert killer.killed
    assert [state.status for state in states] == ["done", "failed"]
    assert states[0].attempts == 2
    assert "9 good pictures" in states[1].error
    assert states[0].figures["image_auroc"] > 0.9

    alone = fit_fleet(FleetPlan(products=(bottle,)), tmp_path / "alone")
    assert alone[0].status == "done"
    test = [sample.path for sample in read_data(bottle.data).test]
    scores = [
        load(folder / "bottle", runtime="torch", device="cpu").scores(test)
        for folder in (place.models, tmp_path / "alone")
    ]
    np.testing.assert_array_equal(scores[0], scores[1])


def test_who_leads_workers_and_dies_is_replaced_and_the_product_is_learnt(
    address: str, tmp_path: Path, tiny: Settings, mvtec: Path
) -> None:
    plan = FleetPlan(products=(product_of("widget", mvtec, tiny, workers=2),))
    place = Place(tmp_path / "models")
    with Killer(partial(who_works, place, "widget", "training")) as killer:
        (state,) = fit_fleet(plan, place.models, engine="ray", address=address)
    assert killer.killed
    assert (state.status, state.attempts, state.error) == ("done", 2, "")
    assert state.figures["image_auroc"] > 0.9
