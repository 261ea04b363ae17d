"""Files of several pages or frames, of which the first alone is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from PIL.Image import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from nfbmr.data.tiff import is_aside, tags_of_pages
from nfbmr.system.words import counted

_MOST_PAGES = 64  # that are asked whether they are more than a preview


def has_more(image: Image) -> bool:
    """Whether a file holds other pages or frames than the first, previews and masks apart.

    Args:
        image: as its file was opened, not decoded yet; of a program's own, False.
    """
    if isinstance(image, TiffImageFile):
        return image.fp is not None and image.tag_v2.next != 0 and _has_other_page(image.fp)
    if isinstance(image, PngImageFile | WebPImageFile):
        return int(getattr(image, "n_frames", 1)) > 1
    return False


def said_of(names: Sequence[str]) -> list[str]:
    """Says what is not looked at in pictures of several pages, of which the first is named.

    Nothing where there are none.
    """
    if not names:
        return []
    number = len(names)
    more = f" and {number - 1} more" if number > 1 else ""
    return [
        f"{counted(number, 'picture holds', 'pictures hold')} other pages or frames than the "
        f"first, which alone is looked at: {names[0]}{more}; save each page as a picture of its "
        "own if they show parts"
    ]


def _has_other_page(handle: IO[bytes]) -> bool:
    place = handle.tell()
    try:
        pages = tags_of_pages(handle, most=_MOST_PAGES)
        next(pages)
        return any(not is_aside(tags) for tags in pages)
    except Exception:  # a chain that ends in nothing; the first page decides whether it is read
        return False
    finally:
        handle.seek(place)
