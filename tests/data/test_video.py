"""Frames of a video, in RGB and in order."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from nfbmr.data.video import frames
from nfbmr.errors import DataError, MissingExtraError

LEVELS = (10, 60, 110, 160, 210)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    path = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for level in LEVELS:
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 2] = level  # red, in OpenCV's order
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize("every", [1, 2])
def test_frames_come_in_order_and_in_rgb(video: Path, every: int) -> None:
    found = list(frames(video, every=every))
    assert [frame.shape for frame in found] == [(48, 64, 3)] * len(LEVELS[::every])
    for frame, level in zip(found, LEVELS[::every], strict=True):
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous
        assert abs(float(frame[..., 0].mean()) - level) < 6
        assert float(frame[..., 1:].mean()) < 6


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    (tmp_path / "no.avi").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"no\.avi cannot be opened as a video"):
        list(frames(tmp_path / "no.avi"))


def test_without_opencv_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"nfbmr\[video\]"):
        next(frames(0))
