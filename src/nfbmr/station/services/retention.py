"""Which pictures are kept how long: by days and by gigabytes, the oldest good ones going first."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from nfbmr.station.audit import Change
from nfbmr.station.services.folders import is_of
from nfbmr.station.settings import GIGABYTE, StationSettings
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.pictures import Pictures
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

_EVERY = 60.0  # seconds
_SWEEP_EVERY = 3600.0  # seconds
_AT_ONCE = 200  # pictures in a transaction


class Retention:
    """A thread that deletes what need not be kept; rows and heatmaps stay."""

    def __init__(
        self,
        settings: StationSettings,
        store: Store,
        pictures: Pictures,
        also: Callable[[], object] = lambda: None,
    ) -> None:
        """Starts it; `also` is called each time, and deletes what else need not be kept."""
        self._settings, self._store, self._pictures = settings, store, pictures
        self._also = also
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="nfbmr-retention", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._ending.set()
        self._thread.join()

    def _work(self) -> None:
        sweep_at = time.monotonic()
        while True:
            try:
                if time.monotonic() >= sweep_at:
                    sweep(self._store, self._pictures)
                    sweep_at = time.monotonic() + _SWEEP_EVERY
                tidy(self._settings, self._store, self._pictures)
                self._also()
            except Exception:  # whatever it was, the next turn may do better
                _log.exception("Old pictures are not deleted")
            if self._ending.wait(_EVERY):
                return


def tidy(settings: StationSettings, store: Store, pictures: Pictures) -> int:
    """Deletes pictures that are too old or too many; returns how many.

    A row forgets its picture before the file goes, so no row names a file that is not there.

    Raises:
        StationError: the database does not answer.
    """
    deleted = 0
    if settings.keep_days is not None:
        oldest = datetime.now(UTC) - timedelta(days=settings.keep_days)
        before = oldest.isoformat(timespec="microseconds")
        while found := store.read(queries.files_to_drop, older_than=before, limit=_AT_ONCE):
            why = f"older than {counted(settings.keep_days, 'day')}"
            deleted += _drop(store, pictures, [file for file, _ in found], why)
    over = store.read(queries.bytes_kept) - settings.keep_gigabytes * GIGABYTE
    while over > 0 and (found := store.read(queries.files_to_drop, limit=_AT_ONCE)):
        going = []
        for file, size in found:
            if over <= 0:
                break
            going.append(file)
            over -= size
        why = f"more than {settings.keep_gigabytes:g} gigabytes are kept"
        deleted += _drop(store, pictures, going, why)
    return deleted


def _drop(store: Store, pictures: Pictures, files: list[str], why: str) -> int:
    store.write(queries.forget_files, files, why).result()
    for file in files:
        pictures.delete(file)
    return len(files)


def sweep(store: Store, pictures: Pictures) -> int:
    """Deletes pictures that no row has, with an event, and halves; returns how many.

    A kill leaves such.

    None of a folder that is not marked as this database's: another one may have their rows.

    Raises:
        StationError: the database does not answer.
        OSError: half a picture cannot be deleted, or the folder's mark not be read.
    """
    if not is_of(pictures.folder, store.id):
        _log.warning("%s is not marked as of %s; nothing is swept", pictures.folder, store.shown)
        return 0
    left = pictures.delete_halves()
    settled = pictures.settled()
    while group := list(itertools.islice(settled, _AT_ONCE)):
        strangers = store.read(queries.strangers, group)
        if strangers:
            _say_swept(store, strangers)
        for file in strangers:
            pictures.delete(file)
        left += len(strangers)
    return left


def _say_swept(store: Store, files: list[str]) -> None:
    change = Change(
        kind="pictures",
        subject="deleted",
        actor="station",
        new={"pictures": len(files), "files": files},
        reason="no inspection has them, as a kill before its row leaves them",
    )
    store.write(queries.append, change).result()
