"""Masks: read from files, Pillow images and arrays alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.data.masks import MaskInput, read_mask
from nfbmr.errors import ImageError


def test_a_path_a_pillow_image_and_an_array_say_the_same(tmp_path: Path) -> None:
    marked = np.zeros((6, 9), bool)
    marked[2:4, 1:5] = True
    gray = marked.astype(np.uint8)
    clear = np.stack([gray, gray * 0, gray * 0, gray * 0 + 255], axis=2)  # alpha marks nothing
    Image.fromarray(gray).save(tmp_path / "mask.png")
    sources: list[MaskInput] = [
        tmp_path / "mask.png",
        str(tmp_path / "mask.png"),
        Image.fromarray(gray),
        Image.fromarray(marked),
        Image.fromarray(clear),
        marked,
        gray,
        gray.astype(np.float32) / 3,
        gray[..., None].astype(np.uint16),
        clear,
    ]
    for source in sources:
        found = read_mask(source)
        assert found.dtype == np.bool_
        np.testing.assert_array_equal(found, marked)


def test_an_array_of_another_shape_is_refused() -> None:
    with pytest.raises(ImageError, match="found 1 axes"):
        read_mask(np.zeros(5, np.uint8))
