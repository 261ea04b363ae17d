"""The thread that sees to learnings: one at a time, each in a process of its own.

What it knows is in the database and in the learnings' folders, so that the station may end at any
time: the process goes on, and is found by its lock at the next start; one that a kill ended is
started again, and goes on from its checkpoint.
"""

from __future__ import annotations

import base64
import logging
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from nfbmr.settings.changes import to_dict
from nfbmr.settings.presets import preset
from nfbmr.station.services.unfinished import sweep
from nfbmr.station.store import learnings
from nfbmr.station.store.database import Store
from nfbmr.station.store.learnings import Learning, NoSuchLearningError, NotNowError
from nfbmr.station.worker.place import Good, Job, Place, Said
from nfbmr.system.locks import locked_file

_log = logging.getLogger(__name__)

MOST_STARTS = 5
"""Of a process, for one learning, until it counts as failed."""

WORKER = ("-m", "nfbmr.station.worker.learn")
"""What Python runs, with the learning's folder."""

_IDLE = 2.0  # seconds between two looks at the database
_BUSY = 0.5  # likewise while a process works
_ACTOR = "station"


class Learner:
    """Starts what waits, follows it, and writes down how it ends."""

    export = True
    """Whether a model gets graphs for the runtimes that are here."""

    def __init__(self, store: Store, folder: Path, keep_days: float | None = None) -> None:
        """Starts the thread.

        Args:
            store: where learnings are written down.
            folder: that holds a folder for each.
            keep_days: after which unfinished ones go that nobody touched; None: never.
        """
        self._store, self._folder, self._keep_days = store, folder, keep_days
        self._process: subprocess.Popen[bytes] | None = None
        self._code: int | None = None
        self._noted: Said | None = None
        self._wake, self._ending = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="nfbmr-learner", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Has it look at once."""
        self._wake.set()

    def close(self) -> None:
        """Ends the thread; a process that learns goes on, to be found at the next start."""
        self._ending = True
        self._wake.set()
        self._thread.join()
        if self._process is not None and self._process.poll() is None:
            self._process.returncode = 0  # nobody is to wait for it

    def _work(self) -> None:
        while not self._ending:
            if self._folder.is_dir():
                try:
                    with locked_file(self._folder / ".lock") as free:
                        if free:  # no other station's server sees to this folder
                            self._see_to_it()
                except Exception:  # whatever it was, the next turn may do better
                    _log.exception("Learnings are not seen to")
            self._pause(busy=False)

    def _see_to_it(self) -> None:
        sweep(self._store, self._folder, self._keep_days)
        while not self._ending:
            self._pause(busy=self.turn())

    def _pause(self, *, busy: bool) -> None:
        self._wake.wait(_BUSY if busy else _IDLE)
        if not self._ending:
            self._wake.clear()

    def turn(self) -> bool:
        """Does what there is to be done now; returns whether a process is at work.

        Raises:
            StationError: the database does not answer.
        """
        found = self._store.read(learnings.at_work)
        try:
            if found is None:
                waiting = self._store.read(learnings.waiting)
                if waiting:
                    self._begin(waiting[0])
                return bool(waiting)
            place = self._place(found)
            if found.state == "stopping":
                self._stop(found, place)
            elif self._lives(place):
                self._note(found, place.said())
            else:
                self._ended(found, place)
        except (NotNowError, NoSuchLearningError) as error:  # somebody was first
            _log.info("%s", error)
        return True

    def _place(self, found: Learning) -> Place:
        return Place(self._folder / found.folder)

    def _lives(self, place: Place) -> bool:
        if self._process is not None:
            if self._process.poll() is None:
                return True
            self._code, self._process = self._process.returncode, None
        return place.is_worked_on()

    def _begin(self, found: Learning) -> None:
        pictures = self._store.read(learnings.pictures, found.id)
        place = self._place(found)
        goods = (Good(file=one.file, name=one.name, pixels=one.pixels) for one in pictures)
        settings = to_dict(preset(found.preset))
        job = Job(name=found.name, settings=settings, pictures=tuple(goods), export=self.export)
        try:
            place.write(job)
        except OSError as error:
            self._fail(found, place, f"{place.folder} cannot be written ({error.strerror})")
            return
        self._store.write(learnings.move, found.id, ("waiting",), "learning", starts=1).result()
        self._start(found, place)

    def _start(self, found: Learning, place: Place) -> None:
        self._noted = None
        words = [sys.executable, *WORKER, str(place.folder.absolute())]
        try:
            with place.log.open("ab") as log:
                self._process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # what ends the station does not end it
                )
        except OSError as error:
            self._fail(found, place, f"no process can be started ({error.strerror})")

    def _note(self, found: Learning, said: Said | None) -> None:
        """Writes down how far the process is, where it said something new."""
        if said is None or said == self._noted or said.state != "learning":
            return
        self._store.write(learnings.note_progress, found.id, asdict(said)).result()
        self._noted = said

    def _stop(self, found: Learning, place: Place) -> None:
        if self._lives(place):
            if self._process is not None:
                self._process.terminate()
            else:
                place.end_process()
            return
        place.forget_work(found.name)
        self._store.write(learnings.move, found.id, ("stopping",), "cancelled").result()

    def _ended(self, found: Learning, place: Place) -> None:
        """Writes down how a process ended; starts it again where it did not say."""
        said = place.said()
        if said is not None and said.state == "learnt" and said.result is not None:
            self._finish(found, said.result)
        elif said is not None and said.state == "failed":
            self._fail(found, place, said.reason)
        elif found.starts >= MOST_STARTS:
            self._fail(found, place, self._why(place))
        else:
            self._store.write(
                learnings.move, found.id, ("learning",), "learning", starts=found.starts + 1
            ).result()
            self._start(found, place)

    def _finish(self, found: Learning, result: dict[str, object]) -> None:
        heats = {
            one["pixels"]: base64.b64decode(one.pop("png"))
            for one in result["heats"]  # type: ignore[attr-defined]
            if one["png"] is not None
        }
        change = learnings.change_of(found, "learnt", _ACTOR)
        self._store.write(learnings.finish, found.id, result, heats, change).result()

    def _fail(self, found: Learning, place: Place, reason: str) -> None:
        place.forget_work(found.name)
        change = learnings.change_of(found, "failed", _ACTOR, reason)
        self._store.write(
            learnings.move, found.id, ("waiting", "learning"), "failed", change, trouble=reason
        ).result()

    def _why(self, place: Place) -> str:
        """Says why a process that never said it may have ended."""
        code = self._code
        how = ""
        if code is not None:
            killed = code < 0
            how = f", the last time by {signal.Signals(-code).name}" if killed else f" ({code})"
        return (
            f"the process that learns was started {MOST_STARTS} times and ended each time without "
            f"a word{how}, as where memory runs out; {place.log} may say more. End what else runs "
            "here, or give fewer or smaller pictures, then start again"
        )
