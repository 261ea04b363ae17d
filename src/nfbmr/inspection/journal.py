"""The log of a hot folder: a line of JSON for each picture, kept by day, and safe from kills.

The log of today lies where it was asked for, those of other days beside it with the day (UTC) in
their names. Before a file is moved, its row is written to a small file beside the log; once it is
moved and the row is in the log, that file is emptied. So whatever moment a kill comes at, the next
start knows whether a move was under way, and ends it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from nfbmr.errors import DataError
from nfbmr.inspection.arrivals import FOLDERS, Mark
from nfbmr.system.files import flush_folder, naming
from nfbmr.system.locks import is_at, lock

Row = dict[str, Any]

_DAY = r"\d{4}-\d\d-\d\d"
_APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
_APPEND |= getattr(os, "O_NOFOLLOW", 0)  # whoever fills the folder may leave a link there
_TAIL = 1 << 16
_LONGEST = 1 << 24  # bytes of a row that is under way
_NOT_OURS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class Journal:
    """A log that is only ever added to; a context manager that closes it."""

    def __init__(self, log: Path) -> None:
        """Opens or makes it; a last line that a kill cut short is taken away.

        Raises:
            DataError: another watch writes to it, or it is no log of a watch.
            OSError: it cannot be written.
        """
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = self._opened()
        self._beside = log.with_name(f".{log.name}.next")
        self._next = os.open(self._beside, _APPEND & ~os.O_APPEND, 0o644)

    def __enter__(self) -> Journal:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the log, which gives its lock back."""
        empty = not os.fstat(self._next).st_size
        os.close(self._log)
        os.close(self._next)
        if empty:
            self._beside.unlink(missing_ok=True)

    def unfinished(self) -> tuple[Row, str] | None:
        """Returns the row of a move that a kill came into, and where to; None if there is none.

        Raises:
            DataError: a watch did not write that.
        """
        size = os.fstat(self._next).st_size
        line, end, _ = _part(self._next, 0, min(size, _LONGEST)).partition(b"\n")
        if not end and size <= _LONGEST:  # it was being written: nothing was moved yet
            return None
        row, to, at = _begun(line, self._beside)
        _refuse_outside(self._beside, row["file"][0], to)
        return None if os.fstat(self._log).st_size > at else (row, to)

    def turn(self, time: str) -> None:
        """Begins a new log where the day of `time`, ISO 8601, is another than that of the log."""
        if not is_at(self.log, self._log):  # taken away, or the folder was made anew
            os.close(self._log)
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self._log = self._opened()
        if not os.fstat(self._log).st_size:
            self._day = time[:10]
        if self._day >= time[:10]:
            return
        os.fsync(self._next)  # what it held is in the log that goes
        place, number = self.log.with_name(f"{self.log.stem}-{self._day}{self.log.suffix}"), 1
        while place.exists():
            place = place.with_name(f"{self.log.stem}-{self._day}-{number}{self.log.suffix}")
            number += 1
        os.close(self._log)
        self.log.rename(place)
        self._log, self._day = self._opened(), time[:10]
        flush_folder(self.log.parent)

    def begin(self, row: Row, to: str) -> None:
        """Keeps the row of a file that is about to be moved, and where to, below the folder."""
        held = {"at": os.fstat(self._log).st_size, "row": row, "to": to}
        with naming(self.log):
            _write(self._next, json.dumps(held, allow_nan=False).encode() + b"\n", anew=True)

    def append(self, row: Row) -> None:
        """Adds a row and brings it to the disk; nothing is under way then.

        Raises:
            OSError: it cannot be written; then the log is as it was.
        """
        with naming(self.log):
            _write(self._log, json.dumps(row, allow_nan=False).encode() + b"\n", anew=False)
            os.ftruncate(self._next, 0)

    def rows(self, since: str) -> Iterator[Row]:
        """Yields the rows since a day, the oldest first; logs of days before it are not read.

        Raises:
            DataError: a line is none that a watch wrote.
        """
        for log in [*(log for day, log in self._older() if day >= since), self.log]:
            if not log.exists():  # the folder was made anew, and nothing was written since
                continue
            with log.open("rb") as stream:
                for number, line in enumerate(stream, start=1):
                    yield _read(line, log, number)

    def _older(self) -> list[tuple[str, Path]]:
        """Returns day and log of other days, ascending."""
        form = re.compile(f"{re.escape(self.log.stem)}-({_DAY})(?:-(\\d+))?")
        found = []
        for path in self.log.parent.glob(f"*{self.log.suffix}"):
            match = form.fullmatch(path.stem)
            if match:
                found.append((match[1], int(match[2] or 0), path))
        return [(day, path) for day, _, path in sorted(found)]

    def _opened(self) -> int:
        handle = os.open(self.log, _APPEND, 0o644)
        try:
            if not lock(handle):
                raise DataError(
                    f"another watch is writing to {self.log}; end that one first, or name another "
                    "log with -o"
                )
            self._day = self._day_of(handle)  # what is no log is refused before it is changed
            _cut_at_last_line(handle)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _day_of(self, handle: int) -> str:
        """Returns the day of the first row, or that of the file where the row says none."""
        with self.log.open("rb") as stream:
            line = stream.readline()
        if not line.endswith(b"\n"):
            return ""
        day = str(_read(line, self.log, 1).get("time", ""))[:10]
        changed = datetime.fromtimestamp(os.fstat(handle).st_mtime).date().isoformat()
        return day if re.fullmatch(_DAY, day) else changed


def _refuse_outside(file: Path, *names: str) -> None:
    """Refuses names that lead out of the watched folder, which nobody but a stranger writes.

    Raises:
        DataError: one does.
    """
    for name in map(PurePath, names):
        if name.is_absolute() or ".." in name.parts:
            raise DataError(
                f"{file}: '{name}' leads out of the folder, so this is none of a watch's own; look "
                "who wrote it, then delete it"
            )


def folder_of(row: Row) -> str:
    """Returns the one of `FOLDERS` that a row's file belongs in."""
    if "error" in row:
        return "error"
    two = "defect" if row["is_defect"] else "good"  # rows of older versions say no more
    return str(row.get("verdict", two))


def _read(line: bytes, log: Path, number: int) -> Row:
    try:
        return _sound(json.loads(line))
    except _NOT_OURS:
        raise DataError(
            f"{log}, line {number}, is none that a watch wrote; name another log with -o"
        ) from None


def _begun(line: bytes, file: Path) -> tuple[Row, str, int]:
    """Reads a move that was under way: its row, where to, and how long the log was.

    Raises:
        DataError: it is none that a watch wrote.
    """
    try:
        found = json.loads(line)
        row, to, at = _sound(found["row"]), found["to"], found["at"]
        texts = (to, row["path"], row["time"], row["sha256"])
        numbers = (at, *row["file"][1:])
        if not _are(str, texts) or not _are(int, numbers) or len(numbers) != 1 + len(Mark._fields):
            raise ValueError
        if b"\0" in os.fsencode(to) + os.fsencode(row["file"][0]):  # nor what no name can hold
            raise ValueError
    except _NOT_OURS:
        places = ", ".join(f"{one}/" for one in FOLDERS)
        raise DataError(
            f"{file}: found what no watch wrote; expected the picture that was being moved when a "
            f"watch was killed. Look into {places} for one without a row in the log, then move "
            "this file away and start again"
        ) from None
    return row, to, at


def _sound(row: Any) -> Row:
    """Returns a row as far as the log has to know it; raises one of `_NOT_OURS` for another."""
    name, *numbers = row["file"]
    texts = (name, row["path"], row.get("sha256", ""), row.get("place") or "")
    sound = _are(str, texts) and _are(int, numbers) and len(numbers) >= 2
    if "time" in row:
        datetime.fromisoformat(row["time"])
    if "error" not in row:
        sound = sound and isinstance(row["is_defect"], bool)
    if not sound or folder_of(row) not in FOLDERS:
        raise ValueError
    assert isinstance(row, dict)
    return row


def _are(kind: type, values: Iterable[object]) -> bool:
    return all(isinstance(value, kind) for value in values)


def _cut_at_last_line(handle: int) -> None:
    """Takes away what follows the last end of a line."""
    end = size = os.fstat(handle).st_size
    while end:
        start = max(0, end - _TAIL)
        at = _part(handle, start, end).rfind(b"\n")
        if at >= 0:
            end = start + at + 1
            break
        end = start
    if end != size:
        os.ftruncate(handle, end)


def _write(handle: int, data: bytes, *, anew: bool) -> None:
    """Writes all of it and brings it to the disk, or leaves nothing of it."""
    if anew:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
    before = os.fstat(handle).st_size
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    except BaseException:
        os.ftruncate(handle, before)
        raise


def _part(handle: int, start: int, end: int) -> bytes:
    os.lseek(handle, start, os.SEEK_SET)
    return os.read(handle, end - start)
