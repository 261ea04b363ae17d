"""A picture to a recorded verdict: checked, judged, kept, written down, and only then answered."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from nfbmr.data.images import header_of
from nfbmr.errors import ImageError, StationError
from nfbmr.inspection.decoding import Named
from nfbmr.inspection.result import Failure, Inspection
from nfbmr.station.audit import now
from nfbmr.station.engine.batcher import ClosedError, Judged, NetworkError
from nfbmr.station.engine.gate import Gate
from nfbmr.station.engine.pool import Loaded, Pool
from nfbmr.station.services import heat
from nfbmr.station.services.metrics import Metrics
from nfbmr.station.settings import StationSettings
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.pictures import ENDINGS, Pictures
from nfbmr.station.store.queries import Inspected, Recorded
from nfbmr.system.files import one_line, printable

LONGEST_PART_ID = 200
"""Letters of a part's name."""
LONGEST_NAME = 255
"""Letters that are kept of what a picture's file is called."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """A picture that came in."""

    data: bytes
    model: str
    part_id: str = ""
    name: str = ""
    """What the sender calls the file; never used as a path."""
    source: str = "rest"
    actor: str = "local"
    arrival: str | None = None
    """Names this arrival of the picture at its source: it is recorded once."""
    request: str | None = None
    """Names it where the sender may send it again: it then has one row all the same."""
    seconds: float | None = None
    """That its verdict may take; None: as long as a request's."""


class NoSuchModelError(StationError):
    """No model of this name is on the line."""


class PictureError(StationError):
    """The picture is to blame, and gets no verdict."""


class HinderedError(StationError):
    """It got no verdict, and may get one when it is tried again."""

    def __init__(self, message: str, blame: float = 0.0) -> None:
        """Says why, and what share of it may be this picture's: 0 none, 1 nobody else's."""
        super().__init__(message)
        self.blame = blame


class LateError(HinderedError):
    """It took longer than it may."""


class UnrecordedError(StationError):
    """A verdict that the database did not take."""

    def __init__(self, message: str, unrecorded: Inspected) -> None:
        """Takes what was found, so that it is not lost."""
        super().__init__(message)
        self.unrecorded = unrecorded


_WHY: dict[type[StationError], str] = {
    LateError: "late",
    PictureError: "picture",
    UnrecordedError: "unrecorded",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A recorded verdict."""

    recorded: Recorded
    trouble: str | None = None
    """Why the picture itself is not kept."""
    heat: bytes | None = None
    """The heatmap as it is kept; None where nothing of it would show."""
    again: bool = False
    """Whether it was recorded before, for the same request."""


class Judge:
    """What every source of pictures calls."""

    def __init__(
        self,
        settings: StationSettings,
        pool: Pool,
        store: Store,
        pictures: Pictures,
        gate: Gate,
        recorded: Callable[[], object] = lambda: None,
    ) -> None:
        """Joins what it needs; `recorded` hears of each recorded verdict."""
        self._settings, self._pool, self._store = settings, pool, store
        self._pictures, self.gate, self._recorded = pictures, gate, recorded
        self.metrics = Metrics()
        self.passed: Counter[str] = Counter()
        """Pictures that got a verdict, by model: where some do, the network is not to blame."""
        self.trouble: str | None = None
        """Of the disk, at the last inspection; None where all was kept."""

    @property
    def seconds(self) -> float:
        """That a request's verdict may take."""
        return self._settings.seconds

    async def inspect(self, given: Given) -> Answer:
        """Judges a picture, and answers once its row is kept. Pass the gate first.

        Raises:
            NoSuchModelError: no model of this name is on the line.
            PictureError: it is no picture, or not one that may be sent.
            LateError: it took too long.
            HinderedError: the network failed.
            UnrecordedError: there is a verdict, and the database did not take it.
        """
        began = time.monotonic()
        try:
            answer = await self._inspect(given, began)
        except (LateError, PictureError, UnrecordedError) as error:
            self.metrics.count("nfbmr_refused_total", why=_WHY[type(error)])
            if isinstance(error, UnrecordedError):
                self.trouble = str(error)
            raise
        if answer.again:
            return answer
        verdict = answer.recorded.verdict
        self.trouble = answer.trouble
        self._recorded()
        self.metrics.count("nfbmr_inspections_total", model=given.model, verdict=verdict)
        self.metrics.took(given.model, time.monotonic() - began)
        if answer.trouble is not None:
            self.metrics.count("nfbmr_pictures_not_kept_total")
        return answer

    async def tried(self, given: Given) -> tuple[Inspected, Inspection]:
        """Judges a picture for a look alone: nothing is kept, nothing written down, nobody told.

        Raises:
            StationError: as for `inspect`.
        """
        began = time.monotonic()
        _, sha256 = await asyncio.to_thread(self._looked_at, given.data)
        loaded, judging = self._submitted(given, sha256)
        result = await self._verdict(given, judging)
        done = await asyncio.to_thread(_row, given, loaded, result, sha256)
        return replace(done, milliseconds=1000 * (time.monotonic() - began)), result

    async def _inspect(self, given: Given, began: float) -> Answer:
        form, sha256 = await asyncio.to_thread(self._looked_at, given.data)
        if given.request is not None:
            earlier = await asyncio.to_thread(self._store.read, queries.of_request, given.request)
            if earlier is not None:
                return await asyncio.to_thread(self._again, given, earlier, sha256)
        loaded, judging = self._submitted(given, sha256)
        keeping = asyncio.create_task(asyncio.to_thread(self._kept, given.data, form))
        try:
            result = await self._verdict(given, judging)
        except BaseException:
            await self._dropped((await asyncio.shield(keeping))[0])
            raise
        file, trouble = await keeping
        done, png = await asyncio.to_thread(
            lambda: (_row(given, loaded, result, sha256), heat.to_keep(result))
        )
        done = replace(done, file=file, milliseconds=1000 * (time.monotonic() - began))
        try:
            writing = asyncio.wrap_future(self._store.write(queries.record, done, png))
            recorded = await asyncio.shield(writing)  # whoever gives up does not take it back
        except StationError as error:
            await self._dropped(file)
            raise UnrecordedError(str(error), replace(done, file=None)) from None
        if (recorded.file, recorded.time) != (file, done.time):  # the same was faster another way
            await self._dropped(file)
            return await asyncio.to_thread(self._again, given, recorded, sha256)
        return Answer(recorded=recorded, trouble=trouble, heat=png)

    def _again(self, given: Given, recorded: Recorded, sha256: str) -> Answer:
        """Returns what was answered to the same request before.

        Raises:
            PictureError: it was about another picture, or another part.
        """
        other = "picture" if recorded.picture != sha256 else "part"
        if recorded.picture != sha256 or recorded.part_id != given.part_id:
            raise PictureError(
                f"this Idempotency-Key was used for another {other} (inspection {recorded.id}); "
                "give each request a key of its own"
            )
        png = self._store.read(queries.heatmap, recorded.id)
        return Answer(recorded=recorded, heat=png, again=True)

    async def _verdict(self, given: Given, judging: Future[Judged]) -> Inspection:
        """Waits for a verdict; from then on it is written down, however long that takes.

        Raises:
            LateError: it took too long.
            PictureError: there is none to be had of this picture.
            HinderedError: the network failed.
        """
        seconds = self.seconds if given.seconds is None else given.seconds
        try:
            async with asyncio.timeout(seconds):
                result = await asyncio.wrap_future(judging)
        except TimeoutError:
            raise LateError(
                f"no verdict within {seconds:g} s; come again when less is in work",
                blame=0.0 if judging.cancelled() else 1.0,  # it was not even begun
            ) from None
        except NetworkError as error:
            said = f"{error}; the picture was not judged, send it again"
            raise HinderedError(said, blame=1 / error.together) from None
        if isinstance(result, Failure):
            raise PictureError(result.error)
        self.passed[given.model] += 1
        return result

    def _looked_at(self, data: bytes) -> tuple[str, str]:
        """Returns a picture's format and the hash of its file, from its header alone.

        Raises:
            PictureError: it is none that may be sent.
        """
        form = form_of(data, self._settings.most_megapixels)
        return form, hashlib.sha256(data).hexdigest()

    def model(self, name: str) -> Loaded:
        """Returns a model on the line.

        Raises:
            NoSuchModelError: there is none of this name.
        """
        loaded = self._pool.get(name)
        if loaded is None:
            known = ", ".join(one.name for one in self._pool.all()) or "none"
            raise NoSuchModelError(f"no model of this name is on the line; there: {known}")
        return loaded

    def _submitted(self, given: Given, sha256: str) -> tuple[Loaded, Future[Judged]]:
        for _ in range(3):  # a model that was replaced this very moment has a successor
            loaded = self.model(given.model)
            try:
                return loaded, loaded.batcher.submit(Named(given.data, _called(given, sha256)))
            except ClosedError:
                continue
        raise StationError("the model is being replaced; send the picture again")

    def _kept(self, data: bytes, form: str) -> tuple[str | None, str | None]:
        try:
            return self._pictures.keep(data, form), None
        except StationError as error:
            return None, str(error)

    async def _dropped(self, file: str | None) -> None:
        if file is not None:
            await asyncio.to_thread(self._pictures.delete, file)


def _called(given: Given, sha256: str) -> str:
    """Returns what the station's log calls a picture."""
    name = one_line(given.name)[:LONGEST_NAME]
    part = given.part_id and f"part {given.part_id}"
    if name and part:
        return f"{name} ({part})"
    return name or part or f"the picture of sha256 {sha256[:12]}..."


def form_of(data: bytes, most: float) -> str:
    """Returns a picture's format, one of `ENDINGS`, from its header alone.

    Args:
        data: its file.
        most: megapixels that it may have.

    Raises:
        PictureError: it is none that may be sent.
    """
    try:
        form, (height, width) = header_of(data)
    except ImageError as error:
        raise PictureError(str(error)) from None
    if form not in ENDINGS:
        raise PictureError(f"found {form}; expected one of {', '.join(ENDINGS)}")
    if height * width > most * 1e6:
        raise PictureError(
            f"found {width} x {height} pixels; expected at most {most:g} megapixels; shrink it"
        )
    return form


def _row(given: Given, loaded: Loaded, result: Inspection, sha256: str) -> Inspected:
    """Returns what is written down, but for where the picture lies."""
    return Inspected(
        time=now(),
        model=loaded.name,
        product=loaded.inspector.facts.name,
        part_id=given.part_id,
        source=given.source,
        actor=given.actor,
        name=printable(given.name)[:LONGEST_NAME],
        picture=sha256,
        file=None,
        bytes=len(given.data),
        height=result.size[0],
        width=result.size[1],
        bundle=loaded.bundle,
        calibration=loaded.calibration,
        runtime=loaded.runtime,
        threshold=result.threshold,
        look_threshold=result.look_threshold,
        score=result.score,
        p_value=result.p_value,
        verdict=result.verdict,
        regions=[region.to_dict() for region in result.regions],
        milliseconds=0.0,
        arrival=given.arrival,
        request=given.request,
        looks=dict(result.looks),
    )
