"""`/login`, `/logout`: a token becomes a session of the page. Also the files that pages load."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse

from nfbmr.station.auth import SESSION_SECONDS
from nfbmr.station.deps import SESSION, Anybody, StationDep, refuse_other_sites
from nfbmr.station.pages import render

router = APIRouter(include_in_schema=False)

_FOREVER = "public, max-age=31536000, immutable"  # an address names its content by hash


@router.get("/login", dependencies=[Anybody])
def login_page() -> HTMLResponse:
    """Asks for a token."""
    return render.plain("login.html.j2", {"wrong": False})


@router.post("/login", dependencies=[Anybody])
async def login(request: Request, station: StationDep) -> Response:
    """Takes a token, and gives a session for it."""
    refuse_other_sites(request)
    form = await request.form(max_files=0, max_fields=5)
    secret = form.get("token")
    token = None
    if station.tokens is not None and isinstance(secret, str):
        token = await run_in_threadpool(station.tokens.of_secret, secret.strip())
    if token is None:
        return render.plain("login.html.j2", {"wrong": True}, 401)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        SESSION,
        station.sessions.cookie(token),
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout", dependencies=[Anybody])
def logout(request: Request) -> Response:
    """Ends a session in this browser."""
    refuse_other_sites(request)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(SESSION)
    return answer


@router.get("/static/{name}", dependencies=[Anybody])
def asset(name: str) -> Response:
    """Returns a file that pages load."""
    data = render.assets().get(name)
    if data is None:
        raise HTTPException(404, "there is no such file")
    media = render.MEDIA[name.rpartition(".")[2]]
    return Response(data, media_type=media, headers={"Cache-Control": _FOREVER})
