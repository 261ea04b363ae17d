"""The fleet as lines and as a page: figures, what failed, what does not fit."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from nfbmr.errors import SettingsError
from nfbmr.fleet.place import Place, State
from nfbmr.fleet.report import render, write_report
from nfbmr.fleet.table import state_of, table

NOW = 1e9
GOOD = {
    "n_train": 80,
    "n_held_out": 20,
    "image_auroc": 0.98765,
    "aupro": None,
    "recall": 0.9,
    "false_alarm_rate_observed": 0.05,
    "false_alarm_rate_asked": 0.01,
    "n_good": 20,
    "n_defective": 30,
}
STATES = (
    State(product="bottle", status="done", figures=GOOD, seconds=75.0, peak_mb=900),
    State(
        product="cable <b>",
        status="done",
        figures=GOOD | {"image_auroc": None},
        misfit=("12 held-out good pictures score higher",),
        warnings=("3 pictures are copies",),
        seconds=1.0,
    ),
    State(product="screw", status="failed", error="9 good pictures; at least 10 are needed"),
    State(product="zipper", status="running", what="flow", done=30, total=120, changed=NOW),
)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path / "models")
    for state in STATES:
        found.write(state)
    return found


def test_the_table_has_a_row_for_each_and_says_what_is_amiss() -> None:
    lines = table(STATES)
    heads = lines[0]
    bottle = lines[1]
    figures = ["0.9877", "5%", "fits", "1", "min", "15", "s", "900", "MB", "–"]
    assert bottle.split() == ["bottle", "done", *figures]
    assert heads.index("AUROC") + len("AUROC") == bottle.index("0.9877") + len("0.9877")
    assert "does not fit" in lines[2]
    assert lines[2].rstrip().endswith("2"), "a warning and a misfit"
    assert "failed" in lines[3]
    assert "flow 25%" in lines[4]
    assert lines[5:7] == [
        "cable <b> does not fit: 12 held-out good pictures score higher",
        "screw failed: 9 good pictures; at least 10 are needed",
    ]
    assert lines[7] == "4 products: 2 done, 1 at work, 1 failed; 1 min 16 s of work"


def test_one_that_was_killed_with_its_machine_shows(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = place.read("zipper")
    assert state is not None
    later = state.changed + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert state_of(state).startswith("killed? silent for 1 h")
    assert "1 of those at work not heard of for long" in table([state])[-1]


def test_the_page_shows_all_and_runs_nothing(place: Place, tmp_path: Path) -> None:
    report = place.evaluation("bottle") / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("<p>")
    page = render(place, tmp_path / "pages" / "fleet.html")
    assert "<script" not in page
    assert "cable <b>" not in page, "names of folders are escaped"
    assert "cable &lt;b&gt;" in page
    for said in ("0.9877", "12 held-out good pictures score higher", "at least 10 are needed"):
        assert said in page
    (address,) = re.findall(r'href="([^"]+)"', page)
    assert (tmp_path / "pages" / address).resolve() == report
    assert "2 of 40 good test pictures" in page


def test_a_page_that_cannot_be_written_is_our_own_error(place: Place, tmp_path: Path) -> None:
    write_report(tmp_path / "new" / "fleet.html", place)
    assert (tmp_path / "new" / "fleet.html").read_text("utf-8").startswith("<!doctype html>")
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written there"):
        write_report(tmp_path / "file" / "fleet.html", place)
