"""The feature cache: source features y of pictures, kept on disk, each computed once.

What was computed in one way stands on one shelf; an entry holds y of some pictures of a shelf
(`nfbmr.features.entry`):

    ROOT/features/KEY/         an entry
    ROOT/features/.KEY.TOKEN/  an entry being written, renamed when it is complete
    ROOT/features/.KEY.ccc.../ its finished chunks, where an interrupted build goes on

An unfinished entry is never read; a damaged one is noticed when it is opened, and removed. Folders
of older versions are never read; they go as entries that nobody uses.
Several processes may share a cache: whoever finishes an entry first provides it.

    N = rows, H' W' = grid, C = channels of y, T = rows of a picture
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import sys
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import DataError
from nfbmr.features.entry import (
    DATA,
    FORMAT,
    HEADER,
    DamagedError,
    Header,
    Shelf,
    bytes_in,
    compare_checksums,
    last_used,
    read_header,
    remove,
)
from nfbmr.features.store import FeatureFile, FeatureStore, blaming_disk, write_rows

_log = logging.getLogger(__name__)

Places = dict[str, tuple[FeatureFile, int]]
"""Hash of a picture -> the file that holds its rows, and the first of them there."""

MOST_FILES = 128
"""Of one store; a process may hold a thousand or so open."""

_STALE_SECONDS = 24 * 3600
_KEY = re.compile(r"[0-9a-f]{64}")
_PARTIAL = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{32}")
_CHUNKS_TOKEN = 32 * "c"


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """What the cache knows of one finished entry."""

    key: str
    shelf: str
    """Names what its features depend on apart from the pictures."""
    size_bytes: int
    n_pictures: int
    backbone: str
    """Name and stages."""
    size: tuple[int, int]
    """(H, W) in pixels."""
    created: datetime
    """UTC."""
    last_used: datetime
    """UTC."""


class FeatureCache:
    """A folder of entries with a limit; the least recently used go first."""

    def __init__(self, root: Path | None = None, limit_bytes: int = 10 * 2**30) -> None:
        """Names the folder; it is created by the first entry.

        Args:
            root: by default `$NFBMR_CACHE`, or `nfbmr` in the user's cache folder.
            limit_bytes: above it, finished entries are removed, never one that a store of this
                object holds open; one entry alone may be larger.
        """
        self.root = default_cache_root() if root is None else root
        self.limit_bytes = limit_bytes
        self._folder = self.root / "features"
        self._checked: dict[str, tuple[int, int, int]] = {}  # key -> what was found sound
        self._open: WeakValueDictionary[str, FeatureFile] = WeakValueDictionary()

    def entries(self) -> list[CacheEntry]:
        """Returns the finished entries of this version, the least recently used first."""
        found = []
        for folder in self._kept():
            with suppress(DamagedError, OSError):
                header, _ = read_header(folder)
                entry = CacheEntry(
                    key=folder.name,
                    shelf=header.shelf,
                    size_bytes=bytes_in(folder),
                    n_pictures=len(header.pictures),
                    backbone=header.backbone,
                    size=header.size,
                    created=datetime.fromtimestamp(header.created, UTC),
                    last_used=datetime.fromtimestamp(last_used(folder), UTC),
                )
                found.append(entry)
        return found

    def size(self) -> int:
        """Returns the bytes of all finished entries, those of older versions too."""
        return sum(bytes_in(folder) for folder in self._kept())

    def clear(self) -> None:
        """Removes every entry, damaged and old ones too, but not those that are being written."""
        for folder in self._kept():
            remove(folder)
        self._sweep()

    def refuse_unwritable(self) -> None:
        """Says before the work that nothing can be kept; a cache with entries may be read alone.

        Raises:
            DataError: there is no entry, and none can be written.
        """
        with blaming_disk(self._folder):
            if not self._kept():
                self._folder.mkdir(parents=True, exist_ok=True)
                with TemporaryFile(dir=self._folder):
                    pass

    def find(self, shelf: Shelf, pictures: Iterable[str]) -> Places:
        """Returns where pictures of a shelf lie, as far as sound entries hold them.

        They are taken from as few entries as possible, which count as used now. A damaged one is
        removed, and logged. Every byte of an entry is compared with its checksum the first time
        this object opens it, and again when it has changed since.

        Raises:
            DataError: what is there cannot be read.
        """
        wanted = set(pictures)
        held = self._on_shelf(shelf)
        found: Places = {}
        while wanted and held:
            key = max(held, key=lambda one: len(wanted & held[one]))
            if not wanted & held.pop(key):
                break
            places = self._places(shelf, key)
            found |= {picture: places[picture] for picture in wanted & places.keys()}
            wanted -= places.keys()
        return found

    def write(
        self, shelf: Shelf, pictures: Sequence[str], batches: Iterable[NDArray[np.float32]]
    ) -> Places:
        """Writes an entry, unless another process finishes the same one first.

        Args:
            shelf: where it belongs.
            pictures: hashes, each once.
            batches: their rows in this order, T for each: float32 (B, H', W', C), N in all.

        Returns:
            Where the rows of these pictures lie.

        Raises:
            DataError: the disk is full or the folder cannot be written; nothing is left behind.
        """
        key, shape = shelf.key(pictures), shelf.shape(pictures)
        if places := self._places(shelf, key):
            return places
        final, partial = self._folder / key, self._folder / f".{key}.{uuid.uuid4().hex}"
        try:
            with blaming_disk(self._folder):
                partial.mkdir(parents=True)
                self.make_room(4 * math.prod(shape))
                header = Header(
                    format=FORMAT,
                    shelf=shelf.name,
                    pictures=list(pictures),
                    shape=shape,
                    checksums=write_rows(partial / DATA, shape, batches),
                    backbone=shelf.backbone,
                    size=shelf.size,
                    created=time.time(),
                )
                (partial / HEADER).write_text(json.dumps(asdict(header)), encoding="utf-8")
                try:
                    partial.rename(final)
                except OSError:
                    if not final.is_dir():
                        raise  # else another process was first, and its entry is as good
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        places = self._places(shelf, key)
        if not places:
            raise DataError(f"{final}: damaged just after it was written; check this disk")
        return places

    def store(self, shelf: Shelf, pictures: Sequence[str], places: Places) -> FeatureStore:
        """Makes one store of pictures, in order, T rows each.

        Where they lie in more than `MOST_FILES` entries, they are copied to one, and entries that
        hold nothing else are removed. Without room for that they stay where they are.

        Args:
            shelf: theirs.
            pictures: hashes; one that is there twice has its rows twice.
            places: where each of them lies.
        """
        found = joined(shelf, pictures, places)
        if len(found.files) <= MOST_FILES:
            return found
        once = list(dict.fromkeys(pictures))
        rows = joined(shelf, once, places)
        batches = (rows.read(np.array([index])) for index in range(len(rows)))
        try:
            copied = self.write(shelf, once, batches)
        except DataError as error:
            _log.info("features stay in %d files: %s", len(found.files), error)
            return found
        for folder in (file.path.parent for file in found.files):
            with suppress(DamagedError, OSError):
                if set(read_header(folder)[0].pictures) <= set(once):
                    remove(folder)
        return joined(shelf, pictures, copied)

    def chunks_folder(self, key: str) -> Path:
        """Returns where an entry under way keeps its finished chunks."""
        return self._folder / f".{key}.{_CHUNKS_TOKEN}"

    def make_room(self, entry: int, beside: int = 0) -> None:
        """Removes what is stale, then the least recently used entries, for one more entry.

        Args:
            entry: bytes of an entry to come; with it, the limit is kept.
            beside: bytes that the disk must have free besides.

        Raises:
            DataError: the disk has less room than `entry` and `beside`.
        """
        with blaming_disk(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            sizes = {folder: bytes_in(folder) for folder in self._kept()}
            total = entry + sum(sizes.values())
            for folder, size in sizes.items():
                if total <= self.limit_bytes:
                    break
                if folder.name not in self._open:
                    remove(folder)
                    total -= size
            free, wanted = shutil.disk_usage(self._folder).free, entry + beside
        if free < wanted:
            raise DataError(
                f"{self._folder}: the features need {wanted / 2**20:.0f} MiB, the disk has "
                f"{free / 2**20:.0f} MiB left; make room, or set NFBMR_CACHE to a larger disk"
            )

    def _on_shelf(self, shelf: Shelf) -> dict[str, frozenset[str]]:
        """Returns the pictures of each entry of a shelf, key -> hashes."""
        found = {}
        for folder in self._folders(_KEY):
            if folder.name.startswith(shelf.name[:32]):
                with _removing_damaged(folder):
                    found[folder.name] = frozenset(read_header(folder)[0].pictures)
        return found

    def _places(self, shelf: Shelf, key: str) -> Places:
        """Opens an entry, which counts as used; of one that is damaged or gone returns nothing."""
        folder = self._folder / key
        found: Places = {}
        with _removing_damaged(folder):
            file, pictures = self._sound(shelf, folder)
            with suppress(OSError):  # a cache that is only readable works too
                os.utime(folder / HEADER)
            found |= {picture: (file, i * shelf.tiles) for i, picture in enumerate(pictures)}
        return found

    def _sound(self, shelf: Shelf, folder: Path) -> tuple[FeatureFile, list[str]]:
        """Opens an entry after checking it, or hands on the file that is open; and its pictures."""
        key = folder.name
        header, text = read_header(folder)
        if header.shape != shelf.shape(header.pictures):
            raise DamagedError(f"{folder / HEADER} tells of other rows than those of its shelf")
        stat = (folder / DATA).stat()
        state = (stat.st_mtime_ns, stat.st_size, zlib.crc32(text))
        known = self._checked.get(key) == state
        if not known:
            compare_checksums(folder / DATA, header)
        file = self._open.get(key)
        if file is None or not known:
            file = FeatureFile(folder / DATA, header.shape)
        self._checked[key] = state
        self._open[key] = file
        return file, header.pictures

    def _sweep(self) -> None:
        """Removes what interrupted builds left behind, once nobody can be writing it."""
        for folder in self._folders(_PARTIAL):
            with suppress(OSError):
                latest = max(p.stat().st_mtime for p in (folder, *folder.iterdir()))
                if time.time() - latest > _STALE_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)

    def _kept(self) -> list[Path]:
        """Returns the folders of finished entries of any version, the least recently used first."""
        return sorted(self._folders(_KEY), key=last_used)

    def _folders(self, pattern: re.Pattern[str]) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [p for p in self._folder.iterdir() if pattern.fullmatch(p.name) and p.is_dir()]


def joined(
    shelf: Shelf, pictures: Sequence[str], places: Mapping[str, tuple[FeatureFile, int]]
) -> FeatureStore:
    """Makes one store of pictures, T rows each, in order; `places` knows all of them."""
    files = list(dict.fromkeys(places[picture][0] for picture in pictures))
    numbers = {file: number for number, file in enumerate(files)}
    begins = np.array([(numbers[file], first) for file, first in map(places.__getitem__, pictures)])
    tiles = np.stack([np.zeros(shelf.tiles, np.int64), np.arange(shelf.tiles)], axis=1)  # (T, 2)
    where = (begins[:, None] + tiles).reshape(-1, 2)
    return FeatureStore(files, where, key=shelf.key(pictures))


def default_cache_root() -> Path:
    """Returns `$NFBMR_CACHE`, or `nfbmr` in the platform's folder for a user's caches.

    Raises:
        DataError: the user has no home, as an unknown one in a container.
    """
    if chosen := os.environ.get("NFBMR_CACHE"):
        return Path(chosen)
    try:
        return _users_caches() / "nfbmr"
    except RuntimeError:
        raise DataError(
            "found no home folder of this user, where features would be kept; set NFBMR_CACHE to a "
            "folder for them, or HOME"
        ) from None


def _users_caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@contextmanager
def _removing_damaged(folder: Path) -> Iterator[None]:
    """Removes an entry that turns out to be damaged, and logs it; passes over one that is gone."""
    with blaming_disk(folder):
        try:
            yield
        except (DamagedError, FileNotFoundError) as error:
            if folder.is_dir():
                _log.warning("cached features are damaged and will be built again: %s", error)
                remove(folder)
