"""A watched folder: as `nfbmr watch` does it, with verdicts by the station's judge.

Each picture that arrives is in the record once: its arrival is named by folder, file, content and
what the file system says of it, and one that is recorded is not recorded again. So a kill between
record and log, or between log and move, is made good by the next start.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from nfbmr.data.folders import is_hidden
from nfbmr.data.images import IMAGE_SUFFIXES
from nfbmr.errors import DataError
from nfbmr.inspection.arrivals import FOLDERS, mark_of
from nfbmr.inspection.reading import MOST_BYTES, too_large
from nfbmr.inspection.result import Failure
from nfbmr.inspection.rows import to_row
from nfbmr.inspection.watch import Watch, watch_by
from nfbmr.station.services.judge import LONGEST_PART_ID, PictureError
from nfbmr.station.sources.source import Line, Picture
from nfbmr.station.store.queries import Recorded
from nfbmr.station.text import is_plain
from nfbmr.system.files import escaped

_JUDGED = tuple(name for name in FOLDERS if name != "error")
_TRIES = 5  # to read the newest picture, where files are moved meanwhile


class Folder:
    """Pictures that are put into a folder."""

    def __init__(
        self, folder: Path, *, move: bool, settle: float = 1.0, most_bytes: int = MOST_BYTES
    ) -> None:
        """Takes the folder.

        Args:
            folder: that is watched, its own pictures.
            move: whether those are moved by their verdicts.
            settle: seconds for which a file must stay as it is where nobody says it is closed.
            most_bytes: of a file; a larger one is refused unread.
        """
        log = folder / "nfbmr.jsonl"
        self._job = Watch(folder=folder, log=log, move=move, settle=settle, most_bytes=most_bytes)

    def run(self, line: Line) -> None:
        """Has what comes judged, until the line stops it.

        Raises:
            StoppedError: it does.
            DataError: the folder is away, or another watches it.
            OSError: its log cannot be written.
        """

        def until() -> bool:
            if not self._job.folder.is_dir():
                raise DataError(f"{self._job.folder} is away; make it again, or mount it")
            line.well()
            line.check()
            return False

        def judge(path: Path, data: bytes, identity: str) -> dict[str, Any]:
            return self._row(line, path, data, identity)

        def refused(row: dict[str, Any]) -> None:
            if "error" in row:
                line.refused(row["file"][0], row["error"])

        watch_by(judge, self._job, until=until, alarm=refused)

    def _row(self, line: Line, path: Path, data: bytes, identity: str) -> dict[str, Any]:
        """Returns the row for the folder's log."""
        folder = os.path.realpath(self._job.folder)
        arrival = hashlib.sha256(os.fsencode(f"{folder}\n{identity}")).hexdigest()
        try:
            found = line.judge(_picture(path, data, arrival))
        except PictureError as error:
            return to_row(Failure(path=str(path), error=f"{path}: {error}"), "")
        return _logged(path, found)

    def picture(self) -> Picture:
        """Returns the newest picture, wherever it was moved.

        Raises:
            DataError: there is none, or it is too large.
        """
        job = self._job
        places = [job.folder, *(job.folder / name for name in _JUDGED if job.move)]
        for _ in range(_TRIES):
            marks = {path: mark_of(path) for place in places for path in _pictures(place)}
            there = [(mark.changed, path) for path, mark in marks.items() if mark is not None]
            try:
                newest = max(there)[1]
                size, most = newest.stat().st_size, job.most_bytes
                if size > most:
                    raise DataError(too_large(newest, size, most))
                return _picture(newest, newest.read_bytes(), None)
            except ValueError:
                raise DataError("the folder holds no picture to test with; put one in") from None
            except FileNotFoundError:  # moved meanwhile
                continue
        raise DataError("files come and go too fast for a test; try again")


def _pictures(folder: Path) -> list[Path]:
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return []
    return [
        path for path in paths if not is_hidden(path.name) and path.suffix.lower() in IMAGE_SUFFIXES
    ]


def _picture(path: Path, data: bytes, arrival: str | None) -> Picture:
    part = escaped(path.stem).strip()
    known = len(part) <= LONGEST_PART_ID and is_plain(part)
    name = escaped(path.name)
    return Picture(data=data, name=name, part_id=part if known else "", arrival=arrival)


def _logged(path: Path, found: Recorded) -> dict[str, Any]:
    return {
        "path": escaped(str(path)),
        "verdict": found.verdict,
        "score": found.score,
        "p_value": found.p_value,
        "is_defect": found.verdict == "defect",
        "threshold": found.threshold,
        "look_threshold": found.look_threshold,
        "regions": found.regions,
        "model": found.model,
        "inspection": found.id,
    }
