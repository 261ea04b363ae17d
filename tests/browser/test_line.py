"""*Line*: verdicts as they come, what is laid over them, keys, what a person says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from playwright.sync_api import Locator, Page, Route, expect

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

Tab = Callable[..., Page]
Look = Callable[..., None]
Serve = Callable[..., AbstractContextManager["Desk"]]


def verdict(page: Page) -> Locator:
    return page.get_by_role("region", name="The verdict")


def test_verdicts_come_to_an_open_page_by_themselves(desk: Desk, tab: Tab, look: Look) -> None:
    page = tab(desk.address)
    expect(page.get_by_role("heading", name="No part yet")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("live")
    look(page, "line-empty")
    for number, (word, meaning) in enumerate(
        {
            "good": "as good parts are",
            "look": "a person is to look at it",
            "defect": "unlike good parts",
        }.items(),
        1,
    ):
        desk.send(word, part_id=f"A-{number}")
        expect(verdict(page)).to_contain_text(f"A-{number}")
        expect(verdict(page)).to_contain_text(word.capitalize())
        expect(verdict(page)).to_contain_text(meaning)
        part = page.get_by_role("img", name=f"The part of inspection {number}")
        expect(part).to_be_visible()
        look(page, f"line-{word}")
    expect(verdict(page)).to_contain_text("REST")
    hour = page.get_by_role("region", name="The last hour").get_by_role("listitem")
    expect(hour).to_contain_text(["1 ✓ Good 33 %", "1 ? Look 33 %", "1 ✕ Defect 33 %", "3 parts"])


def test_a_part_that_comes_while_an_earlier_one_is_asked_for_takes_no_step_away(
    busy_desk: Desk, tab: Tab
) -> None:
    page = tab(busy_desk.address)
    expect(verdict(page)).to_contain_text("defect-2")
    waiting: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if waiting:
            route.continue_()
        else:
            waiting.append(route)

    page.route("**/line/part?*at=*", hold_the_first)
    with page.expect_request("**/line/part?*at=*"):
        page.get_by_role("link", name="Earlier").click()
    state = page.locator("body").get_attribute("data-state")
    busy_desk.send("good", 2, part_id="meanwhile")
    expect(page.locator("body")).not_to_have_attribute("data-state", state or "")
    waiting[0].continue_()
    expect(verdict(page)).to_contain_text("look-2")
    expect(page.get_by_role("region", name="The last hour")).to_contain_text("7 parts")
    expect(verdict(page)).to_contain_text("look-2")


def test_keys_lead_through_the_parts(busy_desk: Desk, tab: Tab) -> None:
    page = tab(busy_desk.address)
    expect(verdict(page)).to_contain_text("defect-2")
    for key, part in {"ArrowLeft": "look-2", "ArrowRight": "defect-2"}.items():
        page.keyboard.press(key)
        expect(verdict(page)).to_contain_text(part)
    page.keyboard.press("ArrowLeft")
    expect(verdict(page)).to_contain_text("look-2")
    page.reload()
    expect(verdict(page)).to_contain_text("look-2")
    busy_desk.send("good", 2, part_id="good-3")
    expect(page.get_by_role("region", name="The last hour")).to_contain_text("7 parts")
    expect(verdict(page)).to_contain_text("look-2")
    page.keyboard.press("Escape")
    expect(verdict(page)).to_contain_text("good-3")
    page.keyboard.press("Space")
    expect(page.get_by_role("link", name="Stopped at this part: go on")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("link", name="The newest part: stop here")).to_be_visible()


def test_the_strip_leads_to_a_part(busy_desk: Desk, tab: Tab) -> None:
    page = tab(busy_desk.address)
    page.get_by_role("region", name="Parts before").get_by_role("link").nth(3).click()
    expect(verdict(page)).to_contain_text("defect-1")
    page.get_by_role("link", name="Earlier").click()
    expect(verdict(page)).to_contain_text("look-1")


def test_a_person_confirms_and_rejects_by_keys(busy_desk: Desk, tab: Tab, look: Look) -> None:
    page = tab(busy_desk.address)
    page.keyboard.press("c")
    expect(verdict(page)).to_contain_text("Really a defect, says local")
    page.get_by_role("button", name="Take back").click()
    expect(verdict(page).get_by_text("says local")).to_have_count(0)
    note = page.get_by_label("Note")
    note.press_sequentially("crack")
    expect(note).to_have_value("crack")
    expect(verdict(page).get_by_text("says local")).to_have_count(0)
    note.press("Escape")
    page.keyboard.press("r")
    expect(verdict(page)).to_contain_text("Really good, says local: “crack”")
    look(page, "line-reviewed")
    page.keyboard.press("ArrowLeft")
    expect(verdict(page)).to_contain_text("look-2")
    page.keyboard.press("ArrowLeft")
    expect(verdict(page)).to_contain_text("good-2")
    page.keyboard.press("c")
    expect(verdict(page)).to_contain_text("Really good, says local")


def test_the_heatmaps_opacity_is_kept(busy_desk: Desk, tab: Tab) -> None:
    page = tab(busy_desk.address)
    slider = page.get_by_label("How opaque the heatmap is")
    heat = page.get_by_role("region", name="The part").locator("img.heat")
    expect(heat).to_have_css("opacity", "1")
    slider.focus()
    slider.press("Home")
    expect(heat).to_have_css("opacity", "0")
    slider.press("ArrowRight")
    expect(heat).to_have_css("opacity", "0.05")
    expect(verdict(page)).to_contain_text("defect-2")
    page.reload()
    expect(heat).to_have_css("opacity", "0.05")
    page.get_by_role("link", name="Review").click()
    expect(slider).to_have_value("0.05")


def test_one_model_alone(serve: Serve, tab: Tab, look: Look) -> None:
    with serve(models=("solar", "other")) as desk:
        desk.send("good", part_id="S-1")
        desk.send("defect", model="other", part_id="O-1")
        page = tab(desk.address)
        expect(verdict(page)).to_contain_text("O-1")
        page.get_by_label("Model").select_option("solar")
        expect(verdict(page)).to_contain_text("S-1")
        look(page, "line-two-models")
        desk.send("defect", 1, model="other")
        desk.send("look", part_id="S-2")
        expect(verdict(page)).to_contain_text("S-2")
        page.close()


def test_a_page_outlives_its_station(serve: Serve, tab: Tab, expected: set[str]) -> None:
    with serve() as desk:
        desk.send("look", part_id="before")
        page = tab(desk.address)
        expect(page.get_by_role("status")).to_have_text("live")
        expected.add("no answer /events")
        tried = page.expect_console_message(lambda said: "ERR_CONNECTION" in said.text)
    with tried:
        expect(page.get_by_role("status")).to_have_text("no connection, trying again")
    with serve(port=int(desk.address.rpartition(":")[2])) as again:
        expect(page.get_by_role("status")).to_have_text("live")
        expect(verdict(page)).to_contain_text("before")
        again.send("defect", part_id="after")
        expect(verdict(page)).to_contain_text("after")
        page.close()
