"""What a station on Ray asks of the nodes, before any model is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nfbmr.cli.serve import _on_ray
from nfbmr.errors import FleetError
from nfbmr.fleet import cluster
from nfbmr.station.settings import StationSettings


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What nodes are asked, of a cluster of which one refuses all."""
    found: dict[str, Any] = {}

    @contextmanager
    def connected(address: str, *, workers: int | None) -> Iterator[cluster.Cluster]:
        yield cluster.Cluster(address=address, cpus=2, gpus=0)

    def check_nodes(**words: Any) -> None:
        found.update(words)
        raise FleetError("node b has onnxruntime none")

    monkeypatch.setattr(cluster, "connected", connected)
    monkeypatch.setattr(cluster, "check_nodes", check_nodes)
    return found


def refused(settings: StationSettings) -> None:
    with pytest.raises(FleetError, match="node b has"), _on_ray(settings, "a:1", None):
        pass


def test_nodes_are_asked_for_all_models_and_the_runtimes_packages(
    asked: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "night").symlink_to(model)
    (folder / "no-model").mkdir()
    (tmp_path / "given").symlink_to(model)
    given = (tmp_path / "given",)
    refused(StationSettings(models=given, folder=folder, runtime="onnx", pictures=tmp_path))
    assert asked["models"] == [model.resolve(), model.resolve()]
    assert asked["seen"] == [folder]
    assert asked["packages"] == ("numpy", "pillow", "scipy", "pyarrow", "onnxruntime")


def test_the_folder_of_what_is_learnt_there_is_asked_for(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    refused(StationSettings(pictures=tmp_path, learning=tmp_path / "learning"))
    assert asked["models"] == []
    assert asked["seen"] == [tmp_path / "learning" / "models"]
    assert set(asked["packages"]) > {"torch", "onnxruntime", "openvino"}
