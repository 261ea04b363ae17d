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

import numpy as np
import torch
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, load_image
from nfbmr.data.tiles import Tiling
from nfbmr.errors import DataError
from nfbmr.features.cache import FORMAT, CacheEntry, FeatureCache
from nfbmr.features.chunks import CHUNK, Chunks
from nfbmr.features.store import FeatureStore
from nfbmr.networks.protocol import FeatureSource

__all__ = ["CacheEntry", "FeatureCache", "FeatureStore", "build_features", "features_key"]

_BATCHES_AHEAD = 2
_CPU = torch.device("cpu")
_Row = Callable[[], NDArray[np.uint8]]


def build_features(
    pictures: Sequence[tuple[ImageInput, str]],
    network: FeatureSource,
    size: tuple[int, int],
    *,
    cache: FeatureCache,
    batch: int = 8,
    tiling: Tiling | None = None,
    progress: Callable[[int, int], None] | None = None,
    device: torch.device | str = "cpu",
) -> FeatureStore:
    """Returns y of every image, from the cache or by passing each image through SNN once.

    Features of one image may differ in their last bits with `batch`, which chooses other
    algorithms for the same sums; it is not part of the key.

    Args:
        pictures: each with the hash that names its content. Entry i of the store is y of
            `pictures[i]`, or the T entries from i * T are those of its tiles.
        network: SNN; left as it is.
        size: (H, W) that the pictures are brought to.
        cache: where to look and to keep.
        batch: images that pass SNN together.
        tiling: how pictures are cut; its tiles have `size`.
        progress: called with (images done, images in all) after each batch.
        device: where SNN runs; it is made ready there.

    Raises:
        ImageError: a picture cannot be read; nothing is kept.
        DataError: no pictures, or the disk is full.
    """
    if not pictures:
        raise DataError("no pictures to compute features of; expected at least one")
    device = torch.device(device)
    hashes = [content for _, content in pictures]
    key = features_key(network, size, hashes, tiling, device=device)
    rows = _rows([picture for picture, _ in pictures], size, tiling)
    store = cache.open(key)
    if store is not None:
        if progress is not None:
            progress(len(rows), len(rows))
        return store
    shape = (len(rows), *network.grid(size), network.outputs)
    chunks = Chunks(cache.chunks_folder(key), shape)
    run = partial(_run, network.ready(device), device)
    _build_chunks(chunks, rows, run, batch, progress)
    store = cache.write(key, shape, chunks, backbone=network.label, size=size)
    chunks.forget()
    return store


def _build_chunks(
    chunks: Chunks,
    rows: Sequence[_Row],
    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    batch: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Computes the chunks that an earlier, interrupted build has not left."""
    assert CHUNK % batch == 0, "a resumed build needs the same batches"
    missing = chunks.missing()
    wanted = [rows[image] for number in missing for image in chunks.images(number)]
    batches = (run(pixels) for pixels in _decoded(wanted, batch))
    done = len(rows) - len(wanted)
    for number in missing:
        found: list[NDArray[np.float32]] = []
        while sum(map(len, found)) < len(chunks.images(number)):
            found.append(next(batches))
            done += len(found[-1])
            if progress is not None:
                progress(done, len(rows))
        chunks.write(number, np.concatenate(found))


def features_key(
    network: FeatureSource,
    size: tuple[int, int],
    hashes: Sequence[str],
    tiling: Tiling | None = None,
    *,
    device: torch.device = _CPU,
) -> str:
    """Returns the key of an entry: format, backbone, device, (H, W), tiles, images in their order.

    A GPU may convolve in TF32, which differs by far more than the last bits.
    """
    cut = [] if tiling is None else [tiling.whole, tiling.corners]
    text = json.dumps([FORMAT, network.fingerprint(), device.type, list(size), *cut, list(hashes)])
    return hashlib.sha256(text.encode()).hexdigest()


@torch.inference_mode()
def _run(
    network: FeatureSource, device: torch.device, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Passes pixels (B, H, W, 3) through SNN: y (B, H', W', C)."""
    y = network(torch.from_numpy(pixels).to(device))  # (B, C, H', W')
    rows: NDArray[np.float32] = y.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return rows


def _rows(
    pictures: Sequence[ImageInput], size: tuple[int, int], tiling: Tiling | None
) -> list[_Row]:
    """Returns what gives the pixels (H, W, 3) of each entry; a picture is decoded once for all."""
    if tiling is None:
        return [partial(load_image, picture, size) for picture in pictures]

    @lru_cache(maxsize=1)
    def whole(index: int) -> NDArray[np.uint8]:
        return load_image(pictures[index], tiling.whole)

    def tile(index: int, number: int) -> NDArray[np.uint8]:
        return tiling.cut_one(whole(index), number)

    return [partial(tile, i, t) for i in range(len(pictures)) for t in range(len(tiling.corners))]


def _decoded(rows: Sequence[_Row], batch: int) -> Iterator[NDArray[np.uint8]]:
    """Yields batches (B, H, W, 3); the next ones are decoded meanwhile, in a thread."""

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
