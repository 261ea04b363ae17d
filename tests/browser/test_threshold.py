"""*Threshold*: handles, what they mean at once, saving with a reason, undoing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

Tab = Callable[..., Page]
Look = Callable[..., None]


def meaning(page: Page) -> Locator:
    return page.get_by_role("region", name="What the thresholds mean").get_by_role("listitem")


def otherwise(page: Page) -> Locator:
    region = page.get_by_role("region", name="Parts that would be judged otherwise")
    return region.get_by_role("article")


def save(page: Page, reason: str) -> None:
    page.get_by_label("Why").fill(reason)
    page.get_by_role("button", name="Save as the thresholds in force").click()


def test_handles_say_at_once_what_they_mean(busy_desk: Desk, tab: Tab, look: Look) -> None:
    page = tab(f"{busy_desk.address}/threshold")
    expect(page.get_by_role("img", name="Histogram of the scores of good pictures")).to_be_visible()
    expect(meaning(page).nth(0)).to_contain_text("of good parts are expected to be called defects")
    expect(meaning(page).nth(2)).to_contain_text("0of the last 6 parts")
    look(page, "threshold")
    handle = page.get_by_role("slider", name="Defect above")
    before = page.locator("#mark-defect").get_attribute("transform")
    handle.focus()
    handle.press("Home")
    expect(otherwise(page)).not_to_have_count(0)
    expect(page.locator("#mark-defect")).not_to_have_attribute("transform", before or "")
    for number in range(otherwise(page).count()):
        expect(otherwise(page).nth(number).get_by_role("heading")).to_contain_text("→ ✕ Defect")
        expect(otherwise(page).nth(number).get_by_role("img").first).to_be_visible()
    look(page, "threshold-moved")
    page.get_by_role("link", name="Back to those in force").click()
    expect(otherwise(page)).to_have_count(0)


def test_thresholds_are_saved_with_a_reason_and_undone(
    busy_desk: Desk, tab: Tab, look: Look, phone: bool
) -> None:
    page = tab(f"{busy_desk.address}/threshold", phone=phone)
    changes = page.get_by_role("region", name="Changes")
    expect(changes).to_contain_text("None is recorded")
    handle = page.get_by_role("slider", name="Defect above")
    rate = meaning(page).nth(0)
    expect(rate).to_contain_text("4.9 %")
    handle.press("End")
    expect(otherwise(page)).to_have_count(2)
    page.get_by_role("button", name="Save as the thresholds in force").click()
    expect(page.get_by_label("Why")).to_be_focused()
    expect(changes).to_contain_text("None is recorded")
    save(page, "the customer takes scratches")
    saved = changes.get_by_role("row").filter(has_text="the customer takes scratches")
    expect(saved).to_have_count(1)
    expect(saved).to_contain_text("local")
    look(page, "threshold-saved")
    page.reload()
    expect(rate).not_to_contain_text("4.9 %")
    page.get_by_role("button", name="Undo the last change").click()
    expect(changes.get_by_role("row").filter(has_text="undoes change")).to_have_count(1)
    expect(rate).to_contain_text("4.9 %")
    busy_desk.send("defect", 2)


def test_an_odd_good_picture_is_left_out_and_brought_back(
    busy_desk: Desk, tab: Tab, phone: bool
) -> None:
    page = tab(f"{busy_desk.address}/threshold", phone=phone)
    expect(page.get_by_role("heading", name="scores of 40 good pictures")).to_be_visible()
    odd = page.get_by_role("region", name="Odd good pictures")
    odd.get_by_role("button", name="out of the thresholds").first.click()
    expect(page.get_by_role("heading", name="scores of 39 good pictures")).to_be_visible()
    page.get_by_role("button", name="Undo the last change").click()
    expect(page.get_by_role("heading", name="scores of 40 good pictures")).to_be_visible()


def test_two_people_do_not_overwrite_each_other(
    busy_desk: Desk, tab: Tab, expected: set[str]
) -> None:
    first, second = (tab(f"{busy_desk.address}/threshold") for _ in range(2))
    for page in (first, second):
        page.get_by_role("slider", name="Look above").press("End")
        expect(otherwise(page)).not_to_have_count(0)
    save(first, "fewer to look at")
    expect(first.get_by_role("region", name="Changes")).to_contain_text("fewer to look at")
    expected.add("409 POST /threshold/save")
    save(second, "likewise")
    expect(second.get_by_role("alert")).to_contain_text("somebody changed the thresholds meanwhile")
    second.reload()
    expect(second.get_by_role("region", name="Changes")).to_contain_text("fewer to look at")
