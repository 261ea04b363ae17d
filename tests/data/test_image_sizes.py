"""Resizing, masks, and the name of a content."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.data.images import resize_image, resize_map
from nfbmr.data.masks import read_mask
from nfbmr.data.same import fingerprint
from nfbmr.errors import ImageError


def save(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def test_shrinking_averages_instead_of_picking() -> None:
    checkerboard = (np.indices((64, 96)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = resize_image(np.stack([checkerboard] * 3, axis=2), (16, 24))
    assert small.shape == (16, 24, 3)
    assert np.abs(small.astype(int) - 127.5).max() <= 2


def test_resize_is_separable_bilinear() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = 100
    # Pixel centres of 4 in 2: -0.25, 0.25, 0.75, 1.25 -> weights 0, 1/4, 3/4, 1.
    assert resize_image(image, (1, 4))[0, :, 0].tolist() == [0, 25, 75, 100]
    scores = np.array([[0.0, 100.0]], np.float32)
    assert resize_map(scores, (1, 4)).tolist() == [[0.0, 25.0, 75.0, 100.0]]


def test_resize_to_the_same_size_changes_nothing() -> None:
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert resize_image(image, (2, 3)) is image
    scores = np.ones((2, 3), np.float32)
    assert resize_map(scores, (2, 3)) is scores


def test_maps_keep_their_range_and_their_size() -> None:
    scores = np.random.default_rng(0).normal(size=(10, 7)).astype(np.float32)
    large = resize_map(scores, (320, 224))
    assert large.shape == (320, 224)
    assert large.dtype == np.float32
    assert scores.min() - 1e-6 <= large.min() < large.max() <= scores.max() + 1e-6


def test_masks_of_every_kind(tmp_path: Path) -> None:
    expected = np.array([[False, True, True]])
    palette = Image.new("P", (3, 1))
    palette.putpalette([0, 0, 0, 0, 0, 0, 9, 9, 9])  # index 1 is as black as index 0
    for x in range(3):
        palette.putpixel((x, 0), x)
    rgba = np.array([[[9, 9, 9, 0], [0, 0, 1, 255], [255, 0, 0, 255]]], np.uint8)
    gray_alpha = Image.merge(
        "LA", (Image.fromarray(np.array([[0, 1, 255]], np.uint8)), Image.new("L", (3, 1), 255))
    )
    images = {
        "l.png": Image.fromarray(np.array([[0, 1, 255]], np.uint8)),
        "one.png": Image.fromarray(expected),
        "p.png": palette,
        "rgba.png": Image.fromarray(rgba),
        "la.png": gray_alpha,
        "i16.png": Image.fromarray(np.array([[0, 1, 65535]], np.uint16)),
        "f.tif": Image.fromarray(np.array([[0, 0.5, 1]], np.float32)),
    }
    for name, image in images.items():
        mask = read_mask(save(tmp_path / name, image))
        assert mask.dtype == np.bool_
        np.testing.assert_array_equal(mask, expected, err_msg=name)


def test_fingerprint_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"some bytes")
    assert fingerprint(path) == hashlib.sha256(b"some bytes").hexdigest()
    with pytest.raises(ImageError, match=r"none\.png: found no such file"):
        fingerprint(tmp_path / "none.png")
