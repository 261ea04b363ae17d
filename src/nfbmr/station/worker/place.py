"""The folder of one learning, by which the station and the process that learns know each other.

    LEARNING/TOKEN/
      pictures/HEX.ENDING   good pictures, under names of the station's own
      job.json              what is to be learnt, written by the station
      said.json             how far it is, or how it ended, written by the process
      lock                  held by the process while it lives
      log.txt               what it logs
      model/NAME/           the model; beside it the fit's checkpoints, as for every fit
      cache/                features, until it has ended

Files and a lock, and not the database, since they need no password, no driver, and no second writer
of SQLite's file; and since a lock ends with its process, whatever ends that.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from nfbmr.system.files import flushed_beside
from nfbmr.system.locks import locked_file


@dataclass(frozen=True, kw_only=True)
class Good:
    """A good picture of a job."""

    file: str
    """Below `pictures`."""
    name: str
    """As people know it."""
    pixels: str
    """sha256 of its pixels."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be learnt."""

    name: str
    settings: dict[str, Any]
    """As `settings.changes.to_dict` writes them."""
    pictures: tuple[Good, ...]
    device: str = "auto"
    export: bool = True
    """Whether graphs for the runtimes that are here are made, too."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the process says of itself."""

    pid: int
    state: Literal["learning", "learnt", "failed"] = "learning"
    stage: str = ""
    """In plain words."""
    done: int = 0
    total: int = 0
    """Of the stage."""
    share: float = 0.0
    """Of all the work, in [0, 1]."""
    left: float | None = None
    """Seconds, from `time` on."""
    time: float
    """Of `time.time`, when it said so."""
    reason: str = ""
    """Why it failed."""
    result: dict[str, Any] | None = None


class Place:
    """Names and files of one learning."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder, which need not be there."""
        self.folder = folder
        self.pictures = folder / "pictures"
        self.cache = folder / "cache"
        self.log = folder / "log.txt"
        self._job, self._said, self._lock = (
            folder / name for name in ("job.json", "said.json", "lock")
        )

    def model(self, name: str) -> Path:
        """Returns where the model is written."""
        return self.folder / "model" / name

    def write(self, job: Job) -> None:
        """Says what is to be learnt; what was said of an earlier job is forgotten.

        Raises:
            OSError: it cannot be written.
        """
        self._said.unlink(missing_ok=True)
        _write(self._job, asdict(job))

    def job(self) -> Job:
        """Returns what is to be learnt."""
        values = json.loads(self._job.read_bytes())
        return Job(**values | {"pictures": tuple(Good(**one) for one in values["pictures"])})

    def say(self, said: Said) -> None:
        """Says how far the work is.

        Raises:
            OSError: it cannot be written.
        """
        _write(self._said, asdict(said))

    def said(self) -> Said | None:
        """Returns what the process said last; None where it said nothing yet."""
        try:
            return Said(**json.loads(self._said.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    @contextmanager
    def held(self, seconds: float = 0.0) -> Iterator[bool]:
        """Holds the lock; gives whether it was free, at once or within some seconds."""
        until = time.monotonic() + seconds
        while True:
            with locked_file(self._lock) as free:
                if free or time.monotonic() >= until:
                    yield free
                    return
            time.sleep(0.1)

    def is_worked_on(self) -> bool:
        """Whether a process holds the lock."""
        if not self._lock.exists():
            return False
        with locked_file(self._lock) as free:
            return not free

    def end_process(self) -> None:
        """Ends the process that holds the lock, if it has said which it is."""
        said = self.said()
        if said is not None and self.is_worked_on():
            with suppress(ProcessLookupError):
                os.kill(said.pid, signal.SIGTERM)

    def forget_work(self, name: str) -> None:
        """Deletes what only serves the learning itself: checkpoints and features."""
        for folder in (self.cache, self.model(name).with_name(f".{name}.fit")):
            shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, values: dict[str, Any]) -> None:
    with flushed_beside(path, 0o600) as beside:
        beside.write_text(json.dumps(values), encoding="utf-8")
