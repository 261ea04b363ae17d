"""`nfbmr serve`: what a station on Ray asks of the nodes; what may be a secret needs no option."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from nfbmr.cli.app import app
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
    assert asked["packages"] == (
        *("numpy", "pillow", "scipy", "pyarrow"),
        *("onnxruntime", "onnxruntime-gpu"),
    )


def test_the_folder_of_what_is_learnt_there_is_asked_for(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    refused(StationSettings(pictures=tmp_path, learning=tmp_path / "learning"))
    assert asked["models"] == []
    assert asked["seen"] == [tmp_path / "learning" / "models"]
    assert set(asked["packages"]) > {"torch", "onnxruntime", "openvino"}


def parsed(*words: str) -> dict[str, Any]:
    """What `nfbmr serve` would be called with."""
    commands = get_command(app)
    assert isinstance(commands, TyperGroup)
    return commands.commands["serve"].make_context("serve", list(words)).params


def test_addresses_and_secrets_come_from_the_environment_or_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = parsed("--webhook-file", "address", "--webhook-secret-file", "secret")
    assert (str(said["webhook_file"]), str(said["webhook_secret_file"])) == ("address", "secret")
    assert (said["webhook"], said["webhook_secret"]) == (None, None)
    monkeypatch.setenv("NFBMR_WEBHOOK", "https://h/in?key=x")
    monkeypatch.setenv("NFBMR_WEBHOOK_SECRET", "of both")
    monkeypatch.setenv("NFBMR_CAMERA", "a=0 b=rtsp://u:p@h/s")
    said = parsed()
    assert (said["webhook"], said["webhook_secret"]) == ("https://h/in?key=x", "of both")
    assert said["camera"] == ["a=0", "b=rtsp://u:p@h/s"]
