"""A camera or stream: a picture every so often, as it is then, recorded without loss."""

from __future__ import annotations

import io
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.video import frames, named, opencv
from nfbmr.errors import DataError, SettingsError
from nfbmr.inspection.arrivals import NotNowError
from nfbmr.station.sources.source import GivenUpError, Line, Picture, StoppedError

_SECONDS = 20.0  # for a picture
_END_SECONDS = 5.0
_LOOK_EVERY = 0.2  # seconds between two questions whether to stop
_QUICK = 1  # of PNG's efforts of compression
_MOST_ASIDE = 8  # pictures that come again


def camera_of(said: str) -> int | str:
    """Returns a camera as OpenCV takes it: its number, a device, or a stream's address.

    Raises:
        SettingsError: it is a file, or nothing of the kind.
    """
    if said.isdecimal():
        return int(said)
    shown, is_live = named(said)
    if not is_live:
        raise SettingsError(
            f"camera {shown}: a camera's number, /dev/video0 or a stream's address with :// was "
            "expected; 'nfbmr inspect' reads files"
        )
    return said


def shown_camera(said: str) -> str:
    """Returns what may be shown of a camera, whatever was said of it."""
    return named(said)[0]


class Camera:
    """A camera that is open while pictures are wanted of it."""

    def __init__(self, address: int | str, every: float) -> None:
        """Takes the camera.

        Args:
            address: as `camera_of` gives it.
            every: seconds from one picture to the next.

        Raises:
            MissingExtraError: OpenCV is not installed.
        """
        opencv()
        self._address, self._every = address, every
        self.shown = named(address)[0]
        self._lock = threading.Lock()
        self._grabber: _Grabber | None = None
        self._users = 0
        self._aside: deque[tuple[float, Picture]] = deque()  # when they come again, monotonic

    def run(self, line: Line) -> None:
        """Has a picture judged every so often, until the line stops it.

        Raises:
            StoppedError: it does.
            DataError: the camera does not answer, or stopped.
        """
        with self._opened() as grabber:
            due = time.monotonic()
            while True:
                while time.monotonic() < due:
                    line.check()
                    if grabber.takes():
                        line.well()
                    time.sleep(min(_LOOK_EVERY, max(0.0, due - time.monotonic())))
                if len(self._aside) < _MOST_ASIDE:
                    frame = grabber.next(line.check)
                    line.well()
                    self._judged(line, _picture(frame))
                else:  # so many failed: none more is taken for one that would be lost
                    line.check()
                    time.sleep(_LOOK_EVERY)
                for _ in range(len(self._aside)):
                    again, picture = self._aside.popleft()
                    self._judged(line, picture, again)
                due = max(due + self._every, time.monotonic())

    def _judged(self, line: Line, picture: Picture, again: float = 0.0) -> None:
        """Has a picture judged, or sets it aside.

        Args:
            line: that judges.
            picture: what was taken.
            again: when it may be tried, monotonic.

        Raises:
            StoppedError: the line stops; the picture is kept aside.
            PictureError: it is to blame.
        """
        try:
            if time.monotonic() >= again:
                line.judge(picture)
                return
        except NotNowError as error:
            again = time.monotonic() + error.seconds
        except GivenUpError as error:
            line.refused(picture.name, str(error))
            return
        except StoppedError:
            self._aside.append((again, picture))
            raise
        self._aside.append((again, picture))

    def picture(self) -> Picture:
        """Takes a picture, whether or not it runs.

        Raises:
            DataError: as for `run`.
        """
        with self._opened() as grabber:
            return _picture(grabber.next())

    @contextmanager
    def _opened(self) -> Iterator[_Grabber]:
        """Opens the camera, or shares it with whoever has: a device opens once."""
        with self._lock:
            if self._grabber is not None and not self._users and self._grabber.stuck:
                raise DataError(f"{self.shown} does not answer, nor let go; check cable and power")
            if self._grabber is None or not self._users:
                self._grabber = _Grabber(self._address, self.shown)
            self._users += 1
            grabber = self._grabber
        try:
            yield grabber
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    grabber.close()


class _Grabber:
    """Takes whatever the camera delivers, in a thread of its own, so that nothing grows old."""

    def __init__(self, address: int | str, shown: str) -> None:
        self._address, self._shown = address, shown
        self._changed = threading.Condition()
        self._frame: NDArray[np.uint8] | None = None
        self._number = 0  # of frames that were wanted and came
        self._wanted = self._ending = False
        self._took = time.monotonic()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="nfbmr-camera", daemon=True)
        self._thread.start()

    @property
    def stuck(self) -> bool:
        return self._thread.is_alive()

    def next(self, check: Callable[[], object] = lambda: None) -> NDArray[np.uint8]:
        """Returns the next frame, uint8 (H, W, 3), RGB.

        Args:
            check: is called while it waits; what it raises ends that.

        Raises:
            DataError: none comes.
        """
        end = time.monotonic() + _SECONDS
        with self._changed:
            before = self._number
            while time.monotonic() < end:
                self._wanted = True
                self._changed.wait_for(lambda: self._number > before or self._error, _LOOK_EVERY)
                if self._number > before:
                    assert self._frame is not None
                    return self._frame
                if self._error is not None:
                    raise self._error
                check()
        raise DataError(f"{self._shown}: no picture within {_SECONDS:g} s; check cable and power")

    def takes(self) -> bool:
        """Tells whether it takes pictures, wanted or not.

        Raises:
            DataError: it has stopped.
        """
        with self._changed:
            if self._error is not None:
                raise self._error
        return time.monotonic() - self._took < _SECONDS

    def close(self) -> None:
        self._ending = True
        self._thread.join(_END_SECONDS)

    def _is_wanted(self) -> bool:
        """Is asked of each picture that the camera took."""
        self._took = time.monotonic()
        return self._wanted or self._ending

    def _work(self) -> None:
        error: Exception
        try:
            for frame in frames(self._address, wanted=self._is_wanted):
                if self._ending:
                    return
                with self._changed:
                    self._frame, self._wanted = frame, False
                    self._number += 1
                    self._changed.notify_all()
            error = DataError(f"{self._shown} has ended")
        except Exception as raised:
            error = raised
        with self._changed:
            self._error = error
            self._changed.notify_all()


def _picture(frame: NDArray[np.uint8]) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", compress_level=_QUICK)
    time_said = re.sub(r"[:.]", "-", datetime.now().isoformat(timespec="milliseconds"))
    return Picture(data=buffer.getvalue(), name=f"{time_said}.png")
