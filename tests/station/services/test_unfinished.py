"""What a start deletes of learnings: folders that no row names, and old unfinished ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nfbmr.station.services.folders import claim_learning
from nfbmr.station.services.unfinished import sweep
from nfbmr.station.store import learnings, queries
from nfbmr.station.store.database import Store
from nfbmr.station.worker.place import Place

KNOWN, ORPHAN, YOUNG, BUSY = "a" * 32, "b" * 32, "c" * 32, "d" * 32
LONG_AGO = 10**9


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'station.db'}")


def folders(tmp_path: Path) -> Path:
    """A folder of learning: each of the names above, some that are not ours."""
    found = tmp_path / "learning"
    for name in (KNOWN, ORPHAN, YOUNG, BUSY, "models", "c" * 31):
        pictures = found / name / "pictures"
        pictures.mkdir(parents=True)
        (pictures / "x.png").write_bytes(b"x")
        for one in (pictures, pictures.parent):
            os.utime(one, (LONG_AGO, LONG_AGO))
    os.utime(found / YOUNG / "pictures")
    return found


def test_folders_that_no_row_names_go_once_they_are_old_and_nobody_works_there(
    store: Store, tmp_path: Path
) -> None:
    folder = folders(tmp_path)
    store.write(learnings.create, KNOWN, "bottle", "fast", "ann").result()
    assert sweep(store, folder, None) == [], "a folder without a mark may be another record's"
    claim_learning(store, folder)
    before = {one.name for one in folder.iterdir()}
    with Place(folder / BUSY).held() as free:
        assert free
        os.utime(folder / BUSY, (LONG_AGO, LONG_AGO))
        assert sweep(store, folder, None) == [ORPHAN]
    assert {one.name for one in folder.iterdir()} == before - {ORPHAN}
    store.close()


def test_an_unfinished_learning_goes_after_so_many_days_with_an_event(
    store: Store, tmp_path: Path
) -> None:
    folder = folders(tmp_path)
    store.write(learnings.create, KNOWN, "bottle", "fast", "ann").result()
    claim_learning(store, folder)
    assert KNOWN not in sweep(store, folder, 1.0)
    assert KNOWN in sweep(store, folder, 1e-9)
    assert not (folder / KNOWN).exists()
    (event, _) = store.read(queries.events, kinds=("learn",))
    assert (event.actor, (event.new or {})["state"]) == ("station", "deleted")
    assert "unfinished, and nobody did anything for it within 1e-09 days" in event.reason
    store.close()
