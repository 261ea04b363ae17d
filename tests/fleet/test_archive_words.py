"""What no node can give is said before any work; no Ray is needed here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nfbmr.errors import FleetError
from nfbmr.fleet.archive import Options, _check, _how_many
from nfbmr.fleet.listing import Listing, write_listing
from nfbmr.fleet.run import Run


def cluster_of(*nodes: dict[str, float]) -> Any:
    return SimpleNamespace(
        cpus=int(sum(node.get("CPU", 0) for node in nodes)),
        gpus=int(sum(node.get("GPU", 0) for node in nodes)),
        nodes=lambda: [{"Resources": node} for node in nodes],
    )


def test_threads_that_no_node_has_are_refused() -> None:
    """Ray would wait for such a node without end."""
    two = cluster_of({"CPU": 2.0}, {"CPU": 2.0})
    assert _how_many(Options(threads=2), two) == 2
    for workers in (None, 1):
        with pytest.raises(FleetError, match=r"--threads 4: .*the most are 2; give --threads 2"):
            _how_many(Options(threads=4, workers=workers), two)


def test_a_worker_on_a_gpu_takes_its_threads_beside_it() -> None:
    mixed = cluster_of({"CPU": 16.0}, {"CPU": 2.0, "GPU": 1.0})
    assert _how_many(Options(threads=2, device="cuda"), mixed) == 1
    with pytest.raises(FleetError, match=r"no node with a GPU has .*the most are 2"):
        _how_many(Options(threads=4, device="cuda"), mixed)
    for workers in (None, 1):
        with pytest.raises(FleetError, match="no node of the cluster has a GPU"):
            _how_many(Options(device="cuda", workers=workers), cluster_of({"CPU": 2.0}))


def test_nodes_are_asked_for_a_picture_of_each_source_and_store_and_for_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def check_nodes(**words: Any) -> None:
        asked.update(words, fresh=words["seen"][0].is_file())

    monkeypatch.setattr("nfbmr.fleet.cluster.check_nodes", check_nodes)
    there = tmp_path / "elsewhere" / "7.png"
    there.parent.mkdir()
    there.touch()
    firsts = (f"{there}", f"{tmp_path}/gone.png", "s3://a/x/1.png", "s3://a/2.png", "gs://a/3.png")
    file = tmp_path / "listing.jsonl"
    listing = Listing(file, write_listing(file, firsts), 5)
    run = Run(out=tmp_path / "out", name="run", listing=listing, firsts=firsts)
    _check(tmp_path / "model", [str(tmp_path / "list.txt")], run, Options(runtime="onnx"))
    fresh, *seen = asked["seen"]
    assert seen == [there], "one that is gone is none's fault"
    assert fresh.parent == file.parent
    assert asked["fresh"], "no other folder of this name has it"
    assert not fresh.exists()
    assert asked["read"] == ["s3://a/2.png", "gs://a/3.png"], "one of each store"
    assert asked["written"] == [tmp_path / "out"]
