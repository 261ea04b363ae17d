"""Models that are kept: once each, whole, and the oldest going first."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from nfbmr.errors import StationError
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.model.bundle import read_bundle, write_bundle
from nfbmr.station.engine.pool import bundle_hash
from nfbmr.station.store.versions import Versions


def kept(versions: Versions, path: Path, age: int) -> str:
    """Keeps a model as if it had come on the line so many seconds ago."""
    inspector = load(path, runtime="torch")
    bundle = bundle_hash(inspector)
    versions.keep(path, bundle, inspector.identity)
    place = versions.path(bundle)
    assert place is not None
    now = place.stat().st_mtime
    os.utime(place, (now - age, now - age))
    return bundle


def renamed(path: Path, name: str) -> None:
    """Makes a model another one."""
    bundle = read_bundle(path)
    write_bundle(path, replace(bundle, facts=bundle.facts.model_copy(update={"name": name})))


def test_the_oldest_go_first_and_those_on_the_line_stay(model_copy: Path, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "versions")
    assert versions.prune(set(), 0, print) == []
    bundles = []
    for age, name in enumerate(("a", "b", "c", "d")):
        renamed(model_copy, name)
        bundles.append(kept(versions, model_copy, 100 - age))
    place = versions.path(bundles[0])
    assert place is not None
    size = sum(file.stat().st_size for file in place.iterdir())
    told: list[str] = []
    gone = versions.prune({bundles[0]}, int(1.5 * size), told.append)
    assert gone == told == [bundles[1], bundles[2]], "the oldest first"
    assert [versions.path(one) is not None for one in bundles] == [True, False, False, True]
    assert versions.prune({bundles[0]}, int(1.5 * size), told.append) == []
    assert versions.prune(set(bundles), 0, told.append) == []


def test_what_ends_a_deletion_leaves_the_newer_ones(model_copy: Path, tmp_path: Path) -> None:
    versions, bundles = Versions(tmp_path / "versions"), []
    for age, name in enumerate(("a", "b", "c")):
        renamed(model_copy, name)
        bundles.append(kept(versions, model_copy, 100 - age))
    told: list[str] = []

    def heard(bundle: str) -> None:
        if told:
            raise StationError("the database is away")
        told.append(bundle)

    with pytest.raises(StationError, match="is away"):
        versions.prune(set(), 0, heard)
    assert told == [bundles[0]]
    assert [versions.path(one) is not None for one in bundles] == [False, True, True]


def test_a_kept_model_is_written_again_only_where_its_parts_changed(
    model_copy: Path, tmp_path: Path
) -> None:
    versions = Versions(tmp_path / "versions")
    place = versions.path(kept(versions, model_copy, 0))
    assert place is not None
    inode = place.stat().st_ino
    load(model_copy, runtime="torch").recalibrated(0.5).save_calibration()
    kept(versions, model_copy, 0)
    assert place.stat().st_ino == inode
    write_bundle(model_copy, replace(read_bundle(model_copy), examples=()))
    kept(versions, model_copy, 0)
    assert place.stat().st_ino != inode


def test_what_kills_left_goes(model_copy: Path, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "versions")
    bundle = kept(versions, model_copy, 0)
    half = versions.folder / ("1" * 64)
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    begun = versions.folder / f".{'2' * 64}.{'3' * 32}"
    begun.mkdir()
    (begun / "config.json").write_bytes(b"{}")
    assert versions.path("1" * 64) is None
    versions.prune({bundle}, 0, print)
    assert [one.name for one in versions.folder.iterdir()] == [bundle]


def test_what_is_on_the_line_is_not_kept_under_a_wrong_name(
    inspector: Inspector, model_copy: Path, tmp_path: Path
) -> None:
    versions = Versions(tmp_path / "versions")
    renamed(model_copy, "another")
    with pytest.raises(StationError, match="is not kept as a version"):
        versions.keep(model_copy, bundle_hash(inspector), inspector.identity)
    assert versions.path(bundle_hash(inspector)) is None
    with pytest.raises(StationError, match="64 hexadecimal digits"):
        versions.path("../elsewhere")
