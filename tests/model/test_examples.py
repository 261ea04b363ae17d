"""Good pictures kept in a model: there and back, and what is no such file is refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.errors import BundleTamperedError
from nfbmr.model.examples import MOST_BYTES, decoded, examples_from_zip, examples_to_zip


def jpeg(seed: int, size: tuple[int, int] = (8, 12)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg")
    return buffer.getvalue()


def zipped(names: list[str], data: bytes = b"x", how: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as packed:
        for name in names:
            packed.writestr(name, data)
    return buffer.getvalue()


def test_there_and_back(tmp_path: Path) -> None:
    pictures = (jpeg(0), jpeg(1))
    path = tmp_path / "examples.zip"
    path.write_bytes(examples_to_zip(pictures))
    assert examples_from_zip(path) == pictures
    assert examples_to_zip(pictures) == path.read_bytes(), "the same pictures give the same file"
    assert [one.shape for one in decoded(pictures)] == [(8, 12, 3)] * 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip",
        zipped(["../000.jpg"]),
        zipped(["001.jpg"]),
        zipped(["000.jpg", "other.txt"]),
        zipped(["000.jpg"], b"0" * 10_000, zipfile.ZIP_DEFLATED),
        examples_to_zip([jpeg(0)])[:-30],
        bytes(2 * MOST_BYTES + 1),
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "examples.zip"
    path.write_bytes(data)
    with pytest.raises(BundleTamperedError, match="not one that nfbmr wrote"):
        examples_from_zip(path)


def test_what_is_no_picture_or_of_another_size_is_refused() -> None:
    with pytest.raises(BundleTamperedError, match="damaged"):
        decoded([jpeg(0), b"no picture"])
    with pytest.raises(BundleTamperedError, match="differ in size"):
        decoded([jpeg(0), jpeg(1, (9, 12))])
