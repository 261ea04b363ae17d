"""The choice of one size."""

from __future__ import annotations

import pytest

from nfbmr.data.sizes import choose_size, within


@pytest.mark.parametrize(
    ("sizes", "budget", "expected"),
    [
        ([(300, 300), (512, 512)], 102_400, (320, 320)),
        ([(1024, 1024)], 100_000, (320, 320)),
        ([(1260, 500)] * 3, 102_400, (480, 192)),
        ([(500, 1260)] * 3, 102_400, (192, 480)),
        ([(100, 200), (100, 100), (200, 100)], 102_400, (320, 320)),  # the median, not the mean
        ([(100, 100)], 10, (32, 32)),
        ([(10, 10_000)], 102_400, (32, 3520)),  # as long as 1.1 budgets allow
    ],
)
def test_choose_size(sizes: list[tuple[int, int]], budget: int, expected: tuple[int, int]) -> None:
    assert choose_size(sizes, budget) == expected


@pytest.mark.parametrize("budget", [2_000, 60_000, 200_000])
@pytest.mark.parametrize("aspect", [0.2, 0.7, 1.0, 1.9])
def test_chosen_sizes_are_multiples_within_the_budget(budget: int, aspect: float) -> None:
    height, width = choose_size([(round(1000 * aspect), 1000)], budget, multiple=16)
    assert height % 16 == 0 == width % 16
    assert 0.5 * budget <= height * width <= 1.1 * budget


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((30, 40), (30, 40)),
        ((300, 400), (30, 40)),
        ((1, 120_000), (1, 12_000)),
        ((60, 20), (60, 20)),
    ],
)
def test_of_too_many_pixels_the_ratio_stays(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert within(size, 1200) == expected
