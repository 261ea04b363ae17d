"""All routes of the page, and its answers to errors."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from nfbmr.station.pages import inspect, line, live, render, review, session, threshold


def add_pages(app: FastAPI) -> None:
    """Gives an application the page."""
    for module in (line, inspect, review, threshold, live, session):
        app.include_router(module.router)
    app.add_exception_handler(HTTPException, _refused)


async def _refused(request: Request, error: Exception) -> Response:
    """Leads to the login, or says in a browser what there is not; machines get JSON."""
    assert isinstance(error, HTTPException)
    if error.status_code == 401 and "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    if "text/html" in request.headers.get("accept", "") and request.method == "GET":
        if error.status_code == 401:
            return RedirectResponse("/login", 303)
        values = {"status": error.status_code, "detail": error.detail}
        return render.plain("nothing.html.j2", values, error.status_code)
    return await http_exception_handler(request, error)
