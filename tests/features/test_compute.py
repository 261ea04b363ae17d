"""The feature cache: each image passes SNN once, and what comes back is what went in."""

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
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nfbmr.data.images import fingerprint, load_image
from nfbmr.errors import DataError, ImageError
from nfbmr.features.cache import FORMAT, FeatureCache, default_cache_root
from nfbmr.features.compute import build_features, features_key
from nfbmr.features.store import FeatureStore, write_store
from nfbmr.networks.source import SourceNetwork

SIZE = (64, 96)


class Counted(SourceNetwork):
    """SNN that counts the images that pass it and its copies."""

    passed: ClassVar[list[int]] = []

    def forward(self, pixels: Tensor) -> Tensor:
        self.passed.append(len(pixels) if pixels.device.type != "meta" else 0)
        return super().forward(pixels)

    @property
    def images(self) -> int:
        return sum(self.passed)


@pytest.fixture
def network() -> Counted:
    Counted.passed.clear()
    return Counted("tf_efficientnet_lite0", (3, 2))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    found = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)).save(path)
        found.append(path)
    return found


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


def named(paths: list[Path]) -> list[tuple[Path, str]]:
    return [(path, fingerprint(path)) for path in paths]


def again(cache: FeatureCache) -> FeatureCache:
    """The same folder as another process sees it."""
    return FeatureCache(cache.root, cache.limit_bytes)


def entry_files(cache: FeatureCache) -> tuple[Path, Path]:
    (entry,) = cache.entries()
    folder = cache.root / "features" / entry.key
    return folder / "header.json", folder / "features.f32"


def left_behind(cache: FeatureCache) -> list[str]:
    return [path.name for path in (cache.root / "features").glob(".*")]


def everything(store: FeatureStore) -> NDArray[np.float32]:
    return store.read(np.arange(len(store)))


def fake_entry(cache: FeatureCache, digit: str, n: int = 1) -> FeatureStore:
    shape = (n, 4, 4, 16)
    rows = np.full(shape, int(digit, 16), dtype=np.float32)
    return cache.write(digit * 64, shape, [rows], backbone="b", size=SIZE)


# ---- what is in a store


def test_entry_i_is_y_of_path_i(network: Counted, paths: list[Path], cache: FeatureCache) -> None:
    calls: list[tuple[int, int]] = []
    store = build_features(
        named(paths), network, SIZE, cache=cache, batch=2, progress=lambda *c: calls.append(c)
    )
    assert store.shape == (5, 8, 12, 64) == (len(store), *store.grid, store.channels)
    assert network.images == 5
    assert calls == [(2, 5), (4, 5), (5, 5)]
    for index, path in enumerate(paths):
        y = network(torch.from_numpy(load_image(path, SIZE))[None])
        found = store.read(np.array([index]))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, y.permute(0, 2, 3, 1).numpy(), rtol=1e-4, atol=1e-5)


def test_what_is_kept_is_y_and_detail(paths: list[Path], cache: FeatureCache) -> None:
    network = SourceNetwork("tf_efficientnet_lite0", (3,), detail=2)
    store = build_features(named(paths), network, SIZE, cache=cache, batch=2)
    assert store.shape == (5, 8, 12, 40 + 24 * 4)
    pixels = torch.from_numpy(np.stack([load_image(path, SIZE) for path in paths]))
    expected = network(pixels).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(everything(store), expected, rtol=1e-4, atol=1e-5)


# ---- hit or miss


def test_a_hit_does_not_run_the_network(
    network: Counted, paths: list[Path], cache: FeatureCache
) -> None:
    first = build_features(named(paths), network, SIZE, cache=cache)
    calls: list[tuple[int, int]] = []
    second = build_features(
        named(paths), network, SIZE, cache=again(cache), progress=lambda *c: calls.append(c)
    )
    assert network.images == 5
    assert calls == [(5, 5)]
    assert first.key == second.key
    np.testing.assert_array_equal(everything(first), everything(second))


def test_names_do_not_matter_but_content_does(
    network: Counted, paths: list[Path], cache: FeatureCache, tmp_path: Path
) -> None:
    store = build_features(named(paths[:1]), network, SIZE, cache=cache)
    copy = tmp_path / "other-name.png"
    shutil.copy(paths[0], copy)
    assert build_features(named([copy]), network, SIZE, cache=cache).key == store.key
    Image.new("RGB", (80, 80)).save(copy)
    assert build_features(named([copy]), network, SIZE, cache=cache).key != store.key


def test_key_changes_with_all_that_y_depends_on(network: Counted) -> None:
    hashes = ["a" * 64, "b" * 64]
    keys = [features_key(network, SIZE, hashes), features_key(network, SIZE, hashes[::-1])]
    keys += [features_key(network, SIZE[::-1], hashes), features_key(network, SIZE, hashes[:1])]
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1
    keys.append(features_key(network, SIZE, hashes))
    assert len(set(keys)) == len(keys)


# ---- damage


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "header", "json", "no header"])
def test_damage_is_noticed_logged_and_mended(
    network: Counted,
    paths: list[Path],
    cache: FeatureCache,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = everything(build_features(named(paths), network, SIZE, cache=cache))
    header, data = entry_files(cache)
    content = bytearray(data.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
    elif damage == "truncate":
        data.write_bytes(content[:-4])
    elif damage == "delete":
        data.unlink()
    elif damage == "header":
        header.write_text(header.read_text().replace('"shape": [5,', '"shape": [4,'))
    elif damage == "json":
        header.write_bytes(b'{"format": \xff')
    else:
        header.unlink()
    with caplog.at_level(logging.WARNING, logger="nfbmr"):
        mended = build_features(named(paths), network, SIZE, cache=again(cache))
    assert "damaged" in caplog.text
    assert network.images == 10
    np.testing.assert_array_equal(everything(mended), expected)
    assert left_behind(cache) == []


def test_damage_after_the_first_opening_is_noticed_too(cache: FeatureCache) -> None:
    fake_entry(cache, "1")
    assert cache.open("1" * 64) is not None
    _, data = entry_files(cache)
    content = bytearray(data.read_bytes())
    content[0] ^= 1
    data.write_bytes(content)
    os.utime(data, ns=(1, 1))
    assert cache.open("1" * 64) is None


def test_entries_of_another_format_are_not_used(cache: FeatureCache) -> None:
    fake_entry(cache, "1")
    header, _ = entry_files(cache)
    header.write_text(json.dumps({**json.loads(header.read_text()), "format": FORMAT + 1}))
    assert again(cache).entries() == []
    assert again(cache).open("1" * 64) is None


# ---- builds that end badly, or meet


def test_an_interrupted_build_leaves_nothing_that_is_read(
    network: Counted, paths: list[Path], cache: FeatureCache
) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_features(named(paths), network, SIZE, cache=cache, batch=2, progress=interrupt)
    assert cache.entries() == []
    assert len(build_features(named(paths), network, SIZE, cache=cache)) == 5


def test_an_interrupted_build_goes_on_after_its_last_sound_chunk(
    network: Counted, paths: list[Path], cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfbmr.features.chunks.CHUNK", 2)
    monkeypatch.setattr("nfbmr.features.compute.CHUNK", 2)
    undisturbed = build_features(
        named(paths), network, SIZE, cache=FeatureCache(cache.root / "other"), batch=2
    )
    network.passed.clear()

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_features(named(paths), network, SIZE, cache=cache, batch=2, progress=interrupt)
    assert network.images == 5
    chunks = sorted((cache.root / "features").glob(".*/*.chunk"))
    assert len(chunks) == 2
    damaged = bytearray(chunks[0].read_bytes())
    damaged[0] ^= 1
    chunks[0].write_bytes(damaged)
    store = build_features(named(paths), network, SIZE, cache=again(cache), batch=2)
    assert network.images == 5 + 2 + 1  # the damaged chunk and the one that was not written
    everything = np.arange(5)
    np.testing.assert_array_equal(store.read(everything), undisturbed.read(everything))
    assert left_behind(cache) == []


def test_a_killed_build_is_ignored_and_swept_after_a_day(cache: FeatureCache) -> None:
    partial = cache.root / "features" / f".{'1' * 64}.{'2' * 32}"
    partial.mkdir(parents=True)
    (partial / "features.f32").write_bytes(b"half")
    fake_entry(cache, "1")
    assert left_behind(cache) == [partial.name]
    old = time.time() - 25 * 3600
    os.utime(partial, (old, old))
    fake_entry(cache, "2")
    assert left_behind(cache) == [partial.name]  # its file is young: someone may be writing
    os.utime(partial / "features.f32", (old, old))
    fake_entry(cache, "3")
    assert left_behind(cache) == []


def test_an_unreadable_image_keeps_nothing(
    network: Counted, paths: list[Path], cache: FeatureCache
) -> None:
    paths[3].write_bytes(paths[3].read_bytes()[:200])
    with pytest.raises(ImageError, match=r"3\.png"):
        build_features(named(paths), network, SIZE, cache=cache, batch=1)
    assert cache.entries() == []
    assert left_behind(cache) == []
    with pytest.raises(DataError, match="no pictures"):
        build_features([], network, SIZE, cache=cache)


def test_two_builds_of_one_entry_meet_without_harm(cache: FeatureCache) -> None:
    shape = (4, 4, 4, 16)
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    both_are_writing = threading.Barrier(2)
    stores: list[FeatureStore] = []

    def batches() -> Iterator[NDArray[np.float32]]:
        both_are_writing.wait(timeout=30)
        yield values

    def build() -> None:
        key = "a" * 64
        stores.append(again(cache).write(key, shape, batches(), backbone="b", size=SIZE))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 2
    for store in stores:
        np.testing.assert_array_equal(everything(store), values)
    assert len(cache.entries()) == 1
    assert left_behind(cache) == []


def test_a_full_disk_is_said_and_leaves_nothing(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"No space left.*NFBMR_CACHE"):
            fake_entry(cache, "1")
        with pytest.raises(DataError, match="No space left"):
            write_store(tmp_path / "z.bin", (1, 1, 1, 1), [np.zeros((1, 1, 1, 1), np.float32)])
    assert cache.entries() == []
    assert left_behind(cache) == []
    assert not list(tmp_path.glob("*z.bin*"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(DataError, match="the disk has 0 MiB left"):
        fake_entry(cache, "1")
    assert left_behind(cache) == []


def test_a_root_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="NFBMR_CACHE"):
        fake_entry(FeatureCache(tmp_path / "file"), "1")


# ---- keeping house


def test_entries_size_and_clear(network: Counted, paths: list[Path], cache: FeatureCache) -> None:
    assert (cache.entries(), cache.size()) == ([], 0)
    cache.clear()
    build_features(named(paths), network, SIZE, cache=cache)
    (entry,) = cache.entries()
    assert entry.n_images == 5
    assert entry.backbone == "tf_efficientnet_lite0 blocks.2+blocks.1"
    assert entry.size_bytes == sum(path.stat().st_size for path in entry_files(cache))
    assert cache.size() == entry.size_bytes
    assert entry.created.tzinfo is not None
    assert abs((entry.last_used - entry.created).total_seconds()) < 60
    bystander = cache.root / "features" / "notes.txt"
    bystander.write_text("not ours")
    cache.clear()
    assert (cache.entries(), cache.size()) == ([], 0)
    assert bystander.exists()


def test_least_recently_used_goes_first_but_never_what_is_open(cache: FeatureCache) -> None:
    one = len(everything(fake_entry(cache, "1")).tobytes())
    cache.limit_bytes = 3 * one + 1500  # and three headers
    fake_entry(cache, "2")
    fake_entry(cache, "3")
    for age, digit in enumerate("321"):  # 1 is the oldest
        header = cache.root / "features" / (digit * 64) / "header.json"
        os.utime(header, (time.time() - 100 * (age + 1),) * 2)
    held = cache.open("2" * 64)  # now the most recently used
    os.utime(cache.root / "features" / ("2" * 64) / "header.json", (1, 1))  # ... or the least
    assert held is not None
    fake_entry(cache, "4")
    assert {entry.key[0] for entry in cache.entries()} == {"2", "3", "4"}
    fake_entry(cache, "5")
    assert {entry.key[0] for entry in cache.entries()} == {"2", "4", "5"}
    assert everything(held).max() == 2
    del held
    fake_entry(cache, "6")
    assert {entry.key[0] for entry in cache.entries()} == {"4", "5", "6"}


def test_an_entry_larger_than_the_limit_is_still_provided(cache: FeatureCache) -> None:
    cache.limit_bytes = 10
    assert everything(fake_entry(cache, "7", n=3)).shape == (3, 4, 4, 16)


def test_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("NFBMR_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_root() == FeatureCache().root == tmp_path / "xdg" / "nfbmr"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_root() == Path.home() / ".cache" / "nfbmr"
    monkeypatch.setenv("NFBMR_CACHE", str(tmp_path / "mine"))
    assert FeatureCache().root == tmp_path / "mine"
