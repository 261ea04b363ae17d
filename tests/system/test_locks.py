"""Locks end with the program that holds them, whatever ends it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nfbmr.system import locks
from nfbmr.system.locks import abandoned_folder, lock, locked_file, locked_folder

pytest.importorskip("fcntl", reason="folders have no locks here")

HOLDER = """
import sys, time
from pathlib import Path
from nfbmr.system.locks import locked_file, locked_folder
path = Path(sys.argv[1])
with (locked_folder if path.is_dir() else locked_file)(path) as free:
    print(free, flush=True)
    time.sleep(600)
"""


def is_free(path: Path) -> bool:
    with (locked_folder if path.is_dir() else locked_file)(path) as free:
        return free


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_lock_goes_with_the_program_that_is_killed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    if kind == "folder":
        path.mkdir()
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert not is_free(path)
    finally:
        holder.kill()
        holder.communicate()
    assert is_free(path)


def test_two_do_not_hold_one_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with locked_file(path) as free:
        assert free
        assert not is_free(path)
    assert is_free(path)


def test_a_file_or_folder_that_took_the_place_has_a_lock_of_its_own(tmp_path: Path) -> None:
    with locked_file(tmp_path / "lock"):
        (tmp_path / "lock").unlink()
        assert is_free(tmp_path / "lock")
    (tmp_path / "folder").mkdir()
    with locked_folder(tmp_path / "folder"):
        (tmp_path / "folder").rename(tmp_path / "other")
        (tmp_path / "folder").mkdir()
        assert is_free(tmp_path / "folder")
        assert not is_free(tmp_path / "other")


def test_who_opened_a_file_before_it_was_deleted_does_not_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    original = locks.try_lock

    def late(handle: int) -> bool | None:
        path.unlink()
        return original(handle)

    monkeypatch.setattr(locks, "try_lock", late)
    assert not is_free(path)


def test_where_there_are_no_locks_nothing_is_taken_for_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "try_lock", lambda _: None)
    with (tmp_path / "file").open("w") as stream:
        assert lock(stream)
    assert is_free(tmp_path)
    with abandoned_folder(tmp_path, 3600) as left:
        assert not left, "something in it is young"
    past = time.time() - 7200
    for path in (tmp_path / "file", tmp_path):
        os.utime(path, (past, past))
    with abandoned_folder(tmp_path, 3600) as left:
        assert left
