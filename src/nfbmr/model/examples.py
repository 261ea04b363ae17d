"""Small pictures of good parts in a model: a plain ZIP of JPEGs that anybody can open.

    MODEL/examples.zip
      000.jpg  001.jpg  ...    all of one size, in no compression but their own

They show a good part beside what was found, and take part in no score. The setting `examples` says
how many are kept, 0 none.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import read_image
from nfbmr.errors import BundleTamperedError, ImageError

MOST_BYTES = 2 * 2**20
"""Of all examples of a model together."""

_MOST_FILE = 2 * MOST_BYTES  # with the names and whatever another version adds
_THEN = (1980, 1, 1, 0, 0, 0)  # the same pictures give the same file


def examples_to_zip(jpegs: Sequence[bytes]) -> bytes:
    """Packs pictures, each the bytes of a JPEG."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for number, jpeg in enumerate(jpegs):
            packed.writestr(zipfile.ZipInfo(f"{number:03d}.jpg", _THEN), jpeg)
    return buffer.getvalue()


def examples_from_zip(path: Path) -> tuple[bytes, ...]:
    """Unpacks the pictures, each the bytes of a JPEG; looks into none.

    Raises:
        BundleTamperedError: it is no such file.
    """
    wrong = BundleTamperedError(f"{path} is not one that nfbmr wrote; restore it or fit again")
    try:
        if path.stat().st_size > _MOST_FILE:
            raise wrong
        with zipfile.ZipFile(path) as packed:
            found = packed.infolist()
            names = [one.filename for one in found]
            plain = all(one.compress_type == zipfile.ZIP_STORED for one in found)
            if names != [f"{number:03d}.jpg" for number in range(len(found))] or not plain:
                raise wrong
            return tuple(packed.read(one) for one in found)
    # What zipfile says of a damaged, an encrypted, or an unknown kind of file.
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError):
        raise wrong from None


def decoded(jpegs: Sequence[bytes]) -> tuple[NDArray[np.uint8], ...]:
    """Returns the pictures (h, w, 3), all of one size.

    Raises:
        BundleTamperedError: one is no picture, or of another size than the rest.
    """
    try:
        found = tuple(read_image(jpeg) for jpeg in jpegs)
    except ImageError as error:
        raise BundleTamperedError(f"an example of the model is damaged ({error})") from None
    if len({example.shape for example in found}) > 1:
        raise BundleTamperedError("the examples of the model differ in size; fit again")
    return found
