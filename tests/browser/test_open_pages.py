"""Pages that stay open: many of them at once, and while their station is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
from playwright.sync_api import Locator, Page, expect

from nfbmr.benchmark.served import served
from nfbmr.station.pages.render import PAGES

if TYPE_CHECKING:
    from tests.browser.conftest import Cells, Desk

OPEN = 64
SECONDS = 60.0  # for what has to happen, on a machine that is busy

Tab = Callable[..., Page]


def verdict(page: Page) -> Locator:
    return page.get_by_role("region", name="The verdict")


def following(lines: Iterator[str]) -> str:
    """Returns the next state that a stream of changes says."""
    return next(line for line in lines if line.startswith("data: "))


def test_many_at_once_hear_of_every_change_and_hold_nothing_up(desk: Desk, tab: Tab) -> None:
    pages = [tab(desk.address), tab(desk.address, phone=True)]
    for page in pages:
        expect(page.get_by_role("heading", name="No part yet")).to_be_visible()
    events = f"{desk.address}/events"
    with httpx2.Client(timeout=SECONDS) as client, ExitStack() as opened:
        streams = [opened.enter_context(client.stream("GET", events)) for _ in range(OPEN)]
        lines = [stream.iter_lines() for stream in streams]
        before = [following(one) for one in lines]
        desk.send("defect", part_id="for all")
        after = [following(one) for one in lines]
        assert all(one != other for one, other in zip(before, after, strict=True))
        for page in pages:
            expect(verdict(page)).to_contain_text("for all")
        for address, _ in PAGES:
            assert client.get(f"{desk.address}{address}").status_code == 200
        assert client.get(f"{desk.address}/readyz").json()["ready"]


def test_a_kill_of_the_station_loses_nothing_and_pages_come_back(
    cells: Cells, tab: Tab, expected: set[str], tmp_path: Path
) -> None:
    options = ["--database", f"sqlite:///{tmp_path / 'station.db'}", "--runtime", "torch"]
    options += ["--pictures", str(tmp_path / "pictures")]

    def send(port: int, kind: str, part_id: str) -> None:
        answer = httpx2.post(
            f"http://127.0.0.1:{port}/v1/models/solar/inspect",
            params={"part_id": part_id},
            content=cells.files[kind][0].read_bytes(),
            timeout=SECONDS,
        )
        answer.raise_for_status()

    with served(cells.model, *options) as station:
        pages = [tab(f"http://127.0.0.1:{station.port}", phone=phone) for phone in (False, True)]
        for page in pages:
            expect(page.get_by_role("status")).to_have_text("live")
        send(station.port, "look", "before")
        for page in pages:
            expect(verdict(page)).to_contain_text("before")
        station.kill()
    expected |= {"no answer /events", "no answer /line/1/label"}
    expected |= {"? no answer /picture/1", "? no answer /heat/1"}
    for page in pages:
        expect(page.get_by_role("status")).to_have_text("no connection, trying again")
        page.get_by_label("Note").fill("a scratch")
        page.get_by_role("button", name="Really a defect").click()
        expect(page.get_by_role("alert")).to_have_text("the station does not answer")
    with served(cells.model, *options, "--port", str(station.port)):
        for page in pages:
            expect(page.get_by_role("status")).to_have_text("live")
            expect(page.get_by_role("alert")).to_be_hidden()
            expect(page.get_by_label("Note")).to_have_value("a scratch")
        pages[0].get_by_role("button", name="Really a defect").click()
        expect(verdict(pages[0])).to_contain_text("Really a defect, says local: “a scratch”")
        send(station.port, "defect", "after")
        expect(verdict(pages[0])).to_contain_text("after")
        pages[1].reload()
        expect(verdict(pages[1])).to_contain_text("after")
        for page in pages:
            page.get_by_role("link", name="Earlier").click()
            expect(verdict(page)).to_contain_text("“a scratch”")
            page.close()
