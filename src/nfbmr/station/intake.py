"""Pictures out of a request: its body first, then a place in the gate; and their outcomes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from nfbmr.errors import NfbmrError
from nfbmr.station.engine.gate import BusyError
from nfbmr.station.services.judge import (
    LONGEST_PART_ID,
    Answer,
    Given,
    PictureError,
    UnrecordedError,
)
from nfbmr.station.settings import MEGABYTE
from nfbmr.station.station import Station
from nfbmr.station.text import is_plain

_log = logging.getLogger(__name__)

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
    size: int
    """Bytes of all pictures."""

    def first(self) -> Taken:
        """Returns it with the first picture alone."""
        return replace(self, uploads=self.uploads[:1])


async def refuse_paused(request: Request, station: Station) -> None:
    """Refuses pictures while REST pauses; their bytes are thrown away.

    Raises:
        BusyError: it does.
    """
    try:
        station.sources.rest.refuse_paused()
    except BusyError:
        station.judge.metrics.count("nfbmr_refused_total", why="paused")
        await _drained(request)
        raise


@asynccontextmanager
async def taken(request: Request, station: Station) -> AsyncIterator[Taken]:
    """Reads a request's pictures, once the gate lets it pass.

    Raises:
        BusyError: too much arrives, and the body is thrown away; or too much is in work.
        HTTPException: 422, there is no picture in it; 503, it took too long.
    """
    found = await _arrived(request, station)
    try:
        if not found.uploads:
            station.judge.metrics.count("nfbmr_refused_total", why="picture")
            raise HTTPException(
                422, "no picture: one as the body, or several as 'files' of a form were expected"
            )
        with ExitStack() as held:
            try:
                held.enter_context(station.judge.gate.passed(found.size))
            except BusyError:
                station.judge.metrics.count("nfbmr_refused_total", why="busy")
                raise
            yield found
    finally:
        for upload in found.uploads:
            if isinstance(upload.content, UploadFile):
                with suppress(OSError):  # what was found is recorded by now
                    await upload.content.close()


async def _arrived(request: Request, station: Station) -> Taken:
    """Waits for a body; only its bytes are counted, so that slow senders take nobody's turn."""
    settings = station.settings
    length = int(request.headers.get("content-length", settings.most_megabytes * MEGABYTE))
    with ExitStack() as held:
        try:
            held.enter_context(station.arriving.passed(length))
        except BusyError:
            station.judge.metrics.count("nfbmr_refused_total", why="busy")
            await _drained(request)
            raise BusyError("too much arrives at once; come again in 1 s", 1) from None
        try:
            return await _read(request, settings.most_pictures)
        except ClientDisconnect:
            raise HTTPException(400, "the request ended before its body did") from None


Outcome = Answer | Exception
"""A verdict, or why there is none, or none in the record."""


async def judged(station: Station, found: Taken, given: Given) -> list[Outcome]:
    """Judges a request's pictures, some side by side; each has its outcome, in their order.

    Args:
        station: that judges.
        found: the pictures.
        given: what is said of all of them; `data` and `name` are each picture's own, and `request`
            is what the sender calls the whole.

    Raises:
        Exception: of the only picture, or where none of them has a verdict.
    """
    turns = iter(enumerate(found.uploads))
    outcomes: dict[int, Outcome] = {}

    async def one_after_another() -> None:
        for place, upload in turns:
            try:
                data, request = await upload.data(), _request(given, place)
                picture = replace(given, data=data, name=upload.name, request=request)
                outcomes[place] = await station.judge.inspect(picture)
            except Exception as error:  # the others' verdicts are recorded, and are told
                if not isinstance(error, NfbmrError | OSError):
                    _log.exception("a picture was not judged")
                outcomes[place] = error

    with ExitStack() as held:
        beside = 0
        while beside < min(_SIDE_BY_SIDE, len(found.uploads)) - 1:
            try:
                held.enter_context(station.judge.gate.passed())
            except BusyError:
                break
            beside += 1
        await asyncio.gather(*(one_after_another() for _ in range(1 + beside)))
    answers = [outcomes[place] for place in range(len(found.uploads))]
    _raise_where_there_is_no_verdict(answers)
    return answers


def _request(given: Given, place: int) -> str | None:
    """Names one picture of a request that may come again: no other sender's has this name."""
    if given.request is None:
        return None
    said = json.dumps([given.actor, given.model, given.request, place])
    return hashlib.sha256(said.encode()).hexdigest()


def _raise_where_there_is_no_verdict(outcomes: list[Outcome]) -> None:
    errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    several = len(outcomes) > 1
    if len(errors) < len(outcomes):
        return
    if several and any(isinstance(error, UnrecordedError) for error in errors):
        return
    others = [error for error in errors if not isinstance(error, PictureError)]
    if others:
        raise others[0]  # the same may get a verdict when it is sent again
    raise PictureError("; ".join(str(error) for error in errors))


def checked_part_id(said: str) -> str:
    """Returns a part's name.

    Raises:
        HTTPException: 422, it is too long or would steer a terminal.
    """
    text = said.strip()
    if len(text) > LONGEST_PART_ID or not is_plain(text):
        raise HTTPException(
            422, f"part_id: at most {LONGEST_PART_ID} printable letters were expected"
        )
    return text


async def _read(request: Request, most: int) -> Taken:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        body = await request.body()
        uploads = [Upload(name="", content=body)] if body else []
        return Taken(uploads=uploads, fields={}, size=len(body))
    form = await request.form(max_files=most, max_fields=_FIELDS)
    uploads, fields, size = [], {}, 0
    for key, value in form.multi_items():
        if isinstance(value, str):
            fields[key] = value
        elif key == "files":
            uploads.append(Upload(name=value.filename or "", content=value))
            size += value.size or 0
    return Taken(uploads=uploads, fields=fields, size=size)


async def _drained(request: Request) -> None:
    """Reads a body that nobody wants, so that its sender gets to read the answer."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in request.stream():
                pass
    except (TimeoutError, ClientDisconnect):
        return
