"""*Learn*: a product is named, brought good pictures, learnt, put on the line; or not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import FilePayload, Locator, Page, expect

from nfbmr.benchmark.own_product import walk
from nfbmr.settings.schema import Settings
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

LEARNING = 600_000  # milliseconds; a process of its own begins with importing torch

Tab = Callable[..., Page]
Look = Callable[..., None]
Serve = Callable[..., AbstractContextManager["Desk"]]


@pytest.fixture(autouse=True)
def _quick(solar: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is learnt on the page is learnt by these settings, and no graph is made."""
    from nfbmr.settings import presets
    from nfbmr.station.services.learner import Learner

    monkeypatch.setitem(presets._PRESETS, "fast", lambda: solar)
    monkeypatch.setattr(Learner, "export", False)


def named(page: Page, name: str) -> None:
    page.get_by_label("Its name").fill(name)
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def bring(page: Page, desk: Desk, count: int) -> None:
    files = desk.cells.files["good"][:count]
    page.get_by_label("choose files").set_input_files(files)
    expect(following(page)).to_contain_text(f"{count} good pictures")


def following(page: Page) -> Locator:
    return page.get_by_role("region", name="What next")


def test_a_product_of_ones_own_comes_on_the_line(serve: Serve, tab: Tab, look: Look) -> None:
    with serve(models=()) as desk:
        page = tab(f"{desk.address}/learn")
        look(page, "learn")
        named(page, "cells")
        look(page, "learn-empty")
        bring(page, desk, 12)
        expect(following(page)).to_contain_text("enough to try, 25 or more are better")
        look(page, "learn-brought")
        page.get_by_role("button", name="Start learning").click()
        expect(page.get_by_role("region", name="The learning")).to_contain_text(
            "you may close this page"
        )
        page.close()
        page = tab(f"{desk.address}/learn")
        page.get_by_role("link", name="cells").click()
        place = page.get_by_role("button", name="Put on the line")
        expect(place).to_be_visible(timeout=LEARNING)
        expect(page.get_by_role("heading", name="Scores of 12 good pictures")).to_be_visible()
        heats = page.get_by_role("region", name="First heatmaps").get_by_role("article")
        expect(heats).not_to_have_count(0)
        look(page, "learn-learnt")
        place.click()
        expect(following(page)).to_contain_text("On the line")
        look(page, "learn-on-the-line")
        page.get_by_role("link", name="Inspect a part").click()
        expect(page.get_by_label("Model")).to_have_value("cells")
        page.get_by_label("choose files").set_input_files(desk.cells.files["defect"][0])
        judged = page.get_by_role("region", name="Verdicts").get_by_role("article")
        expect(judged).to_contain_text("good part")
        page.close()


def test_from_nothing_to_a_verdict_by_few_clicks(serve: Serve, tab: Tab) -> None:
    with serve(models=()) as desk:
        page = tab("about:blank")
        files = desk.cells.files
        row = walk(page, desk.address, files["good"], files["defect"][0])
        page.close()
        (recorded,) = desk.station.store.read(queries.page, Filter())
    assert (row["pictures"], row["clicks"], row["drops"]) == (len(files["good"]), 5, 2)
    steps = ["opened", "named", "brought", "learnt", "on the line", "judged"]
    assert list(row["seconds"]) == steps
    assert row["seconds_in_all"] == pytest.approx(sum(row["seconds"].values()), abs=0.1)
    assert (recorded.verdict, recorded.name) == (row["verdict"], files["defect"][0].name)
    assert "good part" in row["says"]


def test_too_few_or_the_same_pictures_are_refused_with_a_reason(
    desk: Desk, tab: Tab, look: Look, expected: set[str]
) -> None:
    page = tab(f"{desk.address}/learn")
    named(page, "few")
    bring(page, desk, 3)
    expect(following(page)).to_contain_text("at least 10 are needed")
    expect(page.get_by_role("button", name="Start learning")).to_be_disabled()
    same = page.get_by_role("region", name="Pictures that were not kept")
    broken: FilePayload = {"name": "note.png", "mimeType": "image/png", "buffer": b"no picture"}
    expected.add("422 POST /learn/1/picture")
    page.get_by_label("choose files").set_input_files([broken])
    expect(same).to_contain_text("expected a JPEG, PNG, BMP, TIFF or WebP picture")
    look(page, "learn-refused")
    first = page.get_by_role("region", name="Good pictures").get_by_role("button").first
    first.click()
    expect(following(page)).to_contain_text("2 good pictures")


def test_a_learning_can_be_cancelled(desk: Desk, tab: Tab) -> None:
    page = tab(f"{desk.address}/learn")
    named(page, "later")
    bring(page, desk, 12)
    page.get_by_role("button", name="Start learning").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Start")).to_be_visible(timeout=LEARNING)
