"""The only place where a picture is decoded, turned upright and resized.

Training, every runtime, the server and the benchmark read pictures through these functions, so
the same part gives the same pixels everywhere.

    H W   height and width in pixels; sizes are always (H, W)

The rules, fixed once:

- **Colour** is RGB. Gray is repeated three times. CMYK and YCbCr are converted by Pillow.
- **Alpha and transparency are dropped**: the colour under them is used as it is stored. Inspection
  cameras do not write alpha, and a background to composite over would be a guess.
- **16 bits** use the full range: `round(v / 257)`, so 0 -> 0 and 65535 -> 255, never a stretch per
  picture. Where fewer bits are used, `white` says which value is white, such as 4095:
  `round(255 v / white)`, and what is above is white, too. A TIFF that states 12 bits has a white of
  4095. Where one says that 0 is white, `white` is what is black. CMYK and premultiplied colours of
  16 bits come as their high byte `v >> 8`, as do colours of a Pillow image that was loaded before;
  `white` does not reach those.
- **Floats** lie in [0, 1]: `round(255 v)`, halves to even.
- **EXIF orientation** is applied. EXIF that cannot be read counts as none.
- **Large JPEGs** may be decoded at a half, a quarter or an eighth of their sides, where that is
  still twice the size that is asked for (`reading` of `DataSettings`): the rest is averaged away
  all the same. All else is decoded whole.
- **Several frames** (TIFF pages, animated WebP or PNG): the first one is used, and it is told that
  there are more, previews apart (`pages.py`). **Damage** inside a JPEG is refused (`jpeg.py`).
- **The content decides the format**, not the suffix: JPEG, PNG, BMP, TIFF, WebP.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from nfbmr.data.decoding import (
    as_path,
    blamed_on,
    decoded,
    has_metadata_after_pixels,
    is_plain,
    opened,
    orientation,
    refusal,
    turned_upright,
    upright_values,
)
from nfbmr.data.pages import has_more
from nfbmr.data.tiff import is_signed_16, meant, stated_white
from nfbmr.settings.schema import DataSettings

ImageInput: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]
"""What `read_image` takes: a path, a file's bytes, a Pillow image, or an array in RGB order."""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp"}
)
"""The lower-case suffixes that a folder of pictures is searched for."""

AS_STORED = DataSettings()
"""Pictures decoded whole, of the full range."""

_FULL = 65535  # white of 16 bits
_ROOM = 2  # times the asked size that is decoded at least: the filter averages the rest
_ARRAYS = "(H, W) or (H, W, 1 | 3 | 4) in RGB order of bool, uint8, uint16 or float in [0, 1]"


def read_image(source: ImageInput, white: int | None = None) -> NDArray[np.uint8]:
    """Reads one picture as RGB, upright.

    Args:
        source: a path; the bytes of a picture's file; a Pillow image (its current frame; it is not
            changed beyond being loaded); or an array (H, W) or (H, W, 1 | 3 | 4) in RGB order of
            bool, uint8, uint16 (full range) or float in [0, 1]. An array has no orientation.
        white: the value of whole numbers of more than 8 bits that is white; None: the full range.

    Returns:
        uint8 (H, W, 3), RGB, contiguous and writable; never memory of the source.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, too large or no picture, or
            the array or the mode has no stated meaning.
    """
    return _spread(_values(source, white))


def load_image(
    source: ImageInput, size: tuple[int, int], how: DataSettings = AS_STORED, *, room: int = _ROOM
) -> NDArray[np.uint8]:
    """Returns what `load_with_size` does, without the picture's own size."""
    return load_with_size(source, size, how, room=room)[0]


class Loaded(NamedTuple):
    """A picture that was brought to another size."""

    pixels: NDArray[np.uint8]
    """(H, W, 3)."""
    size: tuple[int, int]
    """(H, W) that it had."""
    has_more: bool
    """Whether its file holds other pages or frames, which are not looked at."""
    bits: int
    """Of a channel, as it is stored: 1, 8, 16, or 32 and 64 of floats."""


def bits_of(values: NDArray[Any]) -> int:
    """Returns how many bits a channel has."""
    return 1 if values.dtype == np.bool_ else 8 * values.dtype.itemsize


class Stored(NamedTuple):
    """A picture as its file has it, upright."""

    values: NDArray[Any]
    """(H, W, 1 | 2 | 3 | 4), the last of 2 and 4 being alpha: bool, uint8, uint16 or float; where
    a TIFF says that 0 is white, so it is here if they have more than 8 bits."""
    levels: NDArray[np.uint8]
    """The same as bytes, 255 being white, before gray becomes RGB."""
    has_more: bool
    """Whether the file holds other pages or frames, which are not looked at."""


def load_with_size(
    source: ImageInput, size: tuple[int, int], how: DataSettings = AS_STORED, *, room: int = _ROOM
) -> Loaded:
    """Reads one picture and brings it to `size` (H, W).

    Args:
        source: as for `read_image`.
        size: (H, W).
        how: whether a JPEG may be decoded smaller, and what is white.
        room: times `size` that it is decoded at least, then; 1 where people look at it.

    Returns:
        `resize_image(read_image(source, how.white), size)`, and what is known of the picture.
        Of a JPEG with four times the sides or more, and `scaled` reading, nearly that: it is
        decoded smaller, and levels differ by rounding.

    Raises:
        ImageError: as `read_image`.
    """
    if isinstance(source, np.ndarray):
        return Loaded(*_brought_to(size, _values(source, how.white)), False, bits_of(source))
    with _image_of(source, None) as (image, name):
        more = not isinstance(source, Image.Image) and has_more(image)
        if is_plain(image):
            may_scale = how.reading == "scaled" and not isinstance(source, Image.Image)
            found = _resized_in_place(image, size, room if may_scale else None)
            if found is not None:
                return Loaded(*found, more, 8)
        stored, levels = _of_image(image, name, how.white)
        return Loaded(*_brought_to(size, levels), more, bits_of(stored))


def stored_values(source: ImageInput, name: str | None = None, white: int | None = None) -> Stored:
    """Reads one picture as it is stored, and the same as bytes, before gray becomes RGB.

    Args:
        source: as for `read_image`.
        name: how errors call it; by default by what it is.
        white: as for `read_image`.

    Returns:
        Both, which may be memory of the source.

    Raises:
        ImageError: as `read_image`.
    """
    if isinstance(source, np.ndarray):
        name = name or f"array of {source.dtype}, shape {source.shape}"
        values = as_channels(source, name)
        return Stored(values, _to_uint8(values, name, white or _FULL), False)
    with _image_of(source, name) as (image, name):
        more = not isinstance(source, Image.Image) and has_more(image)
        return Stored(*_of_image(image, name, white), more)


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resizes uint8 (H, W, 3) to `size` (H, W), whatever the aspect ratio.

    Antialiased bilinear: when shrinking, each new pixel averages all old ones that it covers.

    Returns:
        uint8 (H, W, 3); `image` itself when it already has that size.
    """
    assert image.dtype == np.uint8, image.dtype
    assert image.shape[2:] == (3,), image.shape
    if image.shape[:2] == size:
        return image
    return np.array(_resized(Image.fromarray(image), size), dtype=np.uint8)


def resize_map(scores: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resizes a map of scores, float32 (H, W), to `size` (H, W) with the same filter.

    Returns:
        float32 (H, W), within the range of `scores`; `scores` itself when it has that size.
    """
    assert scores.dtype == np.float32, scores.dtype
    assert scores.ndim == 2, scores.shape
    if scores.shape == size:
        return scores
    return np.array(_resized(Image.fromarray(scores), size), dtype=np.float32)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Reads (H, W) of the upright picture from the header alone: `read_image(path).shape[:2]`.

    Raises:
        ImageError: as `read_image`, as far as the header shows it.
    """
    path = as_path(path)
    with opened(path) as image:
        if isinstance(image, PngImageFile) and has_metadata_after_pixels(path):
            image.load()
        width, height = image.size
        if isinstance(image, TiffImageFile):
            # Pillow's versions differ in whether `size` is the upright one; the tags are not.
            width, height = int(image.tag_v2[256]), int(image.tag_v2[257])
        return (width, height) if orientation(image) >= 5 else (height, width)


def header_of(data: bytes) -> tuple[str, tuple[int, int]]:
    """Reads what a picture's file is from its header alone, as stored: nothing is decoded.

    Returns:
        Pillow's name of its format, such as `JPEG`, and (H, W) before it is turned upright.

    Raises:
        ImageError: as `read_image`, as far as the header shows it.
    """
    name = f"{len(data)} bytes"
    with blamed_on(name), decoded(io.BytesIO(data), name) as image:
        return str(image.format), (image.size[1], image.size[0])


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    assert height > 0 < width, size
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=None)


def _brought_to(
    size: tuple[int, int], values: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    full = values.shape[:2]
    if values.shape[2] > 2 or full == size:
        return resize_image(_spread(values), size), full
    gray = np.asarray(_resized(Image.fromarray(values[..., 0]), size))  # once, not three times
    return _spread(gray[..., None]), full


def _resized_in_place(
    image: Image.Image, size: tuple[int, int], room: int | None
) -> tuple[NDArray[np.uint8], tuple[int, int]] | None:
    """Resizes a plain image to `size` (H, W) without copies of all its pixels.

    Args:
        image: not decoded yet.
        size: (H, W).
        room: times `size` that a JPEG is decoded at least; None: whole.

    Returns:
        As `load_with_size`; None where it has to be turned before.
    """
    width, height = image.size
    box = None
    if room is not None and isinstance(image, JpegImageFile):
        box = _scaled(image, size[::-1] if orientation(image) >= 5 else size, room)
    image.load()
    turn = orientation(image)
    if box is None and turn != 1:
        return None  # to the last bit as it was turned first: the filter's order of sides counts
    rows, columns = size[::-1] if turn >= 5 else size
    small = image.resize((columns, rows), Image.Resampling.BILINEAR, box)
    values = turned_upright(np.asarray(small), turn)
    full = (width, height) if turn >= 5 else (height, width)
    return _spread(values if values.ndim == 3 else values[..., None]), full


def _scaled(
    image: JpegImageFile, size: tuple[int, int], room: int
) -> tuple[float, float, float, float] | None:
    """Has a JPEG decoded smaller, `room` times `size` (H, W) at least.

    Returns:
        Left, top, right and bottom of the picture in it, whose last pixels may stand for less
        than others; None where it is decoded whole.
    """
    before = image.size
    height, width = size
    drafted = image.draft(None, (room * width, room * height))
    return None if drafted is None or image.size == before else drafted[1]


def _values(source: ImageInput, white: int | None) -> NDArray[np.uint8]:
    """Reads (H, W, 1 | 2 | 3 | 4), upright, the last of 2 and 4 being alpha; maybe the source's."""
    return stored_values(source, white=white)[1]


@contextmanager
def _image_of(
    source: str | os.PathLike[str] | bytes | Image.Image, name: str | None
) -> Iterator[tuple[Image.Image, str]]:
    """Gives the image of a source, not decoded yet, and errors' name; what fails is its fault."""
    if isinstance(source, Image.Image):
        with blamed_on(name := name or f"Pillow image of mode {source.mode!r}"):
            yield source, name
    elif isinstance(source, bytes):
        name = name or f"{len(source)} bytes"
        with blamed_on(name), decoded(io.BytesIO(source), name) as image:
            yield image, name
    else:
        path = as_path(source)
        with opened(path) as image:
            yield image, name or str(path)


def as_channels(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Returns an array (H, W) or (H, W, 1 | 3 | 4) as (H, W, 1 | 3 | 4); `name` is what errors say.

    Raises:
        ImageError: it has another shape, or no pixels.
    """
    if 0 in array.shape:
        raise refusal(name, "no pixels", "at least one", "check how the array was cut")
    values = array[..., None] if array.ndim == 2 else array
    if values.ndim != 3:
        raise refusal(name, f"{array.ndim} axes", _ARRAYS, "pass one picture at a time")
    if values.shape[2] not in {1, 3, 4}:
        do = "if its channels come first, use array.transpose(1, 2, 0)"
        raise refusal(name, f"{values.shape[2]} channels", _ARRAYS, do)
    return values


def _spread(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Makes new RGB (H, W, 3) of (H, W, 1 | 2 | 3 | 4); the alpha of 2 and 4 is dropped."""
    if values.shape[2] <= 2:
        return np.repeat(values[..., :1], 3, axis=2)
    return np.array(values[..., :3], order="C")


def _to_uint8(values: NDArray[Any], name: str, white: int) -> NDArray[np.uint8]:
    dtype = values.dtype
    if dtype == np.uint8:
        return values
    if dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if dtype.kind == "u" and dtype.itemsize == 2:
        below = np.minimum(values, white).astype(np.uint32)
        levels = (510 * below + white) // (2 * white)  # round(255 v / white)
        return np.asarray(levels, np.uint8)
    if dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0.0 and high <= 1.0):  # also catches NaN
            found = f"values from {low:g} to {high:g}" if low == low else "NaN, which is no number"
            raise refusal(name, found, "floats in [0, 1]", "divide by the camera's full range")
        return np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    raise refusal(name, f"values of type {dtype}", _ARRAYS, "convert it to uint8")


def _of_image(
    image: Image.Image, name: str, white: int | None
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Decodes an image; returns the values as `Stored` has them, and as bytes."""
    values = upright_values(image, name)
    tiff = image if isinstance(image, TiffImageFile) else None
    if image.mode == "I":
        if values.min() < 0 or values.max() > _FULL:
            kind = "signed 16-bit" if tiff and is_signed_16(tiff) else "32-bit"
            found = f"{kind} values from {values.min()} to {values.max()}"
            raise refusal(name, found, "0 to 65535", "save it with 8 or 16 bits, unsigned")
        values = values.astype(np.uint16)
    white = white or (tiff and stated_white(tiff)) or _FULL
    return values, _to_uint8(meant(values, tiff, white) if tiff else values, name, white)
