"""Pipes, sockets and devices among pictures: nothing waits for them, and they are named."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.cli.inspect import _pictures
from nfbmr.data.folders import list_pictures
from nfbmr.data.images import image_size, read_image
from nfbmr.data.layouts import read_data
from nfbmr.data.masks import read_mask
from nfbmr.data.same import ends_of, fingerprint
from nfbmr.data.survey import survey
from nfbmr.errors import ImageError, LayoutError
from nfbmr.system.files import NotAFileError, plain_file

pytestmark = pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="the system has no pipes with names"
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "good").mkdir()
    for number in range(3):
        values = np.random.default_rng(number).integers(0, 256, (8, 9), np.uint8)
        Image.fromarray(values).save(tmp_path / "good" / f"{number}.png")
    os.mkfifo(tmp_path / "good" / "pipe.png")
    (tmp_path / "good" / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "good" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(tmp_path / "good")  # the name of a socket may have about 100 bytes
        one.bind("socket.png")
        os.chdir(here)
        yield tmp_path


NAMES_OF_PICTURES = ["0.png", "1.png", "2.png", "gone.png"]
NAMES = ["pipe.png", "socket.png", "zero.png"]


def test_in_a_folder_they_are_left_out_and_named(folder: Path) -> None:
    pictures, others = list_pictures(folder, deep=True)
    assert [path.name for path in pictures] == NAMES_OF_PICTURES
    assert [path.name for path in others] == NAMES
    data = read_data(folder)
    assert len(data.train_good) == 3
    names = ", ".join(f"good/{name}" for name in NAMES)
    assert f"pipes, sockets or devices, left out: 3 ({names})" in data.warnings


def test_a_link_that_leads_back_to_itself_is_as_one_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "part.png")
    found, others = list_pictures(tmp_path, deep=True)
    assert ([path.name for path in found], others) == (["loop.png", "part.png"], [])


@pytest.mark.parametrize("name", NAMES)
def test_given_by_their_paths_they_are_refused_at_once(folder: Path, name: str) -> None:
    path = folder / "good" / name
    with pytest.raises(NotAFileError), plain_file(path):
        pass
    for read in (read_image, image_size, read_mask, fingerprint, ends_of):
        with pytest.raises(ImageError, match="found a pipe, a socket or a device, and no file"):
            read(path)
    with pytest.raises(ImageError, match="found a pipe, a socket or a device"):
        survey("part", [path])


def test_files_beside_pictures_and_tables_may_be_pipes(folder: Path) -> None:
    os.mkfifo(folder / "good" / "0.txt")
    os.mkfifo(folder / "labels.csv")
    assert len(read_data(folder).train_good) == 3
    with pytest.raises(LayoutError, match=r"labels\.csv: found a pipe, a socket or a device; exp"):
        read_data(folder / "labels.csv")
    (folder / "t.csv").write_text("path\ngood/0.png\ngood/pipe.png\n")
    with pytest.raises(LayoutError, match=r"1 of 2 pictures missing \(good/pipe\.png in row 2\)"):
        read_data(folder / "t.csv")


def test_labels_of_dagm_may_be_a_pipe(folder: Path) -> None:
    for split in ("Train", "Test"):
        (folder / "dagm" / split / "Label").mkdir(parents=True)
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(folder / "dagm" / split / "1.png")
        os.mkfifo(folder / "dagm" / split / "Label" / "Labels.txt")
    assert read_data(folder / "dagm").layout == "dagm"


def test_inspecting_a_folder_goes_on_without_them(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures, is_one_unread = _pictures([str(folder)])
    assert [path.name for path in pictures] == NAMES_OF_PICTURES
    assert is_one_unread
    assert f"Not inspected: 3 pipes, sockets or devices in {folder}: good/pipe.png" in caplog.text


def test_plain_files_are_read_and_folders_are_called_so(folder: Path) -> None:
    with plain_file(folder / "good" / "0.png") as stream:
        assert stream.read(4) == b"\x89PNG"
    with pytest.raises(ImageError, match="found a folder"):
        read_image(folder / "good")
