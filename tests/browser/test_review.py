"""*Review*: the queue, what a person says, filters, the table, and what reviewing shows."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from playwright.sync_api import Locator, Page, expect
from pyarrow import parquet

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

Tab = Callable[..., Page]
Look = Callable[..., None]


def cards(page: Page) -> Locator:
    return page.get_by_role("region", name="Parts").get_by_role("article")


def test_the_queue_is_worked_off_by_keys(busy_desk: Desk, tab: Tab, look: Look) -> None:
    page = tab(f"{busy_desk.address}/review")
    expect(page.get_by_text("Not reviewed yet: 2 to look at, 2 called defects")).to_be_visible()
    order = [cards(page).nth(number) for number in range(6)]
    for card, verdict in zip(order, ("look", "look", "defect", "defect"), strict=False):
        expect(card).to_contain_text(f"part {verdict}-")
    look(page, "review-queue")
    page.keyboard.press("g")
    expect(order[0]).to_contain_text("Really good, says local")
    page.keyboard.press("d")
    expect(order[1]).to_contain_text("Really a defect, says local")
    page.keyboard.press("j")
    page.keyboard.press("d")
    expect(order[3]).to_contain_text("Really a defect, says local")
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.keyboard.press("g")
    expect(order[2]).to_contain_text("Really good, says local")
    look(page, "review-said")
    page.reload()
    expect(cards(page)).to_have_count(2)
    expect(page.get_by_text("Not reviewed yet: 0 to look at, 0 called defects")).to_be_visible()
    figures = page.get_by_role("region", name="What reviewing shows")
    expect(figures).to_contain_text("Of 4 reviewed parts")
    for name, counted in {
        "Precision": "called defects that really are: 1 of 2",
        "Recall": "real defects that were called so: 1 of 2",
        "False alarms": "really good parts that were called defects: 1 of 2",
    }.items():
        tile = figures.get_by_role("listitem").filter(has_text=name)
        expect(tile).to_contain_text(counted)
        expect(tile).to_contain_text("50 %")
        expect(tile).to_contain_text("95 % interval 1.3 % to 99 %")


def test_a_step_made_the_moment_an_answer_comes_is_not_undone(busy_desk: Desk, tab: Tab) -> None:
    page = tab(f"{busy_desk.address}/review")
    page.evaluate(
        """() => {
          const back = () => document.body.dispatchEvent(
            new KeyboardEvent("keydown", { key: "k", bubbles: true }));
          document.addEventListener("htmx:afterSwap", back, { once: true });
          window.settled = new Promise((done) =>
            document.addEventListener("htmx:afterSettle", () => setTimeout(done), { once: true }));
        }"""
    )
    page.keyboard.press("g")
    expect(cards(page).nth(0)).to_contain_text("Really good, says local")
    page.evaluate("window.settled")
    expect(page.locator(".card.current")).to_have_id(cards(page).nth(0).get_attribute("id") or "")
    page.keyboard.press("j")
    page.keyboard.press("d")
    expect(cards(page).nth(1)).to_contain_text("Really a defect, says local")


def test_a_note_is_kept_and_can_be_taken_back(busy_desk: Desk, tab: Tab) -> None:
    page = tab(f"{busy_desk.address}/review")
    card = cards(page).nth(1)
    card.get_by_label("Note").fill("dust, wiped off")
    card.get_by_role("button", name="Really good").click()
    expect(card).to_contain_text("Really good, says local: “dust, wiped off”")
    card.get_by_role("button", name="Take back").click()
    expect(card.get_by_text("says local")).to_have_count(0)


def test_parts_are_searched_for_and_exported(
    busy_desk: Desk, tab: Tab, look: Look, tmp_path: Path
) -> None:
    page = tab(f"{busy_desk.address}/review")
    page.get_by_label("Verdict").select_option("defect")
    page.get_by_role("button", name="Search").click()
    expect(cards(page)).to_have_count(2)
    page.get_by_label("Part id").fill("defect-2")
    page.get_by_role("button", name="Search").click()
    expect(cards(page)).to_have_count(1)
    cards(page).get_by_role("button", name="Really a defect").click()
    expect(cards(page)).to_contain_text("says local")
    page.get_by_label("Reviewed").select_option("really a defect")
    page.get_by_role("button", name="Search").click()
    expect(cards(page)).to_contain_text("part defect-2")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).click()
    download.value.save_as(tmp_path / "found.csv")
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["part_id"], row["verdict"], row["label"]) == ("defect-2", "defect", "defect")
    with page.expect_download() as download:
        page.get_by_role("link", name="Both with pictures").click()
    download.value.save_as(tmp_path / "found.zip")
    with ZipFile(tmp_path / "found.zip") as found:
        tables = ["inspections.csv", "inspections.parquet"]
        assert sorted(found.namelist()) == [*tables, f"pictures/{row['id']}.png"]
    with page.expect_download() as download:
        page.get_by_role("link", name="Parquet").click()
    download.value.save_as(tmp_path / "found.parquet")
    (column,) = parquet.read_table(tmp_path / "found.parquet", columns=["part_id"]).columns
    assert column.to_pylist() == ["defect-2"]
    page.get_by_label("Part id").fill("none such")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name="Nothing to show")).to_be_visible()
    look(page, "review-nothing")


def test_long_queues_have_pages(desk: Desk, tab: Tab) -> None:
    for number in range(25):
        desk.send("look", part_id=f"{number:02d}")
    page = tab(f"{desk.address}/review")
    expect(cards(page)).to_have_count(24)
    page.get_by_role("link", name="Next").click()
    expect(cards(page)).to_have_count(1)
    page.get_by_role("link", name="Previous").click()
    expect(cards(page)).to_have_count(24)


def test_a_model_is_calibrated_on_what_people_confirmed(
    desk: Desk, tab: Tab, look: Look, phone: bool
) -> None:
    for number in range(6):
        desk.send("good", number)
    page = tab(f"{desk.address}/review", phone=phone)
    panel = page.get_by_role("region", name="Calibrate on confirmed good parts")
    expect(panel).to_contain_text("0 confirmed good parts have their pictures")
    button = panel.get_by_role("button", name="Calibrate on these")
    expect(panel).to_contain_text("5 are needed at least")
    look(page, "review-too-few")
    for number in range(5):
        expect(button).to_be_disabled()
        cards(page).nth(number).get_by_role("button", name="Really good").click()
        expect(cards(page).nth(number)).to_contain_text("Really good, says local")
        expect(panel).to_contain_text(f"{number + 1} confirmed good part")
        expect(page.get_by_text(f"{5 - number} called good.")).to_be_visible()
    expect(page.get_by_role("heading", name="Of 5 reviewed parts")).to_be_visible()
    button.click()
    expect(panel).to_contain_text("In force now, from 5 confirmed good parts")
    look(page, "review-calibrated")
    panel.get_by_role("link", name="Look at it, or undo it").click()
    changes = page.get_by_role("region", name="Changes")
    expect(changes).to_contain_text("calibrated on 5 parts that people confirmed as good")
    page.get_by_role("button", name="Undo the last change").click()
    expect(changes.get_by_role("row").filter(has_text="undoes change")).to_have_count(1)
