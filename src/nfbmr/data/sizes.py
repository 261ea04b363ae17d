"""One size for pictures of many sizes, and a size of not too many pixels."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def choose_size(
    sizes: Sequence[tuple[int, int]], budget: int, multiple: int = 32
) -> tuple[int, int]:
    """Chooses one (H, W) for pictures of many sizes.

    Among all multiples it minimises |log error of the aspect ratio| + |log error of the area| / 2,
    against the median aspect ratio (median of log(H / W)) and `budget`. Aspect weighs more: a wrong
    one distorts every defect, while a wrong area only costs some time or detail.

    Args:
        sizes: (H, W) of the pictures; at least one.
        budget: pixels per picture to aim at.
        multiple: pixels; H and W are multiples of it, at least one each.

    Returns:
        (H, W) with H * W <= 1.1 * budget, unless one `multiple` squared is already more.
    """
    assert len(sizes) > 0 < budget, (len(sizes), budget)
    aspect = statistics.median(math.log(height / width) for height, width in sizes)
    most = int(1.1 * budget / multiple**2)  # cells of one multiple squared

    def cost(cells: tuple[int, int]) -> tuple[float, int, int]:
        rows, columns = cells
        aspect_error = abs(math.log(rows / columns) - aspect)
        area_error = abs(math.log(rows * columns * multiple**2 / budget))
        return round(aspect_error + area_error / 2, 9), rows * columns, rows

    candidates = [(r, c) for r in range(1, most + 1) for c in range(1, most // r + 1)]
    rows, columns = min(candidates, key=cost, default=(1, 1))
    return rows * multiple, columns * multiple


def within(size: tuple[int, int], most: int) -> tuple[int, int]:
    """Returns (H, W) of about so many pixels at most, the ratio of sides kept; one a side at least.

    Args:
        size: (H, W), which stays where it has no more.
        most: pixels.
    """
    share = min(1.0, math.sqrt(most / (size[0] * size[1])))
    return max(1, round(share * size[0])), max(1, round(share * size[1]))
