"""All routes of the page."""

from __future__ import annotations

from fastapi import FastAPI

from nfbmr.station.pages import (
    drift,
    ignore,
    inspect,
    learn,
    line,
    live,
    models,
    review,
    session,
    sources,
    threshold,
)
from nfbmr.station.pages.small import SmallPictures


def add_pages(app: FastAPI) -> None:
    """Gives an application the page."""
    for module in (line, sources, inspect, review, threshold, ignore, models):
        app.include_router(module.router)
    for module in (learn, drift, live, session):
        app.include_router(module.router)
    app.state.small = SmallPictures()
    app.state.tests = {}  # source -> SHA-256 of the picture of its last test, and what is shown
