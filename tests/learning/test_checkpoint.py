"""Checkpoints: what is saved comes back, and a failed write leaves the old one."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nfbmr.errors import TrainingError
from nfbmr.learning import checkpoint
from nfbmr.learning.checkpoint import Position, Saver, load_checkpoint, save_checkpoint

POSITION = Position(key="abc", step=7, seconds=1.5, loss=0.25)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "work" / "checkpoint.safetensors"


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Lets no file grow beyond `size` bytes, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_round_trip(file: Path) -> None:
    tensors = {
        "weight": torch.randn(3, 4).t(),  # not contiguous
        "count": torch.tensor(3),
        "double": torch.randn(2, dtype=torch.float64),
    }
    save_checkpoint(file, tensors, POSITION)
    found = load_checkpoint(file, "abc")
    assert found is not None
    assert found[1] == POSITION
    assert set(found[0]) == set(tensors)
    for name, value in tensors.items():
        assert found[0][name].dtype == value.dtype
        assert torch.equal(found[0][name], value)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_none_where_there_is_none(file: Path) -> None:
    assert load_checkpoint(file, "abc") is None


def test_a_checkpoint_of_another_key_is_not_used(file: Path) -> None:
    save_checkpoint(file, {"weight": torch.zeros(1)}, POSITION)
    assert load_checkpoint(file, "abd") is None
    assert load_checkpoint(file, "abc") is not None


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_damaged_checkpoint_is_not_used(file: Path, keep: int) -> None:
    save_checkpoint(file, {"weight": torch.zeros(8)}, POSITION)
    file.write_bytes(file.read_bytes()[:keep])
    assert load_checkpoint(file, "abc") is None


def test_a_foreign_file_is_not_used(file: Path) -> None:
    from safetensors.torch import save_file

    file.parent.mkdir()
    save_file({"weight": torch.zeros(8)}, file)
    assert load_checkpoint(file, "abc") is None
    save_file({"weight": torch.zeros(8)}, file, {"position": '{"key": "abc"}'})
    assert load_checkpoint(file, "abc") is None


def test_a_full_disk_leaves_the_old_checkpoint(file: Path) -> None:
    save_checkpoint(file, {"weight": torch.zeros(8)}, POSITION)
    before = file.read_bytes()
    with small_disk(8192), pytest.raises(OSError, match="checkpoint"):
        save_checkpoint(file, {"weight": torch.zeros(2**16)}, replace(POSITION, step=8))
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_an_interrupted_write_leaves_the_old_checkpoint(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_descriptor: int) -> None:
        raise KeyboardInterrupt

    save_checkpoint(file, {"weight": torch.zeros(8)}, POSITION)
    before = file.read_bytes()
    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(file, {"weight": torch.ones(8)}, replace(POSITION, step=8))
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_what_a_kill_left_beside_goes_at_the_next_save(file: Path) -> None:
    left = file.with_name(f".{file.name}.part")
    left.mkdir(parents=True)
    (left / ".tmpAbCdEf").write_bytes(b"half")
    save_checkpoint(file, {"weight": torch.zeros(8)}, POSITION)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


# ---- in the background


class Gate:
    """Holds the writing of checkpoints up until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self.begun = threading.Semaphore(0)
        monkeypatch.setattr(checkpoint, "save_checkpoint", self.save)

    def save(self, path: Path, tensors: dict[str, torch.Tensor], position: Position) -> None:
        self.begun.release()
        assert self.opened.wait(60)
        save_checkpoint(path, tensors, position)


def test_the_state_is_that_of_the_moment_of_the_save(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, weight = Gate(monkeypatch), torch.zeros(3)
    with Saver(file, 10) as saver:
        saver.save({"weight": weight}, POSITION)
        gate.begun.acquire()
        weight += 1  # the training goes on while the writing is held up
        assert not file.exists()
        gate.opened.set()
    found = load_checkpoint(file, "abc")
    assert found is not None, "the end of the block waits"
    assert torch.equal(found[0]["weight"], torch.zeros(3))


def test_a_save_waits_for_the_one_before(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with Saver(file, 10) as saver:
        saver.save({"weight": torch.zeros(1)}, POSITION)
        gate.begun.acquire()
        assert not saver.is_due()
        second = ({"weight": torch.ones(1)}, replace(POSITION, step=8))
        other = threading.Thread(target=saver.save, args=second)
        other.start()
        assert not gate.begun.acquire(timeout=0.05), "two were written at once"
        assert other.is_alive()
        gate.opened.set()
        other.join()
    found = load_checkpoint(file, "abc")
    assert found is not None
    assert (found[0]["weight"].item(), found[1].step) == (1, 8)


@pytest.mark.parametrize(("takes", "pause"), [(0.25, 10), (0.5, 10), (3, 60)])
def test_a_pause_is_twenty_times_as_long_as_a_save_at_least(
    takes: float, pause: float, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]

    def save(*_: object) -> None:
        now[0] += takes

    monkeypatch.setattr("nfbmr.learning.checkpoint.time.monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoint, "save_checkpoint", save)
    with Saver(file, 10) as saver:
        now[0] += 9.5
        assert not saver.is_due()
        now[0] += 0.5
        assert saver.is_due()
        saver.save({}, POSITION)
        saver._wait()
        now[0] += pause - 0.25
        assert not saver.is_due()
        now[0] += 0.25
        assert saver.is_due()
    with Saver(file, 0) as saver:
        saver.save({}, POSITION)
        assert saver.is_due(), "no pause was asked for"


@pytest.mark.parametrize("where", ["next save", "end", "end after another error"])
def test_an_error_in_the_background_is_never_swallowed(
    where: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_checkpoint", full)
    after = []

    def save() -> None:
        with Saver(file, 10) as saver:
            saver.save({}, POSITION)
            if where == "next save":
                saver.save({}, POSITION)
                after.append("saved")
            if where == "end after another error":
                raise KeyboardInterrupt

    with pytest.raises(TrainingError, match=r"No space left.*start the same fit again"):
        save()
    assert after == []


def test_a_mistake_in_the_background_is_raised_as_it_is(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("a programmer's mistake")

    monkeypatch.setattr(checkpoint, "save_checkpoint", broken)
    with pytest.raises(AssertionError, match="programmer"), Saver(file, 10) as saver:
        saver.save({}, POSITION)
