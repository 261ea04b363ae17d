"""What Pillow reads otherwise than the file means it: read right, or refused in plain words."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.images import image_size, load_with_size, read_image, stored_values
from nfbmr.data.masks import read_mask
from nfbmr.errors import ImageError
from nfbmr.settings.schema import DataSettings

tifffile = pytest.importorskip("tifffile", reason="tifffile, which comes with scikit-image")

H, W = 37, 53
GRAY = np.random.default_rng(0).integers(0, 256, (H, W), np.uint8)
RGB = np.stack([GRAY, 255 - GRAY, GRAY // 2 + 30], axis=2)
ALPHA = np.full((H, W, 1), 128, np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (H, W, 4), np.uint16)


def rounded(values: NDArray[Any], white: int = 65535) -> NDArray[np.uint8]:
    """As the rule says it: round(255 v / white), of which no half occurs where white is odd."""
    return np.asarray(np.rint(np.minimum(values, white) * 255.0 / white), np.uint8)


def spread(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(gray[..., None], 3, axis=2)


def tiff(path: Path, values: NDArray[Any], **options: Any) -> Path:
    file = path / "a.tif"
    tifffile.imwrite(file, values, **options)
    return file


def planes(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(np.moveaxis(values, 2, 0))


RGBA = np.concatenate([RGB, ALPHA], axis=2)
PLANAR = {"photometric": "rgb", "planarconfig": "separate"}


# ---- planes


@pytest.mark.parametrize("colours", [RGB, RGBA], ids=["RGB", "RGBA"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("more", [{}, {"tile": (16, 16)}], ids=["strips", "tiles"])
def test_planes_of_16_bits_are_refused_unless_compressed(
    tmp_path: Path, colours: NDArray[np.uint8], order: str, more: dict[str, Any]
) -> None:
    extra = {"extrasamples": ["unassalpha"]} if colours.shape[2] == 4 else {}
    deep = planes(colours.astype(np.uint16) * 257)
    file = tiff(tmp_path, deep, byteorder=order, **PLANAR, **extra, **more)
    for read in (read_image, image_size, read_mask):
        with pytest.raises(ImageError, match=r"found channels of 16 bits stored one after another"):
            read(file)
    with Image.open(file) as opened, pytest.raises(ImageError, match="one after another"):
        read_image(opened)
    file = tiff(tmp_path, deep, byteorder=order, compression="deflate", **PLANAR, **extra, **more)
    np.testing.assert_array_equal(read_image(file), RGB)
    file = tiff(tmp_path, planes(colours), byteorder=order, **PLANAR, **extra, **more)
    np.testing.assert_array_equal(read_image(file), RGB)


def test_gray_and_alpha_in_planes_are_refused(tmp_path: Path) -> None:
    options = {"photometric": "minisblack", "planarconfig": "separate"}
    file = tiff(tmp_path, np.stack([GRAY, ALPHA[..., 0]]), extrasamples=["unassalpha"], **options)
    with pytest.raises(ImageError, match=r"gray and alpha stored one after another.*without alpha"):
        read_image(file)


# ---- white is zero


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize(
    "values",
    [255 - GRAY, 65535 - GRAY.astype(np.uint16) * 257, (1 - GRAY / 255).astype(np.float32)],
    ids=["8", "16", "float"],
)
def test_where_white_is_zero_it_is_white(
    tmp_path: Path, values: NDArray[Any], compression: str | None
) -> None:
    file = tiff(tmp_path, values, photometric="miniswhite", compression=compression)
    np.testing.assert_array_equal(read_image(file), spread(GRAY))
    with Image.open(file) as opened:
        np.testing.assert_array_equal(read_image(opened), spread(GRAY))


# ---- numbers


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.int32, np.float32])
def test_numbers_of_either_order(
    tmp_path: Path, order: str, compression: str | None, kind: type[np.generic]
) -> None:
    deep = (DEEP[..., 0] // 2).astype(np.uint16)
    values = (deep / 65535).astype(kind) if kind is np.float32 else deep.astype(kind)
    file = tiff(
        tmp_path, values, photometric="minisblack", byteorder=order, compression=compression
    )
    found = read_image(file).astype(int)
    assert np.abs(found - spread(rounded(deep))).max() <= (kind is np.float32)


@pytest.mark.parametrize("order", "<>")
def test_signed_numbers_below_zero_are_refused(tmp_path: Path, order: str) -> None:
    values = GRAY.astype(np.int16) - 100
    file = tiff(tmp_path, values, photometric="minisblack", byteorder=order)
    with pytest.raises(ImageError, match=r"found signed 16-bit values from -100 to 155.*unsigned"):
        read_image(file)
    file = tiff(tmp_path, (GRAY // 2).astype(np.int8), photometric="minisblack", byteorder=order)
    with pytest.raises(ImageError, match="found signed values of 8 bits"):
        read_image(file)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (GRAY / 255, {}, "1 channel of 64 bits, floating, gray, little-endian"),
        ((GRAY / 255).astype(np.float16), {}, "1 channel of 16 bits, floating, gray"),
        ((RGB / 255).astype(np.float32), {"photometric": "rgb"}, "3 channels of 32 bits, floating"),
        (RGB.astype(np.uint32), {"photometric": "rgb"}, "3 channels of 32 bits, unsigned, RGB"),
        (GRAY.astype(np.uint32), {"byteorder": ">"}, "1 channel of 32 bits, unsigned, gray, big"),
        (GRAY.astype(np.uint64), {}, "1 channel of 64 bits, unsigned, gray"),
        (GRAY.astype(np.complex64), {}, "1 channel of 64 bits, complex, gray"),
        (GRAY / 255, {"bigtiff": True}, "1 channel of 64 bits, floating, gray"),
        (
            GRAY.astype(np.uint16),
            {"photometric": "miniswhite", "byteorder": ">"},
            r"16 bits, unsigned, gray \(white is zero\), big-endian",
        ),
        (
            DEEP[..., :2],
            {"extrasamples": ["unassalpha"], "planarconfig": "contig"},
            "2 channels of 16 bits, unsigned, gray with alpha or more",
        ),
    ],
)
def test_kinds_that_are_not_supported_are_named_and_are_not_called_broken(
    tmp_path: Path, values: NDArray[Any], options: dict[str, Any], words: str
) -> None:
    file = tiff(tmp_path, values, **{"photometric": "minisblack", **options})
    with pytest.raises(ImageError, match=f"found pixels of a kind .*{words}.*save it with 8 or 16"):
        read_image(file)


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", [2, 3, 5])
def test_a_stack_of_gray_planes_is_named_and_not_called_broken(
    tmp_path: Path, planes: int, kind: type[np.generic], photometric: str, compression: str | None
) -> None:
    values = np.stack([GRAY] * planes).astype(kind)
    file = tmp_path / "a.tif"
    options: dict[str, Any] = {"photometric": photometric, "compression": compression}
    tifffile.imwrite(file, values, planarconfig="separate", metadata=None, **options)
    bits = 8 * values.dtype.itemsize
    for read in (read_image, image_size):
        with pytest.raises(ImageError, match=rf"found {planes} planes of {bits} bits .*each plane"):
            read(file)


def test_more_planes_of_colours_than_are_known_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    values = np.stack([GRAY] * 5)
    tifffile.imwrite(file, values, planarconfig="separate", photometric="rgb", metadata=None)
    with pytest.raises(ImageError, match=r"5 planes of 8 bits .* RGB; .*pixel together"):
        read_image(file)


def test_uncompressed_ycbcr_is_refused(tmp_path: Path) -> None:
    file = tiff(tmp_path, RGB, photometric="ycbcr")
    with pytest.raises(ImageError, match=r"uncompressed YCbCr.*save it as RGB"):
        read_image(file)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, which goes on without the rest
@pytest.mark.parametrize("left", [4, 40, 80, 110])
def test_tags_that_are_cut_off_are_no_kind_of_picture(tmp_path: Path, left: int) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(path, compression="tiff_lzw")
    path.write_bytes(path.read_bytes()[:-left])  # they stand behind the pixels
    with pytest.raises(ImageError, match="unreadable or truncated"):
        read_image(path)


def test_a_truncated_tiff_is_still_called_truncated(tmp_path: Path) -> None:
    file = tiff(tmp_path, RGB, photometric="rgb")
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ImageError, match="unreadable or truncated"):
        read_image(file)


# ---- pages


@pytest.mark.parametrize("aside", [{"subfiletype": 1}, {"extratags": [(255, 3, 1, 2, True)]}])
def test_a_preview_before_the_picture_is_refused(tmp_path: Path, aside: dict[str, Any]) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GRAY[::4, ::4], photometric="minisblack", **aside)
        file.write(GRAY, photometric="minisblack")
    for read in (read_image, image_size):
        with pytest.raises(ImageError, match=r"found a preview as its first picture.*alone"):
            read(tmp_path / "a.tif")


def test_a_preview_behind_the_picture_and_one_that_is_alone_are_no_trouble(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GRAY, photometric="minisblack")
        file.write(GRAY[::4, ::4], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), spread(GRAY))
    alone = tiff(tmp_path, GRAY, photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(read_image(alone), spread(GRAY))


# ---- colours of 16 bits


def png(path: Path, values: NDArray[np.uint16]) -> Path:
    """Writes uint16 (H, W, 2 | 3 | 4), which Pillow cannot."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, channels = values.shape
    kind = {2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    file = path / "a.png"
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return file


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_png_colours_of_16_bits_are_read_in_full(tmp_path: Path, channels: int) -> None:
    file = png(tmp_path, DEEP[..., :channels])
    expected = rounded(DEEP[..., [0, 0, 0] if channels == 2 else [0, 1, 2]])
    np.testing.assert_array_equal(stored_values(file)[0], DEEP[..., :channels])
    np.testing.assert_array_equal(read_image(file), expected)
    with Image.open(file) as opened:
        np.testing.assert_array_equal(read_image(opened), expected)
        assert opened.mode in {"RGB", "RGBA", "LA"}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("more", [{}, {"tile": (16, 16)}, {"rowsperstrip": 5}])
def test_tiff_colours_of_16_bits_are_read_in_full(
    tmp_path: Path, order: str, compression: str | None, channels: int, more: dict[str, Any]
) -> None:
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    values = DEEP[..., :channels]
    options = {"byteorder": order, "compression": compression, **extra, **more}
    file = tiff(tmp_path, values, photometric="rgb", **options)
    np.testing.assert_array_equal(stored_values(file)[0], values)
    np.testing.assert_array_equal(read_image(file), rounded(values[..., :3]))


def test_deep_colours_are_turned_upright(tmp_path: Path) -> None:
    options: dict[str, Any] = {"photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]}
    file = tiff(tmp_path, DEEP[..., :3], **options)
    expected = np.rot90(rounded(DEEP[..., :3]), -1)
    np.testing.assert_array_equal(read_image(file), expected)
    assert image_size(file) == (W, H)


# ---- white


@pytest.mark.parametrize("compression", [1, 8])
def test_a_tiff_that_states_12_bits_has_the_range_of_12_bits(
    tmp_path: Path, compression: int
) -> None:
    values = np.random.default_rng(2).integers(0, 4096, (4, 6), np.uint16)
    first, second = values.reshape(-1, 2).T.astype(np.uint32)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    data = packed.astype(np.uint8).tobytes()
    data = zlib.compress(data) if compression == 8 else data
    data += bytes(len(data) % 2)
    tags = {
        256: 6,
        257: 4,
        258: 12,
        259: compression,
        262: 1,
        273: 8,
        277: 1,
        278: 4,
        279: len(data),
    }
    ifd = struct.pack("<H", len(tags))
    for tag, value in tags.items():
        ifd += struct.pack("<HHII", tag, 4, 1, value)
    file = tmp_path / "a.tif"
    header = b"II*\0" + struct.pack("<I", 8 + len(data))
    file.write_bytes(header + data + ifd + struct.pack("<I", 0))
    np.testing.assert_array_equal(read_image(file), spread(rounded(values, 4095)))
    np.testing.assert_array_equal(read_image(file, 1023), spread(rounded(values, 1023)))


@pytest.mark.parametrize("white", [255, 1023, 4095, 16383, 65535])
def test_white_is_white_in_every_form_of_16_bits(tmp_path: Path, white: int) -> None:
    colours = DEEP[..., :3] // (65535 // white)
    gray = colours[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    deep = tiff(tmp_path, colours, photometric="rgb", compression="deflate")
    for source, values in (
        (gray, gray),
        (gray.astype(">u2"), gray),
        (tmp_path / "gray.png", gray),
        (Image.fromarray(gray), gray),
        (colours, colours),
        (png(tmp_path, colours), colours),
        (deep, colours),
        (deep.read_bytes(), colours),
    ):
        expected = rounded(values, white)
        expected = spread(expected) if expected.ndim == 2 else expected
        np.testing.assert_array_equal(read_image(source, white), expected)
        found, size, *_ = load_with_size(source, (H, W), DataSettings(white=white))
        np.testing.assert_array_equal(found, expected)
        assert size == (H, W)


def test_what_is_above_white_is_white_and_8_bits_have_a_white_of_their_own() -> None:
    assert read_image(np.array([[4095, 4096, 65535]], np.uint16), 4095).min() == 255
    for source in (GRAY, RGB, Image.fromarray(GRAY), GRAY / 255, GRAY > 100):
        np.testing.assert_array_equal(read_image(source, 4095), read_image(source))


# ---- palettes


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("scale", [1, 256, 257], ids=["8 bits", "256", "257"])
def test_a_palette_of_8_bits_is_not_black(
    tmp_path: Path, compression: str | None, order: Any, scale: int
) -> None:
    colours = np.random.default_rng(3).integers(0, 256, (3, 256), np.uint16)
    file = tiff(
        tmp_path,
        GRAY,
        photometric="palette",
        colormap=np.asarray(colours * scale, np.uint16),
        compression=compression,
        byteorder=order,
    )
    np.testing.assert_array_equal(read_image(file), colours.astype(np.uint8).T[GRAY])
    np.testing.assert_array_equal(read_mask(file), GRAY > 0)
