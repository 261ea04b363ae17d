"""The pages *Line* and *Inspect*, their pictures, sessions and errors."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from nfbmr.station.app import create_app
from nfbmr.station.auth import new_token
from nfbmr.station.pages import render
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import queries

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]

INSPECT = "/v1/models/fitted/inspect"
HTML = {"Accept": "text/html"}


def key_of(client: TestClient) -> dict[str, str]:
    """The header that the page's changes bring, as its script reads it."""
    found = re.search(r'data-form-key="(\w+)"', client.get("/inspect").text)
    assert found is not None
    return {"X-Form-Key": found[1]}


def test_an_empty_record_says_what_to_do(client: TestClient) -> None:
    text = client.get("/").text
    assert "No part yet" in text
    assert "http://127.0.0.1/v1/models/fitted/inspect" in text


def test_the_newest_part_is_shown_in_words(client: TestClient, png: Encoded) -> None:
    client.post(f"{INSPECT}?part_id=A-1", content=png(100))
    client.post(f"{INSPECT}?part_id=%3Cb%3EA-2", content=png(1, defect=True))
    text = client.get("/").text
    assert "&lt;b&gt;A-2" in text
    assert "<b>A-2" not in text
    assert "Defect</span>" in text
    assert re.search(r"about one good part in \d+ looks this unusual", text)
    (named,) = set(re.findall(r'src="/picture/2\?side=1280&amp;of=(\w{12})"', text))
    assert client.get("/v1/inspections/2").json()["picture"].startswith(named)
    assert f'src="/heat/2?of={named}"' in text
    assert "<polygon" in text
    assert "50 %" in text, "of the last hour"
    earlier = client.get("/?at=1").text
    assert "A-1" in earlier
    assert "Stopped at this part" in earlier
    assert client.get("/?at=3").status_code == 404
    assert client.get("/line/part?model=other").text.count("No part yet") == 1


def test_a_person_says_what_it_is(client: TestClient, station: Station, png: Encoded) -> None:
    client.post(INSPECT, content=png(1, defect=True))
    form = {"said": "good", "note": "a hair", "live": "true"}
    assert client.post("/line/1/label", data=form).status_code == 403
    answer = client.post("/line/1/label", data=form, headers=key_of(client))
    assert "Really good, says local: “a hair”" in answer.text
    row = station.store.read(queries.inspection, 1)
    assert row is not None
    assert (row.label, row.note) == ("good", "a hair")
    client.post("/line/1/label", data={"said": "none"}, headers=key_of(client))
    row = station.store.read(queries.inspection, 1)
    assert row is not None
    assert row.label is None
    assert client.post("/line/2/label", data=form, headers=key_of(client)).status_code == 404


def test_a_picture_that_is_dropped_gets_its_card(client: TestClient, png: Encoded) -> None:
    def send(data: bytes, headers: dict[str, str]) -> tuple[int, str]:
        files = {"files": ("a.png", data, "image/png")}
        form = {"model": "fitted", "part_id": "D-1"}
        answer = client.post("/inspect/picture", data=form, files=files, headers=headers)
        return answer.status_code, answer.text

    assert send(png(1), {})[0] == 403
    status, text = send(png(1, defect=True), key_of(client))
    assert status == 200
    assert "part D-1, a.png" in text
    assert "Defect</span>" in text
    status, text = send(b"no picture", key_of(client))
    assert status == 422
    assert "another kind of content" in text
    (row,) = client.get("/v1/inspections").json()["inspections"]
    assert row["source"] == "page"


def test_pictures_come_in_forms_that_a_browser_shows(client: TestClient, png: Encoded) -> None:
    client.post(INSPECT, content=png(1, defect=True, form="TIFF", size=(300, 600)))
    answer = client.get("/picture/1?side=240")
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.size) == ("JPEG", (240, 120))
    heat = Image.open(io.BytesIO(client.get("/heat/1").content))
    assert heat.mode == "RGBA"
    assert heat.size == (256, 128)
    assert client.get("/picture/2").status_code == 404
    assert client.get("/picture/1?side=9999").status_code == 422


@pytest.fixture
def guarded(settings: Settings, tmp_path: Path) -> Iterator[tuple[TestClient, str]]:
    """A client without a token, and a reviewer's token."""
    secret = new_token(tmp_path / "tokens", "ann", "review")
    with Station(settings(token_file=tmp_path / "tokens")) as station:
        yield TestClient(create_app(station), base_url="http://line.example"), secret


def test_a_token_opens_a_session_that_ends_with_it(
    guarded: tuple[TestClient, str], tmp_path: Path, png: Encoded
) -> None:
    client, secret = guarded
    answer = client.get("/", headers=HTML, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    fragment = client.get("/line/part", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["hx-redirect"]) == (401, "/login")
    wrong = client.post("/login", data={"token": "wrong"})
    assert wrong.status_code == 401
    assert "No such token" in wrong.text
    other = client.post("/login", data={"token": secret}, headers={"Origin": "http://evil.example"})
    assert other.status_code == 403
    answer = client.post("/login", data={"token": secret}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert secret not in cookie
    assert "ann (review)" in client.get("/", headers=HTML).text
    files = {"files": ("a.png", png(1, defect=True), "image/png")}
    sent = client.post(
        "/inspect/picture", data={"model": "fitted"}, files=files, headers=key_of(client)
    )
    assert sent.status_code == 200
    (row,) = client.get("/v1/inspections").json()["inspections"]
    assert row["actor"] == "ann"
    (tmp_path / "tokens").write_text("")
    new_token(tmp_path / "tokens", "ann", "review")
    assert client.get("/", headers=HTML, follow_redirects=False).status_code == 303


def test_what_is_not_there_is_said_to_people_and_to_machines(client: TestClient) -> None:
    assert "there is no inspection 7" in client.get("/?at=7", headers=HTML).text
    assert client.get("/?at=7").json() == {"detail": "there is no inspection 7"}
    assert "Nothing here" in client.get("/nowhere", headers=HTML).text


def test_pages_hold_nothing_inline_and_nothing_from_elsewhere(
    client: TestClient, png: Encoded
) -> None:
    client.post(INSPECT, content=png(1, defect=True))
    for address, _ in render.PAGES:
        text = client.get(address, headers=HTML).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), address
        assert not re.search(r'\sstyle="|<style|\son\w+="|javascript:', text), address
        for link in re.findall(r'(?:src|href|action|hx-get|hx-post|hx-push-url)="([^"]+)"', text):
            assert link.startswith(("/", "#")), link
        for script in re.findall(r'(?:src|href)="(/static/[^"]+)"', text):
            answer = client.get(script)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]


def test_the_vendored_script_is_the_one_that_was_taken() -> None:
    import hashlib

    folder = Path(render.__file__).parent / "static"
    said = (folder / "htmx.min.js.txt").read_text("utf-8")
    digest = hashlib.sha256((folder / "htmx.min.js").read_bytes()).hexdigest()
    assert f"{digest}  htmx.min.js" in said
    assert "2.0.10" in said
    assert "Zero-Clause BSD" in (folder / "htmx.LICENSE").read_text("utf-8")


def test_our_script_is_one_and_short() -> None:
    folder = Path(render.__file__).parent / "static"
    scripts = sorted(path.name for path in folder.glob("*.js"))
    assert scripts == ["htmx.min.js", "station.js"]
    assert len((folder / "station.js").read_text("utf-8").splitlines()) <= 250
