"""That files of several pages were read by the first is said: once, how many and which."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.result import Inspection

Draw = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def files(tmp_path: Path, draw: Draw) -> list[Path]:
    """A file of one page and two of two."""
    pages = [Image.fromarray(draw(i)) for i in range(2)]
    pages[0].save(tmp_path / "a.png")
    for name in ("b.tif", "c.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    return sorted(tmp_path.iterdir())


def several(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "other pages or frames" in text]


def test_a_stream_says_it_once_with_the_number_and_the_first(
    inspector: Inspector, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    fresh = inspector.with_calibration(inspector.calibration)
    with caplog.at_level(logging.WARNING):
        results = list(fresh.inspect_many(files))
        (said,) = several(caplog)
        list(fresh.inspect_many(files))
        fresh.inspect(files[1])
    assert said.startswith("2 pictures hold other pages or frames than the first")
    assert f"looked at: {files[1]} and 1 more;" in said
    assert several(caplog) == [said]
    assert [isinstance(r, Inspection) and r.has_more for r in results] == [False, True, True]
    scores = {r.score for r in results if isinstance(r, Inspection)}
    assert max(scores) - min(scores) < 1e-4 * max(1.0, abs(max(scores)))  # all by the first page


def test_one_picture_is_said_too_and_nothing_of_others(
    inspector: Inspector, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    fresh = inspector.with_calibration(inspector.calibration)
    with caplog.at_level(logging.WARNING):
        fresh.inspect(files[0])
        assert several(caplog) == []
        assert fresh.inspect(files[2].read_bytes()).has_more
    (said,) = several(caplog)
    assert said.startswith("1 picture holds ")
