"""Ray, started here or joined; what each of its nodes has is asked before any work.

Nothing is sent to Ray's makers and no dashboard is started. Ray is imported where it is used.
"""

from __future__ import annotations

import logging
import os
import platform
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfbmr.errors import FleetError, MissingExtraError, NfbmrError
from nfbmr.fleet.node import Asked, Node, look_around
from nfbmr.system.cores import cores
from nfbmr.system.packages import how_to_install

_log = logging.getLogger(__name__)

_JUDGING = ("numpy", "pillow", "scipy", "pyarrow")
_ONNX = ("onnxruntime", "onnxruntime-gpu")  # two packages for one module
_OF_RUNTIME = {
    "torch": ("torch",),
    "onnx": _ONNX,
    "tensorrt": _ONNX,
    "openvino": ("openvino",),
}
_SECONDS = 5.0  # until an address counts as wrong
_TRIES = 3  # to start Ray here
_ANSWER_SECONDS = 180.0  # for a node's first answer: it starts a process for it
_STORE_BYTES = 128 * 2**20  # of a cluster on this machine; what it computes goes to files


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that this process is connected to."""

    address: str | None
    """Where it was joined; None of one that was started here and ends with this process."""
    cpus: int
    """Of all nodes that were there when it was joined; at least 1."""
    gpus: int

    def nodes(self) -> list[dict[str, Any]]:
        """Returns the nodes that are alive, as Ray describes them."""
        import ray

        return [node for node in ray.nodes() if node["Alive"]]


@contextmanager
def connected(address: str | None = None, *, workers: int | None = None) -> Iterator[Cluster]:
    """Joins a cluster, or starts one on this machine, while the body runs.

    Args:
        address: `HOST:PORT` of a cluster, or `auto` for the one that `ray start` made on this
            machine; None starts one here, which ends with the body.
        workers: processes that a cluster started here may run at once; by default one a core.

    Raises:
        FleetError: there is none at this address, or its Ray or Python is another version.
        MissingExtraError: Ray is not installed.
    """
    if address is None:
        _keep_others_out()
    ray, found = _ray(), None
    options: dict[str, Any] = {
        "include_dashboard": False,
        "log_to_driver": False,
        "configure_logging": False,
        "logging_level": logging.ERROR,
    }
    if address is None:
        # Never `ray.init()` alone: that joins whatever runs on this machine.
        options |= {"address": "local", "object_store_memory": _STORE_BYTES}
        options["num_cpus"] = max(1, workers or cores())
    else:
        del options["include_dashboard"]
        found = _reached(address)
        # Of a cluster that it finds itself Ray also finds the token.
        options["address"] = "auto" if address == "auto" else found
    with _own_sigterm():
        _joined(ray, options, f"the cluster at {found}" if found else "Ray on this machine")
    try:
        has = ray.cluster_resources()
        yield Cluster(
            address=found,
            cpus=max(1, int(has.get("CPU", 0))),
            gpus=int(has.get("GPU", 0)),
        )
    finally:
        ray.shutdown()


def packages_that_judge(runtime: str) -> tuple[str, ...]:
    """Returns the packages that verdicts depend on, as pip calls them; takes a runtime's name."""
    name = runtime.partition(":")[0]
    found = [one for key, some in _OF_RUNTIME.items() if name in (key, "auto") for one in some]
    return (*_JUDGING, *dict.fromkeys(found))


def check_nodes(
    *,
    models: Sequence[Path] = (),
    seen: Sequence[Path] = (),
    written: Sequence[Path] = (),
    read: Sequence[str] = (),
    packages: Sequence[str] = (),
) -> list[Node]:
    """Asks each node what it has, and refuses the first that differs from this machine.

    Args:
        models: model directories that each has to see as they are here.
        seen: files and folders that each has to see.
        written: folders that each has to be able to write to.
        read: addresses, one in each object store that each has to be able to read.
        packages: whose versions have to be those of this machine.

    Returns:
        What each node said.

    Raises:
        FleetError: one lacks something, or has another version.
    """
    import ray

    names = ("nfbmr", "ray", *packages)
    here = look_around(
        Asked(
            models=_texts(models),
            seen=_texts(seen),
            written=_texts(written),
            read=tuple(read),
            packages=names,
        )
    )
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not nodes:  # a head alone that computes nothing
        raise FleetError("no node of the cluster has a CPU for work; start one with 'ray start'")
    calls = [_ask(node["NodeID"], here.asked) for node in nodes]
    found = []
    for node, call in zip(nodes, calls, strict=True):
        name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        there = _answer(name, call)
        if there is None:
            _log.warning("Node %s is gone", name)
            continue
        _refuse_difference(name, here, there)
        found.append(there)
    if not found:
        raise FleetError("every node of the cluster is gone; see 'ray status'")
    return found


@contextmanager
def fresh_file(folder: Path) -> Iterator[Path]:
    """Makes a file that no other folder of this name can have, while the body runs.

    A node that sees it sees this folder, and not one of its own disk. The folder is held by this
    process alone, so that what a kill left there goes first.

    Raises:
        OSError: the folder cannot be written.
    """
    for left in folder.glob("seen-*"):
        left.unlink(missing_ok=True)
    path = folder / f"seen-{secrets.token_hex(8)}"
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def of_the_work(error: Any) -> Exception:
    """Returns what a task raised, as if it had been raised here; takes Ray's error of the task."""
    cause = error.cause
    if isinstance(cause, NfbmrError | OSError | MemoryError):
        return cause
    return FleetError(f"a worker failed: {type(cause).__name__}: {cause}")


def _keep_others_out() -> None:
    """Gives a cluster that starts here a token of its own, unless Ray was told how to go about it.

    It listens at all of the machine's addresses, and whoever is let in runs code here. Ray reads
    this as it is imported.
    """
    if "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _ray() -> Any:
    """Imports Ray, which reads these when it is imported."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    # Of tasks that a node ends because its memory is short; by default without end.
    os.environ.setdefault("RAY_task_oom_retries", "2")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    try:
        import ray
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise MissingExtraError(
            f"Ray is not installed, and the fleet needs it; {how_to_install('fleet')}"
        ) from None
    return ray


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keeps what SIGTERM does to this process; Ray makes it an end with exit code 15."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _joined(ray: Any, options: dict[str, Any], where: str) -> None:
    for tries_left in reversed(range(_TRIES)):
        try:
            ray.init(**options)
            return
        except (SystemExit, ConnectionError, ValueError) as error:
            raise FleetError(
                f"{where} does not answer as Ray does ({_brief(error)}); is this the address that "
                "'ray start --head' printed, and does 'ray status' work? A cluster with a token "
                "needs RAY_AUTH_MODE=token here, and the token of 'ray get-auth-token' there"
            ) from None
        except Exception as error:  # Ray has no kinds of its own for what follows
            ray.shutdown()
            if "ersion mismatch" in str(error):
                raise FleetError(
                    f"{where} has other versions than this machine (Ray {ray.__version__}, Python "
                    f"{platform.python_version()}): {' '.join(str(error).split())}; install the "
                    "same on all nodes"
                ) from None
            # It gives itself 30 s, which a busy machine may need more of.
            if "timed out during startup" not in str(error) or not tries_left:
                raise FleetError(f"{where} cannot be used: {_brief(error)}") from None
            _log.warning("Ray did not start in time; it is started again")


def _reached(address: str) -> str:
    """Returns `HOST:PORT` of an address that something listens at.

    Raises:
        FleetError: nothing does.
    """
    found = _found_here() if address == "auto" else address.removeprefix("ray://")
    host, colon, port = found.rpartition(":")
    if not colon or not port.isdigit():
        raise FleetError(
            f"--address {address}: found no port; expected HOST:PORT as 'ray start --head' prints "
            "it, such as 10.0.0.5:6379, or auto"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS):
            return found
    except (OSError, OverflowError) as error:
        raise FleetError(
            f"--address {address}: no cluster answers at {found} ({_brief(error)}); start one with "
            "'ray start --head', and give the address that it prints"
        ) from None


def _found_here() -> str:
    """Returns the address of this machine's cluster; Ray has no public name for finding it."""
    from ray._private.services import canonicalize_bootstrap_address_or_die

    try:
        return str(canonicalize_bootstrap_address_or_die("auto"))
    except ConnectionError:
        raise FleetError(
            "--address auto: no cluster runs on this machine; start one with 'ray start --head', "
            "or leave --address out to use this machine alone"
        ) from None


def _ask(node_id: str, asked: Asked) -> Any:
    """Has a node run `look_around`; returns what Ray calls its answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    # Without a CPU of its own, so that it is not kept waiting by other work.
    ask = ray.remote(num_cpus=0, max_retries=2, scheduling_strategy=there)(look_around)
    return ask.remote(asked)


def _answer(name: str, call: Any) -> Node | None:
    """Waits for what a node says; None of one that has just gone, which Ray takes time to see.

    Raises:
        FleetError: it cannot, or gives no answer.
    """
    import ray

    try:
        answer: Node = ray.get(call, timeout=_ANSWER_SECONDS)
    except ray.exceptions.GetTimeoutError:
        raise FleetError(
            f"node {name} gave no answer within {_ANSWER_SECONDS:.0f} s; see 'ray status'"
        ) from None
    except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
        return None
    except ray.exceptions.RayError as error:
        why = _brief(error)
        if "No module named 'nfbmr" in str(error):
            why = "nfbmr is not installed there; install the same version as here"
        raise FleetError(f"node {name} cannot work: {why}") from None
    return answer


def _refuse_difference(name: str, here: Node, there: Node) -> None:
    for package, version in here.versions.items():
        found = there.versions.get(package) or "none"
        if found != (version or "none"):
            raise FleetError(
                f"node {name} has {package} {found}, this machine {version or 'none'}; install "
                "the same version on all nodes"
            )
    for path in here.asked.seen:
        if path not in there.sees:
            raise FleetError(
                f"node {name} does not see {path}; put it on storage that all nodes share under "
                "the same path (NFS, or s3:// and the like for pictures)"
            )
    for path in here.asked.written:
        if path not in there.writes:
            raise FleetError(
                f"node {name} cannot write to {path}; mount it writable there, and give the user "
                "that Ray runs as the right to write"
            )
    for address, why in there.unread.items():
        if address not in here.unread:
            raise FleetError(
                f"node {name} cannot read what this machine can ({why}); give that node "
                "credentials (for s3:// AWS_ACCESS_KEY_ID and the like, or a role), and "
                "AWS_ENDPOINT_URL where it is not Amazon's, in the environment of its 'ray start'"
            )
    for model, expected in here.models.items():
        has = there.models[model]
        if has != expected:
            what = "does not see the model" if has is None else "has another model at"
            raise FleetError(
                f"node {name} {what} {model}; put the model on storage that all nodes share under "
                "the same path"
            )


def _texts(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(str(path.absolute()) for path in paths)


def _brief(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
