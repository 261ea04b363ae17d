"""A cluster of Ray on one machine: each node is `ray start --block`, a process of its own.

Where this process may make network namespaces, each node has one, joined to that of the first by a
bridge: nodes then reach each other by their networks alone, as machines do. Nothing of it is seen
from outside. Nodes end with the process that started them, however that ends; of one that was
killed outright the names of empty networks stay, for `ip netns delete`.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_log = logging.getLogger(__name__)

_STARTED = "Ray runtime started"
_SLOW = "timed out during startup"  # Ray gives itself 30 s, which a busy machine may need more of
_TRIES = 3
_NET = "10.210.77"  # inside the namespaces only
_STORE_BYTES = 100_000_000
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")


def ray_variables() -> dict[str, str]:
    """Returns what Ray reads of the environment of all that belong to a cluster: a new token."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # else all that a busy machine does comes first
    }


def processes_under(*roots: int) -> dict[int, str]:
    """Returns ids and command lines of what processes started, and of what those started."""
    parents, words = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat, said = (entry / "stat").read_text(), (entry / "cmdline").read_bytes()
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
            words[int(entry.name)] = said.decode(errors="replace")
    found: dict[int, str] = {}
    for pid in words:
        above = pid
        while (above := parents.get(above, 0)) > 1:
            if above in roots:
                found[pid] = words[pid]
    return found


def workers_under(*roots: int) -> list[int]:
    """Returns the process ids of the workers that judge, of drivers' own clusters or of nodes."""
    found = processes_under(*roots).items()
    return [pid for pid, words in found if words.startswith("ray::Scorer")]


@dataclass(frozen=True)
class Place:
    """Where a node's processes run."""

    ip: str = "127.0.0.1"
    """Its address, which its driver and other nodes reach it by."""
    before: tuple[str, ...] = ()
    """What stands before a command that is to run there."""


@dataclass
class Node:
    """`ray start` and what it started."""

    process: subprocess.Popen[str]
    place: Place
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.process.stdout is not None
        self._said = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,))
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.log.append(line)
                if _STARTED in line:
                    self._said.set()
        self._said.set()  # it ended

    def wait(self) -> None:
        """Waits until it has started.

        Raises:
            RuntimeError: it ended instead; the message is what it said.
        """
        self._said.wait()
        if not any(_STARTED in line for line in self.log):  # it may end a moment later
            raise RuntimeError(f"a node of Ray ended: {''.join(self.log)}")

    def processes(self) -> dict[int, str]:
        """Returns ids and command lines of all that it started, those of workers too."""
        return processes_under(*self.roots())

    def workers(self) -> list[int]:
        """Returns the process ids of the workers that judge here."""
        return workers_under(*self.roots())

    def roots(self) -> list[int]:
        """Returns the process id that all others descend from; none once it has ended."""
        return [self.process.pid] if self.process.poll() is None else []

    def kill(self) -> None:
        """Ends all of it at once, as a power loss does."""
        there = list(self.processes())
        self.process.kill()
        for pid in there:
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
    """Of what Ray writes."""
    env: dict[str, str]
    """Of all nodes; a driver needs its token."""
    nodes: list[Node] = field(default_factory=list)

    def add(self, cpus: int, place: Place = Place(), **env: str) -> Node:
        """Starts another node, which may have an environment of its own."""
        return self.start([f"--address={self.address}"], cpus, place, env)

    def start(self, words: list[str], cpus: int, place: Place, env: Mapping[str, str]) -> Node:
        """Starts a node by words for `ray start`, and waits until it is there.

        Raises:
            RuntimeError: it does not start.
        """
        for tries_left in reversed(range(_TRIES)):
            node = Node(self._process(words, cpus, place, env), place)
            try:
                node.wait()
            except BaseException as error:
                node.kill()
                if not tries_left or _SLOW not in str(error):
                    raise
            else:
                self.nodes.append(node)
                break
        return node

    def _process(
        self, words: list[str], cpus: int, place: Place, env: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        folder = tempfile.mkdtemp(prefix="", dir=self.folder)
        more = [
            *("--block", f"--num-cpus={cpus}", f"--object-store-memory={_STORE_BYTES}"),
            *(f"--node-ip-address={place.ip}", f"--temp-dir={folder}", "--disable-usage-stats"),
            *("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
            f"--metrics-export-port={free_port()}",
        ]
        ray = str(Path(sys.executable).with_name("ray"))
        return subprocess.Popen(
            [*_DIES_WITH_US, *place.before, ray, "start", *words, *more],
            env=self.env | dict(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def workers(self) -> list[int]:
        """Returns the process ids of the workers that judge on any node."""
        return workers_under(*(pid for node in self.nodes for pid in node.roots()))


def free_port() -> int:
    """Returns a port of this machine where nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def started(cpus: int, env: Mapping[str, str], place: Place = Place()) -> Iterator[Cluster]:
    """Starts a head; at the end every node that is left is killed.

    Args:
        cpus: that the head offers.
        env: of all nodes; see `ray_variables`.
        place: where the head runs.

    Raises:
        RuntimeError: it does not start.
        OSError: Ray or `setpriv` is not there.
    """
    folder = Path(tempfile.mkdtemp(prefix="nfr-"))  # short, as a socket's name has to be
    port = free_port()
    cluster = Cluster(f"{place.ip}:{port}", folder, dict(env))
    try:
        cluster.start(["--head", f"--port={port}", "--include-dashboard=false"], cpus, place, {})
        yield cluster
    finally:
        for node in reversed(cluster.nodes):
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def networks(count: int) -> Iterator[list[Place]]:
    """Gives each of `count` nodes a network of its own, which ends with the body.

    Yields:
        Their places; the first is the head's, and the driver's. They have no `before` where this
        process may make no network: then they share this machine's.
    """
    with ExitStack() as stack:
        yield _namespaces(stack, count) or [Place()] * count


def _namespaces(stack: ExitStack, count: int) -> list[Place]:
    names = [f"nfbmr-{os.getpid()}-{number}" for number in range(count)]
    head = names[0]
    try:
        for name in names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", head, "link", "add", "nodes", "type", "bridge")
        _ip("-n", head, "address", "add", f"{_NET}.1/24", "dev", "nodes")
        _ip("-n", head, "link", "set", "nodes", "up")
        for number, name in enumerate(names[1:], start=2):
            pair = ["type", "veth", "peer", "name", "eth0", "netns", name]
            _ip("-n", head, "link", "add", f"node{number}", *pair)
            _ip("-n", head, "link", "set", f"node{number}", "master", "nodes", "up")
            _ip("-n", name, "address", "add", f"{_NET}.{number}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
    except (OSError, subprocess.CalledProcessError) as error:
        stack.close()
        said = getattr(error, "stderr", None) or error
        _log.warning("No network of its own for each node: %s", str(said).strip())
        return []
    return [
        Place(f"{_NET}.{number}", ("ip", "netns", "exec", name))
        for number, name in enumerate(names, start=1)
    ]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
