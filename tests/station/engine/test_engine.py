"""The gate, the batcher and the pool of models."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nfbmr.errors import SettingsError
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.inspection.result import Failure, Inspection
from nfbmr.station.engine.batcher import Batcher, ClosedError
from nfbmr.station.engine.gate import BusyError, Gate
from nfbmr.station.engine.pool import Loaded, Pool

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


def test_models_need_names_of_their_own(model: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="same folder's name"):
        Pool((model, model), None, runtime="torch")
    with pytest.raises(SettingsError, match="letters, digits"):
        Pool((tmp_path / "a b",), None)
    with pytest.raises(SettingsError, match="no such folder"):
        Pool((), tmp_path / "nowhere")
