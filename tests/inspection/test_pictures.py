"""Overlays, outlines and embedded pictures."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.pictures import (
    colour_regions,
    heatmap_in_regions,
    heatmap_layer,
    heatmap_overlay,
    outline_mask,
    outline_regions,
    to_data_uri,
    write_heatmap,
)
from nfbmr.inspection.regions import Region, regions_of

Draw = Callable[..., NDArray[np.uint8]]


def gray(height: int = 20, width: int = 30, value: int = 128) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def level(value: float) -> NDArray[np.float32]:
    return np.full((20, 30), value, np.float32)


@given(st.floats(-1e6, 0.5))
def test_nothing_shows_below_half_the_alarm_level(value: float) -> None:
    np.testing.assert_array_equal(heatmap_overlay(gray(), level(value)), gray())


@given(st.floats(2.0, 1e6))
def test_colour_stops_changing_at_full(value: float) -> None:
    np.testing.assert_array_equal(
        heatmap_overlay(gray(), level(value)), heatmap_overlay(gray(), level(2.0))
    )


def test_scale_is_fixed_and_not_that_of_one_picture() -> None:
    calm, mixed = level(0.8), level(0.8)
    mixed[0, 0] = 50
    np.testing.assert_array_equal(
        heatmap_overlay(gray(), calm)[1:], heatmap_overlay(gray(), mixed)[1:]
    )


def test_colour_departs_further_from_the_picture_as_the_level_rises_to_alarm() -> None:
    shown = [heatmap_overlay(gray(), level(v)).astype(int) for v in (0.5, 0.6, 0.8, 1.0)]
    distance = [np.abs(picture - 128).sum() for picture in shown]
    assert distance == sorted(set(distance))


def test_alarm_level_stands_out_on_black_gray_and_white() -> None:
    for value in (0, 128, 255):
        shown = heatmap_overlay(gray(value=value), level(1.0)).astype(int)
        assert np.abs(shown - value).sum(axis=2).min() > 100


def test_a_layer_laid_over_later_gives_the_same_picture() -> None:
    heatmap = np.linspace(0, 3, 64, dtype=np.float32).reshape(8, 8)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    layer = heatmap_layer(heatmap)
    assert layer.shape == (8, 8, 4)
    assert (layer[heatmap < 0.5, 3] == 0).all()
    laid = Image.alpha_composite(
        Image.fromarray(image).convert("RGBA"), Image.fromarray(layer)
    ).convert("RGB")
    expected = heatmap_overlay(image, heatmap).astype(int)
    assert np.abs(np.asarray(laid).astype(int) - expected).max() <= 2


def test_overlay_leaves_its_input_alone() -> None:
    image, heatmap = gray(), level(3.0)
    heatmap_overlay(image, heatmap)
    outline_mask(image, heatmap > 1)
    np.testing.assert_array_equal(image, gray())


def test_outline_goes_around_the_defect_and_leaves_it_visible() -> None:
    mask = np.zeros((20, 30), bool)
    mask[8:12, 10:20] = True
    drawn = outline_mask(gray(), mask)
    changed = (drawn != 128).any(axis=2)
    assert not (changed & mask).any()
    assert changed[7, 9:21].all()
    assert changed[12, 9:21].all()
    assert changed[7:13, 9].all()
    assert not changed[:5].any()


def test_outline_of_a_full_mask_runs_inside_and_of_an_empty_one_is_nothing() -> None:
    full = (outline_mask(gray(), np.ones((20, 30), bool)) != 128).any(axis=2)
    assert full[0].all()
    assert full[:, -1].all()
    assert not full[5, 5]
    np.testing.assert_array_equal(outline_mask(gray(), np.zeros((20, 30), bool)), gray())


def blob() -> tuple[NDArray[np.float32], tuple[Region, ...]]:
    """A heatmap (20, 30) with one region from (10, 8) to (20, 14), and heat that makes none."""
    heat = np.full((20, 30), 0.9, np.float32)
    heat[6:16, 8:22] = 0.1
    heat[8:14, 10:20] = 2.5
    heat[9:13, 11:19] = 9
    return heat, regions_of(heat, 2.0, (20, 30), [(heat, (0.0,))])


@pytest.mark.parametrize("share", [1, 10])
def test_colour_is_inside_regions_alone(share: int) -> None:
    heat = blob()[0]
    size = (20 * share, 30 * share)
    regions = regions_of(heat, 2.0, size, [(heat, (0.0,))])
    changed = (colour_regions(gray(), heat, regions, size) != 128).any(axis=2)
    expected = np.zeros((20, 30), bool)
    expected[8:14, 10:20] = True
    np.testing.assert_array_equal(changed, expected)
    np.testing.assert_array_equal(colour_regions(gray(), heat, ()), gray())


@pytest.mark.parametrize("share", [1, 10])
def test_a_heatmap_in_regions_is_what_it_was_there_and_nothing_else(share: int) -> None:
    heat = blob()[0]
    size = (20 * share, 30 * share)
    regions = regions_of(heat, 2.0, size, [(heat, (0.0,))])
    expected = np.zeros((20, 30), np.float32)
    expected[8:14, 10:20] = heat[8:14, 10:20]
    np.testing.assert_array_equal(heatmap_in_regions(heat, regions, size), expected)
    assert not heatmap_in_regions(heat, (), size).any()


def test_a_place_at_the_edge_is_coloured_whatever_the_sides_are_divided_by() -> None:
    """4388 * (1462 / 4388) is a little more than 1462."""
    heat = np.full((3, 1462), 0.1, np.float32)
    heat[:, -40:] = 2.5
    regions = regions_of(heat, 2.0, (9, 4388), [(heat, (0.0,))])
    image = np.full((3, 1462, 3), 128, np.uint8)
    changed = (colour_regions(image, heat, regions, (9, 4388)) != 128).any(axis=2)
    assert changed[:, -30:].all()
    assert not changed[:, :-50].any()


@pytest.mark.parametrize("share", [1, 10])
def test_a_line_goes_around_each_region_of_a_picture_or_a_smaller_copy(share: int) -> None:
    heat = blob()[0]
    size = (20 * share, 30 * share)
    regions = regions_of(heat, 2.0, size, [(heat, (0.0,))])
    drawn = outline_regions(gray(), regions, size)
    rows, columns = np.nonzero((drawn > 160).all(axis=2))
    assert len(rows) > 20
    assert abs(rows.min() - 8) <= 1
    assert abs(rows.max() - 13) <= 1
    assert abs(columns.min() - 10) <= 1
    assert abs(columns.max() - 19) <= 1
    inside = drawn[10:12, 13:17]
    np.testing.assert_array_equal(inside, np.full_like(inside, 128))
    np.testing.assert_array_equal(outline_regions(gray(), ()), gray())


def test_a_line_along_the_frame_stays_in_the_picture() -> None:
    heat = np.full((20, 30), 3, np.float32)
    drawn = outline_regions(gray(), regions_of(heat, 2.0, (20, 30), [(heat, (0.0,))]))
    for edge in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]):
        assert (edge > 140).all()


def test_a_heatmap_file_says_what_was_found_and_leaves_a_good_picture_alone(
    inspector: Inspector, draw: Draw, tmp_path: Path
) -> None:
    for image in (draw(2), draw(3, defect=True)):
        result = inspector.inspect(image)
        write_heatmap(tmp_path / "heat.png", image, result)
        with Image.open(tmp_path / "heat.png") as found:
            shown, text = np.asarray(found.convert("RGB")), dict(found.info)
        assert text["nfbmr:verdict"] == result.verdict
        assert float(text["nfbmr:score"]) == result.score
        assert float(text["nfbmr:threshold"]) == result.threshold
        assert text["nfbmr:scale"].startswith("0 = typical good")
        told = json.loads(text["nfbmr:regions"])
        assert len(told) == len(result.regions)
        for one, region in zip(told, result.regions, strict=True):
            said = region.to_dict()
            assert one == {key: said[key] for key in said if key != "outline"}
        changed = (shown != image).any(axis=2)
        assert changed.any() == result.is_defect
        assert not result.is_defect or changed[20:50, 20:50].mean() > 0.5


def decode(address: str) -> Image.Image:
    head, body = address.split(",", 1)
    picture = Image.open(io.BytesIO(base64.b64decode(body, validate=True)))
    assert picture.format is not None
    assert head == f"data:image/{picture.format.lower()};base64"
    return picture


def test_png_address_is_lossless() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(decode(to_data_uri(image, form="png"))), image)


@pytest.mark.parametrize(
    ("shape", "expected"), [((400, 1000), (100, 40)), ((1000, 10), (1, 100)), ((30, 20), (20, 30))]
)
def test_long_side_is_shrunk_and_never_enlarged(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert decode(to_data_uri(gray(*shape), max_side=100)).size == expected


def test_wrong_sizes_and_types_are_a_mistake() -> None:
    with pytest.raises(AssertionError, match="size"):
        heatmap_overlay(gray(), np.zeros((5, 5), np.float32))
    with pytest.raises(AssertionError, match="size"):
        outline_mask(gray(), np.zeros((5, 5), bool))
    with pytest.raises(AssertionError, match="picture"):
        to_data_uri(np.zeros((5, 5), np.uint8))


def test_pictures_do_without_matplotlib() -> None:
    code = "import sys, nfbmr.inspection.pictures; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
