"""What stands around nodes of Ray: processes are found, networks are made or are not, and end."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from nfbmr.benchmark import ray_nodes
from nfbmr.benchmark.ray_nodes import Node, Place, networks, processes_under


def test_what_a_process_started_is_found_with_what_that_started() -> None:
    words = ["sh", "-c", "sh -c 'sleep 1000; true' & echo $!; wait"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        assert started.stdout is not None
        child = int(started.stdout.readline())
        found = processes_under(started.pid)
        assert "sleep 1000" in found[child]
        assert started.pid not in found
        os.killpg(started.pid, signal.SIGKILL)
    assert processes_under(started.pid) == {}


def test_a_node_that_ends_before_it_has_started_is_said_with_its_words() -> None:
    words = ["sh", "-c", "echo no room"]
    node = Node(subprocess.Popen(words, stdout=subprocess.PIPE, text=True), Place())
    with pytest.raises(RuntimeError, match="no room"):
        node.wait()
    node.kill()


def test_nodes_have_networks_of_their_own_that_end_with_the_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(ray_nodes, "_ip", lambda *words: ran.append(words))
    with networks(3) as places:
        made = [words[2] for words in ran if words[:2] == ("netns", "add")]
        assert len({place.ip for place in places}) == 3
        assert [place.before for place in places] == [("ip", "netns", "exec", n) for n in made]
        assert not [words for words in ran if words[:2] == ("netns", "delete")]
    ended = [words[2] for words in ran if words[:2] == ("netns", "delete")]
    assert sorted(ended) == sorted(made)


def test_where_no_bridge_can_be_made_nodes_share_a_network_and_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left: set[str] = set()

    def ip(*words: str) -> None:
        if words[:2] == ("netns", "add"):
            left.add(words[2])
        elif words[:2] == ("netns", "delete"):
            left.discard(words[2])
        elif "bridge" in words:
            raise subprocess.CalledProcessError(2, "ip", stderr="Unknown device type.\n")

    monkeypatch.setattr(ray_nodes, "_ip", ip)
    with networks(2) as places:
        assert places == [Place(), Place()]
        assert not left
    assert "Unknown device type." in caplog.text
