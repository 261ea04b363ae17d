"""All routes of the page."""

from __future__ import annotations

from fastapi import FastAPI

from nfbmr.station.pages import drift, inspect, line, live, review, session, threshold
from nfbmr.station.pages.small import SmallPictures


def add_pages(app: FastAPI) -> None:
    """Gives an application the page."""
    for module in (line, inspect, review, threshold, drift, live, session):
        app.include_router(module.router)
    app.state.small = SmallPictures()
