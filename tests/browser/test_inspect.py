"""*Inspect*: pictures chosen, dropped, pasted and taken, and their verdicts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import FilePayload, JSHandle, Locator, Page, expect

from nfbmr.station.store.writer import StoreError

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

Tab = Callable[..., Page]
Look = Callable[..., None]
Carried = Callable[[Page, list[FilePayload]], JSHandle]
Serve = Callable[..., AbstractContextManager["Desk"]]


def cards(page: Page) -> Locator:
    return page.get_by_role("region", name="Verdicts").get_by_role("article")


def chosen(desk: Desk, *verdicts: str) -> list[FilePayload]:
    """One cell of each verdict, as a person chooses files."""
    return [
        {
            "name": f"{verdict}.png",
            "mimeType": "image/png",
            "buffer": desk.cells.files[verdict][0].read_bytes(),
        }
        for verdict in verdicts
    ]


def test_chosen_files_are_judged_with_progress(desk: Desk, tab: Tab, look: Look) -> None:
    page = tab(f"{desk.address}/inspect")
    look(page, "inspect-empty")
    page.get_by_label("Part id").fill("B-7")
    page.get_by_label("choose files").set_input_files(chosen(desk, "good", "look", "defect"))
    expect(page.get_by_text("3 of 3 judged")).to_be_visible()
    expect(cards(page)).to_have_count(3)
    for word in ("Good", "Look", "Defect"):
        card = cards(page).filter(has=page.get_by_role("heading", name=word))
        expect(card).to_contain_text(f"part B-7, {word.lower()}.png")
        expect(card).to_contain_text("good part")
    look(page, "inspect-judged")
    defect = cards(page).filter(has=page.get_by_role("heading", name="Defect"))
    defect.get_by_role("link", name="Show it on the line").click()
    expect(page.get_by_role("region", name="The verdict")).to_contain_text("this page")


def test_dropped_and_pasted_pictures_are_judged(desk: Desk, tab: Tab, carried: Carried) -> None:
    page = tab(f"{desk.address}/inspect")
    dropped = carried(page, chosen(desk, "good", "defect"))
    page.get_by_text("Drop pictures here").dispatch_event("drop", {"dataTransfer": dropped})
    expect(cards(page)).to_have_count(2)
    pasted = carried(page, chosen(desk, "look"))
    page.evaluate(
        "files => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: files}))",
        pasted,
    )
    expect(cards(page).first).to_contain_text("look.png")
    expect(page.get_by_text("3 of 3 judged")).to_be_visible()


def test_the_camera_takes_a_picture(desk: Desk, tab: Tab, look: Look) -> None:
    page = tab(f"{desk.address}/inspect")
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_label("The camera")).to_be_visible()
    shoot = page.get_by_role("button", name="Take a picture")
    expect(shoot).to_be_focused()
    page.keyboard.press("Space")
    expect(cards(page)).to_have_count(1)
    expect(cards(page)).to_contain_text("camera-")
    shoot.click()
    expect(cards(page)).to_have_count(2)
    look(page, "inspect-camera")
    page.get_by_role("button", name="Camera off").click()
    expect(page.get_by_label("The camera")).to_be_hidden()
    expect(shoot).to_be_hidden()


def test_a_broken_picture_says_why_and_stops_no_other(
    desk: Desk, tab: Tab, look: Look, expected: set[str]
) -> None:
    page = tab(f"{desk.address}/inspect")
    broken: FilePayload = {"name": "note.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.get_by_label("choose files").set_input_files([broken, *chosen(desk, "good")])
    expected.add("422 POST /inspect/picture")
    expect(page.get_by_text("2 of 2 judged")).to_be_visible()
    failed = cards(page).filter(has=page.get_by_role("heading", name="No verdict"))
    expect(failed).to_contain_text("note.png")
    expect(failed).to_contain_text("expected a JPEG, PNG, BMP, TIFF or WebP picture")
    expect(cards(page).filter(has_text="good.png")).to_be_visible()
    look(page, "inspect-broken")


def test_where_too_much_is_in_work_the_page_comes_again(
    serve: Serve, tab: Tab, expected: set[str]
) -> None:
    with serve(waiting=1) as desk:
        page = tab(f"{desk.address}/inspect")
        expected.add("503 POST /inspect/picture")
        with (
            desk.station.judge.gate.passed(),
            page.expect_response(lambda answer: answer.status == 503),
        ):
            page.get_by_label("choose files").set_input_files(chosen(desk, "good", "defect"))
        expect(cards(page)).to_have_count(2)
        expect(page.get_by_text("2 of 2 judged")).to_be_visible()
        page.close()


def test_a_full_disk_is_said_with_the_verdict(
    desk: Desk, tab: Tab, look: Look, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the database takes nothing: the disk is full")

    page = tab(f"{desk.address}/inspect")
    monkeypatch.setattr(desk.station.store, "write", full)
    expected.add("507 POST /inspect/picture")
    page.get_by_label("choose files").set_input_files(chosen(desk, "defect"))
    expect(cards(page)).to_contain_text("the disk is full")
    expect(cards(page)).to_contain_text("Judged a defect, which is in no record")
    page.reload()
    expect(page.get_by_role("alert").filter(has_text="the disk is full")).to_be_visible()
    look(page, "inspect-disk-full")
