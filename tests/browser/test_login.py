"""The page that asks for a token, and what a token lets its owner see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

Tab = Callable[..., Page]
Look = Callable[..., None]


@pytest.fixture
def guarded(serve: Callable[..., AbstractContextManager[Desk]]) -> Iterator[Desk]:
    """A station that demands tokens."""
    with serve(tokens=True) as desk:
        yield desk


def log_in(page: Page, secret: str) -> None:
    page.get_by_label("Your token").fill(secret)
    page.get_by_role("button", name="Log in").click()


def test_a_token_opens_the_page_until_its_owner_logs_out(
    guarded: Desk, tab: Tab, look: Look, expected: set[str]
) -> None:
    page = tab(f"{guarded.address}/review")
    expect(page).to_have_url(f"{guarded.address}/login")
    look(page, "login")
    expected.add("401 POST /login")
    log_in(page, "not a token")
    expect(page.get_by_role("alert")).to_contain_text("No such token")
    look(page, "login-refused")
    log_in(page, guarded.tokens["review"])
    expect(page.get_by_role("heading", name="No part yet")).to_be_visible()
    expect(page.get_by_text("reviewor (review)")).to_be_visible()
    look(page, "line-logged-in")
    page.reload()
    expect(page.get_by_text("reviewor (review)")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Your token")).to_be_visible()
    page.goto(guarded.address)
    expect(page).to_have_url(f"{guarded.address}/login")


def test_who_only_inspects_sees_verdicts_and_no_buttons_that_would_be_refused(
    guarded: Desk, tab: Tab
) -> None:
    guarded.send("look", part_id="C-1")
    page = tab(guarded.address)
    log_in(page, guarded.tokens["inspect"])
    expect(page.get_by_role("region", name="The verdict")).to_contain_text("Look")
    expect(page.get_by_role("button", name="Really good")).to_have_count(0)
    page.get_by_role("link", name="Review").click()
    expect(page.get_by_role("article")).to_contain_text("C-1")
    expect(page.get_by_role("button", name="Really good")).to_have_count(0)
    expect(page.get_by_role("link", name="CSV")).to_have_count(0)
    page.get_by_role("link", name="Threshold").click()
    expect(page.get_by_role("slider", name="Defect above")).to_be_disabled()
    expect(page.get_by_role("region", name="Save")).to_have_count(0)


def test_a_session_that_ended_leads_to_the_login(
    guarded: Desk, tab: Tab, expected: set[str]
) -> None:
    guarded.send("look", part_id="C-1")
    page = tab(guarded.address)
    log_in(page, guarded.tokens["review"])
    page.get_by_role("link", name="Review").click()
    page.context.clear_cookies()
    # The page's connection for changes may ask again in that moment.
    expected |= {"401 POST /review/1/label", "? 401 GET /events"}
    page.get_by_role("button", name="Really good").click()
    expect(page.get_by_label("Your token")).to_be_visible()
