"""Why: the good part that is nearest at a place, found again under shift and brighter light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from nfbmr.data.images import resize_image
from nfbmr.errors import BundleTamperedError, ImageError
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.result import Inspection
from nfbmr.inspection.why import compared
from nfbmr.model.bundle import read_bundle

Picture = NDArray[np.uint8]
Draw = Callable[..., Picture]


def part(seed: int, size: tuple[int, int] = (80, 80)) -> Picture:
    """A smooth picture of its own, (H, W, 3)."""
    noise = np.random.default_rng(seed).normal(size=size)
    smooth = ndimage.gaussian_filter(noise, 3)
    gray = 110 + 30 * smooth / smooth.std()
    return np.repeat(np.clip(gray, 20, 200).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def result(inspector: Inspector, draw: Draw) -> Inspection:
    """Of a picture 80 x 80 with a defect."""
    found = inspector.inspect(draw(3, defect=True))
    assert found.is_defect
    top = 0.97 * float(found.heatmap.max())  # so that its region is small
    strict = replace(found.calibration, threshold=top)
    return replace(found, threshold=top, calibration=strict)


def test_the_nearest_example_is_found_in_other_light_and_a_little_aside(
    result: Inspection,
) -> None:
    image = part(5)
    (left, top, right, bottom) = result.regions[0].box
    assert min(right - left, bottom - top) > 30
    assert max(right - left, bottom - top) < 60
    image[top + 15 : bottom - 15, left + 15 : right - 15] = 240  # the defect
    moved = np.roll(part(5), (2, -3), axis=(0, 1)) + np.uint8(25)
    examples = [part(1), part(2), moved, part(3)]
    why = compared(image, result, examples)
    assert [one.region for one in why] == list(result.regions)
    assert (why[0].example, why[0].shift) == (2, (-3, 2))
    left, top, right, bottom = why[0].box
    wide = np.pad(moved, ((4, 4), (4, 4), (0, 0)), mode="edge")
    expected = wide[top + 6 : bottom + 6, left + 1 : right + 1]
    np.testing.assert_array_equal(why[0].there, expected)


def test_crops_are_alike_in_size_and_hold_the_region(result: Inspection) -> None:
    image = part(7)
    examples = [part(1, (40, 64)), part(2, (40, 64))]
    for one in compared(image, result, examples):
        left, top, right, bottom = one.box
        np.testing.assert_array_equal(one.here, image[top:bottom, left:right])
        assert one.here.shape == one.there.shape
        assert one.here.dtype == one.there.dtype == np.uint8
        inner = one.region.box
        assert left <= inner[0] < inner[2] <= right
        assert top <= inner[1] < inner[3] <= bottom
        assert 0 <= left < right <= 80
        assert 0 <= top < bottom <= 80


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (500, 400)])
def test_any_size_of_picture_is_borne(result: Inspection, size: tuple[int, int]) -> None:
    sized = replace(result, size=size)
    why = compared(resize_image(part(7), size), sized, [part(1)])
    assert len(why) == len(sized.regions) > 0
    assert all(min(one.here.shape) > 0 and one.here.shape == one.there.shape for one in why)


def test_good_pictures_and_models_without_examples_have_nothing_to_show(
    inspector: Inspector, result: Inspection, draw: Draw
) -> None:
    good = inspector.inspect(draw(2))
    assert good.verdict == "good"
    assert inspector.why(draw(2), good) == ()
    assert compared(draw(3, defect=True), result, []) == ()


def test_another_picture_than_the_one_inspected_is_refused(
    inspector: Inspector, result: Inspection, draw: Draw
) -> None:
    with pytest.raises(ImageError, match=r"40 x 60 .*80 x 80: give the one that was inspected"):
        inspector.why(draw(3, size=(40, 60)), result)


def test_a_fitted_model_shows_a_good_part(
    inspector: Inspector, result: Inspection, draw: Draw
) -> None:
    image = draw(3, defect=True)
    first = inspector.why(image, result)[0]
    assert first.here.max() == 240
    assert first.there.max() < 200, "a good part is a gray ramp"
    assert 0 <= first.example < inspector.facts.n_train


def test_a_damaged_example_is_named(inspector: Inspector, result: Inspection, draw: Draw) -> None:
    assert inspector.path is not None
    bundle = replace(read_bundle(inspector.path, tensors=False), examples=(b"no picture",))
    broken = Inspector(bundle, inspector.runtime)
    with pytest.raises(BundleTamperedError, match="example of the model is damaged"):
        broken.why(draw(3, defect=True), result)
