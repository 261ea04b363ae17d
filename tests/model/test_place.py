"""A model directory comes to its place whole; leftovers go, a user's files stay."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nfbmr.errors import BundleError, BundleNotFoundError
from nfbmr.model import place
from nfbmr.model.exports import CALIBRATION
from nfbmr.model.folder import CARD, CONFIG, MANIFEST, TENSORS, check_parts
from nfbmr.model.place import changed, put_back, put_together
from nfbmr.system.locks import locked_folder

PARTS = (CONFIG, TENSORS, CALIBRATION, CARD)
TOKEN = "0123456789abcdef" * 2
DAY = 24 * 3600


def fill(folder: Path, text: str) -> None:
    for name in PARTS:
        (folder / name).write_text(f"{text} {name}")


def write(path: Path, text: str = "old", graph: bool = False) -> None:
    with put_together(path) as folder:
        fill(folder, text)
        if graph:
            (folder / "model.onnx").write_text("graph")


def said(path: Path) -> str:
    """Which model is at `path`, once it is whole."""
    put_back(path)
    check_parts(path)
    (word,) = {(path / name).read_text().split()[0] for name in PARTS}
    return word


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def left_behind(path: Path, ending: str = "", token: str = TOKEN, text: str = "old") -> Path:
    """What a kill leaves: a whole model beside `path`."""
    write(path.parent / "made", text)
    return (path.parent / "made").rename(path.with_name(f".{path.name}.{token}{ending}"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "model")
    return tmp_path / "model"


# ---- what kills left


@pytest.mark.parametrize("ending", ["", ".old"])
def test_what_a_kill_left_goes_at_the_next_write(path: Path, ending: str) -> None:
    left_behind(path, ending)
    write(path, "new")
    assert said(path) == "new"
    assert names(path.parent) == {"model"}


def test_what_a_kill_left_half_written_goes_with_its_temporary_files(path: Path) -> None:
    left = path.with_name(f".model.{TOKEN}")
    left.mkdir()
    (left / ".tmpAbCdEf").write_text("half of the tensors")
    (left / CONFIG).write_text("{}")
    empty = path.with_name(f".model.{TOKEN[::-1]}")
    empty.mkdir()  # killed before the first file; or just made by another program
    write(path, "new")
    assert names(path.parent) == {"model", empty.name}
    assert names(path) == {MANIFEST, *PARTS}
    past = time.time() - 2 * DAY
    os.utime(empty, (past, past))
    write(path, "newer")
    assert names(path.parent) == {"model"}


def test_other_folders_are_left_where_they_are(path: Path, tmp_path: Path) -> None:
    """A user's copies, another model's leftovers, and links."""
    kept = {".model.backup12", ".model.20261126", f".model.{TOKEN}.mine", f".model2.{TOKEN}"}
    for name in kept:
        shutil.copytree(path, tmp_path / name)
    (tmp_path / f".model.{TOKEN}").symlink_to(tmp_path / ".model.backup12")
    write(path, "new")
    assert names(tmp_path) == {"model", *kept, f".model.{TOKEN}"}
    assert said(tmp_path / ".model.backup12") == "old"


def test_what_another_program_is_writing_is_not_swept(path: Path) -> None:
    pytest.importorskip("fcntl", reason="no such locks here")
    with put_together(path) as slow:
        fill(slow, "slow")
        write(path, "quick")
        assert slow.is_dir()
    assert said(path) == "slow"
    assert names(path.parent) == {"model"}


def test_where_there_are_no_locks_only_what_is_old_is_swept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfbmr.system.locks.try_lock", lambda _: None)
    young, old = left_behind(path), left_behind(path, token=TOKEN[::-1])
    past = time.time() - 2 * DAY
    for one in (*old.iterdir(), old):
        os.utime(one, (past, past))
    write(path, "new")
    assert names(path.parent) == {"model", young.name}


def test_a_whole_model_that_never_came_to_its_place_goes_too(tmp_path: Path) -> None:
    path = tmp_path / "model"
    left_behind(path)
    with pytest.raises(BundleNotFoundError, match="does not exist"):
        said(path)
    write(path, "new")
    assert names(tmp_path) == {"model"}


# ---- a user's files


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("change", ["write", "changed"])
def test_a_users_files_outlive_a_change_of_the_model(
    path: Path, change: str, exchanges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr("nfbmr.system.files.exchange", lambda *_: False)
    (path / "notes.txt").write_text("mine")
    (path / ".DS_Store").write_text("a system's")
    (path / "pictures").mkdir()
    (path / "pictures" / "one.txt").write_text("one")
    (path / "link").symlink_to("notes.txt")
    if change == "write":
        write(path, "new")
    else:
        with changed(path) as folder:
            fill(folder, "new")
    assert said(path) == "new"
    assert (path / "link").read_text() == "mine"
    assert (path / "pictures" / "one.txt").read_text() == "one"
    assert names(path) == {MANIFEST, *PARTS, "notes.txt", ".DS_Store", "pictures", "link"}
    assert names(path.parent) == {"model"}


def test_a_users_file_that_came_while_it_was_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    with put_together(path) as folder:
        fill(folder, "new")
        (path / "notes.txt").write_text("mine")
    assert (path / "notes.txt").read_text() == "mine"
    assert said(path) == "new"


def test_a_users_file_in_what_a_kill_left_comes_home(path: Path) -> None:
    (left_behind(path) / "notes.txt").write_text("mine")
    write(path, "new")
    assert (path / "notes.txt").read_text() == "mine"
    assert names(path.parent) == {"model"}


def test_of_two_users_files_of_one_name_none_is_lost(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = left_behind(path)
    (left / "notes.txt").write_text("older")
    (path / "notes.txt").write_text("newer")
    write(path, "new")
    assert (path / "notes.txt").read_text() == "newer"
    assert (left / "notes.txt").read_text() == "older"
    assert "is kept, it holds a file that is not nfbmr's" in caplog.text


# ---- the disk


def test_all_is_on_the_disk_before_the_old_model_goes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def note(owner: Any, name: str, say: Callable[..., str]) -> None:
        original = getattr(owner, name)

        def noting(*args: Any, **kwargs: Any) -> Any:
            done.append(say(*args))
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, noting)

    beside = "beside"

    def name_of(file: Path) -> str:
        return beside if file.name.startswith(".model.") else file.name

    note(place, "flush_folder", lambda folder: f"flush {name_of(folder)}")
    note(place, "swap_into_place", lambda *_: "swap")
    note(shutil, "rmtree", lambda folder, **_: f"delete {name_of(folder)}")
    note(os, "fsync", lambda _: "fsync")
    write(path, "new")
    flushed = done[: done.index("swap")]
    assert flushed.count("fsync") == len((MANIFEST, *PARTS)) + 1  # and the folder
    assert flushed[-2:] == [f"flush {beside}", "fsync"]
    assert done[done.index("swap") :] == [
        "swap",
        f"flush {path.parent.name}",
        "fsync",
        f"delete {beside}",
    ]


# ---- the current directory


@pytest.fixture
def here(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(path)
    return path


@pytest.mark.parametrize("given", [".", "../model"])
def test_the_current_directory_stays_the_same_folder(here: Path, given: str) -> None:
    (here / "notes.txt").write_text("mine")
    inode = here.stat().st_ino
    write(Path(given), "first", graph=True)
    assert (Path.cwd(), Path.cwd().stat().st_ino) == (here, inode)
    assert said(Path(given)) == "first"
    write(Path(given), "second")
    assert said(here) == "second"
    assert names(Path()) == {MANIFEST, *PARTS, "notes.txt"}, "a graph of another model goes"
    with changed(Path(given)) as folder:
        fill(folder, "third")
    assert said(here) == "third"
    assert here.stat().st_ino == inode
    assert names(here.parent) == {"model"}


def test_a_folder_in_which_one_stands_deeper_stays_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path / "pictures").mkdir()
    monkeypatch.chdir(path / "pictures")
    write(path, "new")
    assert said(Path("..")) == "new"
    assert Path.cwd() == path / "pictures"


def test_an_empty_current_directory_takes_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(), "new")
    assert said(tmp_path) == "new"


@pytest.mark.parametrize("moved", range(5))
def test_a_kill_while_the_current_directory_is_filled_loses_nothing(
    here: Path, moved: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped before the n-th rename; then whoever looks at the model finishes it."""
    (here / "notes.txt").write_text("mine")
    left = left_behind(here, text="new")
    original, count = Path.replace, 0

    def replace(self: Path, target: Path) -> Path:
        nonlocal count
        if count == moved:
            raise KeyboardInterrupt
        count += 1
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            place._fill(left, here)
    assert said(here) == "new"
    assert (here / "notes.txt").read_text() == "mine"
    assert "a kill had left part of it" in caplog.text
    write(here, "newer")
    assert names(here.parent) == {"model"}


def test_ctrl_c_while_the_current_directory_is_filled_loses_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.name == TENSORS:
            raise KeyboardInterrupt
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            write(here, "new")
    assert said(here) == "new"


def test_what_is_not_all_there_is_not_put_together(here: Path) -> None:
    left = left_behind(here)
    (left / TENSORS).write_text("cut short")
    (here / MANIFEST).unlink()
    (here / TENSORS).unlink()
    with pytest.raises(BundleNotFoundError, match="holds no nfbmr model"):
        said(here)
    assert (left / MANIFEST).is_file()


def test_the_current_directory_is_not_filled_while_another_changes_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl", reason="no such locks here")
    monkeypatch.setattr(place, "_PATIENCE", 0.0)
    with locked_folder(here), pytest.raises(BundleError, match="another program is changing"):
        write(here, "new")
    assert said(here) == "old"
    assert names(here.parent) == {"model"}
