"""A measurement in a process of its own: its row and what it took; a failure says why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nfbmr.benchmark import figures
from nfbmr.benchmark.child import in_child

_MODULE = """
import argparse, os, signal, sys
from pathlib import Path
from nfbmr.benchmark.child import do_job


def add(one, two):
    return {"sum": one + two, "process": os.getpid()}


def fill(megabytes):
    return {"bytes": len(b"x" * (megabytes * 2**20))}


def fail():
    raise ValueError("no picture of this kind")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def leave():
    sys.exit(3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path)
    works = {"add": add, "fill": fill, "fail": fail, "die": die, "leave": leave}
    do_job(parser.parse_args().job, works)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that measures; `python -m` finds it."""
    (tmp_path / "measures.py").write_text(_MODULE, encoding="utf-8")
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), before))))


def test_the_row_comes_from_another_process() -> None:
    found = in_child("measures", {"do": "add", "one": 2, "two": 3.5})
    assert found.row["sum"] == 5.5
    assert found.row["process"] != os.getpid()
    assert found.seconds > 0


def test_memory_is_that_of_the_process_at_its_peak() -> None:
    plain = in_child("measures", {"do": "add", "one": 1, "two": 1})
    more = round(plain.peak_mb) + 200
    assert in_child("measures", {"do": "fill", "megabytes": more}).peak_mb > more


@pytest.mark.parametrize(
    ("do", "why"),
    [
        ("fail", "fail failed in a process of its own: ValueError: no picture of this kind"),
        ("die", "die failed in a process of its own: SIGKILL ended it"),
        ("leave", "leave failed in a process of its own: it ended with 3 and left no row"),
        ("dance", "dance failed in a process of its own: KeyError: 'dance'"),
    ],
)
def test_a_failure_says_why(do: str, why: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        in_child("measures", {"do": do})
    assert str(caught.value).startswith(why)


def test_the_figures_are_measured_so(good_folder: Path, tmp_path: Path) -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", figures.__name__, "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "--shared" in help_text
    job = {"do": "accuracy", "data": str(good_folder / "none"), "folder": str(tmp_path)}
    with pytest.raises(RuntimeError, match=r"accuracy failed .* found nothing at this path"):
        in_child(figures.__name__, job | {"seed": 0, "preset_name": "fast"})
