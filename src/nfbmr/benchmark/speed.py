"""How fast a model inspects: the parts of one picture's way, and pictures a second in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nfbmr.data.images import load_image
from nfbmr.inspection.inspector import Inspector
from nfbmr.scoring.calibration import image_scores
from nfbmr.scoring.conformal import p_values

_WARM_UP = 3
_BATCHES = 16


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the way, in milliseconds a picture."""

    name: str
    median: float
    percentile_95: float


def parts(inspector: Inspector, paths: Sequence[Path], repeats: int = 30) -> list[Part]:
    """Times decoding with resizing, the graph, and scoring with heatmap, one picture at a time.

    Args:
        inspector: any model.
        paths: pictures; taken in turn.
        repeats: measurements after the warm-up, at least 1.

    Returns:
        The parts, then the whole from file to verdict.

    Raises:
        ImageError: a picture cannot be read.
    """
    chosen = [paths[i % len(paths)] for i in range(repeats + _WARM_UP)]
    size, how = inspector.facts.size, inspector.settings.data
    pixels = [load_image(path, size, how)[None] for path in chosen[: len(paths)]]
    maps = inspector.runtime.run(pixels[0])
    found = inspector.inspect(chosen[0])

    def score() -> None:
        scores = image_scores(maps, found.scoring, found.calibration)
        p_values(scores, found.calibration.scores)
        found.heatmap_at(size)

    steps: dict[str, Callable[[int], object]] = {
        "decode and resize": lambda i: load_image(chosen[i], size, how),
        f"graph ({inspector.runtime.name})": lambda i: inspector.runtime.run(
            pixels[i % len(pixels)]
        ),
        "score and heatmap": lambda _: score(),
        "file to verdict": lambda i: inspector.inspect(chosen[i]),
    }
    return [_timed(name, step, len(chosen)) for name, step in steps.items()]


def _timed(name: str, step: Callable[[int], object], n: int) -> Part:
    times = []
    for i in range(n):
        started = time.perf_counter()
        step(i)
        times.append(1000 * (time.perf_counter() - started))
    kept = times[_WARM_UP:]
    return Part(
        name=name, median=float(np.median(kept)), percentile_95=float(np.percentile(kept, 95))
    )


def throughput(inspector: Inspector, paths: Sequence[Path], n: int = 256) -> float:
    """Returns pictures a second from files, as `inspect_many` does it, after a few to warm up."""
    chosen = [paths[i % len(paths)] for i in range(n)]
    for _ in inspector.inspect_many(chosen[:_BATCHES]):  # a runtime compiles for its batch
        pass
    started = time.perf_counter()
    for _ in inspector.inspect_many(chosen):
        pass
    return n / (time.perf_counter() - started)
