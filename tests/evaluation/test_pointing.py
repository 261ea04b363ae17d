"""Pointing: what counts as at the mask."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from nfbmr.evaluation.pointing import Pointing
from nfbmr.inspection.result import Inspection


def result(*boxes: tuple[int, int, int, int], is_defect: bool = True) -> Inspection:
    regions = [SimpleNamespace(box=box) for box in boxes]
    return cast("Inspection", SimpleNamespace(is_defect=is_defect, regions=regions))


def heat(y: int, x: int) -> np.typing.NDArray[np.float32]:
    found = np.zeros((100, 50), np.float32)
    found[y, x] = 2
    return found


MASK = np.zeros((100, 50), bool)
MASK[40:45, 20:25] = True


@pytest.mark.parametrize(
    ("y", "inside", "at"),
    [
        *((40, True, True), (44, True, True), (45, False, True), (47, False, True)),
        *((48, False, False), (90, False, False)),
    ],
)
def test_the_highest_point_is_in_the_mask_or_within_3_hundredths_of_it(
    y: int, inside: bool, at: bool
) -> None:
    pointing = Pointing()
    pointing.update(result((0, 0, 1, 1)), heat(y, 22), MASK)
    expected = {"pointed_inside": float(inside), "pointed": float(at), "touched": 0.0}
    assert pointing.compute() == expected


def test_a_region_that_reaches_the_mask_touches_it_and_misses_are_not_asked() -> None:
    pointing = Pointing()
    pointing.update(result((0, 0, 5, 5), (10, 30, 18, 41)), heat(1, 1), MASK)
    pointing.update(result(is_defect=False), heat(42, 22), MASK)
    pointing.update(result((0, 0, 5, 5)), heat(42, 22), np.zeros_like(MASK))
    assert pointing.compute() == {"pointed_inside": 0.5, "pointed": 0.5, "touched": 1.0}
    assert Pointing().compute() == dict.fromkeys(("pointed_inside", "pointed", "touched"))
