"""Real pictures that change: how many parts pass until the drift alarm; for `benchmark.drift`.

Shapes: N = parts, Q = statistics.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.scoring.drift import Monitor, Reference
from nfbmr.scoring.looks import LOOKS
from nfbmr.scoring.maps import Floats

Row = dict[str, Any]
Pixels = NDArray[np.uint8]

NAMES = ("score", *LOOKS)
CALIBRATING = 100
_RANK = 0.99  # of the calibration, above which parts are not compared
_BEFORE = 1000  # unchanged parts
_MOST_LATE = 3000  # changed parts, after which nobody waits
_SHIFT = 0.01  # of the width


def below_its_cut(table: Floats) -> Reference:
    """Returns good pictures' values (n, Q) as what parts are compared with."""
    cut = float(np.sort(table[:, 0])[math.ceil((len(table) + 1) * _RANK) - 1])
    names = NAMES[: table.shape[1]]
    return Reference(names=names, values=table[table[:, 0] < cut], cut=cut)


def brighter(pixels: Pixels) -> Pixels:
    """Returns a picture 5 % brighter."""
    return np.asarray(np.clip(np.rint(pixels * 1.05), 0, 255), np.uint8)


def blurred(pixels: Pixels) -> Pixels:
    """Returns a picture blurred by a Gaussian of one pixel."""
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)))


def shifted(pixels: Pixels) -> Pixels:
    """Returns a picture shifted to the right by a hundredth of its width."""
    by = max(1, round(_SHIFT * pixels.shape[1]))
    return np.concatenate([np.repeat(pixels[:, :1], by, axis=1), pixels[:, :-by]], axis=1)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "5 % brighter": brighter,
    "blurred by 1 pixel": blurred,
    "shifted by 1 %": shifted,
}


def seen(model: Path, pictures: list[Path]) -> dict[str, Floats]:
    """Inspects pictures as they are, and after each change; returns the values (N, Q) of each."""
    from nfbmr.data.images import read_image
    from nfbmr.inspection.inspector import load

    inspector = load(model)
    as_they_are = [np.asarray(read_image(path)) for path in pictures]
    ways = {"": lambda pixels: pixels, **CHANGES}
    return {
        name: np.array([_values(inspector.inspect(way(pixels))) for pixels in as_they_are])
        for name, way in ways.items()
    }


def _values(result: Any) -> list[float]:
    return [result.score, *(result.looks[name] for name in LOOKS)]


def changed(change: str, before: Floats, after: Floats, repeats: int) -> Row:
    """Watches lines that change after `_BEFORE` parts; returns how late that is found.

    Args:
        change: its name.
        before: values (N, Q) of good pictures, drawn from with replacement.
        after: of the same pictures changed.
        repeats: lines.
    """
    delays, names, early = [], Counter[str](), 0
    for repeat in range(repeats):
        rng = np.random.default_rng([2, repeat])
        table = before[rng.integers(len(before), size=CALIBRATING)]
        known = below_its_cut(table)
        monitor = Monitor(known, seed=repeat)
        for own in before[rng.integers(len(before), size=_BEFORE)]:
            monitor.add(own.tolist(), defect=bool(own[0] > 1))
        early += monitor.alarm is not None
        for own in after[rng.integers(len(after), size=_MOST_LATE)]:
            if monitor.alarm is not None or monitor.defects_alarm is not None:
                break
            monitor.add(own.tolist(), defect=bool(own[0] > 1))
        first = [one for one in (monitor.alarm, monitor.defects_alarm) if one is not None]
        if first:
            names[first[0].name] += 1
        delays.append(monitor.parts - _BEFORE)
    return {
        "kind": "changed",
        "change": change,
        "pictures": len(before),
        "before": _BEFORE,
        "lines": repeats,
        "false": early,
        "found": sum(names.values()),
        "median": float(np.median(delays)),
        "nine_of_ten": float(np.quantile(delays, 0.9)),
        "named": dict(names.most_common()),
        "parts_called_defects": float((after[:, 0] > 1).mean()),
    }
