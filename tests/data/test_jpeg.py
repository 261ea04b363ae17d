"""A JPEG whose middle is lost or changed is refused; a whole one, of whatever kind, never is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from nfbmr.data.images import load_image, read_image
from nfbmr.data.jpeg import WholeJpeg
from nfbmr.errors import ImageError
from nfbmr.settings.schema import DataSettings

H, W = 243, 320
LOST = 512  # bytes: a sector of a disk, less than a packet of a network
DAMAGED = "unreadable or truncated file .bytes in its middle are lost or changed"


def part(size: tuple[int, int] = (H, W), mode: str = "RGB") -> Image.Image:
    """A picture as cameras take it: smooth, and with noise."""
    y, x = np.mgrid[: size[0], : size[1]]
    noise = np.random.default_rng(1).normal(0, 4, (*size, 3))
    values = (120 + 60 * np.sin(x / 40) + 20 * np.cos(y / 17))[..., None] + noise
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert(mode)


def jpeg(picture: Image.Image, **how: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", **how)
    return stream.getvalue()


def plain(data: bytes) -> np.ndarray:
    """What Pillow alone makes of it."""
    return np.asarray(JpegImageFile(io.BytesIO(data)))


def middles(data: bytes) -> list[int]:
    """Places in the middle of the compressed data."""
    n = len(data)
    return [int(n * share) for share in (0.4, 0.5)]


def zeros(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(LOST) + data[at + LOST :]


def changed(data: bytes, at: int) -> bytes:
    other = np.random.default_rng(at).integers(0, 255, 4 * LOST, np.uint8)  # no 0xFF: no markers
    return data[:at] + other.tobytes() + data[at + 4 * LOST :]


def gone(data: bytes, at: int) -> bytes:
    return data[:at] + data[at + LOST :]


def twice(data: bytes, at: int) -> bytes:
    return data[:at] + data[at - LOST : at] + data[at:]


@pytest.mark.parametrize("damage", [zeros, changed, gone, twice])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "how",
    [{}, {"quality": 92, "subsampling": 0}, {"optimize": True}, {"restart_marker_blocks": 9}],
    ids=str,
)
def test_what_is_lost_in_the_middle_is_seen(damage: Any, mode: str, how: dict[str, Any]) -> None:
    data = jpeg(part(mode=mode), **how)
    read_image(data)
    for at in middles(data):
        broken = damage(data, at)
        assert plain(broken).shape == plain(data).shape  # Pillow alone says nothing
        with pytest.raises(ImageError, match=DAMAGED):
            read_image(broken)


def test_it_is_seen_from_a_file_and_decoded_smaller(tmp_path: Path) -> None:
    data = jpeg(part())
    path = tmp_path / "a.jpg"
    path.write_bytes(gone(data, len(data) // 2))
    with pytest.raises(ImageError, match=rf"a\.jpg: found an {DAMAGED}.*copy or export"):
        load_image(path, (16, 16), DataSettings(reading="scaled"))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "how",
    [
        *({}, {"quality": 100}, {"quality": 5}, {"optimize": True}, {"progressive": True}),
        *({"restart_marker_blocks": 1}, {"restart_marker_rows": 1}, {"subsampling": 2}),
    ],
    ids=str,
)
def test_whole_files_are_read_as_before(mode: str, how: dict[str, Any]) -> None:
    flat = Image.new("RGB", (70, 50), "white").convert(mode)
    pictures = [part(size, mode) for size in ((1, 1), (2, 3), (8, 8), (17, 9), (1, 100), (H, W))]
    for picture in (flat, *pictures):
        data = jpeg(picture, **how)
        np.testing.assert_array_equal(np.asarray(WholeJpeg(io.BytesIO(data))), plain(data))


@pytest.mark.parametrize("behind", [b"", bytes(40), b"a second picture \xff\xd8\xff\xe1 \xff\xd9"])
@pytest.mark.parametrize("before", [b"", bytes(3), b"\xff\xff", bytes(900), b"filled up"])
def test_what_cameras_write_around_the_end_is_no_damage(before: bytes, behind: bytes) -> None:
    data = jpeg(part())
    whole = data[:-2] + before + data[-2:] + behind
    np.testing.assert_array_equal(read_image(whole), plain(data))


def test_segments_and_fill_bytes_before_the_picture_are_no_damage() -> None:
    data = jpeg(part())
    comment = b"\xff\xff\xfe\x00\x06\xff\x17\xff\xd9"  # what would be markers in the picture
    np.testing.assert_array_equal(read_image(data[:2] + comment + data[2:]), plain(data))


@pytest.mark.parametrize("left", [2, 12, 1000])
def test_a_file_without_an_end_is_truncated(left: int) -> None:
    with pytest.raises(ImageError, match="image file is truncated"):
        read_image(jpeg(part())[:-left])


def test_a_marker_that_is_none_ends_the_picture_early() -> None:
    data = jpeg(part())
    at = len(data) // 2
    for marker in (b"\xff\x17", b"\xff\xd9", b"\xff\xfe"):
        with pytest.raises(ImageError, match=DAMAGED):
            read_image(data[:at] + marker + data[at + 2 :])


def test_restart_markers_that_are_lost_are_seen() -> None:
    data = jpeg(part(), restart_marker_rows=1)
    at, behind = (data.index(bytes([0xFF, 0xD0 + i])) for i in (3, 5))
    assert plain(data[:at] + data[behind:]).shape == (H, W, 3)
    with pytest.raises(ImageError, match=DAMAGED):
        read_image(data[:at] + data[behind:])
