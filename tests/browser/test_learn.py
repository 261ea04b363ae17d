"""*Learn*: a product is named, brought good pictures, learnt, put on the line; or not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import FilePayload, JSHandle, Locator, Page, expect

from nfbmr.benchmark.own_product import walk
from nfbmr.inspection.inspector import load
from nfbmr.settings.schema import Settings
from nfbmr.station.services import learner
from nfbmr.station.store import learnings, queries
from nfbmr.station.store.queries import Filter

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

    from nfbmr.station.worker.place import Place

LEARNING = 600_000  # milliseconds; a process of its own begins with importing torch

Tab = Callable[..., Page]
Look = Callable[..., None]
Carried = Callable[[Page, list[FilePayload]], JSHandle]
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


# ---- with a process in the learner's place that says what it is told


TOLD = """
import json, os, sys, time
from pathlib import Path
from nfbmr.station.worker.place import Place, Said
place = Place(Path(sys.argv[1]))
told = place.folder / "told.json"
with place.held(9):
    def say(**more):
        place.say(Said(pid=os.getpid(), time=time.time(), **more))
    say(stage="Learning good parts", done=3, total=200, share=0.5, left=1500.0)
    while not told.exists():
        time.sleep(0.05)
    say(**json.loads(told.read_text("utf-8")))
"""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[Desk, dict[str, object]], None]:
    """Has what is being learnt end as a test says, once it says so."""
    monkeypatch.setattr(learner, "WORKER", ("-c", TOLD))

    def end(desk: Desk, said: dict[str, object]) -> None:
        place = place_of(desk, 1)
        beside = place.folder / "told"
        beside.write_text(json.dumps(said), encoding="utf-8")
        beside.rename(place.folder / "told.json")

    return end


def place_of(desk: Desk, number: int) -> Place:
    return desk.station.learn.place(desk.station.learn.get(number))


def result_of(desk: Desk) -> dict[str, object]:
    """What a process says that learnt the model of cells."""
    from nfbmr.station.worker.learn import _result

    found = _result(load(desk.cells.model, runtime="torch"))
    return found | {"seconds": 61.0, "warnings": [], "heats": []}


def test_pictures_are_taken_by_the_camera_and_pasted(
    desk: Desk, tab: Tab, look: Look, carried: Carried
) -> None:
    page = tab(f"{desk.address}/learn")
    named(page, "seen")
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_label("The camera")).to_be_visible()
    shoot = page.get_by_role("button", name="Take a picture")
    expect(shoot).to_be_focused()
    page.keyboard.press("Space")
    good = page.get_by_role("region", name="Good pictures").get_by_role("img")
    expect(good).to_have_count(1)
    expect(good).to_have_attribute("alt", re.compile("^camera-"))
    look(page, "learn-camera")
    page.get_by_role("button", name="Camera off").click()
    expect(page.get_by_label("The camera")).to_be_hidden()
    cell: FilePayload = {
        "name": "pasted.png",
        "mimeType": "image/png",
        "buffer": desk.cells.files["good"][0].read_bytes(),
    }
    page.evaluate(
        "files => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: files}))",
        carried(page, [cell]),
    )
    expect(good).to_have_count(2)
    expect(following(page)).to_contain_text("2 good pictures")
    expect(page.get_by_role("img", name="pasted.png")).to_be_visible()


def test_the_time_left_is_said_and_a_failure_is_explained(
    desk: Desk, tab: Tab, look: Look, told: Callable[[Desk, dict[str, object]], None]
) -> None:
    page = tab(f"{desk.address}/learn")
    named(page, "fails")
    bring(page, desk, 12)
    page.get_by_role("button", name="Start learning").click()
    work = page.get_by_role("region", name="The learning")
    expect(work).to_contain_text("Learning good parts 3 of 200", timeout=LEARNING)
    expect(work).to_contain_text("About 25 min left.")
    expect(work.get_by_role("progressbar")).to_have_js_property("value", 0.5)
    look(page, "learn-time-left")
    told(desk, {"state": "failed", "reason": "all good pictures look the same; bring others"})
    failure = page.get_by_role("alert").filter(has_text="Nothing was learnt")
    expect(failure).to_contain_text("all good pictures look the same; bring others")
    expect(page.get_by_role("button", name="Start again")).to_be_enabled()
    look(page, "learn-failed")


def test_odd_pictures_are_named_and_taken_out(
    desk: Desk, tab: Tab, look: Look, told: Callable[[Desk, dict[str, object]], None]
) -> None:
    page = tab(f"{desk.address}/learn")
    named(page, "odd")
    bring(page, desk, 12)
    first, second = desk.station.learn.shown(1).pictures[:2]
    page.get_by_role("button", name="Start learning").click()
    expect(page.get_by_role("region", name="The learning")).to_contain_text("3 of 200")
    odd = [
        {"picture": first.pixels, "score": 1.7, "without": 0.6},
        {"picture": second.pixels, "score": 1.6, "without": 0.7},
    ]
    told(desk, {"state": "learnt", "result": result_of(desk) | {"odd": odd}})
    named_odd = page.get_by_role("region", name="Odd good pictures")
    row = named_odd.get_by_role("row").filter(has_text=first.name)
    expect(row.get_by_role("cell")).to_contain_text([first.name, "1.70", "0.60"])
    expect(named_odd.get_by_role("img", name=f"{second.name}, large")).to_be_visible()
    look(page, "learn-odd")
    page.get_by_role("button", name=f"Take {first.name} out").click()
    expect(named_odd).to_contain_text("taken out since")
    expect(page.get_by_role("button", name="Learn again from these")).to_be_enabled()


def learnt(desk: Desk, rate: float) -> int:
    """A learning whose model asks for a rate of false alarms; returns its number."""
    made = desk.station.learn.create("solar", "fast", "ann")
    model = place_of(desk, made.id).model("solar")
    shutil.copytree(desk.cells.model, model)
    load(model, runtime="torch").recalibrated(rate, look_rate=0.95).save_calibration()
    desk.station.store.write(
        learnings.move, made.id, ("collecting",), "learnt", result=result_of(desk)
    ).result()
    return made.id


def test_before_a_model_gives_way_both_are_seen_side_by_side(
    serve: Serve, tab: Tab, look: Look, phone: bool
) -> None:
    with serve(models=()) as desk:
        first, second = learnt(desk, 0.05), learnt(desk, 0.9)
        page = tab(f"{desk.address}/learn/{first}", phone=phone)
        with page.expect_response("**/line"):
            page.get_by_role("button", name="Put on the line").click()
        expect(following(page)).to_contain_text("On the line")
        page.goto(f"{desk.address}/inspect")
        page.get_by_label("choose files").set_input_files(desk.cells.files["good"][:4])
        expect(page.get_by_text("4 of 4 judged")).to_be_visible()
        page.goto(f"{desk.address}/learn/{second}")
        panel = page.get_by_role("region", name="Comparison")
        expect(panel).to_contain_text("solar is on the line, and would give way")
        place = page.get_by_role("button", name="Put on the line")
        expect(place).to_have_count(0)
        look(page, "learn-before-comparing")
        panel.get_by_role("button", name="Compare with the one on the line").click()
        expect(panel).to_contain_text("of the last 4 parts would be judged otherwise")
        pairs = page.get_by_role("region", name="Parts that would be judged otherwise")
        expect(pairs.get_by_role("article")).not_to_have_count(0)
        look(page, "learn-compared")
        place.click()
        expect(page.get_by_label("Why")).to_be_focused()
        page.get_by_label("Why").fill("a new lamp")
        with page.expect_response("**/line"):
            place.click()
        expect(following(page)).to_contain_text("On the line")
        page.goto(f"{desk.address}/models")
        versions = page.get_by_role("region", name="Versions")
        newest = versions.get_by_role("row").filter(has=page.get_by_text("on the line", exact=True))
        expect(newest).to_contain_text("a new lamp")
        page.close()
