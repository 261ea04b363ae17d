"""Files of a hot folder read once, whole, and never more of one than may be in memory."""

from __future__ import annotations

import os
from pathlib import Path

from nfbmr.data.decoding import opened
from nfbmr.errors import ImageError
from nfbmr.system.files import plain_file

MEGABYTE = 10**6
MOST_BYTES = 512 * MEGABYTE
"""Of a picture's file where nobody says another limit: 170 megapixels of three colours of 8 bits
that are not compressed pass."""

_HEADER_FIRST = 16 * MEGABYTE  # a larger file is refused by its header before the rest is read


def read_bytes(path: Path, most: int | None = None) -> tuple[bytes | None, str]:
    """Reads a picture's file.

    Args:
        path: of a plain file; links are followed.
        most: bytes; a larger file is not read.

    Returns:
        Its bytes, of a file that grows meanwhile no more than one beyond those that it had; or
        None, and why: it is no file, cannot be read, is too large, or is large and by its header
        no picture.
    """
    try:
        with plain_file(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if most is not None and size > most:
                return None, too_large(path, size, most)
            if size > _HEADER_FIRST:
                with opened(path):
                    pass
            return stream.read(size + 1), ""
    except ImageError as error:
        return None, str(error)
    except (OSError, MemoryError) as error:  # e.g. a writer that keeps others out
        return None, f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"


def too_large(path: Path, size: int, most: int) -> str:
    """Says that a file has more bytes than may be."""
    return (
        f"{path}: found {size / 1e6:.3g} megabytes; expected at most {most / 1e6:g}; save it "
        "smaller or compressed, or allow more"
    )
