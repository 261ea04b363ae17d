"""Timing a model: the parts are there and are times; nothing is asserted about how long."""

from __future__ import annotations

from pathlib import Path

from nfbmr.benchmark.speed import parts, throughput
from nfbmr.inspection.inspector import Inspector


def test_parts_and_throughput(inspector: Inspector, good_folder: Path) -> None:
    paths = sorted(good_folder.iterdir())[:2]
    found = parts(inspector, paths, repeats=2)
    assert [part.name for part in found] == [
        "decode and resize",
        "graph (torch)",
        "score and heatmap",
        "file to verdict",
    ]
    assert all(0 < part.median <= part.percentile_95 for part in found)
    assert throughput(inspector, paths, n=3) > 0
