"""What is still being written: no kill leaves it for good, and nobody takes it from the living."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from nfbmr.system import halves
from nfbmr.system.files import flushed_beside, written_beside

_WRITER = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from nfbmr.system.files import written_beside
with ExitStack() as stack:
    for name in sys.argv[1:]:
        stack.enter_context(written_beside(Path(name))).write_text("half")
    print("writing", flush=True)
    time.sleep(600)
"""
_ALL_THE_TIME = """
import sys
from pathlib import Path
from nfbmr.system.files import written_beside
for number in range(300):
    with written_beside(Path(sys.argv[1])) as beside:
        beside.write_text(sys.argv[2] * 1000)
"""


@contextmanager
def writing(*paths: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun to write files; it is killed at the end, at the latest."""
    words = [sys.executable, "-c", _WRITER, *map(str, paths)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path, text: str = "whole") -> None:
    with written_beside(path) as beside:
        beside.write_text(text)


def test_what_a_kill_left_goes_when_the_name_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "p2.csv"
    with writing(path, path, path):  # three at once
        left = [f".p2.csv.nfbmr-{number}.part" for number in range(3)]
        assert names(tmp_path) == left
        assert os.access(tmp_path / left[0], os.R_OK)
    assert names(tmp_path) == left
    write(tmp_path / "p2.jsonl")
    assert names(tmp_path) == [*left, "p2.jsonl"], "those of another name stay"
    write(path)
    assert names(tmp_path) == ["p2.csv", "p2.jsonl"]
    assert path.read_text() == "whole"
    for _ in range(3):
        with writing(path):
            pass
        assert names(tmp_path) == [left[0], "p2.csv", "p2.jsonl"], "they do not pile up"
    with flushed_beside(path) as beside:
        beside.write_text("new")
    assert names(tmp_path) == ["p2.csv", "p2.jsonl"]


def test_what_a_living_program_writes_stays(tmp_path: Path) -> None:
    path = tmp_path / "p2.csv"
    with writing(path) as process:
        write(path)
        assert names(tmp_path) == [".p2.csv.nfbmr-0.part", "p2.csv"]
        os.kill(process.pid, signal.SIGSTOP)  # it is not gone because it stands still
        write(path)
        assert names(tmp_path) == [".p2.csv.nfbmr-0.part", "p2.csv"]
    assert (tmp_path / ".p2.csv.nfbmr-0.part").read_text() == "half"


def test_many_may_write_one_name_at_once_and_the_last_to_end_wins(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with ExitStack() as stack:
        for number in range(halves._AT_ONCE + 3):
            stack.enter_context(written_beside(path)).write_text(str(number))
        assert len(names(tmp_path)) == halves._AT_ONCE + 3
    assert names(tmp_path) == ["a"]
    assert path.read_text() == "0"


def test_however_many_write_one_name_it_is_always_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    words = [sys.executable, "-c", _ALL_THE_TIME, str(path)]
    running = [subprocess.Popen([*words, letter]) for letter in "abcd"]
    while any(process.poll() is None for process in running):
        if path.exists():
            text = path.read_text()
            assert text == text[:1] * 1000
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert names(tmp_path) == ["a"]


def test_what_only_looks_like_a_half_stays(tmp_path: Path) -> None:
    path, mine = tmp_path / "a", tmp_path / "mine"
    mine.write_text("mine")
    (tmp_path / ".a.nfbmr-0.part").symlink_to(mine)
    os.mkfifo(tmp_path / ".a.nfbmr-1.part")
    (tmp_path / ".a.nfbmr-2.part").mkdir()
    for name in (".a.part", ".a.download.part", ".a.b.nfbmr-0.part", ".b.nfbmr-0.part"):
        (tmp_path / name).write_text("mine")
    before = names(tmp_path)
    write(path)
    assert names(tmp_path) == sorted([*before, "a"])
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("letter", ["n", "é", "零", "😀"])
def test_a_long_name_fits_and_is_no_other_that_begins_alike(tmp_path: Path, letter: str) -> None:
    count = 250 // len(letter.encode())
    one, other = tmp_path / (letter * count + "1.csv"), tmp_path / (letter * count + "2.csv")
    assert 250 < len(os.fsencode(one.name)) <= 255
    with writing(one, other):
        pass
    assert len(names(tmp_path)) == 2
    assert all(len(os.fsencode(name)) < 140 for name in names(tmp_path))
    write(one)
    assert len(names(tmp_path)) == 2
    write(other)
    assert names(tmp_path) == [one.name, other.name]


def test_a_name_that_is_no_unicode_fits_too(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + b"\xff" * 250))
    write(path)
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize(("what", "says"), [("try_lock", None), ("_others_may_write", False)])
def test_where_locks_do_not_tell_nothing_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, says: object
) -> None:
    path = tmp_path / "a"
    with writing(path):
        pass
    monkeypatch.setattr(halves, what, lambda _: says)
    with written_beside(path) as beside, written_beside(path) as another:
        assert not beside.name.startswith(".a.nfbmr-")
        assert beside != another
        beside.write_text("whole")
        another.write_text("whole, too")
    assert path.read_text() == "whole"
    left = [".a.nfbmr-0.part"] if what == "try_lock" else []
    assert names(tmp_path) == [*left, "a"]


def test_another_programs_half_is_never_taken_for_the_own(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def robbed() -> None:
        with written_beside(path) as beside:
            beside.write_text("mine")
            beside.unlink()
            beside.write_text("another's")

    with pytest.raises(OSError, match="another program took away what was written"):
        robbed()
    assert path.read_text() == "old"
    assert (tmp_path / ".a.nfbmr-0.part").read_text() == "another's"
