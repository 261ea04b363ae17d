"""A process that ends with the one that started it, and one that waits for such to end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from nfbmr.system.locks import locked_file

STOP_SECONDS = 60.0
"""For a last checkpoint, once a process is asked to end."""
_LOOK = 0.5  # seconds


def end_with(parent: int) -> None:
    """Has this process asked to end once another is gone that started it.

    Whoever is killed cannot ask for that itself. A process that does not end so is ended.
    """
    if os.name == "nt":  # nothing tells there, and a launcher may stand between the two
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        os._exit(128 + signal.SIGTERM)

    Thread(target=watch, name="nfbmr-parent", daemon=True).start()


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Holds a lock while the body runs; waits for a process that holds it and is about to end.

    Where that does not end in time the body runs all the same, for whatever it says of it.

    Raises:
        OSError: the lock cannot be written.
    """
    latest = time.monotonic() + STOP_SECONDS + 2 * _LOOK
    while time.monotonic() < latest:
        with locked_file(lock) as free:
            if free:
                yield
                return
        time.sleep(_LOOK)
    yield
