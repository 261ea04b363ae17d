"""Features in files: every read is a copy of what was written, and costs no memory."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nfbmr.errors import DataError
from nfbmr.features.store import FeatureFile, FeatureStore, write_store

MIB = 2**20


def test_reads_images_and_positions_in_the_asked_order(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(4, 3, 5, 2)).astype(np.float32)
    store = write_store(tmp_path / "z.bin", values.shape, [values[:3], values[3:]])
    order = np.array([3, 0, 0, 2])
    np.testing.assert_array_equal(store.read(order), values[order])
    images, positions = np.array([1, 3, 1]), np.array([14, 0, 7])
    found = store.read_positions(images, positions)
    np.testing.assert_array_equal(found, values[images, positions // 5, positions % 5])
    np.testing.assert_array_equal(store.read_positions(images, positions, 1), found[:, :1])
    found[:] = 0  # a copy
    np.testing.assert_array_equal(store.read(np.arange(4)), values)
    assert store.key == ""
    for image, position in ((0, 15), (0, -1), (4, 0), (-1, 0)):
        with pytest.raises(AssertionError):
            store.read_positions(np.array([image]), np.array([position]))
    with pytest.raises(AssertionError):
        store.read(np.array([4]))
    assert store.read(np.array([], dtype=np.int64)).shape == (0, 3, 5, 2)
    os.truncate(tmp_path / "z.bin", 100)
    with pytest.raises(DataError, match="cut short"):
        store.read(np.arange(4))
    with pytest.raises(DataError, match="100 bytes, expected 960"):
        FeatureFile(tmp_path / "z.bin", (8, 3, 5, 2))


def test_images_of_several_files_are_one_store(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(6, 3, 5, 2)).astype(np.float32)
    parts = {"one": values[:1], "two": values[1:4], "three": values[4:]}
    files = [f for n, v in parts.items() for f in write_store(tmp_path / n, v.shape, [v]).files]
    whole = FeatureStore(files)
    assert whole.shape == (6, 3, 5, 2)
    np.testing.assert_array_equal(whole.read(np.arange(6)), values)
    order = np.array([5, 0, 3, 3, 1])
    places = {0: (0, 0), 1: (1, 0), 3: (1, 2), 5: (2, 1)}
    some = FeatureStore(files, np.array([places[image] for image in order.tolist()]), key="some")
    assert (len(some), some.grid, some.channels, some.key) == (5, (3, 5), 2, "some")
    asked = np.array([4, 0, 2, 0])
    np.testing.assert_array_equal(some.read(asked), values[order[asked]])
    positions = np.array([14, 0, 7, 3])
    expected = values[order[asked], positions // 5, positions % 5]
    np.testing.assert_array_equal(some.read_positions(asked, positions), expected)


def test_reads_without_preadv_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(4, 3, 5, 2)).astype(np.float32)
    store = write_store(tmp_path / "z.bin", values.shape, [values])
    monkeypatch.delattr(os, "preadv", raising=False)
    np.testing.assert_array_equal(store.read(np.array([2, 1])), values[[2, 1]])


def test_several_threads_may_read(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3, 5, 2)).astype(np.float32)
    store = write_store(tmp_path / "z.bin", values.shape, [values])
    orders = [np.random.default_rng(seed).permutation(50) for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:
        for order, found in zip(orders, pool.map(store.read, orders), strict=True):
            np.testing.assert_array_equal(found, values[order])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_what_was_read_does_not_pile_up(tmp_path: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    shape = (640, 16, 16, 256)  # 160 MiB
    batches = (np.full((20, *shape[1:]), i, dtype=np.float32) for i in range(32))
    store = write_store(tmp_path / "big.bin", shape, batches)
    assert (tmp_path / "big.bin").stat().st_size == 160 * MIB
    rng = np.random.default_rng(0)
    store.read(np.arange(1))
    before, peak = resident(), 0
    for index in rng.permutation(640):
        assert store.read(np.array([index]))[0, 0, 0, 0] == index // 20
        peak = max(peak, resident() - before)
    for _ in range(20):
        store.read_positions(rng.integers(640, size=500), rng.integers(256, size=500))
        peak = max(peak, resident() - before)
    assert peak < 8 * MIB


def test_a_store_goes_to_another_process_by_its_files(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(4, 2, 2, 3)).astype(np.float32)
    files = [
        write_store(tmp_path / name, part.shape, [part]).files[0]
        for name, part in (("a", values[:3]), ("b", values[3:]))
    ]
    store = FeatureStore(files, np.array([[1, 0], [0, 2]]), key="some")
    again = pickle.loads(pickle.dumps(store))
    assert (again.key, again.shape) == ("some", (2, 2, 2, 3))
    np.testing.assert_array_equal(again.read(np.arange(2)), values[[3, 2]])
