"""Whose the folders of pictures and of learning are: each is one database's, and says which.

A station deletes there what its rows do not name. So a folder is marked with the id of the database
that uses it first, and a station with another one neither starts on it nor deletes there.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable
from pathlib import Path

from nfbmr.errors import StationError
from nfbmr.station.store import learnings, queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.pictures import Pictures
from nfbmr.station.store.versions import Versions
from nfbmr.system.files import flushed_beside, made_folder
from nfbmr.system.locks import locked_folder

MARK = ".database"
"""The file that holds the id of a folder's database."""
OF_A_LEARNING = re.compile(r"[0-9a-f]{32}")
"""What the folder of a learning is called."""

_PATIENCE = 10.0  # seconds that another station may take to mark a folder
_AT_ONCE = 200  # pictures that the database is asked for at once
_LAST = 1000  # models that came on the line, among which kept ones are looked for


def is_of(folder: Path, database: str) -> bool:
    """Whether a folder is marked as that of a database, by its id."""
    return _marked(folder) == database


def claim_pictures(store: Store, pictures: Pictures, versions: Versions) -> None:
    """Marks the folder of pictures as that of a database, where it is nobody's.

    Raises:
        StationError: it is another database's, or cannot be written.
    """
    _claim(store, pictures.folder, "pictures", lambda: _knows_pictures(store, pictures, versions))


def claim_learning(store: Store, folder: Path) -> None:
    """Makes the folder of learning, and marks it likewise.

    Raises:
        StationError: it is another database's, or cannot be made or written.
    """
    _claim(store, folder, "learning", lambda: _knows_learnings(store, folder))


def _claim(store: Store, folder: Path, option: str, knows: Callable[[], bool]) -> None:
    """Marks a folder.

    Args:
        store: the database.
        folder: that is made where it is absent.
        option: of `nfbmr serve`, that names it.
        knows: whether the database knows something of what is there, or nothing is: asked of a
            folder without a mark, as older versions left it.
    """
    until = time.monotonic() + _PATIENCE
    try:
        made_folder(folder, 0o700)
        while True:
            with locked_folder(folder) as free:
                if free or time.monotonic() > until:
                    _mark(store, folder, option, knows)
                    return
            time.sleep(0.02)
    except OSError as error:
        raise StationError(
            f"{folder}: no folder of {option} can be used there ({error.strerror}); name another "
            f"with --{option}, or give this user the right to it"
        ) from None


def _mark(store: Store, folder: Path, option: str, knows: Callable[[], bool]) -> None:
    found = _marked(folder)
    if found == store.id:
        return
    if found is not None or not knows():
        whose = "what no row of this database names" if found is None else f"database {found[:8]}"
        raise StationError(
            f"{folder}: found {option} of another station ({whose}), expected those of "
            f"{store.shown} (database {store.id[:8]}). A station deletes there what its own "
            f"database does not name, so nothing was touched: name another folder with --{option}, "
            "or the database of before with --database; or delete the folder if nobody needs it"
        )
    with flushed_beside(folder / MARK, 0o600) as beside:
        beside.write_text(f"{store.id}\n", encoding="utf-8")


def _marked(folder: Path) -> str | None:
    """Returns the id that a folder is marked with; None without any."""
    try:
        return (folder / MARK).read_text("utf-8", errors="replace").strip() or None
    except FileNotFoundError:
        return None


def _knows_pictures(store: Store, pictures: Pictures, versions: Versions) -> bool:
    names, some = pictures.names(), False
    while group := list(itertools.islice(names, _AT_ONCE)):
        if len(store.read(queries.strangers, group)) < len(group):
            return True
        some = True
    kept = versions.bundles()
    loaded = store.read(queries.events, kinds=("model",), limit=_LAST) if kept else []
    known = {(event.new or {}).get("bundle") for event in loaded}
    return not some and (not kept or not known.isdisjoint(kept))


def _knows_learnings(store: Store, folder: Path) -> bool:
    there = {one.name for one in folder.iterdir() if OF_A_LEARNING.fullmatch(one.name)}
    return not there or not there.isdisjoint(store.read(learnings.folders))
