"""Checkpoints: what is saved comes back, and a failed write leaves the old one."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nfbmr.learning.checkpoint import Position, load_checkpoint, save_checkpoint

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
