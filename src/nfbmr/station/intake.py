"""Pictures out of a request: by the gate first, then its body, within its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from nfbmr.station.engine.gate import BusyError
from nfbmr.station.services.judge import LONGEST_PART_ID, Answer, Given, LateError, PictureError
from nfbmr.station.settings import MEGABYTE
from nfbmr.station.station import Station

_SIDE_BY_SIDE = 4  # pictures of one request
_FIELDS = 20
_DRAIN_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One picture of a request."""

    name: str
    content: bytes | UploadFile

    async def data(self) -> bytes:
        """Reads it."""
        return self.content if isinstance(self.content, bytes) else await self.content.read()


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a request brought."""

    uploads: list[Upload]
    fields: dict[str, str]

    def first(self) -> Taken:
        """Returns it with the first picture alone."""
        return replace(self, uploads=self.uploads[:1])


@asynccontextmanager
async def taken(request: Request, station: Station) -> AsyncIterator[Taken]:
    """Reads a request's pictures, once the gate lets it pass.

    Raises:
        BusyError: too much is in work; the body is read and thrown away.
        LateError: the body took too long.
        HTTPException: 422, there is no picture in it.
    """
    settings = station.settings
    length = int(request.headers.get("content-length", settings.most_megabytes * MEGABYTE))
    with ExitStack() as held:
        try:
            held.enter_context(station.judge.gate.passed(length))
        except BusyError:
            station.judge.metrics.count("nfbmr_refused_total", why="busy")
            await _drained(request)
            raise
        try:
            async with asyncio.timeout(settings.seconds):
                found = await _read(request, settings.most_pictures)
        except TimeoutError:
            raise LateError(
                f"the request did not arrive within {settings.seconds:g} s; send it again"
            ) from None
        except ClientDisconnect:
            raise HTTPException(400, "the request ended before its body did") from None
        if not found.uploads:
            raise HTTPException(
                422, "no picture: one as the body, or several as 'files' of a form were expected"
            )
        try:
            yield found
        finally:
            for upload in found.uploads:
                if isinstance(upload.content, UploadFile):
                    await upload.content.close()


async def judged(station: Station, found: Taken, given: Given) -> list[Answer | PictureError]:
    """Judges a request's pictures, some side by side; answers in their order.

    Args:
        station: that judges.
        found: the pictures.
        given: what is said of all of them; `data` and `name` are each picture's own.

    Raises:
        StationError: as `Judge.inspect`, but for pictures that are to blame.
    """
    turns = iter(enumerate(found.uploads))
    answers: dict[int, Answer | PictureError] = {}

    async def one_after_another() -> None:
        for place, upload in turns:
            picture = replace(given, data=await upload.data(), name=upload.name)
            try:
                answers[place] = await station.judge.inspect(picture)
            except PictureError as error:
                answers[place] = error

    with ExitStack() as held:
        beside = 0
        while beside < min(_SIDE_BY_SIDE, len(found.uploads)) - 1:
            try:
                held.enter_context(station.judge.gate.passed())
            except BusyError:
                break
            beside += 1
        results = await asyncio.gather(
            *(one_after_another() for _ in range(1 + beside)), return_exceptions=True
        )
    for result in results:
        if result is not None:
            raise result
    return [answers[place] for place in range(len(found.uploads))]


def checked_part_id(said: str) -> str:
    """Returns a part's name.

    Raises:
        HTTPException: 422, it is too long or would steer a terminal.
    """
    text = said.strip()
    if len(text) > LONGEST_PART_ID or not text.isprintable():
        raise HTTPException(
            422, f"part_id: at most {LONGEST_PART_ID} printable letters were expected"
        )
    return text


async def _read(request: Request, most: int) -> Taken:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        body = await request.body()
        uploads = [Upload(name="", content=body)] if body else []
        return Taken(uploads=uploads, fields={})
    form = await request.form(max_files=most, max_fields=_FIELDS)
    uploads, fields = [], {}
    for key, value in form.multi_items():
        if isinstance(value, str):
            fields[key] = value
        elif key == "files":
            uploads.append(Upload(name=value.filename or "", content=value))
    return Taken(uploads=uploads, fields=fields)


async def _drained(request: Request) -> None:
    """Reads a body that nobody wants, so that its sender gets to read the answer."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in request.stream():
                pass
    except (TimeoutError, ClientDisconnect):
        return
