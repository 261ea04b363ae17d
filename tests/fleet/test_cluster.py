"""An address that is none, or of no Ray, is said at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from nfbmr.errors import FleetError
from nfbmr.fleet.cluster import connected

pytestmark = pytest.mark.fleet

_STARTS = """
import os
from nfbmr.fleet.cluster import connected
with connected(workers=1):
    import ray
    print(ray.get_runtime_context().gcs_address, os.environ["RAY_AUTH_TOKEN"], flush=True)
    input()
"""
_JOINS = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False); print('joined')"


def refused(address: str) -> str:
    with pytest.raises(FleetError) as error, ExitStack() as stack:
        stack.enter_context(connected(address))
    return str(error.value)


def test_an_address_where_nobody_listens_is_said(ray_environment: None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"no cluster answers at {address}" in refused(address)


def test_an_address_without_a_port_is_said(ray_environment: None) -> None:
    assert "expected HOST:PORT" in refused("head-node")


def test_a_name_that_is_no_host_is_said(ray_environment: None) -> None:
    assert "no cluster answers" in refused("no-such-host.invalid:6379")


def test_auto_looks_at_the_address_that_ray_knows(
    ray_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        assert "--address auto: no cluster answers" in refused("auto")


def test_another_version_of_ray_or_python_is_said(
    ray_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray compares them itself as it joins."""
    import ray

    def init(**_: object) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.1.0\n    Python: 3.10.2"
        )

    monkeypatch.setattr(ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        said = refused(f"127.0.0.1:{listening.getsockname()[1]}")
    assert "Ray: 2.1.0 Python: 3.10.2; install the same on all nodes" in said


def test_what_was_started_here_ends(ray_environment: None) -> None:
    import ray

    with connected(workers=1) as found:
        assert (found.address, found.cpus) == (None, 1)
        assert len(found.nodes()) == 1
    assert not ray.is_initialized()


def test_a_cluster_that_starts_here_lets_in_who_has_its_token() -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    started = subprocess.Popen(
        [sys.executable, "-c", _STARTS],
        env=bare,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with started:
        assert started.stdout is not None
        address, token = started.stdout.readline().split()

        def joined(**env: str) -> bool:
            words = [sys.executable, "-c", _JOINS, address]
            done = subprocess.run(words, env=bare | env, capture_output=True, check=False)
            return done.stdout.endswith(b"joined\n")

        assert joined(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
        assert not joined(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
        assert not joined()
        started.communicate("\n")
    assert started.returncode == 0
