"""`watch`: a hot folder. Whatever is put into it is inspected once, and what was found is kept.

A picture is known by its content (SHA-256): another one under an old name is another picture. What
is done is known from the log (`journal.py`), and of that a start reads only what may be of files
that lie in the folder. What is whole, and when to look, is in `arrivals.py` and `events.py`.

The order is: bytes read once and judged; where to move it written down; moved; the alarm; the row
in the log; then whoever listens is told. A kill between any two of these is made good by the next
start: an alarm may go out twice then, with the same `id`, and nothing else happens twice.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from nfbmr.errors import DataError
from nfbmr.inspection.arrivals import (
    EMPTY_WAITS,
    Arrivals,
    Mark,
    Ready,
    mark_of,
    refuse_no_folder,
)
from nfbmr.inspection.events import Events
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.journal import Journal, folder_of
from nfbmr.inspection.known import Done, identity_of, is_same, known_of
from nfbmr.inspection.moves import free_place, make_places, move
from nfbmr.inspection.reading import MOST_BYTES, read_bytes, too_large
from nfbmr.inspection.result import Failure
from nfbmr.inspection.rows import to_row
from nfbmr.inspection.watched import Inspecting
from nfbmr.system import provenance
from nfbmr.system.files import escaped, printable
from nfbmr.system.locks import locked_folder

_log = logging.getLogger(__name__)

Row = dict[str, Any]

_LOOK_ANYWAY = 5.0  # seconds between two looks where the file system says what happens
_LATE = 1.0  # seconds after which it should have
_LAST = 10.0  # seconds that `once` waits for files beyond all patience
_MOST_UNREADABLE = 1000  # files in error/ that are looked at again


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is watched and what becomes of it."""

    folder: Path
    """Its own pictures; folders in it are looked into where `recursive` says so."""
    log: Path
    """JSONL of today (UTC); those of other days lie beside it."""
    move: bool = False
    """Into one of `FOLDERS` in the same folder."""
    recursive: bool = False
    """Sub-folders, too; what is moved keeps its sub-folder below that of the verdict."""
    heatmaps: bool = False
    """One of each picture, beside the log."""
    poll: bool = False
    """Look, whatever the file system says by itself; without it, on network drives only."""
    once: bool = False
    """End when nothing waits any more."""
    settle: float = 1.0
    """Seconds for which a file must stay the same that nobody said to be closed."""
    patience: float = 10.0
    """Seconds for which one that cannot be read must stay the same; six times that if empty."""
    every: float = 0.5
    """Seconds between two looks."""
    most_bytes: int = MOST_BYTES
    """Of a picture's file; a larger one is not read, and counts as one that cannot be."""

    def beside(self, what: str) -> Path:
        """Returns a folder beside the log: of `heatmaps`, or the `outbox` of a webhook."""
        return self.log.with_name(f"{self.log.stem}_{what}")


class Judging(Protocol):
    """What gives verdicts."""

    def __call__(self, path: Path, data: bytes, identity: str) -> Row:
        """Returns a picture's row, with `path`, and `error` or `verdict` and `is_defect`.

        A `NotNowError` puts the picture off. Whatever else it raises ends the watch, and leaves
        the picture for the next one, by the same `identity`.
        """
        ...


def watch(
    inspector: Inspector,
    job: Watch,
    *,
    until: Callable[[], bool] = lambda: False,
    alarm: Callable[[Row], object] = lambda _: None,
    tell: Callable[[Row], object] = lambda _: None,
) -> int:
    """Inspects what comes into a folder, until it is told to stop.

    Args:
        inspector: the model.
        job: what to watch.
        until: as for `watch_by`.
        alarm: likewise.
        tell: likewise.

    Returns:
        How many files were inspected.

    Raises:
        DataError: as `watch_by`.
        OSError: likewise.
    """
    judge = Inspecting(inspector, job.beside("heatmaps") if job.heatmaps else None)
    return watch_by(judge, job, until=until, alarm=alarm, tell=tell)


def watch_by(
    judge: Judging,
    job: Watch,
    *,
    until: Callable[[], bool] = lambda: False,
    alarm: Callable[[Row], object] = lambda _: None,
    tell: Callable[[Row], object] = lambda _: None,
) -> int:
    """Has whatever comes into a folder judged, until it is told to stop.

    Args:
        judge: gives the verdicts.
        job: what to watch.
        until: asked between two looks; once it says yes, and all that was whole is inspected,
            the watch ends.
        alarm: hears each row before it is in the log, at least once, whatever is killed when: to
            keep it where it is sent from. The same picture has the same `id`.
        tell: hears each row once it is in the log, e.g. to print it. Trouble in either is
            said, and ends nothing.

    Returns:
        How many files were inspected.

    Raises:
        DataError: there is no such folder, a file has the name of one that pictures are moved to,
            the log is not one that this wrote, or another watch is writing to it.
        OSError: the log cannot be written: then nothing is moved, and nothing is lost.
    """
    refuse_no_folder(job.folder)
    with locked_folder(job.folder) as free:
        if not free:
            raise DataError(f"{job.folder}: another watch is looking at it; end that one first")
        with Journal(job.log) as journal:
            line = _Line(judge, job, journal, alarm, tell)
            try:
                return line.run(until)
            finally:
                line.events.stop()


class _Line:
    def __init__(
        self,
        judge: Judging,
        job: Watch,
        journal: Journal,
        alarm: Callable[[Row], object],
        tell: Callable[[Row], object],
    ) -> None:
        self._judge, self._job, self._journal = judge, job, journal
        self._alarm, self._tell = alarm, tell
        self._done: dict[str, Done] = {}
        self._unreadable: dict[str, Mark] = {}  # in error/, and how they were when last read
        self._count = 0
        self._here: tuple[int, int] | None = None  # which folder was looked at last
        self._looked = False
        self._unheard = 0
        self._arrivals = Arrivals(
            job.folder,
            deep=job.recursive,
            settle=job.settle,
            patience=job.patience,
            is_done=self._is_done,
            ours=(job.beside("heatmaps"), job.beside("outbox")),
        )
        if job.move:
            make_places(job.folder, deep=job.recursive)
        self.events = self._listening()

    def run(self, until: Callable[[], bool]) -> int:
        job, arrivals = self._job, self._arrivals
        begun = self._journal.unfinished()
        if begun is not None:
            self._finish(*begun)
        end = time.monotonic() + job.settle + EMPTY_WAITS * job.patience + _LAST
        next_look = float("-inf")
        while True:
            last = until()
            for name, closed in self.events.take().items():
                arrivals.heard(name, closed=closed)
            if last or time.monotonic() >= next_look:
                next_look = self._look()
            for ready in arrivals.ready():
                with arrivals.trying(ready.name):
                    self._take(ready)
            now = time.monotonic()
            if last or (job.once and (not len(arrivals) or now > end)):
                self._say_left()
                return self._count
            self.events.wait(min(next_look, arrivals.next_due(), now + job.every) - now)

    # ---- what is there

    def _listening(self) -> Events:
        job = self._job
        return Events(
            job.folder,
            deep=job.move or job.recursive,
            wanted=self._arrivals.wanted,
            on=not (job.poll or job.once),
        )

    def _look(self) -> float:
        """Looks at the whole folder; returns when to do so again, monotonic."""
        began = time.monotonic()
        there = self._arrivals.look()
        if there is None:
            self._here = None
            return time.monotonic() + self._job.every
        found = self._job.folder.stat()
        here = (found.st_dev, found.st_ino)
        if self._here != here:  # at the start, and where it was away: another may be mounted there
            self._recall(there)
            if self._looked:
                self.events.stop()
                self.events = self._listening()
        first, self._here, self._looked = self._here != here, here, True
        for gone in set(self._done) - set(there):
            del self._done[gone]
        new = self._arrivals.expect(there)
        if not first and self.events.on and any(mark.age() > _LATE for mark in new):
            self._unheard += 1
            if self._unheard > 1:
                self.events.stop()
                _log.warning("The file system does not say what happens there: it is looked at")
        self._look_at_unreadable()
        now = time.monotonic()
        every = max(self._job.every, _LOOK_ANYWAY) if self.events.on else self._job.every
        return now + max(every, 4 * (now - began))  # a look at very many files takes long

    def _is_done(self, name: str, mark: Mark) -> bool:
        done = self._done.get(name)
        return done is not None and done.mark == mark and (done.stuck or not self._job.move)

    def _recall(self, there: dict[str, Mark]) -> None:
        """Reads from the logs what is known of the files that are there."""
        self._done.clear()
        unreadable = self._recently_unreadable()
        marks = [*there.values(), *unreadable.values()]
        if not marks:
            return
        oldest = min(mark.status for mark in marks) / 1e9
        day = datetime.fromtimestamp(max(0.0, oldest), UTC).date() - timedelta(days=1)
        for row in self._journal.rows(day.isoformat()):
            name = row["file"][0]
            path = str(row["path"])
            place = row.get("place", path)
            if place == path and name in there:
                self._done[name] = known_of(row, there[name])
            elif name in there:
                self._done.pop(name, None)
            folder = path[: len(path) - len(escaped(name))]
            below = str(place).removeprefix(folder).replace(os.sep, "/")
            if "error" in row and below in unreadable and len(row["file"]) == 1 + len(Mark._fields):
                self._unreadable[below] = Mark(*row["file"][1:])

    def _recently_unreadable(self) -> dict[str, Mark]:
        """Returns the files in error/ that changed within a day."""
        if not self._job.move:
            return {}
        found = {}
        for path in (self._job.folder / "error").rglob("*"):
            mark = mark_of(path)
            if mark is not None and mark.age() < 86400:
                found[path.relative_to(self._job.folder).as_posix()] = mark
        return found

    def _look_at_unreadable(self) -> None:
        """Inspects what could not be read and was changed since by a writer that held it open."""
        for name, known in list(self._unreadable.items())[-_MOST_UNREADABLE:]:
            path = self._job.folder / name
            mark = mark_of(path)
            if mark is None:
                del self._unreadable[name]
            elif not known.same_file(mark) and mark.size and mark.age() >= self._job.settle:
                with self._arrivals.trying(name):
                    self._take(Ready(name, mark, last=False))
                    if name in self._unreadable:
                        self._unreadable[name] = mark

    # ---- one picture

    def _take(self, ready: Ready) -> None:
        """Inspects a file, where its content is not known, and keeps what was found."""
        name, mark, last = ready
        path = self._job.folder / name
        data, why = self._read(path, mark)
        if mark_of(path) != mark or (data is not None and len(data) != mark.size):
            self._arrivals.changed(name)
            return
        sha256 = hashlib.sha256(data).hexdigest() if data is not None else ""
        known = self._done.get(name)
        if known is not None and is_same(known, mark, sha256):
            self._done[name] = known._replace(mark=mark)
            self._arrivals.forget(name)
            if self._job.move and not known.stuck:
                self._move_later(name, self._done[name])
            return
        seen = identity_of(name, mark, sha256)
        if data is None:
            row = to_row(Failure(path=str(path), error=why), "")
        else:
            row = self._judge(path, data, seen["id"])
        if "error" in row and not last:
            self._arrivals.try_later(name, row["error"])
            return
        self._arrivals.forget(name)
        self._unreadable.pop(name, None)
        self._count += 1
        self._keep(row | {"time": provenance.now()} | seen)

    def _read(self, path: Path, mark: Mark) -> tuple[bytes | None, str]:
        """Reads a file; of one that cannot be read, or is too large, returns why."""
        most = self._job.most_bytes
        if mark.size > most:
            return None, too_large(path, mark.size, most)
        return read_bytes(path, most)

    def _move_later(self, name: str, done: Done) -> None:
        """Moves what was inspected before moving was asked for."""
        row = {"path": escaped(str(self._job.folder / name)), "moved": True}
        if done.verdict == "error":
            row["error"] = "as before"
        else:
            row |= {"verdict": done.verdict, "is_defect": done.verdict == "defect"}
        row["time"] = provenance.now()
        self._keep(row | identity_of(name, done.mark, done.sha256))

    def _keep(self, row: Row) -> None:
        self._journal.turn(row["time"])
        to = ""
        if self._job.move:
            name = row["file"][0].removeprefix("error/")
            to = f"{folder_of(row)}/{name}"
            target = free_place(self._job.folder / to)
            to = f"{to.rpartition('/')[0]}/{target.name}"
            self._journal.begin(row, to)
        self._finish(row, to)

    def _finish(self, row: Row, to: str) -> None:
        """Moves a picture, where it is to be, and keeps its row; again after a kill, too."""
        name, *numbers = row["file"]
        mark, sha256 = Mark(*numbers), row["sha256"]
        path = self._job.folder / name
        place = move(path, mark, sha256, self._job.folder / to) if to else path
        if not to and mark_of(path) != mark:
            place = None
        row["place"] = None if place is None else escaped(str(place))
        if "moved" not in row:
            _heard(self._alarm, row)
        self._journal.append(row)
        if place == path:
            now = mark_of(path) if to and not sha256 else None  # it may have been moved and back
            seen = now if now is not None and mark.same_file(now) else mark
            self._done[name] = Done(seen, sha256, folder_of(row), stuck=bool(to))
        elif place is not None and folder_of(row) == "error":
            self._unreadable[place.relative_to(self._job.folder).as_posix()] = mark
        if "moved" not in row:
            _heard(self._tell, row)

    def _say_left(self) -> None:
        for name in self._arrivals.names()[:10]:
            text = f"{self._job.folder / name} is not whole yet, and is left for the next time"
            _log.warning("%s", printable(text))


def _heard(hear: Callable[[Row], object], row: Row) -> None:
    try:
        hear(row)
    except Exception as error:  # the picture is inspected, whoever does not hear of it
        _log.warning("%s", printable(f"{row['path']}: telling of it failed: {error!r}"))
