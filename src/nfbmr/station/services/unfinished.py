"""What is left of learnings that nobody will finish: old ones, and folders that no row names."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nfbmr.station.services.folders import OF_A_LEARNING, is_of
from nfbmr.station.store import learnings
from nfbmr.station.store.database import Store
from nfbmr.station.store.learnings import NoSuchLearningError, NotNowError
from nfbmr.station.worker.place import Place
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

_YOUNG_SECONDS = 3600.0  # of a folder whose row may still come
_ACTOR = "station"


def sweep(store: Store, folder: Path, keep_days: float | None) -> list[str]:
    """Deletes unfinished learnings that are too old, and folders that no row names.

    Only whoever holds the lock of the folder of learning may call it. Of a folder that is not
    marked as this database's nothing goes: another one may have its rows.

    Args:
        store: where learnings are written down.
        folder: that holds a folder for each.
        keep_days: for which an unfinished one is kept that nobody touches; None: for ever.

    Returns:
        The names of the folders that were deleted.

    Raises:
        StationError: the database does not answer.
        OSError: the folder's mark cannot be read.
    """
    if not is_of(folder, store.id):
        _log.warning("%s is not marked as of %s; nothing is swept", folder, store.shown)
        return []
    if keep_days is not None:
        _forget(store, keep_days)
    known = store.read(learnings.folders)
    return [
        one.name
        for one in sorted(folder.iterdir())
        if OF_A_LEARNING.fullmatch(one.name) and one.name not in known and _deleted(one)
    ]


def _forget(store: Store, keep_days: float) -> None:
    before = datetime.now(UTC) - timedelta(days=keep_days)
    for found in store.read(learnings.untouched, before.isoformat(timespec="microseconds")):
        why = f"unfinished, and nobody did anything for it within {counted(keep_days, 'day')}"
        with suppress(NoSuchLearningError, NotNowError):  # somebody was first
            store.write(learnings.remove, found.id, _ACTOR, why).result()


def _deleted(folder: Path) -> bool:
    """Deletes a folder that nobody works in; returns whether it is gone."""
    try:
        places = (folder, folder / "pictures")
        newest = max(one.stat().st_mtime for one in places if one.exists())
        if time.time() - newest < _YOUNG_SECONDS or Place(folder).is_worked_on():
            return False
        shutil.rmtree(folder)
    except OSError as error:
        _log.warning("%s is no learning's and is not deleted: %s", folder, error.strerror)
        return False
    _log.warning("%s was no learning's any more and is deleted", folder)
    return True
