"""*Drift*: what is found in the line's parts, the charts, and a watch that begins anew."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from nfbmr.scoring.looks import LOOKS
from nfbmr.station.audit import now
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Inspected

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


def recorded(desk: Desk, count: int, *, brighter: float = 0.0, seed: int = 0) -> None:
    """Records parts as good as those that calibrate, drawn again from them."""
    (loaded,), rng = desk.station.pool.all(), np.random.default_rng(seed)
    known = loaded.inspector.calibration
    most = sum(score < known.threshold for score in known.scores)
    row = Inspected(
        time=now(),
        model=loaded.name,
        product="",
        part_id="",
        source="rest",
        actor="local",
        name="",
        picture="0" * 64,
        file=None,
        bytes=0,
        height=1,
        width=1,
        bundle=loaded.bundle,
        calibration=loaded.calibration,
        runtime="torch",
        threshold=1.0,
        look_threshold=0.8,
        score=0.0,
        p_value=0.5,
        verdict="good",
        regions=[],
        milliseconds=0.0,
    )
    written = []
    for i in rng.integers(most, size=count):
        looks = {name: known.watched[name][i] for name in LOOKS}
        looks["brightness"] += brighter
        one = replace(row, score=known.scores[i], looks=looks)
        written.append(desk.station.store.write(queries.record, one, None))
    for done in written:
        done.result()


def test_a_change_is_an_alarm_that_names_it(desk: Desk, tab: Tab, look: Look, phone: bool) -> None:
    recorded(desk, 300)
    recorded(desk, 300, brighter=40.0, seed=1)
    page = tab(f"{desk.address}/drift", phone=phone)
    found = page.get_by_role("region", name="Has the line changed?")
    expect(found).to_contain_text("Yes: pictures are brighter")
    expect(found.get_by_role("link")).to_have_attribute("href", re.compile(r"/\?at=\d+"))
    expect(page.get_by_role("alert").filter(has_text="the line has changed")).to_be_visible()
    look(page, "drift-alarm")
    found.get_by_role("link").click()
    expect(page.get_by_role("region", name="The verdict")).to_be_visible()


def test_what_is_read_again_and_what_cannot_be_promised_is_said(
    desk: Desk, tab: Tab, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfbmr.station.services.drift._AT_ONCE", 40)
    recorded(desk, 60)
    page = tab(f"{desk.address}/drift")
    found = page.get_by_role("region", name="Has the line changed?")
    expect(found).to_contain_text("what is shown is of the first 40 parts; load the page again")
    (loaded,) = desk.station.pool.all()
    desk.station.drift.of(loaded).monitor.too_alike = True
    page.reload()
    expect(found).to_contain_text("Neighbouring parts are too alike")
    expect(found).to_contain_text("in 60 parts")
    look(page, "drift-too-alike")
