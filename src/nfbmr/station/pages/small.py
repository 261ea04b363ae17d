"""Inspected pictures as a browser shows them: small JPEGs, few made at once, the last ones kept."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import OrderedDict
from collections.abc import Callable

from fastapi.concurrency import run_in_threadpool
from PIL import Image

from nfbmr.data.decoding import blamed_on, decoded
from nfbmr.data.images import header_of, read_image

AT_ONCE = 2
"""Pictures that are decoded at the same time: each needs its full size in memory."""
MOST_BYTES = 64 * 10**6
QUALITY = 88
"""Of their JPEGs."""

Key = tuple[str, int | None, int]
"""SHA-256 of the picture's file, its white, the longer side."""


class SmallPictures:
    """Makes them, and keeps the last used ones."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Takes how much memory they may need."""
        self._most = most_bytes
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._turns = asyncio.Semaphore(AT_ONCE)

    @property
    def size(self) -> int:
        """Bytes of those that are kept."""
        return self._bytes

    async def get(self, key: Key, read: Callable[[], bytes | None]) -> bytes | None:
        """Returns a picture as JPEG; None where its file is not there.

        Args:
            key: names it.
            read: reads its file.

        Raises:
            ImageError: the file is damaged.
        """
        found = self._known(key)
        if found is not None:
            return found
        async with self._turns:
            return self._known(key) or await run_in_threadpool(self._made, key, read)

    def _known(self, key: Key) -> bytes | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _made(self, key: Key, read: Callable[[], bytes | None]) -> bytes | None:
        data = read()
        if data is None:
            return None
        made = small(data, key[1], key[2])
        with self._lock:
            self._bytes += len(made) - len(self._kept.pop(key, b""))
            self._kept[key] = made
            while self._bytes > self._most:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= len(oldest)
        return made


def small(data: bytes, white: int | None, side: int) -> bytes:
    """Returns `small_image` as JPEG; raises likewise."""
    buffer = io.BytesIO()
    small_image(data, white, side).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def small_image(data: bytes, white: int | None, side: int) -> Image.Image:
    """Returns a picture, RGB, its longer side at most so many pixels.

    Args:
        data: the file.
        white: as for `read_image`.
        side: pixels.

    Raises:
        ImageError: as `read_image`.
    """
    if header_of(data)[0] == "JPEG":
        name = f"{len(data)} bytes"
        with blamed_on(name), decoded(io.BytesIO(data), name) as opened:
            share = side / max(opened.size)
            wanted = [max(1, int(share * length)) for length in opened.size]
            opened.draft(opened.mode, (wanted[0], wanted[1]))  # decodes at an eighth, say
            image = Image.fromarray(read_image(opened, white))
    else:
        image = Image.fromarray(read_image(data, white))
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    return image
