"""Depth, normals and the like beside pictures of colours are no parts, and `normal` is not good."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.data.layouts import read_data
from nfbmr.errors import LayoutError


def draw(root: Path, *names: str) -> None:
    """Writes three pictures into each folder, each with pixels of its own."""
    for name in names:
        for number in range(3):
            path = root / (name.format(number) if "{" in name else f"{name}/{number:03}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.random.default_rng(list(str(path).encode())).integers(0, 256, (8, 9))
            Image.fromarray(values.astype(np.uint8)).save(path)


WORDS = "normal normals normal_map curvature height HeightMap albedo diffuse specular disparity"
WORDS += " range intensity xyz depth_1 surface_normals"


@pytest.mark.parametrize("word", WORDS.split())
@pytest.mark.parametrize("above", ["train/good/", "", "good/"])
def test_folders_of_maps_beside_rgb_are_left_out(tmp_path: Path, above: str, word: str) -> None:
    draw(tmp_path, f"{above}rgb", f"{above}{word}")
    data = read_data(tmp_path)
    assert {s.path.parent.name for s in data.samples} == {"rgb"}
    assert data.warnings[0].startswith("pictures of depth and the like beside rgb, left out: 3 (")


def test_types_of_defect_beside_normal_are_no_maps(tmp_path: Path) -> None:
    draw(tmp_path, "normal", "height", "abnormal")
    assert [s.path.parent.name for s in read_data(tmp_path).train_good] == ["normal"] * 3


@pytest.mark.parametrize(
    "names",
    [
        ("albedo", "normal", "height"),
        ("normals", "depth"),
        ("train/good/albedo", "train/good/normal", "train/good/height"),
        ("good/image", "good/normals", "good/curvature"),
        ("Normal", "Intensity_Map"),
    ],
)
def test_normals_beside_maps_and_no_rgb_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    draw(tmp_path, *names)
    with pytest.raises(LayoutError, match=r"normals beside depth .* says nothing of good.*'rgb'"):
        read_data(tmp_path)


@pytest.mark.parametrize("colours", ["{:03}_rgb.png", "{:03}_image_0.png", "{:03}.png"])
@pytest.mark.parametrize("word", ["normal", "normals", "depth", "normal_map", "height"])
@pytest.mark.parametrize("folder", ["good/", "train/good/"])
def test_files_of_maps_are_left_out(tmp_path: Path, folder: str, colours: str, word: str) -> None:
    draw(tmp_path, folder + colours, f"{folder}{{:03}}_{word}.png")
    data = read_data(tmp_path)
    assert {s.path.name for s in data.samples} == {colours.format(number) for number in range(3)}
    assert "left out: 3 (" in data.warnings[0]


def test_colours_without_light_are_left_out_beside_others_alone(tmp_path: Path) -> None:
    draw(tmp_path, "good/{}_albedo.png", "good/{}_normal.png")
    assert {s.path.stem for s in read_data(tmp_path).samples} == {f"{n}_albedo" for n in range(3)}
    draw(tmp_path, "good/{}_rgb.png")
    assert {s.path.stem for s in read_data(tmp_path).samples} == {f"{n}_rgb" for n in range(3)}
