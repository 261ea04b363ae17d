"""Masks: read from files, Pillow images and arrays alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.data.masks import MaskInput, is_drawn, marks_something, read_mask
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


@pytest.mark.parametrize(
    ("ground", "mark"),
    [
        ((0, 0, 0, 0), (0, 0, 0, 255)),
        ((0, 0, 0, 0), (0, 0, 0, 90)),
        ((255, 255, 255, 0), (255, 255, 255, 255)),
        ((255, 255, 255, 0), (255, 0, 0, 255)),
        ((9, 9, 9, 0), (0, 0, 0, 255)),
        ((0, 0, 0, 40), (0, 0, 0, 255)),
        ((0, 0, 0, 255), (255, 255, 255, 200)),
        ((0, 0), (0, 255)),
        ((255, 0), (0, 255)),
    ],
)
def test_where_all_that_is_seen_is_of_one_colour_alpha_marks(
    tmp_path: Path, ground: tuple[int, ...], mark: tuple[int, ...]
) -> None:
    values = np.full((6, 9, len(ground)), ground, np.uint8)
    values[2:4, 1:5] = mark
    Image.fromarray(values).save(tmp_path / "mask.png")
    marked = np.zeros((6, 9), bool)
    marked[2:4, 1:5] = True
    for source in (tmp_path / "mask.png", Image.fromarray(values)):
        np.testing.assert_array_equal(read_mask(source), marked)
    assert marks_something(tmp_path / "mask.png")
    assert is_drawn(tmp_path / "mask.png")
    Image.fromarray(values * np.uint8(0)).save(tmp_path / "empty.png")
    assert not marks_something(tmp_path / "empty.png")


def test_what_is_transparent_in_a_mask_of_several_colours_is_not_marked() -> None:
    values = np.zeros((2, 3, 4), np.uint8)
    values[0] = (255, 255, 255, 0)
    values[1] = (0, 0, 0, 255)
    values[1, 1] = (0, 200, 0, 255)
    assert read_mask(values).tolist() == [[False] * 3, [False, True, False]]
