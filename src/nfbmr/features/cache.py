"""The feature cache: source features y of lists of images, kept on disk.

An entry holds y of a list of images:

    ROOT/features/KEY/header.json     shape, one checksum per image, where it came from
    ROOT/features/KEY/features.f32    little-endian float32, C order, (N, H', W', C)
    ROOT/features/.KEY.TOKEN/         an entry being written, renamed when it is complete
    ROOT/features/.KEY.ccc.../        its finished chunks, where an interrupted build goes on

An unfinished entry is never read; a damaged one is noticed when it is opened, and built again.
Several processes may share a cache: whoever finishes an entry first provides it.

    N = images, H' W' = grid, C = channels of y, P = positions
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
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import DataError
from nfbmr.features.store import FeatureFile, FeatureStore, Shape, blaming_disk, write_rows

_log = logging.getLogger(__name__)

FORMAT = 2
"""Of an entry, and of what its numbers mean; part of the key."""

_STALE_SECONDS = 24 * 3600
_HEADER, _DATA = "header.json", "features.f32"
_KEY = re.compile(r"[0-9a-f]{64}")
_PARTIAL = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{32}")
_CHUNKS_TOKEN = 32 * "c"


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """What the cache knows of one finished entry."""

    key: str
    size_bytes: int
    n_images: int
    backbone: str
    """Name and stages."""
    created: datetime
    """UTC."""
    last_used: datetime
    """UTC."""


@dataclass(frozen=True, kw_only=True)
class _Header:
    format: int
    key: str
    shape: Shape
    checksums: list[int]
    """CRC-32 per image."""
    backbone: str
    size: tuple[int, int]
    created: float


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
        self._open: WeakValueDictionary[str, FeatureStore] = WeakValueDictionary()

    def entries(self) -> list[CacheEntry]:
        """Returns the finished entries, the least recently used first."""
        found = []
        for folder in self._folders(_KEY):
            with suppress(_DamagedError, OSError):
                header, _ = _read_header(folder)
                files = [(folder / name).stat() for name in (_HEADER, _DATA)]
                entry = CacheEntry(
                    key=folder.name,
                    size_bytes=sum(file.st_size for file in files),
                    n_images=header.shape[0],
                    backbone=header.backbone,
                    created=datetime.fromtimestamp(header.created, UTC),
                    last_used=datetime.fromtimestamp(files[0].st_mtime, UTC),
                )
                found.append(entry)
        return sorted(found, key=lambda entry: entry.last_used)

    def size(self) -> int:
        """Returns the bytes of all finished entries."""
        return sum(entry.size_bytes for entry in self.entries())

    def clear(self) -> None:
        """Removes every entry, damaged ones too, but not those that are being written."""
        for folder in self._folders(_KEY):
            _remove(folder)
        self._sweep()

    def open(self, key: str) -> FeatureStore | None:
        """Returns the entry, or None where there is none; a damaged one is removed, and logged.

        Every byte is compared with its checksum the first time this object opens the entry, and
        again when the file has changed since.
        """
        folder = self._folder / key
        if not folder.is_dir():
            return None
        with blaming_disk(folder):
            try:
                store, state = self._sound(folder)
            except (_DamagedError, FileNotFoundError) as error:
                _log.warning("cached features are damaged and will be built again: %s", error)
                _remove(folder)
                return None
        self._checked[key] = state
        self._open[key] = store
        with suppress(OSError):  # a cache that is only readable works too
            os.utime(folder / _HEADER)
        return store

    def write(
        self,
        key: str,
        shape: Shape,
        batches: Iterable[NDArray[np.float32]],
        *,
        backbone: str,
        size: tuple[int, int],
    ) -> FeatureStore:
        """Writes an entry, unless another process finishes the same one first.

        Args:
            key: 64 hexadecimal digits.
            shape: (N, H', W', C).
            batches: float32 (B, H', W', C), N images in all.
            backbone: for `entries`.
            size: (H, W) of the images, for the record.

        Raises:
            DataError: the disk is full or the folder cannot be written; nothing is left behind.
        """
        final, partial = self._folder / key, self._folder / f".{key}.{uuid.uuid4().hex}"
        try:
            with blaming_disk(self._folder):
                partial.mkdir(parents=True)
                self._make_room(4 * math.prod(shape))
                header = _Header(
                    format=FORMAT,
                    key=key,
                    shape=shape,
                    checksums=write_rows(partial / _DATA, shape, batches),
                    backbone=backbone,
                    size=size,
                    created=time.time(),
                )
                (partial / _HEADER).write_text(json.dumps(asdict(header)), encoding="utf-8")
                try:
                    partial.rename(final)
                except OSError:
                    if not final.is_dir():
                        raise  # else another process was first, and its entry is as good
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        store = self.open(key)
        if store is None:
            raise DataError(f"{final}: damaged just after it was written; check this disk")
        return store

    def chunks_folder(self, key: str) -> Path:
        """Returns where an entry under way keeps its finished chunks."""
        return self._folder / f".{key}.{_CHUNKS_TOKEN}"

    def _sound(self, folder: Path) -> tuple[FeatureStore, tuple[int, int, int]]:
        """Opens an entry after checking it; also returns what to recognise this very state by."""
        header, text = _read_header(folder)
        stat = (folder / _DATA).stat()
        state = (stat.st_mtime_ns, stat.st_size, zlib.crc32(text))
        if self._checked.get(folder.name) != state:
            _compare_checksums(folder / _DATA, header)
        file = FeatureFile(folder / _DATA, header.shape)
        return FeatureStore([file], key=folder.name), state

    def _make_room(self, wanted: int) -> None:
        """Removes what is stale, then the least recently used entries, for `wanted` bytes."""
        self._sweep()
        entries = self.entries()
        total = wanted + sum(entry.size_bytes for entry in entries)
        for entry in entries:
            if total <= self.limit_bytes:
                break
            if entry.key not in self._open:
                _remove(self._folder / entry.key)
                total -= entry.size_bytes
        free = shutil.disk_usage(self._folder).free
        if free < wanted:
            raise DataError(
                f"{self._folder}: the features need {wanted / 2**20:.0f} MiB, the disk has "
                f"{free / 2**20:.0f} MiB left; make room, or set NFBMR_CACHE to a larger disk"
            )

    def _sweep(self) -> None:
        """Removes what interrupted builds left behind, once nobody can be writing it."""
        for folder in self._folders(_PARTIAL):
            with suppress(OSError):
                latest = max(p.stat().st_mtime for p in (folder, *folder.iterdir()))
                if time.time() - latest > _STALE_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)

    def _folders(self, pattern: re.Pattern[str]) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [p for p in self._folder.iterdir() if pattern.fullmatch(p.name) and p.is_dir()]


def default_cache_root() -> Path:
    """Returns `$NFBMR_CACHE`, or `nfbmr` in the platform's folder for a user's caches."""
    if chosen := os.environ.get("NFBMR_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nfbmr"


class _DamagedError(Exception):
    """An entry is not what was written; never leaves this module."""


def _read_header(folder: Path) -> tuple[_Header, bytes]:
    text = (folder / _HEADER).read_bytes()
    try:
        header = _Header(**json.loads(text))
        n, height, width, channels = (int(side) for side in header.shape)
        sound = (
            header.format == FORMAT
            and header.key == folder.name
            and min(n, height, width, channels) >= 1
            and len(header.checksums) == n
        )
        created = float(header.created)
    except (ValueError, TypeError) as error:
        raise _DamagedError(f"{folder / _HEADER} cannot be read: {error}") from error
    if not sound:
        raise _DamagedError(f"{folder / _HEADER} does not describe this entry")
    return replace(header, shape=(n, height, width, channels), created=created), text


def _compare_checksums(path: Path, header: _Header) -> None:
    length = 4 * math.prod(header.shape[1:])
    found, expected = path.stat().st_size, header.shape[0] * length
    if found != expected:
        raise _DamagedError(f"{path}: {found} bytes, expected {expected}")
    with path.open("rb") as handle:
        for number, checksum in enumerate(header.checksums):
            if zlib.crc32(handle.read(length)) != checksum:
                raise _DamagedError(f"{path}: image {number} differs from what was written")


def _remove(folder: Path) -> None:
    """Removes an entry: first out of sight in one step, then from the disk."""
    hidden = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        folder.rename(hidden)
    except OSError as error:  # gone already, or held open on Windows
        _log.info("%s was not removed: %s", folder, error)
        return
    shutil.rmtree(hidden, ignore_errors=True)
