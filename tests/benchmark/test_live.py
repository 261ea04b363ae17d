"""A live stream, timed: each picture has a verdict, and what was late is seen."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from nfbmr.benchmark.live import Camera, measure
from nfbmr.inspection.inspector import Inspector


def test_each_picture_has_its_verdict_and_its_time(inspector: Inspector, good_folder: Path) -> None:
    pictures = [path.read_bytes() for path in sorted(good_folder.iterdir())[:3]]
    row = measure(inspector, pictures, rate=200, seconds=0.05)
    assert row["pictures"] == 10
    assert row["runtime"] == "torch"
    assert tuple(row["size"]) == inspector.size
    found = row["milliseconds"]
    assert 0 < found["median"] <= found["percentile_95"] <= found["worst"]


def test_a_picture_that_is_asked_for_too_late_was_taken_at_its_time() -> None:
    camera = Camera([b"a", b"b"], rate=100, count=3)
    given = []
    for picture in camera:
        given.append(picture)
        time.sleep(0.03)  # longer than the pause between two: it falls behind
    assert given == [b"a", b"b", b"a"]
    np.testing.assert_allclose(np.diff(camera.taken), 0.01)
    assert time.perf_counter() >= camera.taken[-1] + 0.06
