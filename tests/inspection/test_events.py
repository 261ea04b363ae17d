"""What the file system says of a folder: each file that was closed or moved in, no more."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from nfbmr.inspection.events import Events, network_drive


def is_png(name: str) -> bool:
    return name.endswith(".png") and not name.startswith("good/")


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Events]:
    pytest.importorskip("watchdog", reason="watchdog is not installed")
    if platform.system() != "Linux":
        pytest.skip("only Linux says when a file is closed")
    (tmp_path / "hot" / "good").mkdir(parents=True)
    events = Events(tmp_path / "hot", deep=True, wanted=is_png)
    assert events.on
    yield events
    events.stop()


def names(events: Events, wanted: dict[str, bool]) -> dict[str, bool]:
    """Takes what is heard until it is what was wanted, or for long enough."""
    found: dict[str, bool] = {}
    for _ in range(50):
        events.wait(0.1)
        found |= events.take()
        if found == wanted:
            break
    return found


def test_a_file_counts_as_closed_once_it_is(heard: Events, tmp_path: Path) -> None:
    hot = tmp_path / "hot"
    (hot / "notes.txt").write_text("no picture")
    with (hot / "a.png").open("wb") as stream:
        stream.write(b"1")
        assert names(heard, {"a.png": False}) == {"a.png": False}
    assert names(heard, {"a.png": True}) == {"a.png": True}


def test_a_file_that_is_moved_in_is_whole(heard: Events, tmp_path: Path) -> None:
    hot = tmp_path / "hot"
    (tmp_path / "outside.png").write_bytes(b"1")
    (tmp_path / "outside.png").rename(hot / "a.png")
    (hot / "b.tmp").write_bytes(b"1")
    (hot / "b.tmp").rename(hot / "b.png")
    (hot / "sub").mkdir()
    wanted = {"a.png": True, "b.png": True}
    assert names(heard, wanted) == wanted
    (hot / "a.png").rename(hot / "good" / "a.png")
    (hot / "sub" / "c.png").write_bytes(b"1")
    # Whether it was written whole before the new folder was listened to, only a later look tells.
    assert [*names(heard, {"sub/c.png": True})] == ["sub/c.png"]


def test_nothing_is_heard_where_it_is_not_asked_for(tmp_path: Path) -> None:
    events = Events(tmp_path, deep=False, wanted=is_png, on=False)
    (tmp_path / "a.png").write_bytes(b"1")
    events.wait(0.05)
    assert (events.on, events.take()) == (False, {})
    events.stop()


def test_a_system_that_cannot_say_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("watchdog", reason="watchdog is not installed")

    def full() -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("nfbmr.inspection.events._observer", full)
    assert not Events(tmp_path, deep=False, wanted=is_png).on
    assert "the folder is looked at" in caplog.text


def test_network_drives_are_known_by_the_table_of_mounts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\n"
        "server:/parts /mnt/parts nfs4 rw 0 0\n"
        "//pc/share /mnt/line\\0401 cifs rw 0 0\n"
        "/dev/sdb1 /mnt/parts/local xfs rw 0 0\n"
        "sshfs#x /home/u/x fuse.sshfs rw 0 0\n"
    )
    kinds = {
        "/mnt/parts": "nfs4",
        "/mnt/parts/hot": "nfs4",
        "/mnt/partsother": None,
        "/mnt/line 1/hot": "cifs",
        "/mnt/parts/local/hot": None,
        "/home/u/x": "fuse.sshfs",
        "/data/hot": None,
        r"\\pc\share": "UNC",
    }
    assert {folder: network_drive(folder, mounts) for folder in kinds} == kinds
    assert network_drive("/data", tmp_path / "none") is None
