"""*Drift*: what is found in the line's parts, the charts, and a watch that begins anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

Tab = Callable[..., Page]
Look = Callable[..., None]


def test_parts_are_watched_from_the_first_and_anew(busy_desk: Desk, tab: Tab, look: Look) -> None:
    page = tab(f"{busy_desk.address}/drift")
    found = page.get_by_role("region", name="Has the line changed?")
    expect(found).to_contain_text("No change is found in 6 parts")
    for name in (
        "Evidence of a change, over the parts of this watch",
        "Mean place of parts among the good pictures",
        "Share of parts called defects",
    ):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    rests = page.get_by_role("region", name="What this rests on")
    expect(rests).to_contain_text("parts that come in any order alike")
    look(page, "drift")
    page.get_by_role("button", name="Begin the watch anew").click()
    expect(page.get_by_label("What was done about it")).to_be_focused()
    page.get_by_label("What was done about it").fill("the lamp was changed")
    page.get_by_role("button", name="Begin the watch anew").click()
    expect(rests).to_contain_text("the lamp was changed")
    expect(found).to_contain_text("No part is watched yet")
    busy_desk.send("good", 2)
    page.reload()
    expect(found).to_contain_text("No change is found in 1 part")
