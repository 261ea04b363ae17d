"""Pictures in, pixels out: the same ones for every form, format and orientation."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.decoding import PIXEL_LIMIT
from nfbmr.data.images import (
    header_of,
    image_size,
    load_image,
    load_with_size,
    read_image,
    resize_image,
)
from nfbmr.data.masks import read_mask
from nfbmr.errors import ImageError

RGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [0, 0, 0], [255] * 3]])
RGB = RGB.astype(np.uint8)  # (2, 3, 3): not square, every pixel different
GRAY = np.array([[0, 128, 255], [7, 8, 9]], dtype=np.uint8)
GRAY_AS_RGB = np.stack([GRAY] * 3, axis=2)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def check(found: NDArray[Any], expected: NDArray[Any]) -> None:
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("a.tiff", {"compression": "tiff_lzw"}),
        ("a.webp", {"lossless": True}),
        ("A.PNG", {}),
    ],
)
def test_every_lossless_format_keeps_every_pixel(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    for values, expected in ((RGB, RGB), (GRAY, GRAY_AS_RGB)):
        path = save(tmp_path / name, Image.fromarray(values), **options)
        check(read_image(path), expected)
        check(read_image(str(path)), expected)
        assert image_size(path) == (2, 3)


def test_jpeg_is_close_and_gray_jpeg_is_gray(tmp_path: Path) -> None:
    flat = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    path = save(tmp_path / "a.jpg", Image.fromarray(flat), quality=95)
    assert np.abs(read_image(path).astype(int) - flat).max() <= 3
    gray = read_image(save(tmp_path / "g.jpg", Image.fromarray(flat[..., 0]), quality=95))
    assert gray.shape == (16, 24, 3)
    assert (gray[..., 0] == gray[..., 2]).all()


def test_content_decides_the_format_not_the_suffix(tmp_path: Path) -> None:
    check(read_image(save(tmp_path / "a.jpg", Image.fromarray(RGB), format="PNG")), RGB)


def test_file_pillow_image_and_array_give_the_same(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    with Image.open(path) as image:
        check(read_image(image), RGB)
    check(read_image(RGB), RGB)
    for size in ((2, 3), (5, 4), (1, 2)):
        expected = load_image(path, size)
        assert expected.shape == (*size, 3)
        check(load_image(RGB, size), expected)
        check(load_image(Image.fromarray(RGB), size), expected)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
@pytest.mark.parametrize("size", [(37, 53), (20, 90), (64, 64), (7, 5)])
def test_gray_is_resized_as_its_three_equal_channels_would_be(
    tmp_path: Path, mode: str, size: tuple[int, int]
) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (37, 53), np.uint16)
    made = Image.fromarray(values) if mode == "I;16" else Image.fromarray(values.astype(np.uint8))
    path = save(tmp_path / "a.png", made if mode == "I;16" else made.convert(mode))
    found, full, *_ = load_with_size(path, size)
    assert full == (37, 53)
    check(found, resize_image(read_image(path), size))
    assert found.flags.writeable


@pytest.mark.parametrize("source", [RGB, RGB[..., 0]], ids=["colour", "gray"])
def test_the_result_never_shares_memory_with_an_array(source: NDArray[np.uint8]) -> None:
    before = source.copy()
    for size in (source.shape[:2], (5, 4)):
        read_image(before)[:] = 1
        load_image(before, size)[:] = 1
        np.testing.assert_array_equal(before, source)


def palette_image(transparency: bytes | int | None) -> Image.Image:
    indexed = Image.new("P", (3, 1))
    for x in range(3):
        indexed.putpixel((x, 0), x)
    indexed.putpalette([255, 0, 0, 0, 255, 0, 1, 2, 3])
    if transparency is not None:
        indexed.info["transparency"] = transparency
    return indexed


@pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80\xff"])
def test_palettes_give_their_colours_whatever_is_transparent(
    tmp_path: Path, transparency: bytes | int | None
) -> None:
    expected = np.array([[[255, 0, 0], [0, 255, 0], [1, 2, 3]]])
    image = palette_image(transparency)
    check(read_image(image), expected)
    check(read_image(save(tmp_path / "a.png", image)), expected)


def test_bilevel_is_black_and_white(tmp_path: Path) -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    for path in (save(tmp_path / "a.png", image), save(tmp_path / "a.tif", image)):
        check(read_image(path), np.array([[[0] * 3, [255] * 3]]))
    check(read_image(image), np.array([[[0] * 3, [255] * 3]]))
    check(read_image(np.array([[False, True]])), np.array([[[0] * 3, [255] * 3]]))


def test_alpha_is_dropped_not_composited(tmp_path: Path) -> None:
    alpha = np.array([[0, 128, 255], [1, 2, 3]], np.uint8)
    rgba = np.dstack([RGB, alpha])
    check(read_image(save(tmp_path / "a.png", Image.fromarray(rgba))), RGB)
    check(read_image(rgba), RGB)
    gray_alpha = Image.merge("LA", (Image.fromarray(GRAY), Image.fromarray(alpha)))
    check(read_image(save(tmp_path / "la.png", gray_alpha)), GRAY_AS_RGB)


def test_transparent_colour_key_is_dropped(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB), transparency=(255, 0, 0))
    check(read_image(path), RGB)


def test_cmyk(tmp_path: Path) -> None:
    image = Image.new("CMYK", (2, 1))
    image.putpixel((1, 0), (0, 255, 255, 0))  # full magenta and yellow: red
    check(read_image(save(tmp_path / "a.tif", image)), np.array([[[255, 255, 255], [255, 0, 0]]]))


SIXTEEN = np.array([[0, 128, 129, 257 * 100], [257 * 100 + 128, 257 * 100 + 129, 65534, 65535]])
EIGHT = np.array([[0, 0, 1, 100], [100, 101, 255, 255]])  # round(v / 257), by hand
EIGHT_AS_RGB = np.stack([EIGHT] * 3, axis=2)


def test_sixteen_bits_use_the_full_range(tmp_path: Path) -> None:
    image = Image.fromarray(SIXTEEN.astype(np.uint16))
    check(read_image(image), EIGHT_AS_RGB)
    for name in ("a.png", "a.tif"):
        check(read_image(save(tmp_path / name, image)), EIGHT_AS_RGB)
    for dtype in ("<u2", ">u2"):
        check(read_image(SIXTEEN.astype(dtype)), EIGHT_AS_RGB)


def test_dark_sixteen_bits_stay_dark() -> None:
    assert read_image(np.full((2, 2), 4095, np.uint16)).max() == 16  # no stretch per picture


def test_big_endian_sixteen_bits() -> None:
    image = Image.frombytes("I;16B", (4, 2), SIXTEEN.astype(">u2").tobytes())
    check(read_image(image), EIGHT_AS_RGB)


def test_big_endian_tiff(tmp_path: Path) -> None:
    data = SIXTEEN.astype(">u2").tobytes()
    tags = {256: 4, 257: 2, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: 2, 279: len(data)}
    ifd = struct.pack(">H", len(tags))
    for tag, value in tags.items():
        ifd += struct.pack(">HHII", tag, 4, 1, value)
    path = tmp_path / "a.tif"
    header = b"MM\0*" + struct.pack(">I", 8 + len(data))
    path.write_bytes(header + data + ifd + struct.pack(">I", 0))
    check(read_image(path), EIGHT_AS_RGB)


def test_thirty_two_bit_integers_count_as_sixteen(tmp_path: Path) -> None:
    image = Image.fromarray(SIXTEEN.astype(np.int32))
    assert image.mode == "I"
    check(read_image(save(tmp_path / "a.tif", image)), EIGHT_AS_RGB)


@pytest.mark.parametrize("value", [-1, 65536])
def test_wider_integers_are_refused(value: int) -> None:
    with pytest.raises(ImageError, match=f"32-bit values.*{value}.*expected 0 to 65535"):
        read_image(Image.fromarray(np.array([[0, value]], np.int32)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_zero_to_one(dtype: type[np.floating[Any]], tmp_path: Path) -> None:
    values = np.array([[0.0, 0.25, 1.0]], dtype=dtype)  # 0.25 * 255 = 63.75
    expected = np.array([[[0] * 3, [64] * 3, [255] * 3]])
    check(read_image(values), expected)
    if dtype is np.float32:
        check(read_image(save(tmp_path / "a.tif", Image.fromarray(values))), expected)


@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan"), float("inf")])
def test_floats_elsewhere_are_refused(bad: float) -> None:
    values = np.array([[0.5, bad]], dtype=np.float32)
    for source in (values, Image.fromarray(values)):
        with pytest.raises(ImageError, match=r"expected floats in \[0, 1\]; divide"):
            read_image(source)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((3, 8, 9), np.uint8, r"found 9 channels.*transpose\(1, 2, 0\)"),
        ((8, 9, 2), np.uint8, "found 2 channels"),
        ((2, 8, 9, 3), np.uint8, "found 4 axes.*one picture"),
        ((8,), np.uint8, "found 1 axes"),
        ((0, 9, 3), np.uint8, "no pixels"),
        ((8, 9), np.int64, "values of type int64.*convert it to uint8"),
        ((8, 9), np.complex128, "values of type complex128"),
    ],
)
def test_arrays_without_a_stated_meaning(
    shape: tuple[int, ...], dtype: type[np.generic], message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(np.zeros(shape, dtype))


def test_one_channel_array() -> None:
    check(read_image(GRAY[..., None]), GRAY_AS_RGB)


def test_bytes_of_a_file_are_read_as_the_file_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "turned.png", Image.fromarray(GRAY), exif=exif)
    np.testing.assert_array_equal(read_image(path.read_bytes()), read_image(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "an empty file"), (b"a.png", "another kind"), (b"\x89PNG\r\n\x1a\n", "unreadable")],
)
def test_bytes_that_are_no_picture_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=f"^{len(data)} bytes: found .*{message}"):
        read_image(data)


def test_other_sources_and_modes_are_refused() -> None:
    with pytest.raises(ImageError, match="found a int; expected a path, bytes, a Pillow image"):
        read_image(3)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"mode 'HSV'.*convert it"):
        read_image(Image.new("HSV", (2, 2)))
    with pytest.raises(ImageError, match="no pixels"):
        read_image(Image.new("RGB", (0, 2)))


# Upright [[1, 2, 3], [4, 5, 6]] as stored under each orientation, from the sides that EXIF names
# for row 0 and column 0.
STORED = {
    1: [[1, 2, 3], [4, 5, 6]],  # top, left
    2: [[3, 2, 1], [6, 5, 4]],  # top, right
    3: [[6, 5, 4], [3, 2, 1]],  # bottom, right
    4: [[4, 5, 6], [1, 2, 3]],  # bottom, left
    5: [[1, 4], [2, 5], [3, 6]],  # left, top
    6: [[3, 6], [2, 5], [1, 4]],  # right, top
    7: [[6, 3], [5, 2], [4, 1]],  # right, bottom
    8: [[4, 1], [5, 2], [6, 3]],  # left, bottom
}
UPRIGHT = np.array(STORED[1], np.uint8) * 40


def oriented(orientation: int, block: int = 1) -> tuple[Image.Image, Image.Exif]:
    stored = np.kron(np.array(STORED[orientation]) * 40, np.ones((block, block))).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return Image.fromarray(stored), exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    image, exif = oriented(orientation)
    for name, options in (
        ("a.png", {}),
        ("a.tif", {}),
        ("lzw.tif", {"compression": "tiff_lzw"}),
        ("a.webp", {"lossless": True}),
    ):
        path = save(tmp_path / name, image, exif=exif, **options)
        check(read_image(path), np.stack([UPRIGHT] * 3, axis=2))
        assert image_size(path) == (2, 3), name
        assert read_mask(path).shape == (2, 3)
        if name != "a.tif":  # Pillow 12.3 itself scrambles this one when it opens it by name
            with Image.open(path) as opened:
                check(read_image(opened), read_image(path))
    image, exif = oriented(orientation, block=16)
    jpeg = read_image(save(tmp_path / "a.jpg", image, exif=exif, quality=95))
    assert jpeg.shape == (32, 48, 3)
    assert np.abs(jpeg[8::16, 8::16, 0].astype(int) - UPRIGHT).max() <= 2
    assert image_size(tmp_path / "a.jpg") == (32, 48)


def test_exif_behind_the_pixels_of_a_png(tmp_path: Path) -> None:
    image, exif = oriented(6)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    path = tmp_path / "a.png"
    path.write_bytes(buffer.getvalue()[:-12] + chunk + buffer.getvalue()[-12:])
    np.testing.assert_array_equal(read_image(path)[..., 0], UPRIGHT)
    assert image_size(path) == (2, 3)


def test_damaged_exif_counts_as_none(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB), exif=b"Exif\0\0not a TIFF at all")
    check(read_image(path), RGB)
    assert image_size(path) == (2, 3)


@pytest.mark.parametrize("name", ["a.tif", "a.webp", "a.png"])
def test_first_of_several_frames(tmp_path: Path, name: str) -> None:
    second = Image.fromarray(255 - RGB)
    options = {"lossless": True} if name == "a.webp" else {}
    image = Image.fromarray(RGB)
    path = save(tmp_path / name, image, save_all=True, append_images=[second], **options)
    check(read_image(path), RGB)


def test_missing_folder_empty_and_text_files(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    for name, found in (
        ("none.png", "no such file"),
        ("", "a folder"),
        ("empty.png", "an empty file"),
        ("text.png", "another kind of content"),
    ):
        path = tmp_path / name
        for read in (read_image, read_mask, image_size):
            with pytest.raises(ImageError, match=f"{path}: found {found}; expected a JPEG"):
                read(path)


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"GIF89a", "a GIF picture"),
        (b"\0\0\0\x18ftypheic", "a HEIC picture or a video"),
        (b"\0\0\0\x18ftypavif", "an AVIF picture"),
        (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 picture"),
        (b"\xff\xd8\xff\xf7", "a JPEG-LS picture"),
        (b"MM\0+\0\x08\0\0", "a BigTIFF with its highest bytes first"),
        (b"RIFF\x10\0\0\0AVI LIST", "a video"),
        (b"%PDF-1.7", "a PDF document"),
        (b"<!DOCTYPE html>", "a text such as HTML"),
        (b"version https://git-lfs.github.com/spec/v1", "the pointer that Git LFS leaves"),
        (bytes(200), "a file that begins with zeros"),
    ],
)
def test_what_else_a_file_is_is_named(tmp_path: Path, start: bytes, found: str) -> None:
    (tmp_path / "a.png").write_bytes(start + b"x" * 50)
    for read in (read_image, image_size):
        with pytest.raises(ImageError, match=f"a.png: found {found}.*; expected a JPEG"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("side", [16, 20])
def test_a_header_without_pixels_is_called_so(tmp_path: Path, side: int) -> None:
    data = bytearray(save(tmp_path / "a.png", Image.fromarray(RGB)).read_bytes())
    data[side : side + 4] = bytes(4)
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with pytest.raises(ImageError, match="found a header that states no pixels; expected at least"):
        read_image(bytes(data))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("kept", [0.05, 0.6])
def test_truncated_files(tmp_path: Path, suffix: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ImageError, match=rf"a\.{suffix}: found an unreadable or truncated file"):
        read_image(path)


def jpeg_of_12_bits() -> bytes:
    frame = struct.pack(">BHHB", 12, 8, 8, 1) + b"\1\x11\0"
    return b"\xff\xd8\xff\xc1" + struct.pack(">H", 2 + len(frame)) + frame


def bmp_of_2_bits() -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 2, 0, 16, 0, 0, 0, 0)
    return (
        b"BM" + struct.pack("<IHHI", 14 + len(head) + 16, 0, 0, 14 + len(head)) + head + bytes(16)
    )


def tiff_of_compression(number: int) -> bytes:
    tags = {256: 4, 257: 4, 258: 8, 259: number, 262: 1, 273: 8, 277: 1, 278: 4, 279: 16}
    ifd = struct.pack("<H", len(tags))
    for tag, value in tags.items():
        ifd += struct.pack("<HHII", tag, 4, 1, value)
    return b"II*\0" + struct.pack("<I", 24) + bytes(16) + ifd + bytes(4)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (
            jpeg_of_12_bits(),
            r"a kind of picture that is not supported \(cannot handle 12-bit layers",
        ),
        (bmp_of_2_bits(), r"a kind of picture that is not supported \(Unsupported BMP pixel depth"),
        (tiff_of_compression(60_000), "a compression, number 60000, that is not supported"),
    ],
)
def test_what_is_not_supported_is_not_called_truncated(
    tmp_path: Path, data: bytes, found: str
) -> None:
    (tmp_path / "a.png").write_bytes(data)
    for source in (data, tmp_path / "a.png"):
        with pytest.raises(ImageError, match=f"found {found}"):
            read_image(source)


def png_header(width: int, height: int) -> bytes:
    data = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + data + struct.pack(">I", zlib.crc32(data))
    return head + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def test_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(20_000, 10_000))
    with pytest.raises(ImageError, match=r"bomb\.png: found 10000 x 20000 pixels.*178,000,000"):
        read_image(path)
    path.write_bytes(png_header(0, 10))
    with pytest.raises(ImageError, match=r"bomb\.png"):
        read_image(path)


def test_large_but_allowed_sizes_do_not_warn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_header(12_000, 10_000))
    assert image_size(path) == (10_000, 12_000)
    assert PIXEL_LIMIT > 12_000 * 10_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)  # so that Pillow would warn at 6 pixels
    for name in ("a.png", "a.tif"):
        check(read_image(save(tmp_path / name, Image.fromarray(RGB))), RGB)
    assert Image.MAX_IMAGE_PIXELS == 5


def test_a_real_gray_png() -> None:
    elpv = pytest.importorskip("elpv_dataset", reason="the elpv-dataset package is not installed")
    path = Path(elpv.__file__).parent / "data" / "images" / "cell0001.png"
    image = read_image(path)
    assert image.shape == (300, 300, 3) == (*image_size(path), 3)
    assert (image[..., 0] == image[..., 1]).all()
    assert image.std() > 5


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_a_header_says_format_and_size_without_its_pixels(form: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (70, 30), (200, 100, 50)).save(buffer, form)
    assert header_of(buffer.getvalue()) == (form, (30, 70))
    with pytest.raises(ImageError, match="another kind of content"):
        header_of(b"text, no picture")


def test_a_header_is_enough_where_pixels_are_missing() -> None:
    buffer = io.BytesIO()
    Image.new("L", (70, 30)).save(buffer, "PNG")
    assert header_of(buffer.getvalue()[:60]) == ("PNG", (30, 70))
