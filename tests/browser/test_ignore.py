"""*Ignore*, behind *Threshold*: areas drawn on a picture, or given by numbers, count no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

from nfbmr.station.services import review

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

CONFIRMED = 6

Tab = Callable[..., Page]
Look = Callable[..., None]


@pytest.fixture
def confirmed(desk: Desk) -> Desk:
    """A station with some good parts that a person confirmed."""
    for number in range(CONFIRMED):
        row = desk.send("good", number)
        review.say(desk.station.store, row["id"], "good", "", "ann")
    return desk


def press(page: Page, across: float, down: float) -> None:
    """Presses the picture, at shares of its width and height."""
    picture = page.get_by_role("button", name="press two opposite corners of an area")
    expect(picture).to_be_visible()
    expect(picture).not_to_have_js_property("clientHeight", 0)
    box = picture.bounding_box()
    assert box is not None
    picture.click(position={"x": across * box["width"], "y": down * box["height"]})


def areas(page: Page, count: int) -> Locator:
    return page.get_by_role("img", name=f"{count} area{'' if count == 1 else 's'}", exact=True)


def test_areas_are_drawn_and_hold_after_calibrating(
    confirmed: Desk, tab: Tab, look: Look, phone: bool
) -> None:
    page = tab(f"{confirmed.address}/threshold", phone=phone)
    ignored = page.get_by_role("region", name="Ignored areas")
    expect(ignored).to_contain_text("The whole picture counts")
    ignored.get_by_role("link", name="Draw areas on a picture").click()
    expect(page.get_by_role("heading", name="solar: what is to be ignored")).to_be_visible()
    expect(areas(page, 0)).to_be_attached()
    press(page, 0.75, 0.5)
    expect(page.get_by_text("Now press the opposite corner")).to_be_visible()
    press(page, 0.9, 0.25)
    expect(areas(page, 1)).to_be_visible()
    for side, percent in {"Left": "0", "Top": "90", "Right": "20", "Bottom": "100"}.items():
        page.get_by_label(side).fill(percent)
    page.get_by_role("button", name="Add this area").click()
    expect(areas(page, 2)).to_be_visible()
    look(page, "ignore-drawn")
    page.get_by_role("link", name="Take the last one away").click()
    expect(areas(page, 1)).to_be_visible()
    page.get_by_label("Why").fill("the clamp")
    page.get_by_role("button", name="Calibrate with 1 area").click()
    done = page.get_by_role("region", name="Calibrate on confirmed good parts")
    expect(done).to_contain_text(f"In force now, from {CONFIRMED} confirmed good parts")
    look(page, "ignore-calibrated")
    done.get_by_role("link", name="Look at it, or undo it").click()
    expect(ignored).to_contain_text("1 area of the picture counts for no score")
    changes = page.get_by_role("region", name="Changes")
    expect(changes).to_contain_text("the clamp (calibrated on 6 parts")
    (loaded,) = confirmed.station.pool.all()
    (area,) = loaded.inspector.calibration.ignored
    assert area == pytest.approx((0.25, 0.75, 0.5, 0.9), abs=0.01)
    page.get_by_role("button", name="Undo the last change").click()
    expect(ignored).to_contain_text("The whole picture counts")


def test_without_confirmed_parts_it_says_what_is_missing(
    busy_desk: Desk, tab: Tab, look: Look, expected: set[str]
) -> None:
    page = tab(f"{busy_desk.address}/threshold/ignore?model=solar")
    press(page, 0.1, 0.1)
    press(page, 0.3, 0.3)
    page.get_by_label("Why").fill("the clamp")
    expected.add("409 POST /threshold/ignore")
    page.get_by_role("button", name="Calibrate with 1 area").click()
    expect(page.get_by_role("alert")).to_contain_text("at least 5 are needed")
    look(page, "ignore-refused")


def test_without_a_kept_picture_there_is_nothing_to_draw_on(
    desk: Desk, tab: Tab, look: Look, phone: bool
) -> None:
    page = tab(f"{desk.address}/threshold/ignore?model=solar", phone=phone)
    expect(page.get_by_role("heading", name="No picture is kept")).to_be_visible()
    look(page, "ignore-nothing")
