"""Clusters of Ray as processes of their own on this machine, and a local S3 server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nfbmr.inspection.inspector import Inspector

SOURCE = Path(__file__).parents[2] / "src"
_STARTED = "Ray runtime started"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Node:
    """`ray start` and what it started."""

    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,))
        self._started = threading.Event()
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.log.append(line)
                if _STARTED in line:
                    self._started.set()
        self._started.set()  # it ended

    def wait(self) -> None:
        self._started.wait()
        assert self.process.poll() is None, "".join(self.log)

    def processes(self) -> dict[int, str]:
        """Process ids and command lines of all that it started, those of workers too."""
        parents, words = {}, {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    text = (entry / "stat").read_text()
                    words[int(entry.name)] = (entry / "cmdline").read_bytes().decode()
                except (OSError, UnicodeDecodeError):
                    continue
                parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
        found: dict[int, str] = {}
        for pid in words:
            above = pid
            while (above := parents.get(above, 0)) > 1:
                if above == self.process.pid:
                    found[pid] = words[pid]
        return found

    def workers(self) -> list[int]:
        """Process ids of the workers that judge here."""
        return [pid for pid, words in self.processes().items() if words.startswith("ray::Scorer")]

    def kill(self) -> None:
        """Ends all of it at once, as a power loss does."""
        there = list(self.processes())
        for pid in (self.process.pid, *there):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self._reader.join()


@dataclass
class Cluster:
    """Nodes on this machine."""

    address: str
    folder: Path
    env: dict[str, str]
    nodes: list[Node]

    def add(self, cpus: int, *before: str, **env: str) -> Node:
        """Starts another node, by a command that may stand before `ray start`."""
        words = [f"--address={self.address}", *_words(cpus)]
        return _started(self, words, before, env)


def _words(cpus: int) -> list[str]:
    return [
        *("--block", f"--num-cpus={cpus}", "--object-store-memory=100000000"),
        *("--disable-usage-stats", "--min-worker-port=0", "--max-worker-port=0"),
        *("--dashboard-agent-listen-port=0", f"--metrics-export-port={free_port()}"),
    ]


def _started(
    cluster: Cluster,
    words: list[str],
    before: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
) -> Node:
    ray = str(Path(sys.executable).with_name("ray"))
    process = subprocess.Popen(
        [*before, ray, "start", *words],
        env=cluster.env | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    node = Node(process)
    cluster.nodes.append(node)
    node.wait()
    return node


@contextmanager
def started(cpus: int) -> Iterator[Cluster]:
    """Starts a head; at the end every node that is left is killed."""
    folder = Path(tempfile.mkdtemp(prefix="nfr-"))  # short, as a socket's name has to be
    port = free_port()
    env = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    cluster = Cluster(f"127.0.0.1:{port}", folder, env, [])
    head = ["--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false"]
    try:
        _started(cluster, [*head, *_words(cpus)])
        yield cluster
    finally:
        for node in reversed(cluster.nodes):
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def ray_environment() -> Iterator[None]:
    """What Ray reads as it is imported, here and in what tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else all that a busy machine does comes first
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
    with started(2) as found:
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
