"""The feature cache: sound entries are found picture by picture, and it keeps house."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.errors import DataError
from nfbmr.features.cache import FeatureCache, default_cache_root, joined
from nfbmr.features.entry import FORMAT, Shelf
from nfbmr.features.store import FeatureStore, write_store

ROW = (4, 4, 16)
ROW_BYTES = 4 * 4 * 4 * 16


def shelf(letter: str = "a", tiles: int = 1) -> Shelf:
    return Shelf(name=letter * 64, row=ROW, tiles=tiles, backbone="b", size=(64, 96))


SHELF = shelf()


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


def again(cache: FeatureCache) -> FeatureCache:
    """The same folder as another process sees it."""
    return FeatureCache(cache.root, cache.limit_bytes)


def write(cache: FeatureCache, pictures: str, on: Shelf = SHELF) -> FeatureStore:
    """An entry of pictures that are called by one letter each; their rows tell the letter."""
    rows = np.array([ord(p) + t / 8 for p in pictures for t in range(on.tiles)], np.float32)
    full = np.broadcast_to(rows[:, None, None, None], (len(rows), *ROW))
    return joined(on, list(pictures), cache.write(on, list(pictures), [full]))


def found(cache: FeatureCache, pictures: str, on: Shelf = SHELF) -> str:
    """Which of some pictures the cache holds, with the right rows."""
    places = cache.find(on, pictures)
    held = [picture for picture in pictures if picture in places]
    if held:
        rows = contents(joined(on, held, places))
        expected = [ord(picture) + t / 8 for picture in held for t in range(on.tiles)]
        np.testing.assert_array_equal(rows, expected)
    return "".join(held)


def contents(store: FeatureStore) -> NDArray[np.float32]:
    return store.read(np.arange(len(store)))[:, 0, 0, 0]


def folder_of(cache: FeatureCache, pictures: str, on: Shelf = SHELF) -> Path:
    return cache.root / "features" / on.key(list(pictures))


def kept(cache: FeatureCache) -> set[str]:
    """The pictures of each entry."""
    folders = (cache.root / "features").glob("[!.]*")
    headers = [json.loads((folder / "header.json").read_text()) for folder in folders]
    return {"".join(header["pictures"]) for header in headers}


def left_behind(cache: FeatureCache) -> list[str]:
    return [path.name for path in (cache.root / "features").glob(".*")]


def age(folder: Path, seconds: float) -> None:
    os.utime(folder / "header.json", (time.time() - seconds,) * 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# ---- what is found


def test_pictures_are_found_in_whatever_entries_they_lie(cache: FeatureCache) -> None:
    write(cache, "abc")
    write(cache, "de")
    assert found(again(cache), "dxbae") == "dbae"
    assert found(again(cache), "xyz") == ""
    assert len(joined(SHELF, "ab", cache.find(SHELF, "ab")).files) == 1
    assert len(joined(SHELF, "ad", cache.find(SHELF, "ad")).files) == 2


def test_the_entry_that_holds_the_most_is_read_first(cache: FeatureCache) -> None:
    write(cache, "a")
    write(cache, "ab")
    write(cache, "abcd")
    write(cache, "de")
    store = joined(SHELF, "abcd", cache.find(SHELF, "abcd"))
    assert [file.path.parent for file in store.files] == [folder_of(cache, "abcd")]


def test_a_shelf_sees_nothing_of_another(cache: FeatureCache) -> None:
    write(cache, "ab")
    assert found(cache, "ab", shelf("b")) == ""
    write(cache, "bc", shelf("b"))
    assert found(cache, "abc", shelf("b")) == "bc"


def test_rows_of_tiles_stay_together(cache: FeatureCache) -> None:
    tiled = shelf("c", tiles=3)
    write(cache, "ab", tiled)
    write(cache, "c", tiled)
    store = joined(tiled, "cb", cache.find(tiled, "cb"))
    assert store.shape == (6, *ROW)
    expected = [ord(picture) + tile / 8 for picture in "cb" for tile in range(3)]
    np.testing.assert_array_equal(contents(store), expected)


def test_a_picture_may_be_asked_for_twice(cache: FeatureCache) -> None:
    write(cache, "ab")
    store = joined(SHELF, "bab", cache.find(SHELF, "bab"))
    np.testing.assert_array_equal(contents(store), [ord(picture) for picture in "bab"])


def test_a_key_names_shelf_and_pictures_in_their_order(cache: FeatureCache) -> None:
    whole = write(cache, "abc").key
    write(cache, "d")
    assert joined(SHELF, "abc", cache.find(SHELF, "abc")).key == whole
    lists = [(SHELF, "abc"), (SHELF, "acb"), (SHELF, "ab"), (SHELF, "abcd"), (shelf("b"), "abc")]
    assert len({on.key(list(pictures)) for on, pictures in lists}) == len(lists)


def test_stores_of_one_entry_share_its_file(cache: FeatureCache) -> None:
    stores = [write(cache, "ab"), *(joined(SHELF, "a", cache.find(SHELF, "a")) for _ in range(2))]
    assert len({store.files for store in stores}) == 1


def test_pictures_in_many_entries_are_gathered_in_one(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfbmr.features.cache.MOST_FILES", 3)
    tiled = shelf("c", tiles=2)
    for pictures in ("ab", "c", "d", "xe"):
        write(cache, pictures, tiled)
    few = cache.store(tiled, "dca", cache.find(tiled, "dca"))
    assert (len(few.files), len(kept(cache))) == (3, 4)
    asked = "edcaae"
    store = cache.store(tiled, asked, cache.find(tiled, asked))
    assert len(store.files) == 1
    assert store.key == tiled.key(list(asked))
    expected = [ord(picture) + tile / 8 for picture in asked for tile in range(2)]
    np.testing.assert_array_equal(contents(store), expected)
    assert kept(cache) == {"edca", "ab", "xe"}, "b and x are nowhere else"
    assert found(again(cache), "abcdex", tiled) == "abcdex"


def test_pictures_stay_in_many_entries_where_there_is_no_room_to_gather_them(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfbmr.features.cache.MOST_FILES", 1)
    write(cache, "a")
    write(cache, "b")
    usage = shutil.disk_usage(cache.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    store = cache.store(SHELF, "ab", cache.find(SHELF, "ab"))
    np.testing.assert_array_equal(contents(store), [ord("a"), ord("b")])
    assert kept(cache) == {"a", "b"}


# ---- damage


@pytest.mark.parametrize(
    "damage", ["flip", "truncate", "delete", "shape", "sides", "pictures", "json", "no header"]
)
def test_a_damaged_entry_is_logged_and_removed_and_no_other(
    cache: FeatureCache, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(cache, "abc")
    write(cache, "de")
    folder = folder_of(cache, "abc")
    header, data = folder / "header.json", folder / "features.f32"
    text = header.read_text()
    if damage == "flip":
        flip(data)
    elif damage == "truncate":
        data.write_bytes(data.read_bytes()[:-4])
    elif damage == "delete":
        data.unlink()
    elif damage == "shape":
        header.write_text(text.replace('"shape": [3,', '"shape": [2,'))
    elif damage == "sides":
        header.write_text(text.replace("[3, 4, 4, 16]", "[3, 4, 16, 4]"))
    elif damage == "pictures":
        header.write_text(text.replace('["a", "b", "c"]', '["b", "a", "c"]'))
    elif damage == "json":
        header.write_bytes(b'{"format": \xff')
    else:
        header.unlink()
    with caplog.at_level(logging.WARNING, logger="nfbmr"):
        assert found(again(cache), "abcde") == "de"
    (message,) = caplog.messages
    assert message.startswith("cached features are damaged")
    assert kept(cache) == {"de"}
    assert left_behind(cache) == []


def test_a_picture_of_a_damaged_entry_is_taken_from_a_sound_one(cache: FeatureCache) -> None:
    write(cache, "abc")
    write(cache, "bd")
    flip(folder_of(cache, "abc") / "features.f32")
    assert found(again(cache), "abcd") == "bd"


def test_damage_after_the_first_opening_is_noticed_too(cache: FeatureCache) -> None:
    write(cache, "a")
    assert found(cache, "a") == "a"
    data = folder_of(cache, "a") / "features.f32"
    flip(data)
    os.utime(data, ns=(1, 1))
    assert found(cache, "a") == ""


def test_an_entry_that_another_process_removes_is_no_damage(
    cache: FeatureCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(cache, "a")
    listed = FeatureCache._on_shelf

    def then_removed(self: FeatureCache, on: Shelf) -> dict[str, frozenset[str]]:
        entries = listed(self, on)
        again(self).clear()
        return entries

    monkeypatch.setattr(FeatureCache, "_on_shelf", then_removed)
    assert found(again(cache), "a") == ""
    assert caplog.text == ""


def old_entry(cache: FeatureCache, seconds: float) -> Path:
    """As an older version left it."""
    folder = cache.root / "features" / ("a" * 64)
    folder.mkdir(parents=True)
    old = {"format": FORMAT - 1, "key": folder.name, "shape": [1, *ROW], "checksums": [0]}
    (folder / "header.json").write_text(json.dumps(old))
    (folder / "features.f32").write_bytes(bytes(ROW_BYTES))
    age(folder, seconds)
    return folder


def test_entries_of_an_older_version_are_not_read_but_go_like_others(
    cache: FeatureCache, caplog: pytest.LogCaptureFixture
) -> None:
    on = shelf("b")
    folder = old_entry(cache, seconds=50)
    write(cache, "a", on)
    age(folder_of(cache, "a", on), 100)
    assert [entry.shelf for entry in cache.entries()] == [on.name]
    assert cache.size() > cache.entries()[0].size_bytes + ROW_BYTES
    assert caplog.text == ""
    cache.limit_bytes = cache.size() - 1
    cache.make_room(0)
    assert folder.exists(), "the other one has not been used for longer"
    cache.limit_bytes = 100
    cache.make_room(0)
    assert not folder.exists()
    old_entry(cache, seconds=0)
    cache.clear()
    assert not folder.exists()


# ---- writers that end badly, or meet


def test_a_killed_build_is_ignored_and_swept_after_a_day(cache: FeatureCache) -> None:
    partial = cache.root / "features" / f".{'1' * 64}.{'2' * 32}"
    partial.mkdir(parents=True)
    (partial / "features.f32").write_bytes(b"half")
    write(cache, "a")
    assert left_behind(cache) == [partial.name]
    old = time.time() - 25 * 3600
    os.utime(partial, (old, old))
    write(cache, "b")
    assert left_behind(cache) == [partial.name]  # its file is young: someone may be writing
    os.utime(partial / "features.f32", (old, old))
    write(cache, "c")
    assert left_behind(cache) == []


def test_two_writers_of_one_entry_meet_without_harm(cache: FeatureCache) -> None:
    values = np.random.default_rng(0).normal(size=(4, *ROW)).astype(np.float32)
    both_are_writing = threading.Barrier(2)
    stores: list[FeatureStore] = []

    def batches() -> Iterator[NDArray[np.float32]]:
        both_are_writing.wait(timeout=30)
        yield values

    def build() -> None:
        places = again(cache).write(SHELF, list("abcd"), batches())
        stores.append(joined(SHELF, "abcd", places))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 2
    for store in stores:
        np.testing.assert_array_equal(store.read(np.arange(4)), values)
    assert len(cache.entries()) == 1
    assert left_behind(cache) == []


def test_an_entry_that_is_there_is_not_written_again(cache: FeatureCache) -> None:
    write(cache, "ab")

    rows = (pytest.fail("asked for its rows") for _ in range(1))
    assert set(again(cache).write(SHELF, list("ab"), rows)) == {"a", "b"}


def test_a_full_disk_is_said_and_leaves_nothing(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"No space left.*NFBMR_CACHE"):
            write(cache, "a")
        with pytest.raises(DataError, match="No space left"):
            write_store(tmp_path / "z.bin", (1, 1, 1, 1), [np.zeros((1, 1, 1, 1), np.float32)])
    assert cache.entries() == []
    assert left_behind(cache) == []
    assert not list(tmp_path.glob("*z.bin*"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(DataError, match="the disk has 0 MiB left"):
        write(cache, "a")
    assert left_behind(cache) == []


def test_a_root_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="NFBMR_CACHE"):
        write(FeatureCache(tmp_path / "file"), "a")


# ---- keeping house


def test_entries_size_and_clear(cache: FeatureCache) -> None:
    assert (cache.entries(), cache.size()) == ([], 0)
    cache.clear()
    write(cache, "ab", shelf("d", tiles=3))
    (entry,) = cache.entries()
    folder = cache.root / "features" / entry.key
    assert (entry.shelf, entry.n_pictures, entry.backbone) == ("d" * 64, 2, "b")
    assert entry.size == (64, 96)
    assert entry.size_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert cache.size() == entry.size_bytes
    assert entry.created.tzinfo is not None
    assert abs((entry.last_used - entry.created).total_seconds()) < 60
    bystander = cache.root / "features" / "notes.txt"
    bystander.write_text("not ours")
    cache.clear()
    assert (cache.entries(), cache.size()) == ([], 0)
    assert bystander.exists()


def test_least_recently_used_goes_first_but_never_what_is_open(cache: FeatureCache) -> None:
    write(cache, "a")
    cache.limit_bytes = 3 * cache.size() + 100
    write(cache, "b")
    write(cache, "c")
    for number, picture in enumerate("cba"):  # a is the oldest
        age(folder_of(cache, picture), 100 * (number + 1))
    held = joined(SHELF, "b", cache.find(SHELF, "b"))  # now the most recently used
    joined(SHELF, "b", cache.find(SHELF, "b"))  # a second store of it comes and goes
    age(folder_of(cache, "b"), 10**6)  # ... or the least
    write(cache, "d")
    assert kept(cache) == {"b", "c", "d"}
    write(cache, "e")
    assert kept(cache) == {"b", "d", "e"}
    assert contents(held) == [ord("b")]
    del held
    write(cache, "f")
    assert kept(cache) == {"d", "e", "f"}


def test_all_entries_that_were_read_count_as_used(cache: FeatureCache) -> None:
    for picture in "abc":
        write(cache, picture)
        age(folder_of(cache, picture), 100)
    other = again(cache)
    assert found(other, "ac") == "ac"
    other.limit_bytes = other.size() - 1
    other.make_room(0)
    assert kept(cache) == {"a", "c"}


def test_an_entry_larger_than_the_limit_is_still_provided(cache: FeatureCache) -> None:
    cache.limit_bytes = 10
    assert len(write(cache, "abc")) == 3


def test_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("NFBMR_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_root() == FeatureCache().root == tmp_path / "xdg" / "nfbmr"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_root() == Path.home() / ".cache" / "nfbmr"
    monkeypatch.setenv("NFBMR_CACHE", str(tmp_path / "mine"))
    assert FeatureCache().root == tmp_path / "mine"


def test_a_cache_that_cannot_be_written_is_said_before_the_work_unless_it_holds_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match=r"cannot be kept there.*or set NFBMR_CACHE"):
            FeatureCache(root).refuse_unwritable()
    FeatureCache(tmp_path / "new").refuse_unwritable()
    assert list((tmp_path / "new" / "features").iterdir()) == []

    def refused(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("nfbmr.features.cache.TemporaryFile", refused)
    with pytest.raises(DataError, match="Permission denied"):
        FeatureCache(tmp_path / "new").refuse_unwritable()
    monkeypatch.setattr(FeatureCache, "_kept", lambda _: [tmp_path])
    FeatureCache(tmp_path / "new").refuse_unwritable()


def test_who_has_no_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_: object = None) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("NFBMR_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(DataError, match=r"no home folder of this user.*set NFBMR_CACHE"):
        FeatureCache()
