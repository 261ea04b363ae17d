"""Whether heatmap and regions show the defect that a verdict is of.

It takes masks, so it stands with `metrics`: nothing that learns or calibrates may import it.

    H W   height and width of a picture
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nfbmr.inspection.result import Inspection

SLACK = 0.03
"""Share of the picture's longer side within which a place counts as at the mask."""


class Pointing:
    """Counts over defective pictures with masks."""

    def __init__(self) -> None:
        self._inside: list[bool] = []
        self._pointed: list[bool] = []
        self._touched: list[bool] = []

    def update(
        self, result: Inspection, heat: NDArray[np.float32], mask: NDArray[np.bool_]
    ) -> None:
        """Takes in one picture.

        Args:
            result: what was said of it.
            heat: its heatmap (H, W).
            mask: (H, W), True on the defect; one without is passed over.
        """
        if not mask.any():
            return
        reach = 2 * round(SLACK * max(mask.shape)) + 1
        near = ndimage.maximum_filter(mask, reach)
        highest = np.unravel_index(int(heat.argmax()), heat.shape)
        self._inside.append(bool(mask[highest]))
        self._pointed.append(bool(near[highest]))
        if result.is_defect:
            boxes = (region.box for region in result.regions)
            self._touched.append(any(near[t:b, le:r].any() for le, t, r, b in boxes))

    def compute(self) -> dict[str, float | None]:
        """Returns shares, None where there is nothing to share.

        `pointed_inside`: of defective pictures, those whose highest point lies in the mask;
        `pointed`: those where it lies at it, that is in it or within `SLACK` of it; `touched`: of
        those called defects, those of which a region's box touches what is at it.
        """
        return {
            "pointed_inside": _share(self._inside),
            "pointed": _share(self._pointed),
            "touched": _share(self._touched),
        }


def _share(found: list[bool]) -> float | None:
    return float(np.mean(found)) if found else None
