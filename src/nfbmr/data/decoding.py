"""Picture files opened by their content and decoded upright, and whose fault it is when they fail.

H W   height and width in pixels; sizes are always (H, W)
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from nfbmr.data import tiff
from nfbmr.data.jpeg import WholeJpeg
from nfbmr.errors import ImageError
from nfbmr.system.files import NotAFileError, plain_file

PIXEL_LIMIT = 178_000_000
"""Pixels; a file whose header states more is refused before memory is taken for it. It lies just
under the number at which Pillow itself refuses a TIFF, so that one limit holds for all formats."""


_FORMATS = "a JPEG, PNG, BMP, TIFF or WebP picture"


_ORIENTATION_TAG = 0x0112


_PALETTE_MODES = frozenset({"P", "PA"})


_PLAIN_MODES = frozenset({"1", "L", "LA", "RGB", "RGBA", "RGBX", "I", "F"})


_CONVERTED_MODES = frozenset({"CMYK", "YCbCr"})


_GRAY_ALPHA = "LA;16B"


# How Pillow unpacks the higher byte of 16-bit colours -> how it unpacks the lower one, or both.
_OTHER_BYTES = {_GRAY_ALPHA: "RGBA"} | {
    f"{colours};16{order}": f"{colours};16{other}"
    for colours in ("RGB", "RGBA", "RGBX")
    for order, other in (
        ("B", "L"),
        ("L", "B"),
        ("N", "B" if sys.byteorder == "little" else "L"),
    )
}


_MAGIC: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\xff\xd8\xff", WholeJpeg),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"BM", BmpImageFile),
    (b"RIFF", WebPImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),  # BigTIFF
)


_OTHERS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"MM\0+", "a BigTIFF with its highest bytes first", "save it as a plain TIFF"),
    (0, b"GIF8", "a GIF picture", ""),
    (4, b"ftypavif", "an AVIF picture", ""),
    (4, b"ftyp", "a HEIC picture or a video", ""),
    (4, b"jP  ", "a JPEG 2000 picture", ""),
    (0, b"\xffO\xffQ", "a JPEG 2000 picture", ""),
    (0, b"\xff\xd8\xff\xf7", "a JPEG-LS picture", ""),
    (0, b"8BPS", "a Photoshop picture", ""),
    (0, b"v/1\x01", "an OpenEXR picture", ""),
    (8, b"AVI ", "a video", ""),
    (8, b"WAVE", "a sound", ""),
    (0, b"%PDF", "a PDF document", ""),
    (0, b"PK\3\4", "a ZIP archive", "unpack it"),
    (0, b"\x1f\x8b", "a packed file", "unpack it"),
    (
        0,
        b"version https://git-lfs",
        "the pointer that Git LFS leaves in a picture's place",
        "fetch the pictures with 'git lfs pull'",
    ),
    (0, b"<", "a text such as HTML or SVG, perhaps a download's error", "fetch or export it again"),
    (0, bytes(64), "a file that begins with zeros", "copy or export it again"),
)
"""What else is told by its first bytes: where they stand, they, what it is, what to do."""


_UNSUPPORTED = re.compile(r"(?i)^unsupported|not (yet )?supported|^cannot handle \d+-")
"""How Pillow begins to say of a whole file that it is of another kind than it knows."""


_NO_SIZE = "not identified by this driver"
"""What Pillow says of a header whose height or width is 0."""


_REASONS: dict[type[Exception], str] = {
    FileNotFoundError: "no such file",
    IsADirectoryError: "a folder",
    PermissionError: "a file that may not be read",
    NotAFileError: "a pipe, a socket or a device, and no file",
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


def upright_values(image: Image.Image, name: str, *, palette_index: bool = False) -> NDArray[Any]:
    """Decodes to (H, W, 1 | 2 | 3 | 4), the last of 2 and 4 being alpha, in the mode's dtype.

    What a TIFF with more than 8 bits means by 0 is for `tiff.meant` to say.
    """
    if 0 in image.size:
        raise refusal(name, "no pixels", "at least one", "check how the picture was cut")
    if isinstance(image, TiffImageFile):
        _check_tiff(image, name)
    others = _other_bytes(image)
    gray = others is not None and _is_gray_with_alpha(image)
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
        raise refusal(name, f"mode {mode!r}", "gray or RGB", "convert it with Pillow to 'RGB'")
    if others is not None:
        values = _joined(values, others, gray=gray)
    if values.ndim == 2:
        values = values[..., None]
    # After load(): Pillow itself turns a TIFF while loading and then drops the tag.
    return turned_upright(values, orientation(image))


def turned_upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turns (H, W, ...) as stored by its EXIF orientation; a view."""
    turn = _UPRIGHT.get(orientation)
    return values if turn is None else turn(values)


def is_plain(image: Image.Image) -> bool:
    """Whether what Pillow decodes is the picture as it is: 8 bits, gray or RGB, and no TIFF."""
    return (
        image.mode in {"L", "RGB"}
        and 0 not in image.size
        and not isinstance(image, TiffImageFile)
        and not _lacks_bytes(image)
    )


def _check_tiff(image: TiffImageFile, name: str) -> None:
    if trouble := tiff.trouble(image):
        raise refusal(name, trouble[0], "gray or RGB as cameras write it", trouble[1])
    tiff.put_right(image)


def _other_bytes(image: Image.Image) -> NDArray[np.uint8] | None:
    """Reads the bytes of 16-bit colours that Pillow leaves out; call it before they are loaded.

    Returns:
        uint8 (H, W, 3 | 4), as Pillow turns it: the lower bytes, or of gray with alpha all four.
        None for other pictures, and for those that are loaded already.
    """
    if not _lacks_bytes(image):
        return None
    assert isinstance(image, PngImageFile | TiffImageFile)
    assert image.fp is not None
    place = image.fp.tell()
    image.fp.seek(0)
    twin = type(image)(io.BytesIO(image.fp.read()))
    image.fp.seek(place)
    if image.tell():
        twin.seek(image.tell())
    twin.tile = [one._replace(args=_other_mode(one.args)) for one in twin.tile]
    with _quiet_below_limit(twin):
        twin.load()
    return np.asarray(twin)


def _lacks_bytes(image: Image.Image) -> bool:
    """Whether Pillow will leave out bytes of 16-bit colours."""
    return (
        isinstance(image, PngImageFile | TiffImageFile)
        and bool(image.tile)
        and image.fp is not None
        and _raw_mode(image.tile[0].args) in _OTHER_BYTES
    )


def _is_gray_with_alpha(image: Image.Image) -> bool:
    return isinstance(image, ImageFile) and _raw_mode(image.tile[0].args) == _GRAY_ALPHA


def _raw_mode(args: object) -> object:
    return args[0] if isinstance(args, tuple) and args else args


def _other_mode(args: Any) -> Any:
    other = _OTHER_BYTES[args[0] if isinstance(args, tuple) else args]
    return (other, *args[1:]) if isinstance(args, tuple) else other


def _joined(values: NDArray[np.uint8], others: NDArray[np.uint8], *, gray: bool) -> NDArray[Any]:
    """Joins bytes to uint16 (H, W, 2 | 3 | 4); of gray with alpha `others` are all of them."""
    high, low = (others[..., ::2], others[..., 1::2]) if gray else (values, others)
    return high.astype(np.uint16) << 8 | low


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        # The base class's method: that of PngImageFile would decode the pixels.
        orientation = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF raises almost anything
        return 1
    return orientation if orientation in _UPRIGHT else 1


def has_metadata_after_pixels(path: Path) -> bool:
    """Whether a PNG holds EXIF or text behind its pixels, where some editors write it."""
    with plain_file(path) as handle:
        handle.seek(8)
        seen_pixels = False
        while len(head := handle.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            seen_pixels |= kind == b"IDAT"
            if seen_pixels and kind in {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}:
                return True
            handle.seek(length + 4, os.SEEK_CUR)
    return False


def as_path(source: object) -> Path:
    if isinstance(source, str | os.PathLike):
        return Path(os.fsdecode(source))
    expected = "a path, bytes, a Pillow image or an array"
    raise refusal("source", f"a {type(source).__name__}", expected, "pass one of these")


@contextmanager
def opened(path: Path) -> Iterator[ImageFile]:
    """Opens a file by its content, headers only; whatever then fails is the file's fault."""
    with (
        blamed_on(str(path)),
        plain_file(path) as handle,
        decoded(handle, str(path)) as image,
    ):
        yield image


@contextmanager
def decoded(handle: IO[bytes], name: str) -> Iterator[ImageFile]:
    # Nameless: Pillow 12.3 memory-maps named raw TIFFs, and scrambles them if turned by EXIF.
    decoder = _decoder(handle, name)
    try:
        image = decoder(handle)
    except (SyntaxError, IndexError) as error:
        if str(error) == _NO_SIZE:
            none, do = "a header that states no pixels", "copy or export it again"
            raise refusal(name, none, "at least one", do) from error
        if decoder is not TiffImageFile or not (kind := tiff.unknown(error, handle)):
            raise
        raise refusal(name, kind[0], "gray or RGB", kind[1]) from error
    if isinstance(image, TiffImageFile):
        _check_tiff(image, name)
    if math.prod(image.size) > PIXEL_LIMIT:
        found = f"{image.size[1]} x {image.size[0]} pixels"
        raise refusal(name, found, f"at most {PIXEL_LIMIT:,} pixels", "cut or shrink it")
    yield image


def _decoder(handle: IO[bytes], name: str) -> type[ImageFile]:
    # Not `Image.open`: its limit on pixels is a global setting, and below it comes a warning.
    head = handle.read(64)
    handle.seek(0)
    if not head:
        raise refusal(name, "an empty file", _FORMATS, "copy or export it again")
    for place, start, what, do in _OTHERS:
        if head.startswith(start, place):
            raise refusal(name, what, _FORMATS, do or "convert it or take it away")
    for magic, decoder in _MAGIC:
        if head.startswith(magic):
            return decoder
    raise refusal(name, "another kind of content", _FORMATS, "convert it or take it away")


@contextmanager
def blamed_on(name: str) -> Iterator[None]:
    """Turns every failure inside into an ImageError that names the picture."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # on damaged files Pillow's readers raise almost anything
        do = "check the path, or copy or export the picture again"
        raise refusal(name, _reason(error), _FORMATS, do) from error


@contextmanager
def _quiet_below_limit(image: Image.Image) -> Iterator[None]:
    """Silences Pillow's warning, given only for TIFF here, about sizes that we do allow."""
    if math.prod(image.size) <= (Image.MAX_IMAGE_PIXELS or math.inf):
        yield
        return
    with _bomb_warning_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def refusal(name: object, found: str, expected: str, do: str) -> ImageError:
    return ImageError(f"{name}: found {found}; expected {expected}; {do}")


def _reason(error: Exception) -> str:
    if reason := _REASONS.get(type(error)):
        return reason
    said = str(error) or type(error).__name__
    if _UNSUPPORTED.search(said):
        return f"a kind of picture that is not supported ({said})"
    return f"an unreadable or truncated file ({said})"
