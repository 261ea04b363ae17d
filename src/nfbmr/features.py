"""The feature cache: images to source features y once, kept on disk.

SNN is frozen and nothing is augmented, so y of an image never changes while the image, the
backbone and the size stay the same. An entry holds y of a list of images:

    ROOT/features/KEY/header.json     shape, one checksum per image, where it came from
    ROOT/features/KEY/features.f32    little-endian float32, C order, (N, H', W', C)
    ROOT/features/.KEY.TOKEN/         an entry being written, renamed when it is complete

An unfinished entry is never read; a damaged one is noticed when it is opened, and built again.
Several processes may share a cache: whoever finishes an entry first provides it.

    N = images, H' W' = grid, C = channels of y, P = positions
"""

from __future__ import annotations

import hashlib
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
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from nfbmr.data.images import fingerprint, load_image
from nfbmr.errors import DataError
from nfbmr.feature_store import FeatureStore, Shape, blaming_disk, write_rows, write_store
from nfbmr.networks.backbone import SourceNetwork

__all__ = [
    "CacheEntry",
    "FeatureCache",
    "FeatureStore",
    "build_features",
    "default_cache_root",
    "features_key",
    "write_store",
]

_log = logging.getLogger(__name__)

FORMAT = 1
"""Of an entry, and of what its numbers mean; part of the key."""

_BATCHES_AHEAD = 2
_STALE_SECONDS = 24 * 3600
_HEADER, _DATA = "header.json", "features.f32"
_KEY = re.compile(r"[0-9a-f]{64}")
_PARTIAL = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{32}")


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

    def _sound(self, folder: Path) -> tuple[FeatureStore, tuple[int, int, int]]:
        """Opens an entry after checking it; also returns what to recognise this very state by."""
        header, text = _read_header(folder)
        stat = (folder / _DATA).stat()
        state = (stat.st_mtime_ns, stat.st_size, zlib.crc32(text))
        if self._checked.get(folder.name) != state:
            _compare_checksums(folder / _DATA, header)
        return FeatureStore(folder / _DATA, header.shape, key=folder.name), state

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


def build_features(
    paths: Sequence[Path],
    network: SourceNetwork,
    size: tuple[int, int],
    *,
    cache: FeatureCache,
    batch: int = 8,
    progress: Callable[[int, int], None] | None = None,
    device: torch.device | str = "cpu",
) -> FeatureStore:
    """Returns y of every image, from the cache or by passing each image through SNN once.

    Features of one image may differ in their last bits with `batch` and `device`, which choose
    other algorithms for the same sums; neither is part of the key.

    Args:
        paths: the pictures; entry i of the store is y of `paths[i]`.
        network: SNN; it stays on `device`.
        size: (H, W) that the pictures are brought to.
        cache: where to look and to keep.
        batch: images that pass SNN together.
        progress: called with (images done, images in all) after each batch.
        device: where SNN runs.

    Raises:
        ImageError: a picture cannot be read; nothing is kept.
        DataError: no pictures, or the disk is full.
    """
    if not paths:
        raise DataError("no pictures to compute features of; expected at least one")
    key = features_key(network, size, [fingerprint(path) for path in paths])
    store = cache.open(key)
    if store is None:
        shape = (len(paths), *network.grid(size), network.channels)
        network.to(device)
        batches = (_run(network, pixels) for pixels in _decoded(paths, size, batch))
        backbone = f"{network.name} {'+'.join(network.stages)}"
        reported = _reported(batches, len(paths), progress)
        return cache.write(key, shape, reported, backbone=backbone, size=size)
    if progress is not None:
        progress(len(paths), len(paths))
    return store


def features_key(network: SourceNetwork, size: tuple[int, int], hashes: Sequence[str]) -> str:
    """Returns the key of an entry: the format, the backbone, (H, W), the images in their order."""
    text = json.dumps([FORMAT, network.fingerprint(), list(size), list(hashes)])
    return hashlib.sha256(text.encode()).hexdigest()


@torch.inference_mode()
def _run(network: SourceNetwork, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Passes pixels (B, H, W, 3) through SNN: y (B, H', W', C)."""
    y = network(torch.from_numpy(pixels).to(network.mean.device))  # (B, C, H', W')
    rows: NDArray[np.float32] = y.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return rows


def _decoded(
    paths: Sequence[Path], size: tuple[int, int], batch: int
) -> Iterator[NDArray[np.uint8]]:
    """Yields batches (B, H, W, 3); the next ones are decoded meanwhile, in a thread."""

    def load(start: int) -> NDArray[np.uint8]:
        return np.stack([load_image(path, size) for path in paths[start : start + batch]])

    pool = ThreadPoolExecutor(1, thread_name_prefix="nfbmr-decode")
    waiting: deque[Future[NDArray[np.uint8]]] = deque()
    try:
        for start in range(0, len(paths), batch):
            waiting.append(pool.submit(load, start))
            if len(waiting) > _BATCHES_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _reported(
    batches: Iterable[NDArray[np.float32]],
    total: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[NDArray[np.float32]]:
    done = 0
    for rows in batches:
        yield rows
        done += len(rows)
        if progress is not None:
            progress(done, total)


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
