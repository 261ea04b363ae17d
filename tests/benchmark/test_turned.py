"""Turned copies of a set: pictures, masks and layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from nfbmr.benchmark.turned import main, write_turned
from nfbmr.data.layouts import read_data

SIDE = 64


def part(path: Path, *, mask: bool = False) -> None:
    """A bright bar off the middle, upright, on a grey background; or its outline's mask."""
    pixels = np.full((SIDE, SIDE), 0 if mask else 40, np.uint8)
    pixels[16:48, 38:44] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make(root: Path) -> None:
    for number in range(3):
        part(root / f"train/good/{number}.png")
    part(root / "test/good/0.png")
    part(root / "test/crack/0.png")
    part(root / "ground_truth/crack/0_mask.png", mask=True)


def test_pictures_and_masks_are_turned_alike_and_keep_their_places(tmp_path: Path) -> None:
    make(tmp_path / "parts")
    assert write_turned(tmp_path / "parts", tmp_path / "turned") == 5
    found = read_data(tmp_path / "turned")
    assert (len(found.train_good), len(found.test)) == (3, 2)
    (defect,) = [sample for sample in found.test if sample.is_defect]
    assert defect.mask is not None
    picture = np.asarray(Image.open(defect.path).convert("L")) > 150
    mask = np.asarray(Image.open(defect.mask)) > 127
    assert picture.sum() > 150
    assert (picture & mask).sum() > 0.85 * picture.sum()
    upright = np.asarray(Image.open(tmp_path / "parts/test/crack/0.png")) > 150
    assert (upright & mask).sum() < 0.7 * upright.sum(), "it was turned"
    corners = np.asarray(Image.open(defect.path).convert("L"))[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 40).all()


def test_each_picture_has_an_angle_of_its_own_and_a_seed_repeats_it(tmp_path: Path) -> None:
    make(tmp_path / "parts")
    assert main([str(tmp_path / "parts"), str(tmp_path / "one")]) == 0
    write_turned(tmp_path / "parts", tmp_path / "two")
    one, two = (
        [np.asarray(Image.open(path)) for path in sorted((tmp_path / name).rglob("train/*/*.png"))]
        for name in ("one", "two")
    )
    assert not np.array_equal(one[0], one[1])
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
