"""The gate, the batcher and the pool of models."""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from nfbmr.errors import BundleError, SettingsError
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.inspection.result import Failure, Inspection
from nfbmr.station.engine import pool as pool_module
from nfbmr.station.engine.batcher import Batcher, ClosedError, NetworkError
from nfbmr.station.engine.gate import BusyError, Gate
from nfbmr.station.engine.pool import Loaded, Pool, stamp_of

Encoded = Callable[..., bytes]

PATIENCE = 60.0  # seconds, for what comes by itself


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end
        threading.Event().wait(0.05)


class Stub:
    """Judges by a function, in the stream's way: one after another."""

    def __init__(self, judge: Callable[[bytes], Any]) -> None:
        self._judge = judge

    def inspect_many(self, images: Iterator[bytes], **_: object) -> Iterator[Any]:
        for image in images:
            yield self._judge(image)


def test_the_gate_counts_pictures_and_bytes() -> None:
    gate = Gate(2, 100)
    with gate.passed(60):
        with pytest.raises(BusyError, match="come again"), gate.passed(50):
            pass
        with gate.passed(40), pytest.raises(BusyError) as error, gate.passed():
            pass
        assert 1 <= error.value.retry_after <= 60
    assert (gate.inside, gate.bytes_inside) == (0, 0)
    with gate.passed(1000):  # one alone may be of any size that a request may have
        assert gate.inside == 1


def test_each_picture_gets_its_own_verdict(inspector: Inspector, png: Encoded) -> None:
    batcher = Batcher(inspector, 4)
    pictures = [png(n, defect=n % 3 == 0) for n in range(12)]
    pictures[5] = b"no picture"
    found = [batcher.submit(data) for data in pictures]
    batcher.close()
    batcher.join()
    for number, future in enumerate(found):
        result = future.result()
        if number == 5:
            assert isinstance(result, Failure)
            continue
        assert isinstance(result, Inspection)
        assert result.score == pytest.approx(inspector.inspect(pictures[number]).score, rel=1e-5)
    with pytest.raises(ClosedError):
        batcher.submit(pictures[0])


def test_what_nobody_waits_for_any_more_is_passed_over() -> None:
    begun, go = threading.Event(), threading.Event()
    seen = []

    def judge(image: bytes) -> bytes:
        seen.append(image)
        begun.set()
        assert go.wait(PATIENCE)
        return image

    batcher = Batcher(Stub(judge), 1)  # type: ignore[arg-type]
    first = batcher.submit(b"1")
    assert begun.wait(PATIENCE)
    given_up, last = batcher.submit(b"2"), batcher.submit(b"3")
    assert given_up.cancel()
    go.set()
    assert {first.result(PATIENCE), last.result(PATIENCE)} == {b"1", b"3"}  # type: ignore[comparison-overlap]
    assert seen == [b"1", b"3"]
    batcher.close()
    batcher.join()


def test_a_network_that_hangs_holds_no_picture_that_nobody_waits_for() -> None:
    begun, go = threading.Event(), threading.Event()

    def judge(image: bytes) -> bytes:
        begun.set()
        assert go.wait(PATIENCE)
        return image

    batcher = Batcher(Stub(judge), 1)  # type: ignore[arg-type]
    first = batcher.submit(b"1")
    assert begun.wait(PATIENCE)
    tracemalloc.start()
    for _ in range(50):
        assert batcher.submit(bytes(1_000_000)).cancel()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    go.set()
    assert held < 3_000_000
    assert first.result(PATIENCE) == b"1"  # type: ignore[comparison-overlap]
    batcher.close()
    batcher.join()


def test_a_failure_says_how_many_failed_together() -> None:
    def judge(_: bytes) -> bytes:
        raise MemoryError("out of memory")

    batcher = Batcher(Stub(judge), 1)  # type: ignore[arg-type]
    error = batcher.submit(b"1").exception(PATIENCE)
    assert isinstance(error, NetworkError)
    assert error.together == 1
    batcher.close()
    batcher.join()


def test_a_network_that_fails_once_goes_on_with_what_follows() -> None:
    def judge(image: bytes) -> bytes:
        if image == b"bad":
            raise MemoryError("out of memory")
        return image

    batcher = Batcher(Stub(judge), 1)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="out of memory"):
        batcher.submit(b"bad").result(PATIENCE)

    def again() -> bool:  # one that came while the network fell may fail with it
        try:
            return batcher.submit(b"good").result(PATIENCE) == b"good"  # type: ignore[comparison-overlap]
        except RuntimeError:
            return False

    wait_for(again)
    batcher.close()
    batcher.join()


def test_a_network_that_fails_in_a_real_stream_goes_on(
    inspector: Inspector, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = inspector.judge
    failing = threading.Event()
    failing.set()

    def judge(*args: Any) -> Any:
        if failing.is_set():
            raise RuntimeError("broken")
        return judged(*args)

    monkeypatch.setattr(inspector, "judge", judge)
    batcher = Batcher(inspector, 2)
    futures = [batcher.submit(png(n)) for n in range(3)]
    for future in futures:
        with pytest.raises(RuntimeError, match="the network failed"):
            future.result(PATIENCE)
    failing.clear()

    def works() -> bool:
        try:
            return isinstance(batcher.submit(png(1)).result(PATIENCE), Inspection)
        except RuntimeError:
            return False

    wait_for(works)
    batcher.close()
    batcher.join()


def test_after_a_failure_each_verdict_belongs_to_its_own_picture() -> None:
    """The old stream's reader still waits for a picture when the next stream has begun."""
    readers: list[threading.Thread] = []

    class Ahead(Stub):
        def inspect_many(self, images: Iterator[bytes], **_: object) -> Iterator[Any]:
            read: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

            def reading() -> None:
                for image in images:
                    read.put(image)
                read.put(None)

            readers.append(threading.Thread(target=reading, daemon=True))
            readers[-1].start()
            while (image := read.get()) is not None:
                yield self._judge(image)

    def judge(image: bytes) -> bytes:
        if image.startswith(b"bad"):
            raise MemoryError("out of memory")
        return image

    batcher = Batcher(Ahead(judge), 1)  # type: ignore[arg-type]
    answered = 0
    for turn in range(20):
        given = [f"{'bad' if n == 2 else 'good'} {turn} {n}".encode() for n in range(6)]
        found: list[Future[Any]] = [*map(batcher.submit, given)]
        for data, future in zip(given, found, strict=True):
            if data.startswith(b"bad"):
                assert isinstance(future.exception(PATIENCE), RuntimeError)
            elif future.exception(PATIENCE) is None:
                assert future.result() == data
                answered += 1
    assert batcher.submit(b"last").result(PATIENCE) == b"last"  # type: ignore[comparison-overlap]
    batcher.close()
    batcher.join()
    assert answered >= 40, "the two before each failure, at least"
    for reader in readers:
        reader.join(PATIENCE)
        assert not reader.is_alive()


def test_a_changed_directory_is_loaded_again_and_nothing_is_lost(
    model_copy: Path, png: Encoded
) -> None:
    heard: list[Loaded] = []
    pool = Pool((model_copy,), None, runtime="torch", heard=heard.append)
    try:
        first = pool.all()[0]
        waiting = [first.batcher.submit(png(n)) for n in range(8)]
        load(model_copy, runtime="torch").recalibrated(0.5).save_calibration()
        wait_for(lambda: pool.all()[0] is not first)
        second = pool.all()[0]
        assert second.bundle == first.bundle
        assert second.calibration != first.calibration
        assert second.inspector.calibration.false_alarm_rate == 0.5
        assert heard == [first, second]
        assert all(isinstance(future.result(PATIENCE), Inspection) for future in waiting)
        with pytest.raises(ClosedError):
            first.batcher.submit(png(1))
    finally:
        pool.close()


def test_a_folder_of_models_is_looked_at_again(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(model, folder / "one")
    (folder / "no-model").mkdir()
    pool = Pool((), folder, runtime="torch")
    try:
        assert [one.name for one in pool.all()] == ["one"]
        shutil.copytree(model, folder / ".two")
        with (folder / ".two" / "model.safetensors").open("ab") as stream:
            stream.write(b"damage")
        (folder / ".two").rename(folder / "two")
        wait_for(lambda: "two" in pool.troubles)
        assert "sha256 differs" in pool.troubles["two"]
        shutil.rmtree(folder / "two")
        shutil.rmtree(folder / "one")
        wait_for(lambda: not pool.all() and not pool.troubles)
    finally:
        pool.close()


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool looks only where a test asks it to."""
    monkeypatch.setattr(pool_module, "_EVERY", 3600.0)


@pytest.mark.usefixtures("still")
def test_one_bad_directory_blocks_no_other_and_a_passing_trouble_is_tried_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    for name in ("a", "b"):
        shutil.copytree(model, folder / name)
    troubles: dict[str, Exception] = {"a": RuntimeError("no memory on the device")}
    tried: list[str] = []

    def loading(path: Path, **options: Any) -> Inspector:
        tried.append(path.name)
        if path.name in troubles:
            raise troubles[path.name]
        return load(path, **options)

    monkeypatch.setattr(pool_module, "load", loading)
    monkeypatch.setattr(pool_module, "_AGAIN", 0.0)
    pool = Pool((), folder, runtime="torch")
    try:
        assert [one.name for one in pool.all()] == ["b"]
        assert pool.troubles == {"a": "no memory on the device"}
        troubles["a"] = BundleError("damaged")
        pool._look()
        pool._look()
        assert tried == ["a", "b", "a"], "what is damaged stays so until it changes"
        troubles.clear()
        os.utime(folder / "a" / "manifest.json")
        pool._look()
        assert [one.name for one in pool.all()] == ["a", "b"]
        assert pool.troubles == {}
    finally:
        pool.close()


@pytest.mark.usefixtures("still")
def test_a_model_goes_after_several_looks_without_it_and_an_unreadable_folder_keeps_all(
    model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(model, folder / "one")
    pool = Pool((), folder, runtime="torch")
    try:
        first = pool.get("one")
        folder.rename(tmp_path / "away")
        for _ in range(5):
            pool._look()
        assert pool.get("one") is first
        (tmp_path / "away").rename(folder)
        (folder / "one").rename(folder / ".one")
        pool._look()
        pool._look()
        assert pool.get("one") is first
        (folder / ".one").rename(folder / "one")
        pool._look()
        (folder / "one").rename(folder / ".one")
        pool._look()
        pool._look()
        assert pool.get("one") is first, "it was there between"
        pool._look()
        assert pool.all() == []
    finally:
        pool.close()


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("after_the_stamp", [False, True])
def test_what_another_program_wrote_meanwhile_is_loaded(
    model_copy: Path, *, after_the_stamp: bool
) -> None:
    pool = Pool((model_copy,), None, runtime="torch")
    try:
        (loaded,) = pool.all()
        changed = loaded.inspector.recalibrated(0.5)
        changed.save_calibration()
        stamp = stamp_of(model_copy)
        load(model_copy, runtime="torch").recalibrated(0.3).save_calibration()
        if not after_the_stamp:
            stamp = stamp_of(model_copy)
        assert pool.put(loaded, changed, stamp).inspector is changed
        pool._look()
        assert pool.all()[0].inspector.calibration.false_alarm_rate == 0.3
        changed = pool.all()[0].inspector.recalibrated(0.5)
        changed.save_calibration()
        new = pool.put(pool.all()[0], changed, stamp_of(model_copy))
        pool._look()
        assert pool.all() == [new], "nobody else wrote"
    finally:
        pool.close()


def test_models_need_names_of_their_own(model: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="same folder's name"):
        Pool((model, model), None, runtime="torch")
    with pytest.raises(SettingsError, match="letters, digits"):
        Pool((tmp_path / "a b",), None)
    with pytest.raises(SettingsError, match="no such folder"):
        Pool((), tmp_path / "nowhere")
