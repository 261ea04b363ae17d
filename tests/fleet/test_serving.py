"""A station whose networks run on Ray says what it says without, and outlives its workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nfbmr.benchmark.served import Client, served
from nfbmr.errors import FleetError
from nfbmr.fleet.cluster import connected
from nfbmr.fleet.serving import Crew, Raw, RayJudges
from nfbmr.inspection.result import Failure, Inspection

if TYPE_CHECKING:
    from nfbmr.benchmark.ray_nodes import Cluster
    from nfbmr.inspection.inspector import Inspector
    from nfbmr.station.engine.pool import Pool

pytestmark = pytest.mark.fleet


@pytest.fixture(scope="module")
def judges(cluster: Cluster) -> Iterator[RayJudges]:
    with connected(cluster.address) as joined:
        yield RayJudges(joined, "onnx", 2, 4)


@pytest.fixture
def pool(light: Path, judges: RayJudges) -> Iterator[Pool]:
    from nfbmr.station.engine.pool import Pool

    made = Pool((light,), None, runtime="onnx", batch=4, judges=judges)
    yield made
    made.close()


@pytest.fixture(scope="module")
def files(model: Path) -> list[bytes]:
    paths = sorted(model.parent.glob("widget/test/*/*.png"))
    return [path.read_bytes() for path in paths] * 3


def verdicts(pool: Pool, files: list[bytes]) -> list[Inspection | Failure]:
    loaded = pool.get("light")
    assert loaded is not None
    return [future.result() for future in [loaded.batcher.submit(one) for one in files]]


def assert_as_without(found: list[Any], files: list[bytes], judge: Inspector) -> None:
    for one, expected in zip(found, judge.inspect_many(files), strict=True):
        assert one.score == pytest.approx(getattr(expected, "score", None), rel=1e-3)
        assert one.verdict == getattr(expected, "verdict", None)
        assert isinstance(expected, Inspection)
        assert (one.size, one.has_more, one.bits) == (expected.size, False, 8)
        np.testing.assert_array_equal(one.guide, expected.guide)
        np.testing.assert_allclose(one.heatmap, expected.heatmap, rtol=0.01, atol=0.01)


def test_verdicts_are_those_of_the_inspector_and_a_bad_picture_fails_alone(
    pool: Pool, files: list[bytes], judge: Inspector
) -> None:
    found = verdicts(pool, [*files[:3], b"no picture", *files[3:]])
    assert isinstance(found.pop(3), Failure)
    assert_as_without(found, files, judge)


def test_a_changed_threshold_is_in_force_and_needs_no_new_workers(
    pool: Pool, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = pool.get("light")
    assert loaded is not None

    def hired(crew: Crew) -> tuple[Any, Any]:
        pytest.fail("a new worker")

    monkeypatch.setattr(Crew, "_hired", hired)
    changed = loaded.inspector.recalibrated(0.5)
    pool.put(loaded, changed, None)
    found = verdicts(pool, files[:4])
    assert {one.threshold for one in found if isinstance(one, Inspection)} == {changed.threshold}


def test_a_worker_that_is_killed_costs_no_verdict(
    pool: Pool, files: list[bytes], cluster: Cluster, judge: Inspector
) -> None:
    loaded = pool.get("light")
    assert loaded is not None
    futures = [loaded.batcher.submit(one) for one in files]
    futures[0].result()
    os.kill(networks(cluster)[0], signal.SIGKILL)
    assert_as_without([future.result() for future in futures], files, judge)


def test_a_worker_that_dies_before_it_has_loaded_is_replaced(
    light: Path, judges: RayJudges, judge: Inspector, files: list[bytes]
) -> None:
    crew = Crew(light, judge.identity, "onnx", 2, 4)
    for place in crew._places:  # as those that Ray sends to a node that has just gone
        crew._ray.kill(place.actor)
    crew.wait()
    assert isinstance(crew.raw(files[0]), Raw)


def test_workers_that_have_another_model_are_an_error(
    light: Path, judges: RayJudges, judge: Inspector
) -> None:
    crew = Crew(light, replace(judge.identity, tensors="0" * 64), "onnx", 1, 4)
    with pytest.raises(FleetError, match="another model where the workers are"):
        crew.wait()


def test_the_command_judges_on_the_cluster_and_leaves_nobody_there(
    light: Path, files: list[bytes], cluster: Cluster, judge: Inspector, tmp_path: Path
) -> None:
    before = set(networks(cluster))
    options = ["--database", f"sqlite:///{tmp_path / 's.db'}", "--pictures", f"{tmp_path / 'p'}"]
    options += ["--engine", "ray", "--address", cluster.address, "--workers", "2"]
    with served(light, *options, "--runtime", "onnx") as station:
        assert set(networks(cluster)) - before
        client = Client(station.port)
        for number, (file, expected) in enumerate(
            zip(files[:4], judge.inspect_many(files[:4]), strict=True)
        ):
            answer = client.inspect("light", f"part {number}", file)
            assert answer.status == 200
            (found,) = answer.json()["inspections"]
            assert isinstance(expected, Inspection)
            assert found["score"] == pytest.approx(expected.score, rel=1e-3)
            assert found["verdict"] == expected.verdict
        assert len(client.record()) == 4
        client.close()
    assert station.process.returncode == 128 + signal.SIGTERM, "as without Ray"
    gone_by = time.monotonic() + 30.0
    while set(networks(cluster)) - before:
        assert time.monotonic() < gone_by
        time.sleep(0.1)


def networks(cluster: Cluster) -> list[int]:
    named = [node.processes().items() for node in cluster.nodes]
    return sorted(pid for one in named for pid, words in one if words.startswith("ray::Network"))
