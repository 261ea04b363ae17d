"""Masks of what never counts: brought to a model's size, refused, and painted over."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.data.ignore import GRAY, Ignored, ignored_in, share_in_words
from nfbmr.data.images import load_image
from nfbmr.errors import SettingsError


def square(size: tuple[int, int] = (90, 120)) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    mask[size[0] // 3 : size[0] // 2, size[1] // 4 : size[1] // 2] = True
    return mask


@pytest.mark.parametrize("size", [(32, 64), (90, 120), (192, 160)])
def test_whatever_lies_there_the_painted_picture_is_the_same(size: tuple[int, int]) -> None:
    mask = square()
    ignored = ignored_in(mask, [(90, 120)] * 3, size)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (90, 120, 3), np.uint8)
    other = picture.copy()
    other[mask] = rng.integers(0, 256, (int(mask.sum()), 3))
    plain = load_image(picture, size)
    painted = ignored.paint(plain)
    np.testing.assert_array_equal(ignored.paint(load_image(other, size)), painted)
    np.testing.assert_array_equal(painted[ignored.mask], GRAY)
    np.testing.assert_array_equal(painted[~ignored.mask], plain[~ignored.mask])
    assert (plain[ignored.mask] != GRAY).any(), "a copy is painted"
    assert ignored.mask.mean() < 0.15
    counts = ignored.counts((90, 120))
    assert counts.dtype == np.float32
    assert not counts[mask].any()
    assert 1 - counts.mean() < 0.15


def test_a_mask_of_another_size_is_brought_to_the_pictures_by_the_nearest_pixel() -> None:
    small = np.array([[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], bool)
    found = ignored_in(small, [(90, 120), (30, 40), (90, 120)], (90, 120))
    expected = np.zeros((90, 120), bool)
    expected[:30, 60:90] = True
    np.testing.assert_array_equal(found.mask, expected)
    assert found.describe() == "8.3 % of the picture is ignored: what lies there never counts"


@pytest.mark.parametrize(
    ("share", "digits", "said"),
    [
        (0.0, 0, "0 %"),
        (1e-6, 0, "less than 0.1 %"),
        (0.0009, 1, "less than 0.1 %"),
        (0.0041, 0, "0.4 %"),
        (0.25, 0, "25 %"),
        (0.25, 1, "25.0 %"),
    ],
)
def test_a_share_that_is_ignored_is_never_said_to_be_none(
    share: float, digits: int, said: str
) -> None:
    assert share_in_words(share, digits) == said


def test_the_key_is_of_size_and_pixels() -> None:
    masks = [square(), square()[::-1], square((120, 90)), np.zeros((90, 120), bool)]
    keys = [Ignored(mask).key for mask in masks]
    assert len(set(keys)) == len(keys)
    assert Ignored(square()).key == keys[0]


def test_another_aspect_ratio_is_refused_beyond_a_twentieth() -> None:
    pictures = [(100, 100), (100, 100), (100, 300)]
    assert ignored_in(square((100, 104)), pictures, (64, 64)).mask.shape == (64, 64)
    for size in ((100, 106), (106, 100)):
        said = rf"found a mask of {size[0]} x {size[1]} .* expected 1 as the good pictures have"
        with pytest.raises(SettingsError, match=said):
            ignored_in(square(size), pictures, (64, 64))


def test_a_mask_that_leaves_next_to_nothing_is_refused() -> None:
    mask = np.ones((100, 100), bool)
    mask[:4] = False
    said = r"leaves 4\.0 % of the picture; expected 5 % at least.*invert"
    with pytest.raises(SettingsError, match=said):
        ignored_in(mask, [(100, 100)], (100, 100))
    mask[:6] = False
    assert ignored_in(mask, [(100, 100)], (100, 100)).mask.mean() == pytest.approx(0.94)
