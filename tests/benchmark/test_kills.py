"""What a kill costs is counted right, and the documents say what was measured."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from nfbmr.benchmark import kills
from nfbmr.benchmark.kills import (
    FIT,
    PHASES,
    Event,
    Kills,
    Row,
    describe,
    ended,
    phase_at_the_end,
    read_events,
    seconds_of,
    summary,
    twice,
    units_of,
)
from nfbmr.settings.changes import with_changes
from nfbmr.settings.presets import preset

ROOT = Path(__file__).parents[2]
ROWS = ROOT / "docs" / "results" / "kills.jsonl"
LOG = ROOT / "docs" / "results" / "kills.log"


def events(*said: tuple[str, str, int]) -> list[Event]:
    return [Event(float(number), *one) for number, one in enumerate(said)]


def phase(name: str, units: int, *, end: bool = True) -> list[tuple[str, str, int]]:
    steps = [(name, "begin", 1), *[(name, "unit", 1)] * units]
    return [*steps, (name, "end", 1)] if end else steps


UNDISTURBED = events(*phase("features", 9), *phase("flow", 6), *phase("mapping", 4))


def test_what_is_done_twice_is_counted_by_hand() -> None:
    before = events(*phase("features", 9), *phase("flow", 4, end=False))
    after = events(*phase("features", 0), *phase("flow", 3), *phase("mapping", 4))
    assert twice(before, after, UNDISTURBED) == ({"features": 0, "flow": 1, "mapping": 0}, [])
    careless = events(*phase("features", 9), *phase("flow", 6), *phase("mapping", 4))
    expected = {"features": 9, "flow": 4, "mapping": 0}
    assert twice(before, careless, UNDISTURBED) == (expected, ["features"])


def test_events_say_which_phases_ended_and_which_was_under_way() -> None:
    some = events(*phase("features", 2), *phase("flow", 3, end=False))
    assert ended(some) == ["features"]
    assert phase_at_the_end(some) == "flow"
    assert phase_at_the_end(some[:4]) is None, "between two"
    assert phase_at_the_end([]) is None
    assert seconds_of(some) == {"features": 3.0}
    assert units_of(some) == {"features": 2, "flow": 3}


def test_a_line_that_is_being_written_is_no_event_yet(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert read_events(log) == []
    log.write_text('[0.5, "flow", "begin", 1]\n[0.75, "fl')
    assert read_events(log) == [Event(0.5, "flow", "begin", 1)]


def tell(log: Path, name: str, *what: str) -> None:
    lines = [json.dumps([time.monotonic(), name, one, 1]) + "\n" for one in what]
    with log.open("a") as stream:
        stream.write("".join(lines))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", ["careful", "forgetful", "wrong"])
def test_fits_are_killed_in_the_phase_and_started_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fits of a stand-in that does a file's worth in each phase."""

    def fit(data: Path, model: Path, log: Path, *, export: bool) -> None:
        model.mkdir(exist_ok=True)
        killed_before = any(model.iterdir())
        for name in PHASES:
            begun = kind == "forgetful" or not (model / name).exists()
            tell(log, name, "begin", *["unit"] * begun)
            time.sleep(0.05 * begun)
            tell(log, name, "end")
            (model / name).touch()
        for part in kills.COMPARED:
            text = "other" if kind == "wrong" and killed_before else "same"
            (model / part).write_text(text)

    monkeypatch.setattr(kills, "fit_and_tell", fit)
    measured = Kills(Path("pictures"), tmp_path / "fits", 0)
    row = measured.killed_in("mapping", 1)
    assert row["finished_before"] == ["features", "flow"]
    assert row["finished_phases_twice"] == (["features", "flow"] if kind == "forgetful" else [])
    assert row["identical"] == (kind != "wrong")
    assert row["units_twice"]["mapping"] == 1
    assert row["left_beside"] == []
    assert f"{'OTHER' if kind == 'wrong' else 'identical'} weights" in describe(row)
    assert not list((tmp_path / "fits").glob("*mapping*"))


def kept_rows() -> list[Row]:
    return [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()]


def test_the_kept_rows_are_of_each_phase_and_the_log_is_theirs() -> None:
    first, *rows = kept_rows()
    assert first["row"] == "undisturbed"
    assert [row["phase"] for row in rows] == [phase for phase in PHASES for _ in range(5)]
    for row in rows:
        assert row["finished_before"] == list(PHASES[: PHASES.index(row["phase"])])
    lines = [*map(describe, [first, *rows]), summary([first, *rows])]
    assert LOG.read_text("utf-8").splitlines() == lines


def test_the_documents_say_what_was_measured() -> None:
    _, *rows = kept_rows()
    identical = sum(row["identical"] for row in rows)
    again = sum(len(row["finished_phases_twice"]) for row in rows)
    steps = max(row["units_twice"][name] for row in rows for name in ("flow", "mapping"))
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert f"in {identical} of {len(rows)} small fits" in readme
    assert f"{again or 'no'} finished phase was done again" in readme
    assert f"at most {steps} steps were" in readme


def test_the_fit_that_is_killed_is_one_that_todays_settings_take() -> None:
    arguments = ("checkpoint_seconds",)
    settings = with_changes(
        preset("fast"), {name: value for name, value in FIT.items() if name not in arguments}
    )

    assert settings.mapping.kind != "none", "the phase of the mapping needs one"
    assert settings.scoring.by_judges, "killed is the recipe of today, with its finer Gaussians"
