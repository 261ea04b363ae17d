"""Errors to answers: status, headers, and what is said; in a browser as a page."""

from __future__ import annotations

import json
import logging
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from nfbmr.errors import (
    BundleError,
    CalibrationError,
    MissingExtraError,
    NfbmrError,
    SettingsError,
)
from nfbmr.station.api.forms import Verdict
from nfbmr.station.engine.gate import BusyError
from nfbmr.station.pages import render
from nfbmr.station.services.jobs import ConflictError
from nfbmr.station.services.judge import NoSuchModelError, PictureError, UnrecordedError
from nfbmr.station.sources.all import NoSuchSourceError
from nfbmr.station.store.learnings import NoRoomError, NoSuchLearningError, NotNowError
from nfbmr.station.store.writer import StoreError

_log = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NoSuchModelError, 404),
    (NoSuchSourceError, 404),
    (NoSuchLearningError, 404),
    (NotNowError, 409),
    (ConflictError, 409),
    (BundleError, 409),
    (PictureError, 422),
    (SettingsError, 422),
    (NoRoomError, 507),
    (UnrecordedError, 507),
    (StoreError, 507),
    (OSError, 507),
    (MissingExtraError, 501),
    (CalibrationError, 409),
)
"""To all others of ours 503."""

_LONGEST = 60  # letters of a wrong body that are said
_FAILED = "the station failed; its log says where"


def status_of(error: Exception) -> int:
    """Returns the status that says what an error is; 500 where nobody foresaw it."""
    other = 503 if isinstance(error, NfbmrError) else 500
    return next((number for kind, number in _STATUS if isinstance(error, kind)), other)


def said_of(error: Exception) -> str:
    """Returns what is told of it: of a disk's error no path, of what nobody foresaw nothing."""
    if isinstance(error, OSError):
        return f"the station's disk: {error.strerror}"
    return str(error) if isinstance(error, NfbmrError) else _FAILED


def retry_after(error: Exception) -> str:
    """Returns after how many seconds to come again."""
    return str(error.retry_after) if isinstance(error, BusyError) else "1"


async def ours(request: Request, error: Exception) -> Response:
    """Answers an error of this program."""
    status = status_of(error)
    body: dict[str, Any] = {"detail": said_of(error)}
    if isinstance(error, UnrecordedError):
        body["unrecorded"] = Verdict.of(error.unrecorded).model_dump()
    if status >= 500:
        _log.warning("%s", body["detail"])
    headers = {"Retry-After": retry_after(error)} if status == 503 else {}
    return _answer(request, status, body, headers)


async def not_as_expected(request: Request, error: Exception) -> Response:
    """Answers what does not have the form that a route asks for."""
    assert isinstance(error, RequestValidationError)
    said = [_misfit(one) for one in error.errors()]
    return _answer(request, 422, {"detail": "; ".join(said)}, {})


def _misfit(one: dict[str, Any]) -> str:
    """Returns what one thing is that a route did not expect, and where."""
    if one["type"] == "json_invalid":  # its place is a letter of the body
        why = f"{one['ctx']['error']}, at letter {one['loc'][-1]}"
        return f"body: found no JSON ({why}); expected a JSON object, as /docs shows it"
    if one["loc"] == ("body",) and one["type"] in ("model_attributes_type", "dict_type"):
        given = one["input"]
        found = "text" if isinstance(given, bytes) else json.dumps(given)[:_LONGEST]
        return (
            f"body: found {found}; expected a JSON object, as /docs shows it, with Content-Type "
            "application/json"
        )
    return f"{'.'.join(str(part) for part in one['loc'][1:]) or one['loc'][0]}: {one['msg']}"


async def refused(request: Request, error: Exception) -> Response:
    """Answers a route's refusal; where a token is missing, a browser is led to the login."""
    assert isinstance(error, HTTPException)
    if error.status_code == 401 and "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    if error.status_code == 401 and _browses(request):
        return RedirectResponse("/login", 303)
    headers = dict(error.headers or {})
    return _answer(request, error.status_code, {"detail": error.detail}, headers)


async def failed(request: Request, _: Exception) -> Response:
    """Answers what nobody foresaw; the server writes it down."""
    return _answer(request, 500, {"detail": _FAILED}, {})


def _answer(
    request: Request, status: int, body: dict[str, Any], headers: dict[str, str]
) -> Response:
    if _browses(request):
        values = {"status": status, "detail": body["detail"]}
        answer: Response = render.plain("nothing.html.j2", values, status)
        answer.headers.update(headers)
        return answer
    return JSONResponse(body, status, headers)


def _browses(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")
