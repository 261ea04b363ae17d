"""Kills of a hot folder lose nothing, and what counts them would see it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from nfbmr.benchmark.watch_kills import Plan, counted, describe, is_clean, measure
from nfbmr.inspection.inspector import Inspector

FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@FORKS
@pytest.mark.parametrize("move", [True, False])
def test_killed_at_random_moments_each_picture_is_logged_once_and_where_it_is(
    inspector: Inspector, tmp_path: Path, move: bool
) -> None:
    plan = Plan(pictures=40, kills=3, seed=1, move=move)
    row = measure(inspector, plan, tmp_path / "run")
    assert is_clean(row), describe(row)
    assert row["killed_at"] == sorted(row["killed_at"])
    rows = (tmp_path / "run" / "hot" / "nfbmr.jsonl").read_text().splitlines()
    assert len(rows) == 40
    assert row["defects"] > 0


@FORKS
def test_a_watch_that_forgets_what_was_under_way_is_found_out(
    inspector: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is held back until the next picture: what is moved last is not in the log."""
    from nfbmr.inspection.journal import Journal, Row

    held: list[Row] = []
    append = Journal.append

    def late(self: Journal, row: Row) -> None:
        held.append(row)
        if len(held) > 1:
            append(self, held.pop(0))

    monkeypatch.setattr(Journal, "append", late)
    monkeypatch.setattr(Journal, "unfinished", lambda self: None)
    monkeypatch.setattr("nfbmr.benchmark.watch_kills._PATIENCE", 2.0)
    with pytest.raises(RuntimeError, match="something hangs"):
        measure(inspector, Plan(pictures=12, kills=2), tmp_path / "run")


def test_faults_are_counted_by_hand(tmp_path: Path) -> None:
    hot = tmp_path / "hot"
    hot.mkdir()
    (tmp_path / "alarms.txt").write_text("1\n")
    for name, text in (("good/a", "a"), ("good/b", "other"), ("left", "e")):
        (hot / f"{name}.png").parent.mkdir(exist_ok=True)
        (hot / f"{name}.png").write_text(text)

    def row(number: int, of: str, place: str | None, *, defect: bool) -> str:
        sha256 = hashlib.sha256(of.encode()).hexdigest()
        where = place and str(hot / place)
        row = {"id": str(number), "path": "p", "sha256": sha256, "place": where}
        return json.dumps(row | {"is_defect": defect}) + "\n"

    today = row(1, "a", "good/a.png", defect=True) + row(2, "b", "good/b.png", defect=True)
    (hot / "nfbmr.jsonl").write_text(today + row(3, "c", None, defect=False))
    (hot / "nfbmr-2026-03-01.jsonl").write_text(row(4, "a", "good/a.png", defect=False))
    put_in = {hashlib.sha256(of.encode()).hexdigest(): of for of in "abde"}
    found = counted(hot, put_in)
    assert found == {
        "missing": 2,
        "twice": 1,
        "unknown": 1,
        "misplaced": 2,
        "left": 1,
        "unheard": 1,
        "defects": 2,
        "errors": 0,
    }
    assert not is_clean(found)
    assert is_clean(dict.fromkeys(found, 0))


def test_the_readme_says_what_was_measured() -> None:
    root = Path(__file__).parents[2]
    (line,) = (root / "docs" / "results" / "watch.jsonl").read_text("utf-8").splitlines()
    row = json.loads(line)
    assert is_clean(row)
    assert len(row["killed_at"]) == row["kills"]
    readme = " ".join((root / "README.md").read_text("utf-8").split())
    assert f"Of {row['pictures']} small pictures" in readme
    assert f"killed {row['kills']} times" in readme
