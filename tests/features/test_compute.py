"""Features: each image passes SNN once, and what comes back is what went in."""

from __future__ import annotations

import logging
import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nfbmr.data.ignore import Ignored
from nfbmr.data.images import load_image
from nfbmr.data.pose import Pose
from nfbmr.data.rings import ANGLES, RINGS, rings_of, waves_of
from nfbmr.data.same import fingerprint
from nfbmr.data.tiles import Tiling
from nfbmr.errors import DataError, ImageError
from nfbmr.features.cache import FeatureCache
from nfbmr.features.compute import batch_on, build_features, shelf_of
from nfbmr.features.store import FeatureStore
from nfbmr.networks.source import SourceNetwork
from nfbmr.settings.schema import DataSettings

SIZE = (64, 96)
LARGE = (75, 7000)  # all threads compute one image


class Counted(SourceNetwork):
    """SNN that counts the images that pass it and its copies."""

    passed: ClassVar[list[int]] = []

    def forward(self, pixels: Tensor) -> Tensor:
        self.passed.append(len(pixels) if pixels.device.type != "meta" else 0)
        return super().forward(pixels)

    @property
    def images(self) -> int:
        return sum(self.passed)


class Watched(SourceNetwork):
    """SNN that notes how many threads compute an image."""

    threads: ClassVar[list[int]] = []

    def forward(self, pixels: Tensor) -> Tensor:
        if pixels.device.type != "meta":
            self.threads.append(torch.get_num_threads())
        return super().forward(pixels)


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


def left_behind(cache: FeatureCache) -> list[str]:
    return [path.name for path in (cache.root / "features").glob(".*")]


def everything(store: FeatureStore) -> NDArray[np.float32]:
    return store.read(np.arange(len(store)))


# ---- what is in a store


def test_entry_i_is_y_of_path_i(network: Counted, paths: list[Path], cache: FeatureCache) -> None:
    calls: list[tuple[int, int]] = []
    store = build_features(
        named(paths), network, SIZE, cache=cache, progress=lambda *c: calls.append(c)
    )
    assert store.shape == (5, 8, 12, 64) == (len(store), *store.grid, store.channels)
    assert network.images == 5
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    for index, path in enumerate(paths):
        y = network(torch.from_numpy(load_image(path, SIZE))[None])
        found = store.read(np.array([index]))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, y.permute(0, 2, 3, 1).numpy(), rtol=1e-4, atol=1e-5)


def test_what_is_kept_is_y_and_detail(paths: list[Path], cache: FeatureCache) -> None:
    network = SourceNetwork("tf_efficientnet_lite0", (3,), detail=2)
    store = build_features(named(paths), network, SIZE, cache=cache)
    assert store.shape == (5, 8, 12, 40 + 24 * 4)
    pixels = torch.from_numpy(np.stack([load_image(path, SIZE) for path in paths]))
    expected = network(pixels).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(everything(store), expected, rtol=1e-4, atol=1e-5)


def test_images_pass_alone_on_the_cpu_and_in_full_batches_elsewhere(
    network: Counted, paths: list[Path], cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (batch_on(torch.device("cpu")), batch_on(torch.device("cuda"))) == (1, 8)
    alone = everything(build_features(named(paths), network, SIZE, cache=cache))
    monkeypatch.setattr("nfbmr.features.compute.batch_on", lambda device: 4)
    network.passed.clear()
    other = FeatureCache(cache.root / "other")
    together = build_features(named(paths), network, SIZE, cache=other)
    assert network.images == 8, "the last batch is filled up"
    np.testing.assert_allclose(everything(together), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 5])
def test_features_do_not_depend_on_what_they_are_computed_with(
    paths: list[Path], tmp_path: Path, threads: int
) -> None:
    """Of a network with SiLU and odd sizes, whose bits would tell the place in a batch."""
    network = SourceNetwork("tf_efficientnet_b0", (6, 3))

    def rows(chosen: list[Path], folder: str) -> NDArray[np.float32]:
        cache = FeatureCache(tmp_path / folder)
        return everything(build_features(named(chosen), network, (75, 101), cache=cache))

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = rows(paths, "all")
        np.testing.assert_array_equal(rows(paths[::-1], "reversed")[::-1], found)
        for index in (0, 4):
            np.testing.assert_array_equal(rows([paths[index]], str(index))[0], found[index])
    finally:
        torch.set_num_threads(before)


def test_a_small_image_has_a_thread_of_its_own_and_the_same_bits_whatever_threads_there_are(
    paths: list[Path], tmp_path: Path
) -> None:
    network = Watched("tf_efficientnet_b0", (6, 3))
    names, found = [], []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            Watched.threads.clear()
            cache = FeatureCache(tmp_path / str(threads))
            names.append(shelf_of(network, (75, 101)).name)
            found.append(everything(build_features(named(paths), network, (75, 101), cache=cache)))
            assert Watched.threads == [1] * len(paths)
            assert torch.get_num_threads() == threads, "as it was"
        large = shelf_of(network, LARGE).name
        torch.set_num_threads(1)
        assert large != shelf_of(network, LARGE).name, "which all threads share"
    finally:
        torch.set_num_threads(before)
    assert names[0] == names[1]
    np.testing.assert_array_equal(found[0], found[1])


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


def test_a_picture_more_passes_alone_and_a_picture_fewer_not_at_all(
    network: Counted, paths: list[Path], cache: FeatureCache
) -> None:
    alone = FeatureCache(cache.root / "other")
    expected = everything(build_features(named(paths), network, SIZE, cache=alone))
    build_features(named(paths[:3]), network, SIZE, cache=cache)
    network.passed.clear()
    calls: list[tuple[int, int]] = []
    more = [paths[4], *paths[:3]]
    store = build_features(
        named(more), network, SIZE, cache=again(cache), progress=lambda *c: calls.append(c)
    )
    assert (network.images, calls) == (1, [(4, 4)])
    np.testing.assert_array_equal(everything(store), expected[[4, 0, 1, 2]])
    fewer = build_features(named(paths[1:3]), network, SIZE, cache=again(cache))
    assert network.images == 1
    np.testing.assert_array_equal(everything(fewer), expected[1:3])


def test_the_order_of_pictures_is_that_of_the_store_and_of_nothing_else(
    network: Counted, paths: list[Path], cache: FeatureCache
) -> None:
    store = build_features(named(paths), network, SIZE, cache=cache)
    turned = build_features(named(paths[::-1]), network, SIZE, cache=cache)
    assert network.images == 5
    assert turned.key != store.key
    np.testing.assert_array_equal(everything(turned), everything(store)[::-1])


def test_a_picture_that_is_there_twice_passes_once(
    network: Counted, paths: list[Path], cache: FeatureCache
) -> None:
    calls: list[tuple[int, int]] = []
    pictures = named([paths[0], paths[1], paths[0]])
    store = build_features(
        pictures, network, SIZE, cache=cache, progress=lambda *c: calls.append(c)
    )
    assert (network.images, calls) == (2, [(2, 3), (3, 3)])
    np.testing.assert_array_equal(store.read(np.array([0])), store.read(np.array([2])))


def test_tiles_of_a_picture_more(network: Counted, paths: list[Path], cache: FeatureCache) -> None:
    tiling = Tiling(whole=(96, 128), tile=(64, 96), overlap=0.1)
    count = len(tiling.corners)
    build_features(named(paths[:1]), network, tiling.tile, cache=cache, tiling=tiling)
    store = build_features(named(paths[1::-1]), network, tiling.tile, cache=cache, tiling=tiling)
    assert network.images == len(store) == 2 * count
    for index, path in enumerate(paths[1::-1]):
        tiles = np.stack(list(tiling.tiles(load_image(path, tiling.whole)[None])))
        y = network(torch.from_numpy(tiles)).permute(0, 2, 3, 1).numpy()
        found = store.read(np.arange(index * count, (index + 1) * count))
        np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)


def test_a_shelf_is_named_by_all_that_y_depends_on(
    network: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    tilings = [Tiling(whole=whole, tile=SIZE, overlap=0.1) for whole in ((64, 96), (96, 128))]
    shelves = [shelf_of(network, SIZE), shelf_of(network, SIZE[::-1])]
    shelves += [shelf_of(network, SIZE, tiling) for tiling in tilings]
    shelves += [shelf_of(network, SIZE, pose=a_pose(number)) for number in range(2)]
    shelves += [shelf_of(network, SIZE, ignore=a_mask(rows)) for rows in (8, 9)]
    shelves += [shelf_of(network, SIZE, how=DataSettings(white=white)) for white in (4095, 1023)]
    shelves.append(shelf_of(network, SIZE, how=DataSettings(reading="scaled")))
    installed = metadata.version
    for package in ("pillow", "torch", "timm"):
        with monkeypatch.context() as patch:
            patch.setattr(metadata, "version", lambda p, o=package: installed(p) + "+" * (p == o))
            shelves.append(shelf_of(network, SIZE))
    shelves.append(shelf_of(network, LARGE))
    for owner, name, value, size in (
        (torch, "get_num_threads", 7, LARGE),
        (torch.backends.cpu, "get_cpu_capability", "another", SIZE),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, lambda value=value: value)
            shelves.append(shelf_of(network, size))
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1
    shelves.append(shelf_of(network, SIZE))
    assert len({shelf.name for shelf in shelves}) == len(shelves)
    assert shelf_of(network, SIZE) == shelves[-1]


def a_pose(number: int) -> Pose:
    rings = np.random.default_rng(number).normal(size=(RINGS, ANGLES)).astype(np.float32)
    return Pose(rings_of(waves_of(rings)), 1.0, 360.0)


def a_mask(rows: int) -> Ignored:
    mask = np.zeros(SIZE, bool)
    mask[:rows] = True
    return Ignored(mask)


def test_y_of_what_is_ignored_is_that_of_the_painted_picture_and_is_kept_apart(
    network: Counted, cache: FeatureCache
) -> None:
    picture = np.full((*SIZE, 3), 40, np.uint8)
    pictures = [(picture, "0" * 64)]
    whole = everything(build_features(pictures, network, SIZE, cache=cache))
    ignore = a_mask(20)
    found = everything(build_features(pictures, network, SIZE, cache=cache, ignore=ignore))
    painted = [(ignore.paint(picture), "1" * 64)]
    expected = build_features(painted, network, SIZE, cache=cache)
    np.testing.assert_array_equal(found, everything(expected))
    assert (found != whole).any()


def test_y_with_a_pose_is_that_of_the_aligned_picture_and_is_kept_apart(
    network: Counted, cache: FeatureCache
) -> None:
    picture = np.full((*SIZE, 3), 40, np.uint8)
    picture[20:40, 30:70] = 200
    pose = a_pose(0)
    aligned, _ = pose.align(picture)
    assert (aligned != picture).any()
    pictures = [(picture, "0" * 64)]
    lying = everything(build_features(pictures, network, SIZE, cache=cache))
    found = everything(build_features(pictures, network, SIZE, cache=cache, pose=pose))
    expected = build_features([(aligned, "1" * 64)], network, SIZE, cache=cache)
    np.testing.assert_array_equal(found, everything(expected))
    assert (found != lying).any()
    np.testing.assert_array_equal(
        everything(build_features(pictures, network, SIZE, cache=cache)), lying
    )


# ---- damage


def test_only_the_pictures_of_a_damaged_entry_are_computed_again(
    network: Counted, paths: list[Path], cache: FeatureCache, caplog: pytest.LogCaptureFixture
) -> None:
    build_features(named(paths[:2]), network, SIZE, cache=cache)
    expected = everything(build_features(named(paths), network, SIZE, cache=cache))
    shelf = shelf_of(network, SIZE)
    lost = shelf.key([content for _, content in named(paths[2:])])
    data = cache.root / "features" / lost / "features.f32"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    network.passed.clear()
    with caplog.at_level(logging.WARNING, logger="nfbmr"):
        mended = build_features(named(paths), network, SIZE, cache=again(cache))
    assert "damaged" in caplog.text
    assert network.images == 3
    np.testing.assert_array_equal(everything(mended), expected)
    assert left_behind(cache) == []


# ---- builds that end badly, or meet


def test_an_interrupted_build_leaves_nothing_that_is_read(
    network: Counted, paths: list[Path], cache: FeatureCache
) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_features(named(paths), network, SIZE, cache=cache, progress=interrupt)
    assert cache.entries() == []
    assert len(build_features(named(paths), network, SIZE, cache=cache)) == 5


def test_an_interrupted_build_goes_on_after_its_last_sound_chunk(
    network: Counted, paths: list[Path], cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfbmr.features.chunks.CHUNK", 2)
    monkeypatch.setattr("nfbmr.features.compute.CHUNK", 2)
    undisturbed = build_features(
        named(paths), network, SIZE, cache=FeatureCache(cache.root / "other")
    )
    network.passed.clear()

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_features(named(paths), network, SIZE, cache=cache, progress=interrupt)
    assert network.images == 5
    chunks = sorted((cache.root / "features").glob(".*/*.chunk"))
    assert len(chunks) == 2
    damaged = bytearray(chunks[0].read_bytes())
    damaged[0] ^= 1
    chunks[0].write_bytes(damaged)
    os.utime(chunks[0].parent, (0, 0))  # as of a build that was killed long ago
    store = build_features(named(paths), network, SIZE, cache=again(cache))
    assert network.images == 5 + 2 + 1  # the damaged chunk and the one that was not written
    everything = np.arange(5)
    np.testing.assert_array_equal(store.read(everything), undisturbed.read(everything))
    assert left_behind(cache) == []


def test_two_builds_of_the_same_meet_without_harm(
    network: Counted, paths: list[Path], cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one finishes when this one has one image left, and clears the chunks away."""
    monkeypatch.setattr("nfbmr.features.chunks.CHUNK", 2)
    monkeypatch.setattr("nfbmr.features.compute.CHUNK", 2)

    def other_finishes(done: int, total: int) -> None:
        if done == 4:
            build_features(named(paths), network, SIZE, cache=again(cache))

    store = build_features(named(paths), network, SIZE, cache=cache, progress=other_finishes)
    assert len(cache.entries()) == 1
    assert left_behind(cache) == []
    again_alone = build_features(named(paths), network, SIZE, cache=FeatureCache(cache.root / "o"))
    np.testing.assert_array_equal(everything(store), everything(again_alone))


def test_chunks_that_vanish_before_the_entry_is_written_are_computed_again(
    network: Counted, paths: list[Path], cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfbmr.features.chunks.CHUNK", 2)
    monkeypatch.setattr("nfbmr.features.compute.CHUNK", 2)
    vanish = [0, 1]

    def progress(done: int, total: int) -> None:
        for chunk in (cache.root / "features").glob(".*/*.chunk"):
            if done == 5 and vanish and int(chunk.stem) == vanish[0]:
                chunk.unlink()
                vanish.pop(0)

    store = build_features(named(paths), network, SIZE, cache=cache, progress=progress)
    assert network.images == 5 + 2 + 2
    assert len(store) == 5
    cache.clear()
    vanish.extend([0, 1, 0])
    with pytest.raises(DataError, match="check this disk"):
        build_features(named(paths), network, SIZE, cache=cache, progress=progress)


def test_room_for_chunks_and_entry_is_looked_for_before_anything_is_computed(
    network: Counted, paths: list[Path], cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = 4 * 8 * 12 * 64
    usage = shutil.disk_usage(paths[0].parent)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10 * one - 1))
        with pytest.raises(DataError, match="the disk has 0 MiB left; make room"):
            build_features(named(paths), network, SIZE, cache=cache)
        assert network.images == 0
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10 * one))
        build_features(named(paths), network, SIZE, cache=cache)
    assert network.images == 5


def test_an_unreadable_image_keeps_nothing(
    network: Counted, paths: list[Path], cache: FeatureCache
) -> None:
    paths[3].write_bytes(paths[3].read_bytes()[:200])
    with pytest.raises(ImageError, match=r"3\.png"):
        build_features(named(paths), network, SIZE, cache=cache)
    assert cache.entries() == []
    assert left_behind(cache) == []
    with pytest.raises(DataError, match="no pictures"):
        build_features([], network, SIZE, cache=cache)
