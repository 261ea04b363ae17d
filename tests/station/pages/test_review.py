"""The pages *Review* and *Threshold*."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from nfbmr.inspection.inspector import load
from nfbmr.station.app import create_app
from nfbmr.station.pages.charts import HEIGHT, WIDTH, histogram
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]


@pytest.fixture
def line(settings: Settings, model_copy: Path) -> Iterator[Station]:
    """A station with a model that a test may change, and that sends many parts to a person."""
    load(model_copy, runtime="torch").recalibrated(0.1, look_rate=0.7).save_calibration()
    with Station(settings(models=(model_copy,))) as station:
        yield station


@pytest.fixture
def user(line: Station) -> TestClient:
    """Asks that station as its page does."""
    client = TestClient(create_app(line), base_url="http://127.0.0.1")
    key = re.search(r'data-form-key="(\w+)"', client.get("/inspect").text)
    assert key is not None
    client.headers["X-Form-Key"] = key[1]
    return client


def cards(text: str) -> list[int]:
    return [int(number) for number in re.findall(r'id="card-(\d+)"', text)]


def test_the_queue_begins_with_what_is_for_a_person(user: TestClient, png: Encoded) -> None:
    user.post("/v1/models/model-copy/inspect", content=png(1, defect=True))
    verdicts = ["defect"]
    for seed in range(100, 130):  # until there is one of each
        answer = user.post("/v1/models/model-copy/inspect?part_id=X-7", content=png(seed))
        verdicts.append(answer.json()["inspections"][0]["verdict"])
        if set(verdicts) == {"good", "look", "defect"}:
            break
    assert set(verdicts) == {"good", "look", "defect"}
    order = cards(user.get("/review").text)
    ranked = [("look", "defect", "good").index(verdicts[number - 1]) for number in order]
    assert len(order) == min(24, len(verdicts))
    assert ranked == sorted(ranked)
    first = order[0]
    card = user.post(f"/review/{first}/label", data={"said": "good", "note": "dust"}).text
    assert "Really good, says local: “dust”" in card
    assert first not in cards(user.get("/review").text)
    assert cards(user.get("/review?label=good").text) == [first]
    assert 1 not in cards(user.get("/review?label=&part_id=X-7").text)
    assert cards(user.get("/review?label=&since=2100-01-01").text) == []
    assert user.get("/review?verdict=bad").status_code == 422
    table = user.get("/review/export.csv?label=any")
    assert table.headers["content-type"].startswith("text/csv")
    assert "attachment" in table.headers["content-disposition"]
    assert len(table.text.splitlines()) == 2


def steps(text: str) -> dict[str, str]:
    """The addresses behind *Previous* and *Next*."""
    found = re.findall(r'href="([^"]+)">(Previous|Next)</a>', text)
    return {word: html.unescape(address) for address, word in found}


def test_pages_of_the_queue_follow_one_another(user: TestClient, png: Encoded) -> None:
    for seed in range(26):
        user.post("/v1/models/model-copy/inspect", content=png(seed))
    first = user.get("/review").text
    assert set(steps(first)) == {"Next"}
    second = user.get(steps(first)["Next"]).text
    assert sorted(cards(first) + cards(second)) == list(range(1, 27))
    assert set(steps(second)) == {"Previous"}
    assert cards(user.get(steps(second)["Previous"]).text) == cards(first)
    assert user.get("/review?after=24").status_code == 422


def test_parts_are_searched_for_by_their_source(user: TestClient, png: Encoded) -> None:
    user.post("/v1/models/model-copy/inspect", content=png(1))
    sent = user.post(
        "/inspect/picture", data={"model": "model-copy"}, files={"files": ("a.png", png(2))}
    )
    assert sent.status_code == 200
    text = user.get("/review?source=page").text
    assert cards(text) == [2]
    assert '<option value="page" selected>this page</option>' in text
    assert "source=page" in text.partition("/review/export.csv?")[2].partition('"')[0]
    assert cards(user.get("/review?source=rest").text) == [1]
    assert len(user.get("/review/export.csv?label=&source=page").text.splitlines()) == 2
    gone = user.get("/review?source=watch-gone").text
    assert '<option value="watch-gone" selected>' in gone


def test_no_part_is_skipped_where_those_before_were_reviewed(
    user: TestClient, png: Encoded
) -> None:
    for seed in range(50):
        user.post("/v1/models/model-copy/inspect", content=png(seed))
    seen: list[int] = []
    text = user.get("/review").text
    while True:
        seen += cards(text)
        for number in cards(text):
            user.post(f"/review/{number}/label", data={"said": "good"})
        if "Next" not in steps(text):
            break
        text = user.get(steps(text)["Next"]).text
    assert sorted(seen) == list(range(1, 51))
    gone = user.get("/review?after=look-3").text
    assert "No part is left here" in gone
    assert "From the beginning" in gone


def test_a_threshold_is_tried_saved_and_undone(
    user: TestClient, line: Station, png: Encoded
) -> None:
    for seed in range(100, 110):
        user.post("/v1/models/model-copy/inspect", content=png(seed))
    page = user.get("/threshold").text
    assert page.count('type="range"') == 2
    (loaded,) = line.pool.all()
    kept = loaded.inspector.calibration
    places = {"defect": kept.scores[1], "look": kept.scores[0]}
    preview = user.get("/threshold/preview", params={"model": "model-copy", **places}).text
    assert "would be judged otherwise than is recorded" in preview
    assert preview.count("95 % interval of the true rate") == 2
    form = {
        "model": "model-copy",
        "calibration": loaded.calibration,
        "reason": "more to people",
        **places,
    }
    saved = user.post("/threshold/save", data=form)
    assert saved.status_code == 200
    assert "more to people" in saved.text
    (changed,) = line.pool.all()
    assert changed.inspector.calibration.false_alarm_rate > kept.false_alarm_rate
    late = user.post("/threshold/save", data=form)
    assert late.status_code == 409
    assert "meanwhile" in late.json()["detail"]
    undo = {"model": "model-copy", "calibration": changed.calibration}
    assert user.post("/threshold/undo", data=undo).status_code == 200
    assert line.pool.all()[0].inspector.calibration == kept
    assert user.post("/threshold/save", data=form | {"reason": ""}).status_code == 422
    assert user.get("/threshold?model=other").status_code == 404
    high = {"defect": kept.scores[-1] + 0.5, "look": kept.scores[-1] + 0.4}
    beyond = user.get("/threshold/preview", params={"model": "model-copy", **high}).text
    assert beyond.count("<b>extrapolated</b>") == 2
    nan = {"model": "model-copy", "defect": "nan", "look": "0"}
    assert user.get("/threshold/preview", params=nan).status_code == 422


def test_a_histogram_holds_every_score_and_its_marks() -> None:
    scores = [-0.3, 0.0, 0.0, 0.1, 0.4, 0.9]
    chart = histogram(scores, (1.0, 0.5))
    assert sum(bar.count for bar in chart.bars) == len(scores)
    assert max(bar.height for bar in chart.bars) <= HEIGHT
    assert all(0 <= bar.x <= WIDTH - bar.width for bar in chart.bars)
    assert 0 < chart.place(-0.3) < chart.place(0.5) < chart.place(1.0) < WIDTH
    texts = [tick.text for tick in chart.ticks]
    assert texts == ["-0.4", "-0.2", "0", "0.2", "0.4", "0.6", "0.8", "1", "1.2"]
    places = [tick.x for tick in chart.ticks]
    steps = [later - earlier for earlier, later in itertools.pairwise(places)]
    assert steps == pytest.approx([steps[0]] * len(steps), abs=0.05)


@pytest.mark.parametrize("top", [2.5748509164804966, 1 / 3, 1e3 / 7])
def test_the_ends_of_the_handles_are_what_a_browser_reads_of_them(top: float) -> None:
    """Chromium keeps fifteen digits: a handle's last place would lie beyond an end of more."""
    chart = histogram([-0.1, top], (1.0, 0.6))
    assert [float(f"{end:.15g}") for end in (chart.low, chart.high)] == [chart.low, chart.high]
    assert chart.low < -0.1 < top < chart.high
