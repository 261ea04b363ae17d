"""What the file system says by itself of a folder, so that nobody has to look all the time.

Linux says when a writer closes a file; elsewhere it is said only that a file is there or changed.
Nothing is said of what another machine does to a network drive.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfbmr.system.files import printable

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent

_log = logging.getLogger(__name__)

_NETWORK = frozenset(
    {
        *(
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "smb2",
            "afs",
            "9p",
            "ceph",
            "glusterfs",
            "lustre",
        ),
        *("ncpfs", "davfs", "vboxsf", "prl_fs", "vmhgfs", "drvfs", "virtiofs", "gpfs", "afpfs"),
    }
)
"""File systems whose files other machines change."""


class Events:
    """Hears of a folder's files, from threads of its own, until it is stopped."""

    def __init__(
        self, folder: Path, *, deep: bool, wanted: Callable[[str], bool], on: bool = True
    ) -> None:
        """Starts to listen where that can be; `on` says whether.

        Args:
            folder: the folder, which has to be there.
            deep: whether sub-folders count.
            wanted: asked of each file's name below the folder, in other threads.
            on: whether to listen at all.
        """
        self._root, self._wanted = os.path.realpath(folder), wanted
        self._heard: dict[str, bool] = {}
        self._lock = threading.Lock()
        self._something = threading.Event()
        self._observer = self._listening(deep) if on else None

    @property
    def on(self) -> bool:
        """Whether anything is heard at all."""
        return self._observer is not None

    def wait(self, seconds: float) -> None:
        """Returns once something was heard, or after a while."""
        if self._something.wait(max(0.0, seconds)):
            self._something.clear()

    def take(self) -> dict[str, bool]:
        """Returns the names that were heard of since, and whether each was closed."""
        with self._lock:
            heard, self._heard = self._heard, {}
        return heard

    def stop(self) -> None:
        """Listens no more."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def dispatch(self, event: FileSystemEvent) -> None:
        """Takes an event, in a thread of the observer."""
        if event.is_directory:
            return
        moved = event.event_type == "moved"
        place = os.fsdecode(event.dest_path if moved else event.src_path)
        name = os.path.relpath(place, self._root).replace(os.sep, "/") if place else ".."
        if name.startswith("..") or not self._wanted(name):
            return
        with self._lock:
            closed = moved or event.event_type == "closed"
            self._heard[name] = closed or self._heard.get(name, False)
        self._something.set()

    def _listening(self, deep: bool) -> Any:
        kind = network_drive(self._root)
        if kind is not None:
            _log.info("%s lies on a network drive (%s): it is looked at", self._root, kind)
            return None
        observer = None
        try:
            from watchdog import events

            observer = _observer()
            heard = [events.FileClosedEvent, events.FileMovedEvent, events.FileCreatedEvent]
            if platform.system() != "Linux":
                heard.append(events.FileModifiedEvent)  # nothing is said to be closed there
            listener: Any = self
            observer.schedule(listener, self._root, recursive=deep, event_filter=heard)
            observer.start()
        except ImportError:
            _log.info("watchdog is not installed (pip install watchdog): the folder is looked at")
            return None
        except Exception as error:  # e.g. more folders than the system lets one listen to
            text = f"the file system says nothing by itself ({error}): the folder is looked at"
            _log.warning("%s", printable(text))
            if observer is not None:
                observer.stop()
            return None
        return observer


def _observer() -> Any:
    if platform.system() == "Linux":
        from watchdog.observers.inotify import InotifyObserver

        # Only so is a file that is moved in told from one that is opened.
        return InotifyObserver(generate_full_events=True)
    from watchdog.observers import Observer

    return Observer()


def network_drive(folder: str, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """Returns the kind of the network drive that a folder lies on; None where on none known.

    Args:
        folder: its real path.
        mounts: the system's table of mounts, as Linux writes it.
    """
    if folder.startswith(("\\\\", "//")):
        return "UNC"
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    found, length = "", -1
    for line in lines:
        words = line.split(" ")
        if len(words) < 3:
            continue
        place = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), words[1])
        inside = folder == place or folder.startswith(f"{place.rstrip('/')}/")
        if inside and len(place) >= length:
            found, length = words[2], len(place)
    return found if found in _NETWORK or found.startswith("fuse.") else None
