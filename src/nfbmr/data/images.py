"""The only place where a picture is decoded, turned upright and resized.

Training, every runtime, the server and the benchmark read pictures through these functions, so
the same part gives the same pixels everywhere.

    H W   height and width in pixels; sizes are always (H, W)

The rules, fixed once:

- **Colour** is RGB. Gray is repeated three times. CMYK and YCbCr are converted by Pillow.
- **Alpha and transparency are dropped**: the colour under them is used as it is stored. Inspection
  cameras do not write alpha, and a background to composite over would be a guess.
- **16 bits** use the full range: `round(v / 257)`, so 0 -> 0 and 65535 -> 255, never a stretch per
  picture. 16-bit *colour* files reach us from Pillow already reduced to their high byte `v >> 8`;
  that differs from the rule by at most one level.
- **Floats** lie in [0, 1]: `round(255 v)`, halves to even.
- **EXIF orientation** is applied. EXIF that cannot be read counts as none.
- **Several frames** (TIFF pages, animated WebP or PNG): the first one is used. Cameras and viewers
  store previews as later pages.
- **The content decides the format**, not the suffix: JPEG, PNG, BMP, TIFF, WebP.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from nfbmr.errors import ImageError

ImageInput: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]
"""What `read_image` takes: a path, a file's bytes, a Pillow image, or an array in RGB order."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""The lower-case suffixes that a folder of pictures is searched for."""

PIXEL_LIMIT = 178_000_000
"""Pixels; a file whose header states more is refused before memory is taken for it. It lies just
under the number at which Pillow itself refuses a TIFF, so that one limit holds for all formats."""

_FORMATS = "a JPEG, PNG, BMP, TIFF or WebP picture"
_ARRAYS = "(H, W) or (H, W, 1 | 3 | 4) in RGB order of bool, uint8, uint16 or float in [0, 1]"
_ORIENTATION_TAG = 0x0112

_PALETTE_MODES = frozenset({"P", "PA"})
_PLAIN_MODES = frozenset({"1", "L", "LA", "RGB", "RGBA", "RGBX", "I", "F"})
_CONVERTED_MODES = frozenset({"CMYK", "YCbCr"})

_MAGIC: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"BM", BmpImageFile),
    (b"RIFF", WebPImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),  # BigTIFF
    (b"MM\0+", TiffImageFile),
)

_REASONS: dict[type[Exception], str] = {
    FileNotFoundError: "no such file",
    IsADirectoryError: "a folder",
    PermissionError: "a file that may not be read",
}

# EXIF orientation -> what turns the stored array (H, W, ...) upright.
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}

_bomb_warning_lock = threading.Lock()


def read_image(source: ImageInput) -> NDArray[np.uint8]:
    """Reads one picture as RGB, upright.

    Args:
        source: a path; the bytes of a picture's file; a Pillow image (its current frame; it is not
            changed beyond being loaded); or an array (H, W) or (H, W, 1 | 3 | 4) in RGB order of
            bool, uint8, uint16 (full range) or float in [0, 1]. An array has no orientation.

    Returns:
        uint8 (H, W, 3), RGB, contiguous and writable; never memory of the source.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, too large or no picture, or
            the array or the mode has no stated meaning.
    """
    return _spread(_values(source))


def load_image(source: ImageInput, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns what `load_with_size` does, without the picture's own size."""
    return load_with_size(source, size)[0]


def load_with_size(
    source: ImageInput, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Reads one picture and brings it to `size` (H, W).

    Returns:
        `resize_image(read_image(source), size)`, and the (H, W) that the picture had.

    Raises:
        ImageError: as `read_image`.
    """
    values = _values(source)
    full = values.shape[:2]
    if values.shape[2] > 2 or full == size:
        return resize_image(_spread(values), size), full
    gray = np.asarray(_resized(Image.fromarray(values[..., 0]), size))  # once, not three times
    return _spread(gray[..., None]), full


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


def read_mask(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """Reads a mask of defects: whatever is above zero is a defect.

    A palette picture is read by its index, not its colours; of colours any channel counts; alpha
    is ignored. Masks saved as JPEG carry noise near zero and would come out too large.

    Returns:
        bool (H, W), upright as `read_image` turns it.

    Raises:
        ImageError: as `read_image`.
    """
    path = _as_path(path)
    with _opened(path) as image:
        values = _upright_values(image, str(path), palette_index=True)
        colours = 1 if values.shape[2] == 2 else 3  # the rest is alpha
        return np.asarray((values[..., :colours] > 0).any(axis=2), order="C")


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Reads (H, W) of the upright picture from the header alone: `read_image(path).shape[:2]`.

    Raises:
        ImageError: as `read_image`, as far as the header shows it.
    """
    path = _as_path(path)
    with _opened(path) as image:
        if isinstance(image, PngImageFile) and _has_metadata_after_pixels(path):
            image.load()
        width, height = image.size
        if isinstance(image, TiffImageFile):
            # Pillow's versions differ in whether `size` is the upright one; the tags are not.
            width, height = int(image.tag_v2[256]), int(image.tag_v2[257])
        return (width, height) if _orientation(image) >= 5 else (height, width)


def fingerprint(source: str | os.PathLike[str]) -> str:
    """Names a file's content: the SHA-256 of its bytes, 64 hexadecimal digits.

    Raises:
        ImageError: the file cannot be read.
    """
    path = _as_path(source)
    with _blamed_on(str(path)), path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    assert height > 0 < width, size
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=None)


def _values(source: ImageInput) -> NDArray[np.uint8]:
    """Reads (H, W, 1 | 2 | 3 | 4), upright, the last of 2 and 4 being alpha; maybe the source's."""
    if isinstance(source, np.ndarray):
        return _of_array(source)
    if isinstance(source, Image.Image):
        with _blamed_on(name := f"Pillow image of mode {source.mode!r}"):
            return _of_image(source, name)
    if isinstance(source, bytes):
        name = f"{len(source)} bytes"
        with _blamed_on(name), _decoded(io.BytesIO(source), name) as image:
            return _of_image(image, name)
    path = _as_path(source)
    with _opened(path) as image:
        return _of_image(image, str(path))


def _of_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    name = f"array of {array.dtype}, shape {array.shape}"
    if 0 in array.shape:
        raise _refusal(name, "no pixels", "at least one", "check how the array was cut")
    values = array[..., None] if array.ndim == 2 else array
    if values.ndim != 3:
        raise _refusal(name, f"{array.ndim} axes", _ARRAYS, "pass one picture at a time")
    if values.shape[2] not in {1, 3, 4}:
        do = "if its channels come first, use array.transpose(1, 2, 0)"
        raise _refusal(name, f"{values.shape[2]} channels", _ARRAYS, do)
    return _to_uint8(values, name)


def _spread(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Makes new RGB (H, W, 3) of (H, W, 1 | 2 | 3 | 4); the alpha of 2 and 4 is dropped."""
    if values.shape[2] <= 2:
        return np.repeat(values[..., :1], 3, axis=2)
    return np.array(values[..., :3], order="C")


def _to_uint8(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    dtype = values.dtype
    if dtype == np.uint8:
        return values
    if dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if dtype.kind == "u" and dtype.itemsize == 2:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0.0 and high <= 1.0):  # also catches NaN
            found = f"values from {low:g} to {high:g}"
            raise _refusal(name, found, "floats in [0, 1]", "divide by the camera's full range")
        return np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    raise _refusal(name, f"values of type {dtype}", _ARRAYS, "convert it to uint8")


def _of_image(image: Image.Image, name: str) -> NDArray[np.uint8]:
    values = _upright_values(image, name)
    if image.mode == "I":
        if values.min() < 0 or values.max() > 65535:
            found = f"32-bit values from {values.min()} to {values.max()}"
            raise _refusal(name, found, "0 to 65535", "save it with 8 or 16 bits")
        values = values.astype(np.uint16)
    return _to_uint8(values, name)


def _upright_values(image: Image.Image, name: str, *, palette_index: bool = False) -> NDArray[Any]:
    """Decodes to (H, W, 1 | 2 | 3 | 4), the last of 2 and 4 being alpha, in the mode's dtype."""
    if 0 in image.size:
        raise _refusal(name, "no pixels", "at least one", "check how the picture was cut")
    with _quiet_below_limit(image):
        image.load()
    mode = image.mode
    if mode in _PALETTE_MODES and not palette_index:
        # Not to "RGB": Pillow warns on palettes whose transparency is stated in bytes.
        values = np.asarray(image.convert("RGBA"))
    elif mode in _CONVERTED_MODES:
        values = np.asarray(image.convert("RGB"))
    elif mode in _PLAIN_MODES | _PALETTE_MODES or mode.startswith("I;16"):
        values = np.asarray(image)
    else:
        raise _refusal(name, f"mode {mode!r}", "gray or RGB", "convert it with Pillow to 'RGB'")
    if values.ndim == 2:
        values = values[..., None]
    # After load(): Pillow itself turns a TIFF while loading and then drops the tag.
    turn = _UPRIGHT.get(_orientation(image))
    return values if turn is None else turn(values)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        # The base class's method: that of PngImageFile would decode the pixels.
        orientation = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF raises almost anything
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _has_metadata_after_pixels(path: Path) -> bool:
    """Whether a PNG holds EXIF or text behind its pixels, where some editors write it."""
    with path.open("rb") as handle:
        handle.seek(8)
        seen_pixels = False
        while len(head := handle.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            seen_pixels |= kind == b"IDAT"
            if seen_pixels and kind in {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}:
                return True
            handle.seek(length + 4, os.SEEK_CUR)
    return False


def _as_path(source: object) -> Path:
    if isinstance(source, str | os.PathLike):
        return Path(os.fsdecode(source))
    expected = "a path, bytes, a Pillow image or an array"
    raise _refusal("source", f"a {type(source).__name__}", expected, "pass one of these")


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile]:
    """Opens a file by its content, headers only; whatever then fails is the file's fault."""
    with (
        _blamed_on(str(path)),
        path.open("rb") as handle,
        _decoded(handle, str(path)) as image,
    ):
        yield image


@contextmanager
def _decoded(handle: IO[bytes], name: str) -> Iterator[ImageFile]:
    # Nameless: Pillow 12.3 memory-maps named raw TIFFs, and scrambles them if turned by EXIF.
    image = _decoder(handle, name)(handle)
    if math.prod(image.size) > PIXEL_LIMIT:
        found = f"{image.size[1]} x {image.size[0]} pixels"
        raise _refusal(name, found, f"at most {PIXEL_LIMIT:,} pixels", "cut or shrink it")
    yield image


def _decoder(handle: IO[bytes], name: str) -> type[ImageFile]:
    # Not `Image.open`: its limit on pixels is a global setting, and below it comes a warning.
    head = handle.read(8)
    handle.seek(0)
    if not head:
        raise _refusal(name, "an empty file", _FORMATS, "copy or export it again")
    for magic, decoder in _MAGIC:
        if head.startswith(magic):
            return decoder
    raise _refusal(name, "another kind of content", _FORMATS, "convert it or take it away")


@contextmanager
def _blamed_on(name: str) -> Iterator[None]:
    """Turns every failure inside into an ImageError that names the picture."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # on damaged files Pillow's readers raise almost anything
        do = "check the path, or copy or export the picture again"
        raise _refusal(name, _reason(error), _FORMATS, do) from error


@contextmanager
def _quiet_below_limit(image: Image.Image) -> Iterator[None]:
    """Silences Pillow's warning, given only for TIFF here, about sizes that we do allow."""
    if math.prod(image.size) <= (Image.MAX_IMAGE_PIXELS or math.inf):
        yield
        return
    with _bomb_warning_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _reason(error: Exception) -> str:
    unreadable = f"an unreadable or truncated file ({error or type(error).__name__})"
    return _REASONS.get(type(error), unreadable)


def _refusal(name: object, found: str, expected: str, do: str) -> ImageError:
    return ImageError(f"{name}: found {found}; expected {expected}; {do}")
