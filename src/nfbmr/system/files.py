"""Files and folders written whole or not at all, hashes, and showing other people's names."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nfbmr.system.halves import begin_half
from nfbmr.system.locks import is_at, locked_folder

_NO_FILE = "it is a pipe, a socket or a device, and no file"
_UMASK = os.umask(0o077)
os.umask(_UMASK)  # it can only be read so, which no thread may see
_HERE = -100  # AT_FDCWD: names are as they are for every other call
NOT_PLAIN = frozenset({errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.EMLINK})
"""What systems say of a link that is not to be followed, and `plain_file` of all else."""
_EXCHANGE = 2  # RENAME_EXCHANGE
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")


@contextmanager
def written_beside(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Gives a new file beside `path` to write to, and renames it when the block ends well.

    It is made anew, so nobody can have put a link there. A failure leaves `path` as it was and
    nothing beside it; what a kill leaves, the next one who writes to `path` takes away. The folder
    is made where it is absent. Until it has its name it is its owner's alone, then `mode` says
    whose, but for what the program's umask takes away.

    Raises:
        OSError: the folder cannot be written, the disk is full, or `path`, which it names, is a
            device, a pipe or the like.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "no file, so none can take its place", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside, handle = _new_beside(path)
    try:
        yield beside
        if handle is not None and not is_at(beside, handle):
            raise OSError(errno.ESTALE, "another program took away what was written", str(path))
        beside.chmod(mode & ~_UMASK)
        beside.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(beside), os.fsencode(beside)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if handle is None or is_at(beside, handle):  # by now the name may be another writer's
            beside.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Has an error of the system name a file, where the call that failed knew a number alone."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _new_beside(path: Path) -> tuple[Path, int | None]:
    try:
        return begin_half(path)
    except OSError as error:
        error.filename = str(path)  # the name beside it says nothing to anybody
        raise


@contextmanager
def flushed_beside(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """As `written_beside`, and on the disk at the end: a power loss leaves the old file or this.

    Raises:
        OSError: likewise.
    """
    with written_beside(path, mode) as beside:
        yield beside
        flush_file(beside)
    flush_folder(path.parent)


def flush_file(path: Path) -> None:
    """Brings a file's content to the disk, so that a power loss does not take it back."""
    with path.open("r+b") as stream:  # Windows flushes only what may be written
        os.fsync(stream.fileno())


def flush_folder(path: Path) -> None:
    """Brings the names in a folder to the disk, where the system can: a rename survives then."""
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(handle)


def made_folder(path: Path, mode: int = 0o777) -> None:
    """Makes a folder and those above it, each with `mode`, and brings their names to the disk.

    Raises:
        OSError: it cannot be made.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode, exist_ok=True)
        flush_folder(folder.parent)


def swap_into_place(beside: Path, path: Path, instead_of: int | None = None) -> None:
    """Renames a finished folder to `path`; what was there is then `beside`.

    Where the system can exchange two names, `path` is never empty. Elsewhere there is nothing at
    it between two renames: the old folder is then `beside` with the ending `.old`, locked while
    this program lives, so that whoever finds it unlocked knows that it was left by a kill.

    Args:
        beside: the finished folder, in the same folder as `path`.
        path: where it goes.
        instead_of: inode of the folder that it replaces, where it has to be that one.

    Raises:
        OSError: it cannot be renamed, or another folder is there by now; `path` is as it was.
    """
    if not path.exists():
        _same(None, instead_of)
        beside.rename(path)
    elif exchange(beside, path):
        try:
            _same(beside, instead_of)
        except OSError:
            exchange(beside, path)
            raise
    else:
        old = beside.with_name(f"{beside.name}.old")
        with locked_folder(path):
            _same(path, instead_of)
            try:
                path.rename(old)
                beside.rename(path)
            except BaseException:  # Ctrl-C between the two renames, too
                if old.exists() and not path.exists():
                    old.rename(path)
                raise
            old.rename(beside)


def _same(folder: Path | None, inode: int | None) -> None:
    if inode is not None and (folder is None or folder.stat().st_ino != inode):
        raise OSError(errno.EBUSY, "another program has put something else there meanwhile")


def exchange(one: Path, other: Path) -> bool:
    """Gives two names that both exist each other's content, at once; False where that cannot be.

    Linux has it (renameat2), on most of its file systems.

    Raises:
        OSError: the folder may not be written, or the like.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # another system, or an old library of C
        return False
    names = os.fsencode(one), os.fsencode(other)
    if renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


class NotAFileError(OSError):
    """What lies at a path is a pipe, a socket or a device, from which reading might never end."""


@contextmanager
def plain_file(path: Path, *, follow: bool = True) -> Iterator[io.BufferedReader]:
    """Opens a plain file to read, and nothing that is waited for, such as a pipe.

    Args:
        path: of the file.
        follow: whether a link there is followed, where the system can tell.

    Raises:
        NotAFileError: it is neither a file nor a folder.
        OSError: it cannot be opened; with `NOT_PLAIN` among its numbers, it is something else.
    """
    with _opened_at_once(path, follow) as stream:
        yield stream


def _opened_at_once(path: Path, follow: bool) -> io.BufferedReader:
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        number = os.open(path, flags | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise NotAFileError(errno.EINVAL, _NO_FILE, str(path)) from error
        raise
    mode = os.fstat(number).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(number, "rb")
    os.close(number)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise NotAFileError(errno.EINVAL, _NO_FILE, str(path))


def sha256_of(path: Path) -> str:
    """Returns the hash of a file, 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def in_words(error: OSError) -> str:
    """Says which file the system refused, and why."""
    names = [os.fsdecode(one) for one in (error.filename, error.filename2) if one is not None]
    return ": ".join([" -> ".join(names), error.strerror or str(error)]).removeprefix(": ")


def reason_of(error: Exception) -> str:
    """Says what went wrong, without the file's name, which the message around it has."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def escaped(text: str) -> str:
    """Escapes the bytes of a file's name that are no UTF-8, which no form of ours can hold."""
    return text.encode(errors="backslashreplace").decode()


def printable(text: str) -> str:
    """Replaces what would steer a terminal, such as escape sequences in a file's name."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def one_line(text: str) -> str:
    """As `printable`, and without line breaks: a name with some would forge lines of a log."""
    return printable(text).replace("\n", "?")


def spreadsheet_cell(text: str) -> str:
    """Makes a name a cell of CSV: one cell of one row, and no formula to a spreadsheet.

    What breaks lines or steers is escaped, since readers differ in what ends a row, and not every
    writer quotes a lone carriage return. ' is put before = + - @ and their wide forms, also behind
    blanks, which some spreadsheets drop.
    """
    shown = _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return f"'{shown}" if shown.lstrip()[:1] in _FORMULA else shown
