"""The simulation is that of what runs: many lines at once are as one part after the other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nfbmr.benchmark import drift
from nfbmr.scoring.bets import Bets, Coins, Ranks
from nfbmr.scoring.drift import Monitor
from nfbmr.scoring.maps import Floats


@pytest.mark.parametrize("count", [1, 2, 64, 700])
def test_ranks_of_many_are_those_of_one_after_the_other(count: int) -> None:
    rng = np.random.default_rng(count)
    values, known, coins = rng.random(count), rng.random(30), rng.random(count)
    ranks = Ranks(known)
    expected = [ranks.add(v, c) for v, c in zip(values, coins, strict=True)]
    np.testing.assert_allclose(drift.ranked(known, values, coins), expected, rtol=1e-12)


@pytest.mark.parametrize("neighbours", [0.0, 0.6])
def test_the_simulation_finds_what_the_monitor_finds(neighbours: float) -> None:
    reference = drift.calibration(0)
    values = drift.drawn(np.random.default_rng(5), 1000, 4, neighbours)
    monitor = Monitor(reference, seed=7)
    found = list(drift.runs(values, reference))
    for part in values:
        monitor.add(part.tolist(), defect=False)
    assert monitor.alarm is None, "a run ends where it raises one"
    assert monitor.runs == len(found)
    assert monitor.streams == found[-1][0]
    assert monitor.accepted == len(found[-1][1])
    source = Coins(7, 5)
    coins = np.array([source.of(n)[:4] for n in range(1000)])
    tests = drift.sequences(values, reference, coins)[-4 * monitor.streams :]
    most = monitor.evidence
    for q, name in enumerate(reference.names):
        own = tests[q::4]
        assert max(_capital(one.p) for one in own) / own[0].limit == pytest.approx(most[name])


def _capital(p: Floats) -> float:
    bets = Bets((1,))
    return max(0.0, *(float(bets.bet(np.array([one]))[0]) for one in p))


def test_neighbours_are_as_alike_as_asked() -> None:
    values = drift.drawn(np.random.default_rng(0), 20_000, 2, 0.5)
    assert np.corrcoef(values[1:, 0], values[:-1, 0])[0, 1] == pytest.approx(0.5, abs=0.03)
    assert values.std() == pytest.approx(1, abs=0.03)


def test_rows_are_kept_and_not_measured_again(tmp_path: Path) -> None:
    out = tmp_path / "drift.jsonl"
    drift.measure(out, streams=2, parts=300, lines=1, sets=[])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["how"] for row in rows] == [
        "fixed",
        *["growing"] * 3,
        "fixed",
        *["unthinned"] * 3,
        *["growing"] * 3,
    ]
    assert all(0 <= row["low"] <= row["share"] <= row["high"] <= 1 for row in rows)
    drift.measure(out, streams=2, parts=300, lines=1, sets=[])
    assert len(out.read_text().splitlines()) == len(rows)
    assert drift.tables(rows).count("\n") == len(rows) + 1
