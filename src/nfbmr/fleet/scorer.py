"""A worker: one inspector, which judges parts and writes their results itself."""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from nfbmr.errors import FleetError, ImageError
from nfbmr.fleet.listing import Part, read_part
from nfbmr.fleet.reach import why_unreached
from nfbmr.fleet.results import Counts, part_file, write_part
from nfbmr.fleet.sources import read_stored
from nfbmr.fleet.words import is_stored
from nfbmr.inspection.decoding import Named
from nfbmr.inspection.heatmaps import Heatmaps
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.inspection.result import Failure, Inspection
from nfbmr.inspection.rows import Row, to_row
from nfbmr.model.calibrations import calibration_hash
from nfbmr.station.engine.pool import bundle_hash
from nfbmr.system.files import escaped

_log = logging.getLogger(__name__)

_BATCH = 8
_FETCHED = 8  # files of a store that are read at once, and ahead
_DIED = "the program died each time that it judged this picture: too little memory, or damage"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker needs to know."""

    model: Path
    said: str
    """The model as the rows name it."""
    bundle: str
    calibration: str
    runtime: str
    device: str
    threads: int
    out: Path
    run: str
    listing: Path
    folders: tuple[Path, ...]
    """That pictures were looked for in."""
    heatmaps: Path | None
    """A folder for heatmaps of defects; None: none are drawn."""


@dataclass(frozen=True)
class Task:
    """A part, and how it is judged."""

    part: Part
    one_by_one: bool = False
    """Whether each picture's number is noted before it is judged: workers died of this part."""
    deadly: frozenset[int] = field(default_factory=frozenset)
    """Numbers of pictures in the part that workers died of; they are passed over."""


@dataclass(frozen=True)
class Unreached:
    """What a worker says of a part of which it can open no picture."""

    why: str
    where: str
    """Its machine."""


class Scorer:
    """Judges parts; made where it works."""

    def __init__(self, job: Job) -> None:
        """Notes the job; what may fail is done by `ready`."""
        self._job = job
        self._inspector: Inspector | None = None

    def ready(self) -> str:
        """Loads the model; returns what computes it.

        Raises:
            NfbmrError: it cannot be loaded, or is another by now.
        """
        job = self._job
        found = load(job.model, runtime=job.runtime, device=job.device, threads=job.threads)
        if (bundle_hash(found), calibration_hash(found.calibration)) != (
            job.bundle,
            job.calibration,
        ):
            raise FleetError(f"{job.model} was changed while the run was started; start it again")
        self._inspector = found
        return found.runtime.name

    def score(self, task: Task) -> Counts | Unreached:
        """Judges a part and writes its results and heatmaps; returns how many of which verdict.

        Where no picture of it can be opened nothing is written: that is no damage of each.

        Raises:
            OSError: they cannot be written.
            NfbmrError: the network cannot compute.
        """
        assert self._inspector is not None
        pictures = read_part(self._job.listing, task.part)
        noted = at_file(self._job.out, task.part.number)
        rows: list[Row] = []
        failed: list[str] = []
        found = self._each(pictures, task.deadly, noted) if task.one_by_one else self._all(pictures)
        for number, (picture, result) in enumerate(zip(pictures, found, strict=True)):
            if isinstance(result, Inspection) and result.is_defect:
                self._draw(task.part.number, number, picture, result)
            if isinstance(result, Failure):
                failed.append(picture)
            row = to_row(result, self._job.said) | {"path": escaped(picture)}
            rows.append(row | {"bundle": self._job.bundle})
        if task.one_by_one:
            noted.unlink(missing_ok=True)
        # Also of one whose first pictures were judged: what was lost may have gone meanwhile.
        if failed and (why := why_unreached((*failed, *pictures), self._job.folders)):
            return Unreached(why, socket.gethostname())
        return write_part(part_file(self._job.out, task.part.number), self._job.run, rows)

    def _all(self, pictures: list[str]) -> Iterator[Inspection | Failure]:
        assert self._inspector is not None
        given = _Given(pictures)
        for result in self._inspector.inspect_many(given, batch=_BATCH):
            while (failed := given.order.popleft()) is not None:
                yield failed
            yield result
        yield from (failed for failed in given.order if failed is not None)

    def _each(
        self, pictures: list[str], deadly: frozenset[int], noted: Path
    ) -> Iterator[Inspection | Failure]:
        assert self._inspector is not None
        for number, picture in enumerate(pictures):
            if number in deadly:
                yield Failure(path=picture, error=_DIED)
                continue
            noted.write_text(str(number), encoding="ascii")
            try:
                yield self._inspector.inspect(Named(_read(picture), picture))
            except (ImageError, MemoryError) as error:
                yield Failure(path=picture, error=str(error) or "out of memory")

    def _draw(self, part: int, number: int, picture: str, result: Inspection) -> None:
        if self._job.heatmaps is None:
            return
        assert self._inspector is not None
        white = self._inspector.settings.data.white
        heatmaps = Heatmaps(self._job.heatmaps, white, flushed=True)  # as the part's rows are
        name = f"{part:06d}/{number:06d}_{Path(picture).stem[:50]}"
        try:
            heatmaps.keep(name, _read(picture), result)
        except (ImageError, MemoryError) as error:  # it went meanwhile: its verdict stays
            _log.warning("No heatmap of %s: %s", picture, str(error) or "out of memory")


class _Given:
    """The pictures of a part as an inspector takes them, files of stores read ahead.

    Its length makes the inspector take whole batches, the same each time.
    """

    def __init__(self, pictures: list[str]) -> None:
        self._pictures = pictures
        self.order: deque[Failure | None] = deque()
        """Of each picture that was passed: why it could not be read, or None where it was given."""

    def __len__(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[Named]:
        with ThreadPoolExecutor(_FETCHED, thread_name_prefix="nfbmr-fetch") as pool:
            ahead: deque[tuple[str, Future[str | bytes]]] = deque()
            for picture in self._pictures:
                ahead.append((picture, pool.submit(_read, picture)))
                if len(ahead) > _FETCHED:
                    yield from self._taken(*ahead.popleft())
            while ahead:
                yield from self._taken(*ahead.popleft())

    def _taken(self, picture: str, read: Future[str | bytes]) -> Iterator[Named]:
        try:
            item = read.result()
        except ImageError as error:
            self.order.append(Failure(path=picture, error=str(error)))
        else:
            self.order.append(None)
            yield Named(item, picture)


def at_file(out: Path, part: int) -> Path:
    """Returns where a worker notes which picture of a part it is at, where it does."""
    return out / "_nfbmr" / f"at-{part:06d}"


def _read(picture: str) -> str | bytes:
    """Returns the path of a picture on a disk, the content of one in a store.

    Raises:
        ImageError: it cannot be read, or nothing here knows this kind of store.
    """
    if not is_stored(picture):
        return picture
    try:
        return read_stored(picture)
    except Exception as error:  # stores raise kinds of their own
        why = str(error) or type(error).__name__
        raise ImageError(f"{picture} cannot be read ({why})") from None
