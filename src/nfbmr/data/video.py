"""Frames of a video file, a camera or a stream, by OpenCV (the extra `video`)."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import DataError, MissingExtraError
from nfbmr.system.packages import how_to_install
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)


def opencv() -> Any:
    """Returns OpenCV.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import cv2
    except ModuleNotFoundError:
        raise MissingExtraError(
            "OpenCV is not installed; it reads videos and cameras; " + how_to_install("video")
        ) from None
    return cv2


def frames(
    source: str | os.PathLike[str] | int,
    *,
    every: int = 1,
    wanted: Callable[[], bool] = lambda: True,
) -> Iterator[NDArray[np.uint8]]:
    """Yields the frames of a video as RGB pictures, until it ends; a camera or a stream never does.

    Frames that cannot be decoded are left out, counted, and said: at the first one and at the end.

    Args:
        source: a file; a stream's address as OpenCV takes it, with `://`; or a camera, by its
            number or as `/dev/video0`.
        every: each n-th frame; the others are not decoded.
        wanted: asked of each of those as it comes; what it declines is not decoded either.

    Yields:
        uint8 (H, W, 3), RGB; of gray cameras, too.

    Raises:
        MissingExtraError: OpenCV is not installed.
        DataError: the source cannot be opened; a camera or a stream stops; a file gives no frame
            that can be decoded; or a frame has another form than gray, BGR or BGRA of 8 bits.
    """
    assert every >= 1, every
    cv2 = opencv()
    address = source if isinstance(source, int) else os.fspath(source)
    what, is_live = named(address)
    capture: Any = cv2.VideoCapture(address)
    number = asked = lost = 0
    try:
        if not capture.isOpened():
            raise DataError(f"{what} cannot be opened as a video; check the path and its codec")
        while capture.grab():
            if number % every == 0 and wanted():
                asked += 1
                found, frame = capture.retrieve()
                if found and frame is not None:
                    yield _as_rgb(cv2, frame, what)
                else:
                    lost += 1
                    if lost == 1:
                        _log.warning("%s: frame %d cannot be decoded, left out", what, number)
            number += 1
    finally:
        capture.release()
        if lost > 1:
            _log.warning("%s: %d frames could not be decoded and were left out", what, lost)
    _say_why_it_ended(what, number, lost, is_live=is_live, asked=asked)


def named(address: str | int) -> tuple[str, bool]:
    """Returns how messages call a source, without what may be a secret, and whether it is live.

    Shown are a file whole; of a stream scheme, host and port; of a pipeline its first element.
    """
    if isinstance(address, int):
        return f"camera {address}", True
    if address.startswith("/dev/"):
        return address, True
    if address.startswith("file:") or not (" ! " in address or "://" in address):  # ! : GStreamer
        return address, False
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#\\]*)(.*)", address, re.DOTALL)
    if found is None:
        first = re.match(r"\s*([A-Za-z0-9_-]+)(?=\s)", address)
        return f"{first[1]} !..." if first else "!...", True
    scheme, host, rest = found[1], found[2].rpartition("@")[2], found[3]
    # A password may hold any letter, a slash, too: then nobody can tell where the host begins.
    sound = "@" not in rest and re.fullmatch(r"[\w.-]*(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?", host)
    if not sound:
        return f"{scheme}...", True
    return f"{scheme}{host}{'/...' if rest.strip('/') else rest}", True


def _say_why_it_ended(what: str, number: int, lost: int, *, is_live: bool, asked: int) -> None:
    if number == 0:
        raise DataError(f"{what} gives no frames; check that the camera or file is whole")
    if is_live:
        raise DataError(
            f"{what} stopped after {counted(number, 'frame')}; a camera or stream was expected to "
            "go on: check its power, cable and network, then start again"
        )
    if lost and lost == asked:
        raise DataError(
            f"{what}: found no frame that can be decoded among {lost}; check the file and its codec"
        )


def _as_rgb(cv2: Any, frame: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Turns a frame (H, W), (H, W, 1), BGR (H, W, 3) or BGRA (H, W, 4) into RGB (H, W, 3)."""
    channels = 1 if frame.ndim == 2 else frame.shape[-1] if frame.ndim == 3 else 0
    turns = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
    if frame.dtype != np.uint8 or channels not in turns:
        raise DataError(
            f"{what}: found a frame of {frame.dtype}, shape {frame.shape}; expected gray, BGR or "
            "BGRA of 8 bits; set the camera to one of them"
        )
    return np.ascontiguousarray(cv2.cvtColor(frame, turns[channels]))
