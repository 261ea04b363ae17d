"""Files of a hot folder: of a large one no more is read than tells that it is no picture."""

from __future__ import annotations

import inspect
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.cli.watch import watch as command
from nfbmr.inspection import reading
from nfbmr.inspection.reading import MEGABYTE, MOST_BYTES, read_bytes
from nfbmr.inspection.watch import Watch


def sparse(path: Path, megabytes: int, head: bytes = b"") -> Path:
    path.write_bytes(head)
    os.truncate(path, megabytes * MEGABYTE)
    return path


def read_within(megabytes: float, path: Path, most: int | None) -> tuple[bytes | None, str]:
    tracemalloc.start()
    try:
        found = read_bytes(path, most)
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()
    return found


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "a file that begins with zeros"),
        (b"no picture", "another kind of content"),
        (b"\x89PNG\r\n\x1a\n", "unreadable or truncated"),
    ],
)
def test_a_large_file_is_refused_by_its_header(tmp_path: Path, head: bytes, said: str) -> None:
    big = sparse(tmp_path / "big.tif", 1500, head)
    data, why = read_within(5, big, None)
    assert data is None
    assert why.startswith(f"{big}: found ")
    assert said in why


def test_a_picture_of_too_many_bytes_is_not_read(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    big = sparse(tmp_path / "b.png", 600, (tmp_path / "a.png").read_bytes())
    data, why = read_within(1, big, MOST_BYTES)
    assert data is None
    assert why == (
        f"{big}: found 600 megabytes; expected at most 512; save it smaller or compressed, or "
        "allow more"
    )


def test_a_large_picture_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(reading, "_HEADER_FIRST", 10)
    assert read_bytes(tmp_path / "a.png") == ((tmp_path / "a.png").read_bytes(), "")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert read_bytes(tmp_path / "a.png") == (
        None,
        f"{tmp_path / 'a.png'} cannot be read: it is a pipe, a socket or a device, and no file",
    )


def test_the_command_has_the_limit_of_the_room(tmp_path: Path) -> None:
    asked = inspect.signature(command).parameters["most_megabytes"].default
    assert asked * MEGABYTE == MOST_BYTES
    assert Watch(folder=tmp_path, log=tmp_path / "log.jsonl").most_bytes == MOST_BYTES
