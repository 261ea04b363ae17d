"""What Pillow reads otherwise than a TIFF means it: refused, or put right.

Pillow 12.3 takes uncompressed 16-bit planes for 8-bit ones, inverts WhiteIsZero up to 8 bits only,
takes signed bytes for unsigned ones, swaps the bytes of compressed big-endian numbers twice, takes
a palette of 8 bits for one of 16, which is black, and calls whatever it cannot read an "unknown
pixel mode".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImagePalette
from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2, TiffImageFile

_WIDTH, _HEIGHT = 256, 257
_SUBFILE, _OLD_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 254, 255, 258, 259, 262, 277
_COLOUR_MAP = 320
_OFFSETS, _PLANAR, _SUB_IFDS, _EXTRA, _FORMAT = 273, 284, 330, 338, 339

_NATIVE = {
    "I;16S": "I;16NS",
    "I;16BS": "I;16NS",
    "I;32S": "I;32NS",
    "I;32BS": "I;32NS",
    "F;32F": "F;32NF",
    "F;32BF": "F;32NF",
}
"""How libtiff gives numbers, whatever their order in the file."""
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating", 5: "complex", 6: "complex"}
_COLOURS = {
    0: "gray (white is zero)",
    1: "gray",
    2: "RGB",
    3: "palette",
    5: "CMYK",
    6: "YCbCr",
    8: "Lab",
    32803: "a camera's colour filter",
}

_UNKNOWN = "that is not supported"
AGAIN = "save it with 8 or 16 bits a channel, gray or RGB"


def put_right(image: TiffImageFile) -> None:
    """Takes numbers as libtiff gives them, in this machine's order; before they are loaded.

    A palette of which no value is above 255 is one of 8 bits, as libtiff's tools take it.
    """
    colours = image.tag_v2.get(_COLOUR_MAP, ())
    if image.mode in {"P", "PA"} and max(colours, default=0) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))
    image.tile = [
        tile._replace(args=(_NATIVE.get(tile.args[0], tile.args[0]), *tile.args[1:]))
        if tile.codec_name == "libtiff" and isinstance(tile.args, tuple)
        else tile
        for tile in image.tile
    ]


def trouble(image: TiffImageFile) -> tuple[str, str] | None:
    """Returns what Pillow would read wrongly, and what to do; None where it reads it right."""
    tags = image.tag_v2
    bits = tags.get(_BITS, (1,))
    is_raw = tags.get(_COMPRESSION, 1) == 1
    if image.tell() == 0 and is_aside(tags) and (tags.next or _SUB_IFDS in tags):
        return "a preview as its first picture", "save the picture alone, without previews"
    if tags.get(_PLANAR, 1) == 2 and len(bits) > 1 and image.mode != "LA" and _is_gray(tags):
        return _planes(tags)
    if tags.get(_PLANAR, 1) == 2 and len(bits) > 1 and (max(bits) > 8 and is_raw):
        return (
            f"channels of {max(bits)} bits stored one after another",
            "save it with the channels of a pixel together, or compressed",
        )
    if tags.get(_PLANAR, 1) == 2 and image.mode == "LA":
        return "gray and alpha stored one after another", "save it without alpha"
    if 2 in _several(tags.get(_FORMAT, 1)) and max(bits) <= 8:
        return "signed values of 8 bits", AGAIN
    if tags.get(_PHOTOMETRIC) == 6 and is_raw and len(bits) > 1:
        return "uncompressed YCbCr", "save it as RGB"
    return None


def meant(values: NDArray[Any], image: TiffImageFile, white: int | None = None) -> NDArray[Any]:
    """Returns decoded values with WhiteIsZero inverted where Pillow leaves it.

    Args:
        values: as Pillow decodes them.
        image: of which they are.
        white: the value of whole numbers whose other end is 0; what is above is black.
    """
    if not is_white_zero(image):
        return values
    if values.dtype == np.uint16:
        most = np.uint16(white or stated_white(image) or 65535)
        return np.asarray(most - np.minimum(values, most))
    return np.float32(1) - values if values.dtype.kind == "f" else values


def is_white_zero(image: TiffImageFile) -> bool:
    """Whether the value 0 is white."""
    return image.tag_v2.get(_PHOTOMETRIC) == 0


def stated_white(image: TiffImageFile) -> int | None:
    """The highest value that the file can hold; None where that is the highest of its type."""
    return 4095 if tuple(image.tag_v2.get(_BITS, ())) == (12,) else None


def is_signed_16(image: TiffImageFile) -> bool:
    """Whether the values are signed numbers of 16 bits."""
    tags = image.tag_v2
    return tuple(tags.get(_BITS, ())) == (16,) and 2 in _several(tags.get(_FORMAT, 1))


def unknown(error: SyntaxError | IndexError, handle: IO[bytes]) -> tuple[str, str] | None:
    """Says in words what in a file Pillow does not know, and what to do; None where it is broken.

    Raises:
        Exception: of any kind, where the tags cannot be read.
    """
    if str(error) == "unknown pixel mode" or isinstance(error, IndexError):
        found = _described(handle)
        return (found, AGAIN) if found else None
    if isinstance(error.__cause__, IndexError):  # more planes than letters in the mode's name
        tags = _tags(handle)[0]
        is_in_planes = tags.get(_PLANAR, 1) == 2 and tags.get(_SAMPLES, 1) > 1
        return _planes(tags) if is_in_planes and _OFFSETS in tags else None
    if isinstance(error.__cause__, KeyError):
        number = _tags(handle)[0].get(_COMPRESSION, 1)
        known = number in COMPRESSION_INFO
        return None if known else (f"a compression, number {number}, {_UNKNOWN}", AGAIN)
    return None


def _is_gray(tags: ImageFileDirectory_v2) -> bool:
    return tags.get(_PHOTOMETRIC) in {0, 1}


def _planes(tags: ImageFileDirectory_v2) -> tuple[str, str]:
    """Says of planes one after another that they are, such as a stack of gray ones; what to do."""
    bits = max(_several(tags.get(_BITS, 1)))
    colour = tags.get(_PHOTOMETRIC, 0)
    found = f"{tags.get(_SAMPLES, 1)} planes of {bits} bits stored one after another, "
    found += _COLOURS.get(colour, f"colours of type {colour}")
    if _is_gray(tags):
        return found, "save each plane as a picture of its own, or three of them as RGB"
    return found, "save it as RGB, with the channels of a pixel together"


def is_aside(tags: ImageFileDirectory_v2) -> bool:
    """Whether a page is a smaller copy of another, or a mask of what is transparent in it."""
    # Bits 0 and 2; the older tag calls a smaller copy 2.
    return bool(tags.get(_SUBFILE, 0) & 0b101) or tags.get(_OLD_SUBFILE) == 2


def tags_of_pages(handle: IO[bytes], *, most: int) -> Iterator[ImageFileDirectory_v2]:
    """Reads the tags of each page, of `most` pages.

    Raises:
        Exception: of any kind, where they cannot be read.
    """
    handle.seek(0)
    head = handle.read(8)
    if 43 in head[2:4]:  # BigTIFF states its offset in eight more bytes
        head += handle.read(8)
    tags = ImageFileDirectory_v2(head)
    for _ in range(most):
        place = tags.next
        if not place:
            return
        handle.seek(place)
        tags = ImageFileDirectory_v2(head)
        tags.load(handle)
        yield tags


def _tags(handle: IO[bytes]) -> tuple[ImageFileDirectory_v2, str]:
    """Reads the tags of the first picture, and the order of bytes."""
    tags = next(tags_of_pages(handle, most=1))
    return tags, "big" if tags.prefix == b"MM" else "little"


def _described(handle: IO[bytes]) -> str | None:
    tags, order = _tags(handle)
    if not {_WIDTH, _HEIGHT} <= {*tags}:  # its tags are cut off
        return None
    colour = tags.get(_PHOTOMETRIC, 0)
    bits = "/".join(dict.fromkeys(str(b) for b in _several(tags.get(_BITS, 1))))
    numbers = "/".join(
        dict.fromkeys(_FORMATS.get(f, "untyped") for f in _several(tags.get(_FORMAT, 1)))
    )
    n = tags.get(_SAMPLES, 1)
    alpha = " with alpha or more" if _EXTRA in tags else ""
    return (
        f"pixels of a kind {_UNKNOWN}: {n} channel{'s' * (n != 1)} of {bits} bits, "
        f"{numbers}, {_COLOURS.get(colour, f'colours of type {colour}')}{alpha}, {order}-endian"
    )


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
