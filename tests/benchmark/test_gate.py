"""How often the gate refuses: draws of kept scores, and the document that shows the rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nfbmr.benchmark import gate
from nfbmr.benchmark.gate import SINGLE, Fits, Table, asked, measure, table
from nfbmr.deployment.beside import EACH
from nfbmr.inspection.inspector import Inspector
from nfbmr.learning.stages import split_held_out

ROOT = Path(__file__).parents[2]
ROWS = ROOT / "docs" / "results" / "gate.jsonl"


def single(n: int = 60) -> Table:
    rng = np.random.default_rng(0)
    good = rng.normal(size=n)
    copies = good[:, None] + 2 * rng.gamma(2, 0.5, (n, EACH + 4))
    return Table(good=good, copies=copies, test=good)


def test_each_draw_is_of_other_pictures_and_of_each_ones_own_copies() -> None:
    all_of_them = single()
    numbered = Table(
        good=np.arange(60.0), copies=np.arange(720.0).reshape(60, 12) / 12, test=all_of_them.test
    )
    pictures, copies = np.array([7, 3]), np.array([[0, 9], [3, 6]])
    drawn = numbered.drawn(pictures, copies)
    assert drawn.good.tolist() == [7, 3]
    assert drawn.copies.tolist() == [[7, 7.75], [3.25, 3.5]]
    assert asked(all_of_them, all_of_them, 40, 3) == asked(all_of_them, all_of_them, 40, 3)


def test_the_same_model_is_never_refused_and_a_worse_one_is() -> None:
    one = single()
    dull = Table(
        good=one.good,
        copies=one.good[:, None] + (one.copies - one.good[:, None]) / 2,
        test=one.test,
    )
    same, worse = asked(one, one, 40, 10), asked(one, dull, 40, 10)
    assert (same["refused"], same["certified"], same["draws"]) == (0, 10, 10)
    assert same["separates"] == same["separated"] > worse["separates"]
    assert (worse["refused"], worse["certified"]) == (10, 0)


def test_a_set_is_measured_once_and_its_scores_are_kept(
    mvtec: Path, tmp_path: Path, inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def rival(name: str) -> Inspector:
        made.append(name)
        return inspector

    names = (SINGLE, "another seed")
    monkeypatch.setattr(gate, "RIVALS", {name: lambda _, name=name: rival(name) for name in names})
    rows = list(measure("widget", mvtec, tmp_path / "work", ["another seed"], 2))
    assert made == [SINGLE, *names]  # once for the strength
    assert [(row["set"], row["rival"], row["good"]) for row in rows] == [
        ("widget", "another seed", 4),  # half of 5 held out and 4 of the test
        ("widget", "another seed", 9),
    ]
    assert all(row["rival_auroc"] == row["single_auroc"] for row in rows)
    assert list(measure("widget", mvtec, tmp_path / "work", ["another seed"], 2)) == rows
    assert made == [SINGLE, *names]
    with np.load(tmp_path / "work" / "another_seed.npz") as kept:
        pictures = sorted((mvtec / "test").rglob("*.png"))
        assert sorted(kept["test"]) == pytest.approx(sorted(inspector.scores(pictures)), abs=1e-5)


def test_all_models_are_split_as_the_first_one(mvtec: Path, tmp_path: Path) -> None:
    fits = Fits.of(mvtec, tmp_path / "work")
    _, held_out = split_held_out(16, 5, 0)
    assert fits.plan.held_out == tuple(held_out.tolist())
    trained = {fits.good.pictures[i].picture for i in range(16) if i not in held_out}
    assert len(fits.pool) == 5 + 4  # held out, and good ones of the test
    assert not trained & set(fits.pool)


def test_the_document_shows_the_rows() -> None:
    rows = [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()]
    assert table(rows) in (ROOT / "docs" / "research.md").read_text("utf-8")
