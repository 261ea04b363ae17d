"""Rings: the angle between two pictures of a part, and what counts as a part."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.data.pose import LEAST_ROUND_ABOUT
from nfbmr.data.rings import (
    ANGLES,
    RINGS,
    best_angles,
    correlations,
    edge_of,
    rings_of,
    round_about,
    see,
    spectrum_of,
    turned_by,
    waves_of,
)


def rings(seed: int = 0) -> NDArray[np.float32]:
    """A smooth pattern (R, A) of waves from the second to the eighth."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    waves = [
        rng.normal(size=(RINGS, 1)) * np.cos(k * angle + rng.uniform(0, 6)) for k in range(2, 9)
    ]
    return np.asarray(np.sum(waves, axis=0), np.float32)


def oval(
    size: tuple[int, int], centre: tuple[float, float], long: float, high: float = 12
) -> NDArray[np.uint8]:
    """A bright oval, `long` to the right and `high` to the bottom, (H, W, 3)."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    inside = np.hypot((y - centre[0]) / high, (x - centre[1]) / long) < 1
    return np.repeat(np.where(inside, 200, 50).astype(np.uint8)[..., None], 3, axis=2)


def test_a_pattern_agrees_fully_with_itself_and_turning_moves_the_best_angle() -> None:
    pattern = rings()
    waves = waves_of(pattern)
    shifted = waves_of(np.roll(pattern, 77, axis=1))
    (angle,), (agreement,) = best_angles(shifted[None], waves)
    assert angle == pytest.approx(77, abs=1e-3)
    assert agreement == pytest.approx(1, abs=1e-5)
    back = turned_by(shifted[None], np.array([77.0]))[0]
    np.testing.assert_allclose(back, waves, atol=1e-5)


def test_correlations_are_those_of_the_rings_at_each_angle() -> None:
    one, two = rings_of(waves_of(rings(1))), rings_of(waves_of(rings(2)))
    assert float((one**2).sum()) == pytest.approx(1, rel=1e-5)
    found = correlations(waves_of(rings(1))[None], waves_of(rings(2)))[0]
    expected = [float((np.roll(one, -shift, axis=1) * two).sum()) for shift in range(ANGLES)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_angles_between_whole_degrees_are_found() -> None:
    waves = waves_of(rings())
    asked = np.array([10.3, 200.5, 359.8])
    found, _ = best_angles(turned_by(np.stack(3 * [waves]), -asked), waves)
    np.testing.assert_allclose(found, asked, atol=0.02)


def test_only_angles_within_the_asked_ones_are_looked_at() -> None:
    waves = waves_of(rings())
    (angle,), (agreement,) = best_angles(turned_by(waves[None], np.array([-90.0])), waves, 10)
    assert min(angle, 360 - angle) <= 10
    assert agreement < 0.9


@pytest.mark.parametrize("size", [(80, 120), (120, 80), (160, 160)])
def test_centre_and_longest_extent_are_those_of_the_part(size: tuple[int, int]) -> None:
    centre = (0.45 * size[0], 0.53 * size[1])
    seen = see(oval(size, centre, 24), 1.0)
    assert max(seen.part.shape) == 96
    assert seen.centre_in_pixels() == pytest.approx(centre, abs=0.3)
    angle, length = seen.axis()
    assert angle == pytest.approx(0, abs=1)
    assert length == pytest.approx(2, rel=0.1)
    assert seen.is_part


def test_a_pixel_that_is_higher_than_wide_makes_the_part_higher() -> None:
    seen = see(oval((100, 100), (50, 50), 12), stretch=2.0)
    assert seen.part.shape == (96, 48)
    angle, length = seen.axis()
    assert abs(angle) == pytest.approx(90, abs=1)
    assert length == pytest.approx(2, rel=0.05)
    assert seen.centre_in_pixels() == pytest.approx((50, 50), abs=0.5)


def test_noise_stripes_and_parts_that_fill_the_picture_are_no_parts() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::8] = 255
    assert not see(noise, 1.0).is_part
    assert not see(stripes, 1.0).is_part
    assert not see(oval((40, 40), (20, 20), 60), 1.0).is_part
    plain = see(np.full((40, 40, 3), 90, np.uint8), 1.0)
    assert plain.centre is None
    assert not plain.is_part


def test_a_disc_is_the_same_all_around_and_an_oval_is_not() -> None:
    assert round_about(see(oval((120, 120), (60.2, 59.7), 30, 30), 1.0)) < LEAST_ROUND_ABOUT
    assert round_about(see(oval((120, 120), (60.2, 59.7), 30, 15), 1.0)) > 0.1


def test_the_waves_of_a_picture_have_norm_one() -> None:
    waves = spectrum_of(see(oval((120, 120), (60, 60), 24), 1.0))
    assert correlations(waves[None], waves)[0, 0] == pytest.approx(1, abs=1e-5)


def test_the_edge_is_the_ring_along_the_border() -> None:
    picture = np.arange(100 * 50).reshape(100, 50)
    found = edge_of(picture)
    inside = picture[3:-3, 2:-2]
    assert sorted(found.tolist()) == sorted(set(picture.ravel()) - set(inside.ravel()))
