"""What the hot folder says of a picture beside its verdict."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.watched import Inspecting

Draw = Callable[..., NDArray[np.uint8]]


def test_a_row_says_that_a_file_holds_other_pages_and_the_log_names_it(
    inspector: Inspector, tmp_path: Path, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    judge = Inspecting(inspector.with_calibration(inspector.calibration), None)
    page = Image.fromarray(draw(1))
    page.save(tmp_path / "one.tif")
    page.save(tmp_path / "two.tif", save_all=True, append_images=[page])
    one, two = (judge(path, path.read_bytes(), path.stem) for path in sorted(tmp_path.iterdir()))
    assert "has_more" not in one
    assert two["has_more"] is True
    assert two["path"] == str(tmp_path / "two.tif")
    (said,) = (text for text in caplog.messages if "other pages" in text)
    assert f"looked at: {tmp_path / 'two.tif'};" in said


def test_what_was_made_of_another_picture_is_inspected_and_said_once(
    inspector: Inspector, tmp_path: Path, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    judge = Inspecting(inspector, None)
    for name in ("a.png", "a_overlay.png", "a_heatmap.png", "b_overlay.png"):
        Image.fromarray(draw(1)).save(tmp_path / name)
    with caplog.at_level(logging.WARNING):
        for name in ("a.png", "b_overlay.png"):
            judge(tmp_path / name, (tmp_path / name).read_bytes(), name)
        assert caplog.messages == []
        for name in ("a_overlay.png", "a_heatmap.png"):
            row = judge(tmp_path / name, (tmp_path / name).read_bytes(), name)
            assert "verdict" in row
    (said,) = caplog.messages
    assert said.startswith(f"{tmp_path / 'a_overlay.png'} is inspected, though by its name")
