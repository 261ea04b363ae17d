"""Frames of a video file or a camera, by OpenCV (the extra `video`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import DataError, MissingExtraError


def frames(source: str | os.PathLike[str] | int, *, every: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Yields the frames of a video as RGB pictures, until it ends; a camera never does.

    Args:
        source: a file, a stream's address as OpenCV takes it, or the number of a camera.
        every: each n-th frame; the others are not decoded.

    Yields:
        uint8 (H, W, 3), RGB.

    Raises:
        MissingExtraError: OpenCV is not installed.
        DataError: the source cannot be opened, or gives no frame at all.
    """
    assert every >= 1, every
    try:
        import cv2
    except ModuleNotFoundError:
        raise MissingExtraError(
            "OpenCV is not installed; it reads videos and cameras: pip install 'nfbmr[video]'"
        ) from None
    what = f"camera {source}" if isinstance(source, int) else os.fspath(source)
    capture: Any = cv2.VideoCapture(source if isinstance(source, int) else what)
    try:
        if not capture.isOpened():
            raise DataError(f"{what} cannot be opened as a video; check the path and its codec")
        number = 0
        while capture.grab():
            if number % every == 0:
                found, frame = capture.retrieve()
                if found:
                    yield np.ascontiguousarray(frame[..., ::-1])
            number += 1
        if number == 0:
            raise DataError(f"{what} gives no frames; check that the camera or file is whole")
    finally:
        capture.release()
