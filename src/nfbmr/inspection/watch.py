"""`watch`: a hot folder. Whatever is put into it is inspected once, and what was found is kept.

What is done is known from the log: a line for each file, JSON, flushed to disk before the file is
moved and before the next one is taken. A file is known by its path, size and time of change, so a
restart goes on where the last one stopped, and a new picture under an old name is a new picture. A
file that is still growing is waited for.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from nfbmr.data.images import IMAGE_SUFFIXES
from nfbmr.errors import DataError
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.result import Failure
from nfbmr.inspection.rows import to_row
from nfbmr.system import provenance
from nfbmr.system.files import printable
from nfbmr.system.locks import lock, locked_folder

_log = logging.getLogger(__name__)

FOLDERS = ("good", "look", "defect", "error")
"""Where inspected files go when they are moved."""

Row = dict[str, Any]
_Mark = tuple[str, int, int]
"""Name, bytes and time of change in nanoseconds."""
_Found = tuple[Path, _Mark]


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is watched and what becomes of it."""

    folder: Path
    """Its own pictures; folders in it are not looked into."""
    log: Path
    """JSONL; lines are only ever added."""
    move: bool = False
    """Into one of `FOLDERS` in the same folder."""
    settle: float = 1.0
    """Seconds for which size and time of a file must stay the same before it counts as whole."""
    every: float = 0.5
    """Seconds between two looks."""


def watch(
    inspector: Inspector,
    job: Watch,
    *,
    until: Callable[[], bool] = lambda: False,
    tell: Callable[[Row], object] = lambda _: None,
) -> int:
    """Inspects what comes into a folder, until it is told to stop.

    Args:
        inspector: the model.
        job: what to watch.
        until: asked between two looks; once it says yes, and all that was whole is inspected,
            the watch ends.
        tell: hears each row once it is in the log, e.g. to send a webhook.

    Returns:
        How many files were inspected.

    Raises:
        DataError: there is no such folder, the log is not one that this wrote, or another watch
            is writing to it.
        OSError: the log cannot be written: then nothing is moved, and nothing is lost.
    """
    if not job.folder.is_dir():
        raise DataError(f"{job.folder} is not a folder; make it, or name another")
    seen: dict[Path, tuple[_Mark, float]] = {}
    stuck: set[Path] = set()  # files that cannot be moved; said once
    count = 0
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with locked_folder(job.folder) as free, job.log.open("a", encoding="utf-8") as stream:
        if not (free and lock(stream)):
            raise DataError(
                f"{job.folder}: another watch is looking at it or writing to {job.log}; end that "
                "one first"
            )
        done = _rows_in(job.log)
        while True:
            last = until()
            for path, mark in _whole(job, done, seen, stuck):
                if mark in done:  # a crash came between the log and the move
                    _move(path, mark, done[mark], stuck)
                    continue
                row = _inspected(inspector, path) | {"file": list(mark), "time": provenance.now()}
                if _mark(path) != mark:  # it changed while it was read: another picture by now
                    continue
                _append(stream, row)
                done[mark] = row
                seen.pop(path, None)
                count += 1
                if job.move:
                    _move(path, mark, row, stuck)
                tell(row)
            if last:
                return count
            time.sleep(job.every)


def _inspected(inspector: Inspector, path: Path) -> Row:
    try:
        (result,) = inspector.inspect_many([path])
    except Exception as error:  # whatever one picture does, the line goes on
        _log.exception("%s", printable(str(path)))
        result = Failure(path=str(path), error=f"{type(error).__name__}: {error}")
    return to_row(result, str(inspector.path or inspector.facts.name))


def _whole(
    job: Watch,
    done: dict[_Mark, Row],
    seen: dict[Path, tuple[_Mark, float]],
    stuck: set[Path],
) -> Iterator[_Found]:
    """Yields new files that have stopped changing, the oldest first; done ones only to move."""
    now = time.monotonic()
    there: dict[Path, _Mark] = {}
    try:
        paths = sorted(job.folder.iterdir())
    except OSError as error:  # a network folder that is away for a moment
        _log.warning("%s", printable(f"{job.folder} cannot be read: {error}"))
        return
    for path in paths:
        # Hidden names are what programs write to before they rename.
        if path.name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        mark = _mark(path)
        if mark is not None and ((job.move and path not in stuck) or mark not in done):
            there[path] = mark
    for gone in set(seen) - set(there):
        del seen[gone]
    ready = []
    for path, mark in there.items():
        before, since = seen.get(path, (None, now))
        if before != mark:
            seen[path] = (mark, now)
            since = now
        if now - since >= job.settle:
            ready.append((path, mark))
    yield from sorted(ready, key=lambda found: (found[1][2], found[0]))


def _mark(path: Path) -> _Mark | None:
    """Returns name, bytes and time of change of a file; None where there is no plain file."""
    try:
        state = path.stat()
    except OSError:
        return None
    if not path.is_file():
        return None
    return path.name, state.st_size, state.st_mtime_ns


def _append(stream: TextIO, row: Row) -> None:
    stream.write(json.dumps(row, allow_nan=False) + "\n")
    stream.flush()
    os.fsync(stream.fileno())


def _move(path: Path, mark: _Mark, row: Row, stuck: set[Path]) -> None:
    """Moves a file to the folder of its verdict; never over another file, never another file."""
    folder = path.parent / _folder_of(row)
    try:
        folder.mkdir(exist_ok=True)
        target, number = folder / path.name, 1
        while target.exists():
            target, number = folder / f"{path.stem}-{number}{path.suffix}", number + 1
        path.rename(target)
        moved = _mark(target)
        if moved is not None and moved[1:] != mark[1:] and not path.exists():
            target.rename(path)  # another picture took the name since; it has its turn yet
    except OSError as error:  # it is in the log, so it is not inspected again
        stuck.add(path)
        _log.warning("%s", printable(f"{path} stays where it is: {error}"))


def _folder_of(row: Row) -> str:
    """Returns the one of `FOLDERS` that a row's file belongs in."""
    if "error" in row:
        return "error"
    two = "defect" if row["is_defect"] else "good"  # rows of older versions say no more
    return str(row.get("verdict", two))


def _rows_in(log: Path) -> dict[_Mark, Row]:
    """Reads which files are done; a last line that a crash cut short is taken away."""
    if not log.exists():
        return {}
    data = log.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        with log.open("r+b") as stream:
            stream.truncate(len(whole))
    done: dict[_Mark, Row] = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
            name, size, changed = row["file"]
            if "error" not in row and not isinstance(row["is_defect"], bool):
                raise ValueError
            if _folder_of(row) not in FOLDERS:
                raise ValueError
            done[str(name), int(size), int(changed)] = row
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{log}, line {number}, is none that a watch wrote; name another log with -o"
            ) from None
    return done
