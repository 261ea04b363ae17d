import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nfbmr.system import files
from nfbmr.system.files import (
    flushed_beside,
    in_words,
    made_folder,
    one_line,
    printable,
    reason_of,
    spreadsheet_cell,
    written_beside,
)


def test_a_file_is_whole_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with written_beside(path) as beside:
        assert not path.exists()
        beside.write_text("whole")
    assert path.read_text() == "whole"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_for_whom_the_umask_leaves_it(tmp_path: Path) -> None:
    write = (
        "import os, sys; os.umask(0o027)\n"
        "from pathlib import Path\n"
        "from nfbmr.system.files import written_beside\n"
        "with written_beside(Path(sys.argv[1])) as beside: beside.write_text('whole')"
    )
    subprocess.run([sys.executable, "-c", write, str(tmp_path / "a.txt")], check=True)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_failure_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with written_beside(path) as beside:
            beside.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    steps: list[tuple[object, bool]] = []
    monkeypatch.setattr(files, "flush_file", lambda _: steps.append(("content", path.exists())))
    monkeypatch.setattr(files, "flush_folder", lambda one: steps.append((one, path.exists())))
    with flushed_beside(path, 0o600) as beside:
        beside.write_text("whole")
    assert steps == [("content", False), (tmp_path, True)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ValueError, match="stop"), flushed_beside(path) as beside:
        raise ValueError("stop")
    assert len(steps) == 2
    assert path.read_text() == "whole"


def test_a_link_of_the_same_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a.txt"
    victim.write_text("mine")
    path.symlink_to(victim)
    with written_beside(path) as beside:
        beside.write_text("rows")
    assert victim.read_text() == "mine"
    assert not path.is_symlink()


def test_a_name_forges_no_line() -> None:
    assert one_line("a\nINFO all is well\x1b[2J.png") == "a?INFO all is well?[2J.png"


def test_names_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[31mb\nc\x07é") == "a?[31mb\nc?é"


@pytest.mark.parametrize("name", ["=cmd()", "+1", "-1", "@x", " =1", "\uff1d1"])
def test_names_are_no_formulas(name: str) -> None:
    assert spreadsheet_cell(name) == f"'{name}"
    assert spreadsheet_cell(f"a{name}") == f"a{name}"


@pytest.mark.parametrize("line", ["\r", "\n", "\t", "\x0b", "\x85", "\u2028", "\u202e"])
def test_a_name_is_one_cell_whoever_reads_it(line: str) -> None:
    shown = line.encode("unicode_escape").decode()
    assert spreadsheet_cell(f"a{line}=1+1") == f"a{shown}=1+1"
    assert spreadsheet_cell(f"{line}=1+1") == f"{shown}=1+1"
    assert spreadsheet_cell("naïve 零件\u3000\\n.png") == "naïve 零件\u3000\\n.png"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_and_its_folders_are_for_whom_they_are_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(files, "flush_folder", flushed.append)
    made_folder(tmp_path / "a" / "b", 0o700)
    assert flushed == [tmp_path, tmp_path / "a"], "their names survive a power loss"
    made_folder(tmp_path / "a" / "b", 0o755)
    assert len(flushed) == 2
    for mode in (0o600, 0o644):
        with written_beside(tmp_path / "a" / "b" / "file", mode) as beside:
            beside.write_text("text")
        assert stat.S_IMODE((tmp_path / "a" / "b" / "file").stat().st_mode) == mode
    folders = [tmp_path / "a", tmp_path / "a" / "b"]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700, 0o700]


def test_trouble_names_the_file_that_was_asked_for_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"

    def full(*named: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", *named)

    with pytest.raises(OSError, match="No space left") as caught, written_beside(path):
        full()
    assert in_words(caught.value) == f"{path}: No space left on device"
    with pytest.raises(OSError, match="No space left") as caught, written_beside(path) as beside:
        full(str(beside))
    assert in_words(caught.value) == f"{path}: No space left on device"
    with pytest.raises(OSError, match="no such") as caught, written_beside(path):
        raise OSError(errno.ENOENT, "no such", "another file")
    assert in_words(caught.value) == "another file: no such"
    refusal = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".x.part"))
    monkeypatch.setattr("nfbmr.system.halves._made", lambda _: (_ for _ in ()).throw(refusal))
    with pytest.raises(PermissionError) as denied, written_beside(path):
        pass
    assert in_words(denied.value) == f"{path}: Permission denied"
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_is_not_exchanged_for_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="none can take its place"), written_beside(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()
    assert list(tmp_path.iterdir()) == [tmp_path / "pipe"]


def test_an_error_in_words_names_each_file_once() -> None:
    moved = OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b")
    assert in_words(moved) == "a -> b: Invalid cross-device link"
    assert in_words(OSError("odd")) == "odd"
    assert in_words(OSError(errno.EIO, "I/O error", b"a\xff")) == "a\udcff: I/O error"
    assert reason_of(FileNotFoundError(errno.ENOENT, "not there", "a")) == "not there"
    assert reason_of(ValueError("odd")) == "odd"
