"""Locks of files and folders that end with the program that holds them, whatever ends it."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_FAR = 2**31 - 2  # beyond what is in a file: Windows keeps others from reading what is locked


def lock(handle: IO[str] | int) -> bool:
    """Takes the lock of an open file or folder, which ends with it; False where it is taken.

    Where there are no such locks, as on some network folders, it is true.
    """
    return try_lock(handle) is not False


def try_lock(handle: IO[str] | int) -> bool | None:
    """Takes a lock as `lock` does; None where there are no such locks."""
    number = handle if isinstance(handle, int) else handle.fileno()
    if sys.platform == "win32":
        import msvcrt

        here = os.lseek(number, 0, os.SEEK_CUR)
        os.lseek(number, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(number, here, os.SEEK_SET)
        return True
    import fcntl

    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            return False
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
            return None
        raise
    return True


@contextmanager
def locked_file(path: Path) -> Iterator[bool]:
    """Takes the lock of a file, which is made where it is absent; gives whether it was free.

    Whoever holds it may delete the file: one who has opened it before finds it not free.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        yield lock(stream) and is_at(path, stream.fileno())


@contextmanager
def locked_folder(path: Path) -> Iterator[bool]:
    """Takes the lock of a folder itself, so that nothing is left in it; gives whether it was free.

    Raises:
        OSError: there is no such folder.
    """
    with _lock_of_folder(path) as taken:
        yield taken is not False


@contextmanager
def abandoned_folder(path: Path, seconds: float) -> Iterator[bool]:
    """Takes the lock of a folder that a kill may have left; gives whether nobody uses it.

    That is where its lock was free; where there are no locks, where nothing in it was changed for
    `seconds`.

    Raises:
        OSError: there is no such folder.
    """
    with _lock_of_folder(path) as taken:
        if taken is None:
            latest = max(one.stat().st_mtime for one in (path, *path.iterdir()))
            yield time.time() - latest > seconds
        else:
            yield taken


@contextmanager
def _lock_of_folder(path: Path) -> Iterator[bool | None]:
    if os.name == "nt":  # folders cannot be opened there
        yield None
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        taken = try_lock(handle)
        # A folder that took this one's place meanwhile has a lock of its own.
        yield taken if is_at(path, handle) else False
    finally:
        os.close(handle)


def is_at(path: Path, handle: int) -> bool:
    """Tells whether an open file or folder is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False
