"""*Models*: versions compared on the last parts, put back with a reason, undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

Tab = Callable[..., Page]
Look = Callable[..., None]


@pytest.fixture
def stricter(busy_desk: Desk) -> Desk:
    """A station whose thresholds somebody changed: two versions of one model."""
    (loaded,) = busy_desk.station.pool.all()
    thresholds = busy_desk.station.thresholds
    thresholds.save(loaded, thresholds.propose(loaded, 0.6, 0.9), "ann", "the customer is strict")
    return busy_desk


def versions(page: Page) -> Locator:
    """Rows of the table, its head the first, the newest version the second."""
    return page.get_by_role("region", name="Versions").get_by_role("row")


def test_an_earlier_version_is_compared_put_back_and_taken_back(
    stricter: Desk, tab: Tab, look: Look
) -> None:
    page = tab(f"{stricter.address}/models")
    expect(page.get_by_role("heading", name="solar: on the line")).to_be_visible()
    expect(versions(page)).to_have_count(3)
    expect(versions(page).nth(1)).to_contain_text("the customer is strict")
    look(page, "models")
    page.get_by_role("button", name="Compare").click()
    compared = page.get_by_role("region", name="Comparison")
    expect(compared).to_contain_text("of the last 6 parts would be judged otherwise")
    otherwise = page.get_by_role("region", name="Parts that would be judged otherwise")
    expect(otherwise.get_by_role("article")).not_to_have_count(0)
    expect(otherwise.get_by_role("img").first).to_be_visible()
    look(page, "models-compared")
    page.get_by_role("button", name="Put this version on the line").click()
    expect(page.get_by_label("Why")).to_be_focused()
    page.get_by_label("Why").fill("too many alarms")
    page.get_by_role("button", name="Put this version on the line").click()
    expect(versions(page).nth(1)).to_contain_text("too many alarms")
    expect(versions(page).nth(1)).to_contain_text("on the line")
    expect(versions(page).nth(1)).to_contain_text("local")
    page.get_by_role("button", name="Undo the last switch").click()
    expect(versions(page)).to_have_count(5)
    look(page, "models-undone")
    (loaded,) = stricter.station.pool.all()
    assert loaded.inspector.calibration.false_alarm_rate == 0.6
