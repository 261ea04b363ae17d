"""What holds for every page of the menu, at a phone's width, too."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from nfbmr.station.pages.render import PAGES

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

HERE = Path(__file__).parent
NEVER = {"wait_for_timeout", "sleep"}

Tab = Callable[..., Page]
Look = Callable[..., None]


def test_each_is_usable_on_a_phone(busy_desk: Desk, tab: Tab, look: Look) -> None:
    page = tab(busy_desk.address, phone=True)
    for address, name in PAGES:
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).tap()
        expect(page).to_have_url(f"{busy_desk.address}{address}")
        expect(page.get_by_role("heading", name=name, level=1)).to_be_attached()
        expect(page.get_by_role("link", name=name, exact=True)).to_have_attribute(
            "aria-current", "page"
        )
        expect(page.get_by_role("status").first).to_have_text("live")
        look(page, f"page-{name.lower()}")


def test_without_a_model_each_says_so(
    busy_desk: Desk, tab: Tab, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(busy_desk.station.pool, "all", list)
    page = tab(busy_desk.address)
    for address, name in PAGES:
        page.goto(f"{busy_desk.address}{address}")
        expect(page.get_by_role("heading", name=name, level=1)).to_be_attached()
        look(page, f"no-model-{name.lower()}")


def test_a_part_that_is_not_there(desk: Desk, tab: Tab, look: Look, expected: set[str]) -> None:
    expected.add("404 GET /")
    page = tab(f"{desk.address}/?at=999")
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
    look(page, "nothing-here")
    page.get_by_role("link", name="To the line").click()
    expect(page.get_by_role("heading", name="No part yet")).to_be_visible()


@pytest.mark.parametrize("name", [name.lower() for _, name in PAGES])
def test_each_has_tests_of_its_own(name: str) -> None:
    assert (HERE / f"test_{name}.py").is_file()


@pytest.mark.parametrize("path", sorted(HERE.glob("*.py")), ids=lambda path: path.name)
def test_no_test_waits_for_time_to_pass(path: Path) -> None:
    tree = ast.walk(ast.parse(path.read_text("utf-8")))
    called = {node.attr for node in tree if isinstance(node, ast.Attribute)}
    assert not called & NEVER
