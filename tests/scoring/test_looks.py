"""What is watched of a picture beside its score."""

from __future__ import annotations

import numpy as np
import pytest

from nfbmr.scoring.looks import in_order, joined, looks_of_each, looks_of_maps, looks_of_pixels
from nfbmr.scoring.maps import MAPS


def test_brightness_and_sharpness_are_counted_by_hand() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[:, 1] = 30
    assert looks_of_pixels(pixels) == {"brightness": 10.0, "sharpness": 30.0}
    pixels[0] = 255
    found = looks_of_pixels(pixels)
    assert found["sharpness"] == pytest.approx((255 + 225 + 255) / 3 + (0 + 0 + 30 + 30) / 4)


def test_a_blurred_picture_is_less_sharp_and_as_bright() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    smooth = pixels.copy()
    smooth[1:] = (pixels[1:].astype(int) + pixels[:-1]) // 2
    assert looks_of_pixels(smooth)["sharpness"] < 0.9 * looks_of_pixels(pixels)["sharpness"]


def test_features_are_as_far_as_their_map_says() -> None:
    maps = np.zeros((2, len(MAPS), 2, 2), np.float32)
    maps[1, MAPS.index("distance")] = [[1, 2], [3, 6]]
    assert looks_of_maps(maps)["feature_distance"].tolist() == [0, 3]
    assert looks_of_maps(maps[:, :2]) == {}
    assert looks_of_each(maps, [{"brightness": 1.0}, {"brightness": 2.0}]) == [
        {"brightness": 1.0, "feature_distance": 0.0},
        {"brightness": 2.0, "feature_distance": 3.0},
    ]
    assert looks_of_each(maps[:, :2], []) == [{}, {}]


def test_values_are_joined_and_brought_into_an_order() -> None:
    table = joined([{"a": 1.0}, {"a": 2.0}, {"a": 3.0}], ["a"])
    assert in_order(table, [2, 0]) == {"a": (3.0, 1.0)}
