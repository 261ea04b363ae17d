"""Images to source features y, once per image: from the cache, or through SNN.

SNN is frozen and nothing is augmented, so y of an image never changes while the image, the
backbone and the size stay the same.

    N = images, H' W' = grid, C = channels of y, P = positions
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from importlib import metadata

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nfbmr.data.ignore import Ignored
from nfbmr.data.images import AS_STORED, ImageInput, load_image
from nfbmr.data.pose import Pose
from nfbmr.data.tiles import Tiling
from nfbmr.errors import DataError
from nfbmr.features.cache import CacheEntry, FeatureCache, Places
from nfbmr.features.chunks import CHUNK, Chunks, MissingChunkError
from nfbmr.features.entry import FORMAT, Shelf
from nfbmr.features.store import FeatureStore
from nfbmr.networks.protocol import FeatureSource
from nfbmr.settings.schema import DataSettings
from nfbmr.system.cores import SMALL, at_once
from nfbmr.system.threads import alone_on_a_thread

__all__ = ["CacheEntry", "FeatureCache", "FeatureStore", "build_features", "shelf_of"]

_BATCH = 8
_BATCHES_AHEAD = 2
_ATTEMPTS = 3
_COMPUTE = ("pillow", "torch", "timm")
_TURN = ("numpy", "scipy")
_CPU = torch.device("cpu")
_Row = Callable[[], NDArray[np.uint8]]
_Compute = Callable[[Sequence[_Row]], Iterator[NDArray[np.float32]]]


def build_features(
    pictures: Sequence[tuple[ImageInput, str]],
    network: FeatureSource,
    size: tuple[int, int],
    *,
    cache: FeatureCache,
    tiling: Tiling | None = None,
    how: DataSettings = AS_STORED,
    pose: Pose | None = None,
    ignore: Ignored | None = None,
    progress: Callable[[int, int], None] | None = None,
    device: torch.device | str = "cpu",
) -> FeatureStore:
    """Returns y of every image, from the cache or by passing each image through SNN once.

    On the CPU, y of an image is the same bit for bit whatever images it is computed with.

    Args:
        pictures: each with the hash that names its content. Entry i of the store is y of
            `pictures[i]`, or the T entries from i * T are those of its tiles.
        network: SNN; left as it is.
        size: (H, W) that the pictures are brought to.
        cache: where to look and to keep.
        tiling: how pictures are cut; its tiles have `size`.
        how: pictures are read.
        pose: what pictures are turned to; never of pictures that are cut.
        ignore: what is painted over in them; never of pictures that are cut or turned.
        progress: called with (images done, images in all) after each batch.
        device: where SNN runs; it is made ready there.

    Raises:
        ImageError: a picture cannot be read; nothing is kept.
        DataError: no pictures, or the disk is full.
    """
    if not pictures:
        raise DataError("no pictures to compute features of; expected at least one")
    device = torch.device(device)
    shelf = shelf_of(network, size, tiling, pose, ignore=ignore, how=how, device=device)
    contents = [content for _, content in pictures]
    places = cache.find(shelf, contents)
    lacking = {content: picture for picture, content in pictures if content not in places}
    total = len(contents) * shelf.tiles
    before = total - len(lacking) * shelf.tiles

    def tell(done: int) -> None:
        if progress is not None:
            progress(before + done, total)

    if lacking:
        rows = _rows(list(lacking.values()), size, tiling, pose, ignore, how)
        compute = partial(passed, network.ready(device), size, device)
        places |= _computed(shelf, list(lacking), rows, compute, cache, tell)
    else:
        tell(0)
    return cache.store(shelf, contents, places)


def shelf_of(
    network: FeatureSource,
    size: tuple[int, int],
    tiling: Tiling | None = None,
    pose: Pose | None = None,
    *,
    ignore: Ignored | None = None,
    how: DataSettings = AS_STORED,
    device: torch.device = _CPU,
) -> Shelf:
    """Returns the shelf of what a network on a device makes of pictures brought to `size` (H, W).

    Its name tells format, backbone, size, tiles, pose, what is ignored, how pictures are read, and
    what computes: the kind of device, the versions, and on the CPU its vector instructions and the
    threads of an image, which divide the sums.
    """
    cut = [] if tiling is None else [tiling.whole, tiling.corners]
    computes = [device.type, *(metadata.version(name) for name in _COMPUTE)]
    if device.type == "cpu":
        computes += [torch.backends.cpu.get_cpu_capability(), str(threads_of(network, size))]
    one: list[object] = [FORMAT, network.fingerprint(), size, cut, how.white, computes]
    if pose is not None:
        one.append([pose.key, *(metadata.version(name) for name in _TURN)])
    if ignore is not None:
        one.append(["ignore", ignore.key])
    if how.reading != "whole":
        one.append(["reading", how.reading])
    return Shelf(
        name=hashlib.sha256(json.dumps(one).encode()).hexdigest(),
        row=(*network.grid(size), network.outputs),
        tiles=1 if tiling is None else len(tiling.corners),
        backbone=network.label,
        size=size,
    )


def _computed(
    shelf: Shelf,
    contents: Sequence[str],
    rows: Sequence[_Row],
    compute: _Compute,
    cache: FeatureCache,
    tell: Callable[[int], None],
) -> Places:
    """Computes y of pictures as one new entry; goes on after the chunks of an interrupted build."""
    chunks = Chunks(cache.chunks_folder(shelf.key(contents)), shelf.shape(contents))
    for _ in range(_ATTEMPTS):
        chunks.touch()  # before what is old is cleared away
        missing = chunks.missing()
        cache.make_room(chunks.size_bytes(range(chunks.count)), chunks.size_bytes(missing))
        try:
            _build_chunks(chunks, missing, rows, compute, tell)
            places = cache.write(shelf, contents, chunks)
        except MissingChunkError:  # or another process has finished the same, and cleared up
            places = cache.find(shelf, contents)
        if len(places) == len(contents):
            chunks.forget()
            return places
    raise DataError(f"{cache.root}: features change after they are written; check this disk")


def _build_chunks(
    chunks: Chunks,
    missing: Sequence[int],
    rows: Sequence[_Row],
    compute: _Compute,
    tell: Callable[[int], None],
) -> None:
    """Computes chunks, those that an earlier, interrupted build has not left."""
    wanted = [rows[image] for number in missing for image in chunks.images(number)]
    batches = compute(wanted)
    done = len(rows) - len(wanted)
    for number in missing:
        found: list[NDArray[np.float32]] = []
        while sum(map(len, found)) < len(chunks.images(number)):
            found.append(next(batches))
            done += len(found[-1])
            tell(done)
        chunks.write(number, np.concatenate(found))


def batch_on(device: torch.device) -> int:
    """Returns how many images pass SNN together.

    On the CPU each passes alone, which takes a core no longer: vector instructions and threads
    divide a batch without regard to its images, so that the last bits of an image's SiLU depend on
    its place there.
    """
    return 1 if device.type == "cpu" else _BATCH


def threads_of(network: FeatureSource, size: tuple[int, int]) -> int:
    """Returns how many threads compute the features of one image (H, W) on the CPU.

    A small image has one. Networks that are no torch have threads of their own.
    """
    alone = isinstance(network, nn.Module) and size[0] * size[1] <= SMALL
    return 1 if alone else torch.get_num_threads()


def passed(
    network: FeatureSource, size: tuple[int, int], device: torch.device, rows: Sequence[_Row]
) -> Iterator[NDArray[np.float32]]:
    """Passes images through SNN and yields their y, batch by batch: (n, H', W', C').

    Args:
        network: SNN, ready on the device.
        size: (H, W) of the images.
        device: where it is.
        rows: each gives the pixels (H, W, 3) of an image.
    """
    batch = batch_on(device)
    assert CHUNK % batch == 0, "a chunk is of whole batches"
    batches = _decoded(rows, batch)
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads_of(network, size) == threads:
        for pixels in batches:
            yield _run(network, device, pixels, batch)
        return
    workers = min(at_once(size, threads), len(rows))
    with alone_on_a_thread(workers) as pool:
        waiting: deque[Future[NDArray[np.float32]]] = deque()
        for pixels in batches:
            waiting.append(pool.submit(_run, network, device, pixels, batch))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@torch.inference_mode()
def _run(
    network: FeatureSource, device: torch.device, pixels: NDArray[np.uint8], batch: int
) -> NDArray[np.float32]:
    """Passes pixels (n, H, W, 3), n <= `batch`, through SNN: y (n, H', W', C).

    Fewer are filled up, because another size of the batch may choose other algorithms.
    """
    n = len(pixels)
    full = np.pad(pixels, ((0, batch - n), (0, 0), (0, 0), (0, 0)))
    y = network(torch.from_numpy(full).to(device))[:n]  # (n, C, H', W')
    rows: NDArray[np.float32] = y.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return rows


def _rows(
    pictures: Sequence[ImageInput],
    size: tuple[int, int],
    tiling: Tiling | None,
    pose: Pose | None,
    ignore: Ignored | None,
    how: DataSettings,
) -> list[_Row]:
    """Returns what gives the pixels (H, W, 3) of each entry; a picture is decoded once for all."""
    assert [tiling, pose, ignore].count(None) >= 2, "a picture is cut, turned or painted over"
    if pose is not None:
        return [partial(_aligned, picture, size, pose, how) for picture in pictures]
    if ignore is not None:
        return [partial(_painted, picture, size, ignore, how) for picture in pictures]
    if tiling is None:
        return [partial(load_image, picture, size, how) for picture in pictures]

    @lru_cache(maxsize=1)
    def whole(index: int) -> NDArray[np.uint8]:
        return load_image(pictures[index], tiling.whole, how)

    def tile(index: int, number: int) -> NDArray[np.uint8]:
        return tiling.cut_one(whole(index), number)

    return [partial(tile, i, t) for i in range(len(pictures)) for t in range(len(tiling.corners))]


def _aligned(
    picture: ImageInput, size: tuple[int, int], pose: Pose, how: DataSettings
) -> NDArray[np.uint8]:
    return pose.align(load_image(picture, size, how))[0]


def _painted(
    picture: ImageInput, size: tuple[int, int], ignore: Ignored, how: DataSettings
) -> NDArray[np.uint8]:
    return ignore.paint(load_image(picture, size, how))


def _decoded(rows: Sequence[_Row], batch: int) -> Iterator[NDArray[np.uint8]]:
    """Yields batches (n, H, W, 3), the last one of what is left; a thread decodes the next ones."""

    def load(start: int) -> NDArray[np.uint8]:
        return np.stack([row() for row in rows[start : start + batch]])

    pool = ThreadPoolExecutor(1, thread_name_prefix="nfbmr-decode")
    waiting: deque[Future[NDArray[np.uint8]]] = deque()
    try:
        for start in range(0, len(rows), batch):
            waiting.append(pool.submit(load, start))
            if len(waiting) > _BATCHES_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
