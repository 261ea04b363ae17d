"""A cluster of Ray as processes of their own on this machine, and a local S3 server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nfbmr.benchmark.ray_nodes import Cluster, ray_variables, started

if TYPE_CHECKING:
    from nfbmr.inspection.inspector import Inspector

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="session")
def ray_environment() -> Iterator[None]:
    """What Ray reads as it is imported, here and in what tests start."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ray_variables().items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="session")
def s3(ray_environment: None) -> Iterator[str]:
    """The address of an S3 server in this process, with an empty bucket `parts`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.stop)
        host, port = server.get_host_and_port()
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "nobody")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        boto3.client("s3").create_bucket(Bucket="parts")
        yield f"http://{host}:{port}"


@pytest.fixture(scope="session")
def cluster(s3: str) -> Iterator[Cluster]:
    """A head with two CPUs whose workers reach the S3 server."""
    env = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    with started(2, env) as found:
        yield found


@pytest.fixture(scope="session")
def light(model: Path, once: Callable[..., Path]) -> Path:
    """The fitted model with a graph for ONNX Runtime: workers load it without torch."""

    def build(root: Path) -> None:
        from nfbmr.deployment.export import add_graphs
        from nfbmr.model.bundle import read_bundle
        from nfbmr.runtimes.torch import TorchRuntime

        path = Path(shutil.copytree(model, root / "light"))
        bundle = read_bundle(path)
        add_graphs(path, bundle, TorchRuntime(bundle, "cpu"), [("onnx", "fp32")], [])

    return once("light", build) / "light"


@pytest.fixture(scope="session")
def judge(light: Path) -> Inspector:
    """That model in this process; tests only read it."""
    from nfbmr.inspection.inspector import load

    return load(light, runtime="onnx", threads=1)


@pytest.fixture
def command() -> Callable[..., subprocess.Popen[str]]:
    """Starts `nfbmr` in a process of its own."""

    def run(*words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "nfbmr", *map(str, words)],
            env=os.environ | {"PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run
