"""How much may be in work at once: beyond it whoever comes is told when to come again."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nfbmr.errors import StationError
from nfbmr.system.words import counted

_REMEMBERED = 0.9  # of the mean time of a picture, at each new one


class BusyError(StationError):
    """As much is in work as may be."""

    def __init__(self, message: str, retry_after: int) -> None:
        """Says why, and after how many seconds to come again."""
        super().__init__(message)
        self.retry_after = retry_after


class Gate:
    """Counts what is in work."""

    def __init__(self, most: int, most_bytes: int) -> None:
        """Takes how many pictures, and bytes of requests, may be in work at once."""
        self.most, self.most_bytes = most, most_bytes
        self.inside = self.bytes_inside = 0
        """Pictures, and bytes, in work now."""
        self._mean = 0.1  # seconds between two that leave
        self._left = time.monotonic()
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether a picture that comes now is told to come again."""
        return self.inside >= self.most

    @contextmanager
    def passed(self, size: int = 0) -> Iterator[None]:
        """Counts a picture and the bytes of its request while the body runs.

        Raises:
            BusyError: there is no room for it.
        """
        with self._lock:
            full = self.inside and self.bytes_inside + size > self.most_bytes
            if self.inside >= self.most or full:
                seconds = max(1, min(60, math.ceil(self.inside * self._mean)))
                raise BusyError(
                    f"{counted(self.inside, 'picture is', 'pictures are')} in work, as much as may "
                    f"be at once; come again in {seconds} s",
                    seconds,
                )
            self.inside += 1
            self.bytes_inside += size
        try:
            yield
        finally:
            with self._lock:
                now = time.monotonic()
                each = min(5.0, now - self._left)
                self._mean = _REMEMBERED * self._mean + (1 - _REMEMBERED) * each
                self._left = now
                self.inside -= 1
                self.bytes_inside -= size
