"""Small pictures: made by few at once, kept within bounds, and only for whom they are."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from nfbmr.data.images import read_image
from nfbmr.station.pages import small as module
from nfbmr.station.pages.small import AT_ONCE, SmallPictures, small

Encoded = Callable[..., bytes]

INSPECT = "/v1/models/fitted/inspect"
PATIENCE = 60.0


def test_no_more_than_two_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, inside, most = threading.Lock(), 0, 0
    both = threading.Barrier(AT_ONCE)

    def slow(*_: object) -> bytes:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        both.wait(PATIENCE)
        with lock:
            inside -= 1
        return b"jpeg"

    monkeypatch.setattr(module, "small", slow)

    async def ask() -> list[bytes | None]:
        pictures = SmallPictures()
        return await asyncio.gather(
            *(pictures.get((str(n), None, 240), lambda: b"file") for n in range(4 * AT_ONCE))
        )

    assert asyncio.run(ask()) == [b"jpeg"] * 4 * AT_ONCE
    assert most == AT_ONCE == 2


def test_the_last_used_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "small", lambda *_: b"x" * 40)
    read = []

    async def ask() -> None:
        pictures = SmallPictures(most_bytes=100)

        async def get(name: str) -> None:
            def file() -> bytes:
                read.append(name)
                return b"file"

            await pictures.get((name, None, 240), file)

        for name in "abacab":  # c puts out b, which was used before a
            await get(name)
        assert pictures.size == 80

        assert await pictures.get(("gone", None, 240), lambda: None) is None

    asyncio.run(ask())
    assert "".join(read) == "abcb"


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_small_picture_is_upright_and_looks_the_same(png: Encoded, form: str) -> None:
    image = Image.open(io.BytesIO(png(1, defect=True, size=(800, 1600)))).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    buffer = io.BytesIO()
    image.save(buffer, form, exif=exif)
    found = Image.open(io.BytesIO(small(buffer.getvalue(), None, 240)))
    assert (found.format, found.size) == ("JPEG", (120, 240))
    expected = image.rotate(-90, expand=True).resize((120, 240), Image.Resampling.BOX)
    difference = np.abs(np.asarray(found, float) - np.asarray(expected, float))
    assert difference.mean() < 4


def test_a_jpeg_is_decoded_at_a_fraction(png: Encoded, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    read = read_image

    def seen(source: Image.Image, white: int | None) -> object:
        sizes.append(source.size)
        return read(source, white)

    monkeypatch.setattr(module, "read_image", seen)
    small(png(1, form="JPEG", size=(800, 1600)), None, 200)
    assert sizes == [(200, 100)]


def test_only_an_address_that_names_the_picture_is_kept_by_a_browser(
    client: TestClient, png: Encoded
) -> None:
    client.post(INSPECT, content=png(1, defect=True))
    named = client.get("/v1/inspections/1").json()["picture"][:12]
    for path in ("/picture/1", "/heat/1"):
        kept = client.get(f"{path}?of={named}")
        assert kept.status_code == 200
        assert "immutable" in kept.headers["cache-control"]
        assert client.get(path).headers["cache-control"] == "no-store"
        for miss in (f"{path}?of={'0' * 12}", f"{path[:-1]}2", f"{path[:-1]}2?of={named}"):
            answer = client.get(miss)
            assert answer.status_code == 404
            assert answer.headers["cache-control"] == "no-store"
        assert client.get(f"{path}?of=%25").status_code == 422
