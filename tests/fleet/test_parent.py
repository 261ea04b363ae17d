"""A process whose parent is killed ends, too, and the next one waits for that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nfbmr.fleet import parent
from nfbmr.fleet.parent import alone
from nfbmr.system.locks import locked_file

CHILD = """
import signal, sys, time
from pathlib import Path
from nfbmr.fleet.parent import end_with
folder = Path(sys.argv[1])
def stopped(*_):
    (folder / "stopped").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, stopped)
end_with(int(sys.argv[2]))
(folder / "ready").touch()
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, *sys.argv[1:], str(os.getpid())])
time.sleep(60)
"""


def wait_for(path: Path) -> None:
    latest = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < latest, path.name
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="nothing tells there")
def test_who_is_killed_takes_its_child_along(tmp_path: Path) -> None:
    child = [str(tmp_path / "child.py"), str(tmp_path)]
    Path(child[0]).write_text(CHILD)
    with subprocess.Popen([sys.executable, "-c", PARENT, *child]) as process:
        wait_for(tmp_path / "ready")
        time.sleep(2 * parent._LOOK)
        assert not (tmp_path / "stopped").exists(), "its parent lives"
        process.send_signal(signal.SIGKILL)
    wait_for(tmp_path / "stopped")


def test_one_that_is_about_to_end_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(parent, "_LOOK", 0.01)
    with alone(tmp_path / "lock"), locked_file(tmp_path / "lock") as free:
        assert not free
    with locked_file(tmp_path / "lock"):
        monkeypatch.setattr(parent, "STOP_SECONDS", 0.05)
        monkeypatch.setattr("time.sleep", waited.append)
        with alone(tmp_path / "lock"):
            pass
    assert waited
