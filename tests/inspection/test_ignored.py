"""An area that never counts: what lies there changes nothing, what lies elsewhere is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.errors import SettingsError
from nfbmr.features.cache import FeatureCache
from nfbmr.fitting import fit
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.inspection.recalibration import Model, calibrated_on
from nfbmr.settings.schema import Settings

Draw = Callable[..., NDArray[np.uint8]]
BuiltOnce = Callable[[str, Callable[[Path], object]], Path]
AREA = np.s_[16:56, 4:40]


def mask() -> NDArray[np.bool_]:
    """The left of the picture's middle, (80, 80)."""
    found = np.zeros((80, 80), bool)
    found[AREA] = True
    return found


def damaged(picture: NDArray[np.uint8], top: int, left: int) -> NDArray[np.uint8]:
    """A copy with a bright square."""
    found = picture.copy()
    found[top : top + 16, left : left + 16] = 240
    return found


@pytest.fixture(scope="module")
def both(once: BuiltOnce, tiny: Settings, draw: Draw) -> tuple[Inspector, Inspector]:
    """A model of the whole picture, and one that ignores an area."""

    def build(root: Path) -> None:
        good = [draw(seed) for seed in range(16)]
        cache = FeatureCache(root / "cache")
        for name, ignore in (("whole", None), ("ignoring", mask())):
            fit(good, root / name, settings=tiny, device="cpu", cache=cache, ignore=ignore)

    root = once("ignored", build)
    return load(root / "whole", device="cpu"), load(root / "ignoring", device="cpu")


def test_a_defect_in_the_area_counts_only_for_the_model_of_the_whole_picture(
    both: tuple[Inspector, Inspector], draw: Draw
) -> None:
    whole, ignoring = both
    for seed in range(100, 104):
        good = draw(seed)
        bad = damaged(good, 28, 14)
        assert whole.inspect(bad).is_defect
        expected, found = ignoring.inspect(good), ignoring.inspect(bad)
        assert not found.is_defect
        assert found.score == expected.score
        np.testing.assert_array_equal(found.maps, expected.maps)


def test_a_defect_outside_is_found_where_it_is_and_nothing_shows_in_the_area(
    both: tuple[Inspector, Inspector], draw: Draw
) -> None:
    _, ignoring = both
    for seed in range(100, 104):
        bad = damaged(damaged(draw(seed), 28, 14), 56, 56)
        (found,) = ignoring.inspect_many([bad])
        assert not hasattr(found, "error")
        assert found.is_defect
        heat = found.heatmap
        assert not heat[mask()].any()
        assert heat.max() > 1
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert 48 <= row < 80
        assert 48 <= column < 80
        assert found.regions
        for size in ((20, 20), (161, 97)):
            assert found.heatmap_at(size).max() > 1
        assert not found.heatmap_at((160, 160))[np.kron(mask(), np.ones((2, 2), bool))].any()


def test_a_mask_at_the_calibration_is_carried_by_the_model(
    both: tuple[Inspector, Inspector], draw: Draw
) -> None:
    fresh = [draw(seed) for seed in range(200, 220)]
    now = both[0].recalibrated(good_images=fresh, ignore=mask())
    assert now.calibration.ignored
    for seed in range(100, 104):
        good = draw(seed)
        found = now.inspect(damaged(good, 28, 14))
        assert not found.heatmap[24:48, 10:32].any(), "in the area"
        assert now.inspect(damaged(good, 60, 60)).is_defect
    kept = now.recalibrated(good_images=fresh)
    assert kept.calibration.ignored == now.calibration.ignored


def test_a_mask_that_is_empty_is_said_and_what_it_takes_the_place_of(
    both: tuple[Inspector, Inspector], draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    whole, ignoring = both
    fresh, empty = [draw(seed) for seed in range(200, 220)], np.zeros((80, 80), bool)
    now = whole.recalibrated(good_images=fresh, ignore=mask())
    assert "is 0 everywhere" not in caplog.text
    said = "The mask of what is to be ignored is 0 everywhere: the whole picture counts"
    for model, more in (
        (whole, ""),
        (now, ". What an earlier calibration left out counts again; calibrate with its mask"),
        (ignoring, ", but for what the fit ignored"),
    ):
        caplog.clear()
        assert not model.recalibrated(good_images=fresh, ignore=empty).calibration.ignored
        (text,) = (text for text in caplog.messages if "0 everywhere" in text)
        assert text.startswith(said + more)
        assert more or text == said


def test_a_mask_without_pictures_or_of_another_shape_is_refused(
    both: tuple[Inspector, Inspector], draw: Draw
) -> None:
    fresh = [draw(seed) for seed in range(200, 220)]
    with pytest.raises(SettingsError, match=r"found a mask and no good pictures.*give good ones"):
        both[0].recalibrated(ignore=mask())
    with pytest.raises(SettingsError, match="an aspect ratio of 2;"):
        both[0].recalibrated(good_images=fresh, ignore=mask()[:40])
    with pytest.raises(SettingsError, match=r"leaves 0\.0 % of the picture"):
        both[0].recalibrated(good_images=fresh, ignore=np.ones((80, 80), bool))
    turned = Model(both[0].facts, both[0].settings, both[0].inspected, turned=True)
    with pytest.raises(SettingsError, match="turns parts to one pose"):
        calibrated_on(fresh, turned, (0.01, 0.05), mask=mask())
