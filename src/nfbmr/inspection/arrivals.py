"""What lies in a hot folder, and which of it is whole: told by events, by looking, or by both.

A file is whole once its writer has closed it, where the system says so, or once it has stayed as
it is for a while. One of no bytes, or one that could not be read, has to stay as it is for longer.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from nfbmr.data.folders import UNREAD_PICTURES, is_hidden
from nfbmr.data.images import IMAGE_SUFFIXES
from nfbmr.errors import DataError
from nfbmr.system.files import one_line
from nfbmr.system.words import without_path

_log = logging.getLogger(__name__)

FOLDERS = ("good", "look", "defect", "error")
"""Where inspected files go when they are moved."""

EMPTY_WAITS = 6
"""A file of no bytes has to stay so for this many times the patience."""

_SAY_AGAIN = 60.0  # seconds between two warnings of the same trouble
_HALF_MADE = frozenset({".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".swp"})
_MOST_SAID = 100  # kinds of files that are warned of


class NotNowError(Exception):
    """A whole file is not to be inspected now: others go first, and it comes again later."""

    def __init__(self, why: str, seconds: float) -> None:
        """Says why, and after how many seconds it comes again, at least."""
        super().__init__(why)
        self.seconds = seconds


class Mark(NamedTuple):
    """What a file system says of a file; another content has another mark."""

    size: int
    """Bytes."""
    changed: int
    """When its content was, in nanoseconds; a copy may keep that of its source."""
    status: int
    """When its content, name or rights were, in nanoseconds; nobody can choose it."""
    inode: int

    def same_file(self, other: Mark | None) -> bool:
        """Tells whether a file may have been renamed in between, but not changed."""
        return other is not None and (self.size, self.changed, self.inode) == (
            other.size,
            other.changed,
            other.inode,
        )

    def age(self) -> float:
        """Returns for how many seconds it has been as it is, by the machine's clock."""
        return time.time() - max(self.changed, self.status) / 1e9


def mark_of(path: Path) -> Mark | None:
    """Returns a file's mark; None where there is no plain file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Mark(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


class Ready(NamedTuple):
    """A file that is to be inspected now."""

    name: str
    """Below the folder, with / between its parts."""
    mark: Mark
    last: bool
    """Whether it was waited for long enough: what cannot be read now counts as unreadable."""


@dataclass
class _Waiting:
    mark: Mark
    since: float
    """When it was first seen with this mark, monotonic."""
    due: float
    """When to look at it next, monotonic."""
    failed: bool = False
    """It could not be read with this mark."""
    said: bool = False


def refuse_no_folder(folder: Path) -> None:
    """Checks that there is a folder to watch.

    Raises:
        DataError: there is none.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DataError(f"{folder} is not a folder: found {found}; make it, or name another")


class Arrivals:
    """The files of a folder that wait; holds nothing of those that are done."""

    def __init__(
        self,
        folder: Path,
        *,
        deep: bool,
        settle: float,
        patience: float,
        is_done: Callable[[str, Mark], bool],
        ours: Iterable[Path] = (),
    ) -> None:
        """Looks at nothing yet.

        Args:
            folder: the hot folder.
            deep: whether sub-folders are looked into; never `FOLDERS`, nor links to folders.
            settle: seconds for which a file must stay the same that nobody said to be closed.
            patience: seconds for which one that cannot be read must stay the same.
            is_done: whether a file needs nothing more.
            ours: folders that nfbmr writes to; they are not looked into either.
        """
        self.folder, self._deep, self._is_done = folder, deep, is_done
        self._settle, self._patience = settle, patience
        root = folder.resolve()
        self._ours = [
            one.resolve().relative_to(root).as_posix()
            for one in ours
            if one.resolve().is_relative_to(root)
        ]
        self._waiting: dict[str, _Waiting] = {}
        self._said: set[str] = set()
        self._said_missing = float("-inf")

    def __len__(self) -> int:
        """Counts the files that wait."""
        return len(self._waiting)

    def names(self) -> list[str]:
        """Returns the files that wait."""
        return list(self._waiting)

    def look(self) -> dict[str, Mark] | None:
        """Looks at the whole folder; returns its pictures, None where it cannot be read."""
        try:
            there = dict(self._there())
        except OSError as error:  # a network folder that is away for a moment
            if time.monotonic() - self._said_missing >= _SAY_AGAIN:
                self._said_missing = time.monotonic()
                _log.warning(
                    "%s", one_line(f"{self.folder} cannot be read: {error.strerror or error}")
                )
            return None
        for gone in set(self._waiting) - set(there):
            del self._waiting[gone]
        return there

    def expect(self, there: dict[str, Mark]) -> list[Mark]:
        """Waits for those of a look that are not done; returns the marks of the new ones."""
        new = []
        for name, mark in there.items():
            if self._is_done(name, mark):
                self._waiting.pop(name, None)
            elif name not in self._waiting:
                now = time.monotonic()
                self._waiting[name] = _Waiting(mark, now, now + self._settle)
                new.append(mark)
        return new

    def heard(self, name: str, *, closed: bool) -> None:
        """Takes what an event says of a file: that it is there, or that its writer closed it."""
        if not self.wanted(name):
            return
        mark, now = mark_of(self.folder / name), time.monotonic()
        if mark is None or self._is_done(name, mark):
            self._waiting.pop(name, None)
            return
        due = now if closed else now + self._settle
        before = self._waiting.get(name)
        if before is None or before.mark != mark:
            said = before is not None and before.said
            self._waiting[name] = _Waiting(mark, now, due, said=said)
        elif not before.failed:
            before.due = min(before.due, due)

    def ready(self) -> list[Ready]:
        """Returns the files to be inspected now, the oldest first."""
        found = []
        for name, one in list(self._waiting.items()):
            now = time.monotonic()
            if now < one.due:
                continue
            mark = mark_of(self.folder / name)
            if mark is None:
                del self._waiting[name]
            elif mark != one.mark:
                one.mark, one.since, one.due, one.failed = mark, now, now + self._settle, False
            elif (one.failed or not mark.size) and not self._patient(one):
                self._later(one)
            else:
                tried = one.failed or not mark.size or not self._patience
                found.append(Ready(name, mark, last=tried and self._patient(one)))
        return sorted(found, key=lambda one: (one.mark.changed, one.name))

    def forget(self, name: str) -> None:
        """Takes a file for done."""
        self._waiting.pop(name, None)

    def try_later(self, name: str, why: str) -> None:
        """Keeps a file that could not be read: it may still be on its way."""
        one = self._waiting.get(name)
        if one is None:
            return
        one.failed = True
        self._later(one)
        if not one.said:
            one.said = True
            path = self.folder / name
            text = f"{path} cannot be read yet and is looked at again: {without_path(why, path)}"
            _log.info("%s", one_line(text))

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """Has a file come again later whose turn, the body, raises a NotNowError."""
        try:
            yield
        except NotNowError as error:
            one = self._waiting.get(name)
            if one is not None:
                one.due = time.monotonic() + error.seconds

    def changed(self, name: str) -> None:
        """Waits again for a file that changed while it was read."""
        one = self._waiting.get(name)
        if one is not None:
            one.due = time.monotonic() + self._settle

    def next_due(self) -> float:
        """Returns when a file is to be looked at next, monotonic; infinity where none waits."""
        return min((one.due for one in self._waiting.values()), default=float("inf"))

    def wanted(self, name: str) -> bool:
        """Tells whether a name below the folder is that of a picture to inspect."""
        *above, last = PurePosixPath(name).parts
        if above and not (self._deep and self._looked_into("/".join(above))):
            return False
        return not is_hidden(last) and PurePosixPath(last).suffix.lower() in IMAGE_SUFFIXES

    def _looked_into(self, sub_folder: str) -> bool:
        parts = PurePosixPath(sub_folder).parts
        if not self._deep or parts[0] in FOLDERS or any(is_hidden(part) for part in parts):
            return False
        return not any(sub_folder == one or sub_folder.startswith(f"{one}/") for one in self._ours)

    def _patient(self, one: _Waiting) -> bool:
        waited = max(time.monotonic() - one.since, one.mark.age())
        return waited >= self._patience * (1 if one.mark.size else EMPTY_WAITS)

    def _later(self, one: _Waiting) -> None:
        one.due = time.monotonic() + min(max(self._settle, 0.1), max(self._patience, 0.1))

    def _there(self, below: str = "") -> Iterator[tuple[str, Mark]]:
        with os.scandir(self.folder / below) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        for last, is_folder in found:
            name = f"{below}/{last}" if below else last
            if is_folder:
                if self._looked_into(name):
                    yield from self._of_sub_folder(name)
            elif self.wanted(name):
                mark = mark_of(self.folder / name)
                if mark is not None:
                    yield name, mark
            else:
                self._say_left_out(last)

    def _of_sub_folder(self, name: str) -> Iterator[tuple[str, Mark]]:
        try:
            yield from self._there(name)
        except (FileNotFoundError, NotADirectoryError):  # taken away meanwhile
            return

    def _say_left_out(self, name: str) -> None:
        """Warns once of each kind of file that is no picture by its name: it is not inspected."""
        kind = PurePosixPath(name).suffix.lower()
        ours = kind == ".jsonl" or is_hidden(name)
        if ours or kind in _HALF_MADE or kind in self._said or len(self._said) >= _MOST_SAID:
            return
        self._said.add(kind)
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        why = f"by its name it is no picture ({known})"
        if kind in UNREAD_PICTURES:
            why = f"nfbmr does not read {kind}, so save pictures as PNG"
        text = (
            f"{self.folder / name} is not inspected: {why}; "
            f"others that end {f'in {kind}' if kind else 'so'} are passed over without a word"
        )
        _log.warning("%s", one_line(text))
