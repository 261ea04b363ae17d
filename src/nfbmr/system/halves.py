"""Files that are still being written: what they are called, and what kills left of them."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from nfbmr.system.locks import is_at, try_lock

_AT_ONCE = 8  # writers of one name; each beyond them takes a name that is drawn
_LONGEST = 100  # bytes: on top comes what is ours, and disks that encrypt names hold 143
_HASHED = 16  # digits: long names that begin alike are others


def begin_half(path: Path) -> tuple[Path, int | None]:
    """Makes an empty file beside `path`, hidden, named after it, and its owner's alone.

    While it is written its lock is held, by the number that is returned: close that once the file
    has its own name or is gone. What lies there without a lock was left by a kill, so it is taken
    away first. Where locks cannot tell that, its name is drawn and whatever lies there stays.

    Returns:
        The file, and the open number that locks it; None where nothing does.

    Raises:
        OSError: it cannot be made.
    """
    for number in range(_AT_ONCE if os.name != "nt" else 0):  # Windows renames no open file
        half = _half_of(path, number)
        _taken_away(half)
        handle = _made(half)
        if handle is None:
            continue
        taken = try_lock(handle)
        if taken is False or not is_at(half, handle):  # another program just takes it away
            os.close(handle)
            continue
        if taken and _others_may_write(half):
            for left in range(number + 1, _AT_ONCE):  # of programs that wrote at once
                if not _taken_away(_half_of(path, left)):
                    break
            return half, handle
        half.unlink(missing_ok=True)
        os.close(handle)
        break
    short = _short(path.name)
    handle, name = tempfile.mkstemp(prefix=f".{short}.", suffix=".part", dir=path.parent)
    os.close(handle)
    return Path(name), None


def _half_of(path: Path, number: int) -> Path:
    return path.with_name(f".{_short(path.name)}.nfbmr-{number}.part")


def _short(name: str) -> str:
    """Returns a name of at most `_LONGEST` bytes, another for each name."""
    whole = os.fsencode(name)
    if len(whole) <= _LONGEST:
        return name
    while len(os.fsencode(name)) > _LONGEST - _HASHED - 1:
        name = name[:-1]
    return f"{name}~{hashlib.sha256(whole).hexdigest()[:_HASHED]}"


def _made(half: Path) -> int | None:
    """Makes a file of this name and opens it; None where something has the name."""
    try:
        return os.open(half, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None


def _taken_away(half: Path) -> bool:
    """Deletes a file that no program has locked; whether there was one.

    Nobody else deletes it or gives it another name meanwhile: that takes the lock.
    """
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(half, flags)
    except OSError:  # there is none, it is a link, or it is another user's
        return False
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode) or not try_lock(handle):
            return False
        if not is_at(half, handle):  # it has got its own name, or is gone
            return False
        half.unlink()
    except OSError:  # of another user, in a folder where each deletes his own
        return False
    else:
        return True
    finally:
        os.close(handle)


def _others_may_write(half: Path) -> bool:
    """Tells whether a file can be written that is locked: on shares of Windows it cannot."""
    try:
        with half.open("r+b", buffering=0) as stream:
            stream.write(b"\0")
            stream.truncate(0)
    except (PermissionError, BlockingIOError):
        return False
    except OSError:  # a full disk, which is for the writer to hear of
        return True
    return True
