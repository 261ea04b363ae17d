"""Whether two files hold the same bytes: their hashes, and what is read before they are hashed."""

from __future__ import annotations

import hashlib
import os

from nfbmr.data.decoding import as_path, blamed_on
from nfbmr.system.files import plain_file

_ENDS = 2048  # bytes


def fingerprint(source: str | os.PathLike[str]) -> str:
    """Names a file's content: the SHA-256 of its bytes, 64 hexadecimal digits.

    Raises:
        ImageError: the file cannot be read.
    """
    path = as_path(source)
    with blamed_on(str(path)), plain_file(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def ends_of(source: str | os.PathLike[str]) -> tuple[bytes, bytes]:
    """Reads a few kilobytes from both ends of a file: where they differ, files do.

    Raises:
        ImageError: the file cannot be read.
    """
    path = as_path(source)
    with blamed_on(str(path)), plain_file(path) as handle:
        first = handle.read(_ENDS)
        handle.seek(max(0, os.fstat(handle.fileno()).st_size - _ENDS))
        return first, handle.read(_ENDS)
