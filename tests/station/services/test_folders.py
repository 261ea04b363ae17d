"""The folders of pictures and of learning are one database's; another one's station keeps off."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nfbmr.errors import StationError
from nfbmr.station.services.folders import MARK, claim_learning, claim_pictures
from nfbmr.station.services.judge import Given
from nfbmr.station.services.retention import sweep
from nfbmr.station.services.unfinished import sweep as sweep_learnings
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import learnings
from nfbmr.station.store.database import Store
from nfbmr.station.store.pictures import Pictures
from nfbmr.station.store.versions import VERSIONS, Versions

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]


@pytest.fixture
def used(settings: Settings, png: Encoded) -> StationSettings:
    """A station's folders and database, with one old picture and a learning."""
    made = settings()
    with Station(made) as station:
        asyncio.run(station.judge.inspect(Given(data=png(1), model="fitted")))
        number = station.learn.create("bottle", "fast", "ann").id
        asyncio.run(station.learn.add(number, "good.png", png(2), "ann"))
    for path in (*made.pictures.rglob("*"), *made.learning_folder.rglob("*")):
        os.utime(path, (10**9, 10**9))
    return made


def content(made: StationSettings) -> set[Path]:
    return {
        path
        for folder in (made.pictures, made.learning_folder)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix == ".png"
    }


def unmarked(made: StationSettings) -> None:
    """Leaves the folders as versions before did."""
    for folder in (made.pictures, made.learning_folder):
        (folder / MARK).unlink()


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("option", ["pictures", "learning"])
def test_a_station_with_another_database_does_not_start_on_the_folders_of_the_first(
    used: StationSettings, settings: Settings, tmp_path: Path, marked: bool, option: str
) -> None:
    if not marked:
        unmarked(used)
    before = content(used)
    assert len(before) == 2
    other = "learning" if option == "pictures" else "pictures"
    second = {"database": f"sqlite:///{tmp_path / 'b.db'}", other: tmp_path / "own"}
    with pytest.raises(StationError, match=f"another station.*expected.*--{option}"):
        Station(settings(**second))
    assert content(used) == before
    with Station(settings(**second, **{option: tmp_path / "own-too"})):
        pass
    with Station(used) as station:
        assert sweep(station.store, station.pictures) == 0
    assert content(used) == before


def test_what_is_not_marked_as_of_a_database_is_not_swept_by_it(
    used: StationSettings, tmp_path: Path
) -> None:
    before = content(used)
    store = Store(f"sqlite:///{tmp_path / 'b.db'}")
    store.write(learnings.create, "a" * 32, "cap", "fast", "bob").result()
    assert sweep(store, Pictures(used.pictures)) == 0
    assert sweep_learnings(store, used.learning_folder, None) == []
    store.close()
    assert content(used) == before


def test_folders_of_a_version_before_are_marked_by_the_database_that_knows_them(
    used: StationSettings,
) -> None:
    unmarked(used)
    with Station(used) as station:
        for folder in (used.pictures, used.learning_folder):
            assert (folder / MARK).read_text("utf-8").strip() == station.store.id
        kept = station.pictures.folder / VERSIONS
        shutil.rmtree(next(used.pictures.glob("2*")))
    (used.pictures / MARK).unlink()
    with Station(used):
        assert any(kept.iterdir()), "kept models alone are known, too"


def test_kept_models_that_no_record_names_are_another_stations(
    used: StationSettings, tmp_path: Path
) -> None:
    unmarked(used)
    shutil.rmtree(next(used.pictures.glob("2*")))
    store = Store(f"sqlite:///{tmp_path / 'b.db'}")
    pictures, versions = Pictures(used.pictures), Versions(used.pictures / VERSIONS)
    with pytest.raises(StationError, match="no row of this database names"):
        claim_pictures(store, pictures, versions)
    shutil.rmtree(versions.folder)
    claim_pictures(store, pictures, versions)
    store.close()


def test_a_folder_that_cannot_be_made_is_said_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = Store(f"sqlite:///{tmp_path / 'b.db'}")
    with pytest.raises(StationError, match="name another with --learning"):
        claim_learning(store, tmp_path / "file" / "learning")
    store.close()
