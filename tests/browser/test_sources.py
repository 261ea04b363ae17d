"""The lights of *Line*: a watched folder that is tested, pauses, is away; and who is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, expect

from nfbmr.data.images import read_image

if TYPE_CHECKING:
    from tests.browser.conftest import Cells, Desk

NAME = "watch-solar"

Tab = Callable[..., Page]
Look = Callable[..., None]
Serve = Callable[..., AbstractContextManager["Desk"]]


def light(page: Page, name: str) -> Locator:
    lights = page.get_by_role("region", name="Sources and outputs")
    return lights.get_by_role("listitem").filter(has_text=name)


def verdict(page: Page) -> Locator:
    return page.get_by_role("region", name="The verdict")


@pytest.fixture
def hot(tmp_path: Path) -> Path:
    """A folder that is watched."""
    (tmp_path / "hot").mkdir()
    return tmp_path / "hot"


def test_a_watched_folder_is_tested_pauses_and_goes_on(
    serve: Serve, tab: Tab, look: Look, hot: Path, phone: bool
) -> None:
    with serve(watch=(f"solar={hot}",)) as desk:
        page = tab(desk.address, phone=phone)
        expect(light(page, NAME)).to_contain_text("lives, no part yet")
        shutil.copy(desk.cells.files["defect"][0], hot / "W-1.png")
        expect(verdict(page)).to_contain_text("W-1")
        expect(verdict(page)).to_contain_text("Defect")
        expect(verdict(page)).to_contain_text(NAME)
        expect(light(page, NAME)).to_contain_text("lives, last part")
        page.get_by_role("button", name=f"Test {NAME}").click()
        tried = page.get_by_role("region", name=f"A test of {NAME}")
        expect(tried).to_contain_text("Defect")
        expect(tried).to_contain_text("W-1.png")
        expect(tried).to_contain_text("Not in the record")
        expect(tried.get_by_role("img", name="The picture of the test")).to_be_visible()
        look(page, "sources-tested")
        tried.get_by_role("link", name="Close").click()
        expect(tried).to_have_count(0)
        page.get_by_role("button", name=f"Pause {NAME}").click()
        expect(light(page, NAME)).to_contain_text("paused, last part")
        shutil.copy(desk.cells.files["good"][0], hot / "W-2.png")
        page.reload()
        expect(light(page, NAME)).to_contain_text("paused, last part")
        expect(verdict(page)).to_contain_text("W-1")
        page.get_by_role("button", name=f"Go on with {NAME}").click()
        expect(verdict(page)).to_contain_text("W-2")
        expect(verdict(page)).to_contain_text("Good")
        expect(light(page, NAME)).to_contain_text("lives, last part")
        page.close()


def test_a_folder_that_is_away_or_empty_says_what_to_do(
    serve: Serve, tab: Tab, look: Look, hot: Path, expected: set[str]
) -> None:
    with serve(watch=(f"solar={hot}",)) as desk:
        page = tab(desk.address)
        expected.add(f"503 POST /line/sources/{NAME}/test")
        page.get_by_role("button", name=f"Test {NAME}").click()
        alert = page.get_by_role("alert").filter(has_text="the folder holds no picture")
        expect(alert).to_contain_text("put one in")
        hot.rename(hot.with_name("away"))
        expect(light(page, NAME)).to_contain_text("in trouble, no part yet")
        expect(light(page, NAME)).to_contain_text("; make it")
        expect(alert).to_be_visible()
        look(page, "sources-away")
        hot.with_name("away").rename(hot)
        expect(light(page, NAME)).to_contain_text("lives, no part yet")
        expect(light(page, NAME)).to_contain_text("last trouble")
        page.close()


def test_rest_is_tested_pauses_and_goes_on(
    desk: Desk, tab: Tab, look: Look, phone: bool, expected: set[str]
) -> None:
    page = tab(desk.address, phone=phone)
    expect(light(page, "REST")).to_contain_text("lives, no part yet")
    expected.add("503 POST /line/sources/rest/test")
    page.get_by_role("button", name="Test REST").click()
    alert = page.get_by_role("alert").filter(has_text="none came by REST yet")
    expect(alert).to_be_visible()
    desk.send("defect", part_id="R-1")
    expect(light(page, "REST")).to_contain_text("lives, last part")
    page.get_by_role("button", name="Test REST").click()
    tried = page.get_by_role("region", name="A test of REST")
    expect(tried).to_contain_text("Defect")
    expect(tried).to_contain_text("no. 1")
    expect(tried).to_contain_text("Not in the record")
    expect(alert).to_be_hidden()
    page.get_by_role("button", name="Pause REST").click()
    expect(light(page, "REST")).to_contain_text("paused, last part")
    with pytest.raises(httpx2.HTTPStatusError, match="503"):
        desk.send("good")
    look(page, "sources-rest-pauses")
    page.get_by_role("button", name="Go on with REST").click()
    expect(light(page, "REST")).to_contain_text("lives, last part")
    desk.send("good", part_id="R-2")
    expect(verdict(page)).to_contain_text("R-2")


class Heard(BaseHTTPRequestHandler):
    """Takes whatever it is told."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    """Whoever is told by a webhook: has a port, and does not listen yet."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Heard, bind_and_activate=False) as server:
        server.server_bind()
        yield server


def test_the_webhooks_light_says_what_waits_and_when_it_was_delivered(
    serve: Serve, tab: Tab, look: Look, receiver: ThreadingHTTPServer, phone: bool
) -> None:
    with serve(webhook=f"http://127.0.0.1:{receiver.server_port}/verdicts") as desk:
        page = tab(desk.address, phone=phone)
        output = light(page, "to webhook")
        expect(output).to_contain_text("0 wait, nothing delivered yet")
        desk.send("good")
        desk.send("defect")
        expect(output).to_contain_text("in trouble, 1 waits, nothing delivered yet")
        expect(output).to_contain_text("refused")
        look(page, "outputs-in-trouble")
        receiver.server_activate()
        listening = Thread(target=receiver.serve_forever)
        listening.start()
        expect(output).to_contain_text("0 wait, last delivery")
        expect(output).not_to_contain_text("in trouble")
        look(page, "outputs-delivered")
        page.close()
        receiver.shutdown()
        listening.join()


class Camera:
    """What OpenCV would give: a cell again and again, until it is unplugged."""

    there = True
    shown: NDArray[np.uint8]

    def __init__(self, *_: object) -> None: ...

    def isOpened(self) -> bool:  # noqa: N802, as OpenCV calls it
        return Camera.there

    def grab(self) -> bool:
        Event().wait(0.01)
        return Camera.there

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        return True, Camera.shown

    def release(self) -> None: ...


def test_a_cameras_light_tells_that_it_is_unplugged_and_back(
    serve: Serve, tab: Tab, look: Look, cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    picture = read_image(cells.files["defect"][0])
    monkeypatch.setattr(Camera, "shown", np.ascontiguousarray(picture[..., ::-1]), raising=False)
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with serve(camera=("solar=0",), camera_every=3600.0) as desk:
        page = tab(desk.address)
        name = "camera-solar"
        expect(verdict(page)).to_contain_text("Defect")
        expect(light(page, name)).to_contain_text("lives, last part")
        page.get_by_role("button", name=f"Test {name}").click()
        tried = page.get_by_role("region", name=f"A test of {name}")
        expect(tried).to_contain_text("Defect")
        monkeypatch.setattr(Camera, "there", False)
        expect(light(page, name)).to_contain_text("in trouble, last part")
        expect(light(page, name)).to_contain_text("camera 0")
        look(page, "sources-camera-away")
        monkeypatch.setattr(Camera, "there", True)
        expect(light(page, name)).to_contain_text("lives, last part")
        expect(light(page, name)).to_contain_text("last trouble")
        page.close()
