"""False alarms of few pictures: laws with known answers, rows kept once, tables of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nfbmr import fitting
from nfbmr.benchmark import few, figures
from nfbmr.benchmark.child import Measured, Row
from nfbmr.settings.schema import Settings
from nfbmr.system import provenance


def test_normal_statistics_raise_no_more_alarms_than_asked_and_heavy_tails_more() -> None:
    normal, heavy = (few.drawn(law, 12, 1, rounds=80) for law in few.LAWS)
    assert 0 < normal["alarms"] < few.RATE < heavy["alarms"] < 5 * few.RATE
    assert (normal["n"], normal["draws"], normal["asked"]) == (12, 80, few.RATE)


def test_as_fast_judges_no_more_are_called_or_looked_at_than_asked() -> None:
    found = few.drawn("normal", 40, 4, rounds=40)
    assert 0 < found["alarms"] < few.RATE
    assert found["alarms"] < found["looks"] < found["asked_look"]
    text = few.drawn_table([{"key": ["drawn", "normal", "40", "4"], "kind": "drawn", **found}])
    assert f"| normal, as `fast` | - | - | - | - | - | - | {100 * found['alarms']:.2f} |" in text
    assert f"| ... not passed as good | - | - | - | - | - | - | {100 * found['looks']:.2f}" in text


def test_a_summary_is_counted_by_hand() -> None:
    found = few._summary([0.0] * 9 + [0.1])
    assert found["alarms"] == pytest.approx(0.01)
    assert found["error"] == pytest.approx(np.sqrt((9 * 0.01**2 + 0.09**2) / 9 / 10))
    assert found["worst_tenth"] == 0.1  # of one of ten
    assert found["draws"] == 10


def test_a_finished_row_is_computed_once_and_tables_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Row] = []

    def child(module: str, job: Row) -> Measured:
        assert module == "nfbmr.benchmark.few"
        jobs.append(job)
        if job["do"] == "calibrated":
            assert job["counts"] == [12, 25, 50, 100]
        row = {"n": 6, "trained": 19, "alarms": 0.05 + 0.02 * job.get("seed", 0), "error": 0.01}
        row |= {"worst_tenth": 0.2, "draws": 4, "left_alarms": 0.01 + 0.02 * job.get("seed", 0)}
        row = {"rows": [row, row | {"n": 7}]} if job["do"] == "calibrated" else row
        return Measured(row=row, peak_mb=0, seconds=0)

    monkeypatch.setattr(few, "in_child", child)
    monkeypatch.setattr(few, "COUNTS", (12,))
    monkeypatch.setattr(provenance, "commit", lambda: "0123456789ab")
    rows = few.measure({"tiles": tmp_path / "tiles"}, tmp_path / "out", 3, 4, 2)
    assert [job["do"] for job in jobs] == ["calibrated", "learnt", "learnt"]
    assert [job.get("seed") for job in jobs] == [None, 0, 1]
    assert few.measure({"tiles": tmp_path / "tiles"}, tmp_path / "out", 3, 4, 2) == rows
    assert len(jobs) == 3
    assert "| tiles | 19 | 6 | 4 | 5.0 ± 1.0 | 20.0 | - |" in few.table(rows)
    assert "| tiles | 19 | 7 | 4 | 5.0 ± 1.0 | 20.0 | - |" in few.table(rows)
    assert "| tiles | 19 | 6 | 2 | 6.0 ± 1.0 | 7.0 | 2.0 ± 1.0 (2 draws) |" in few.table(rows)
    assert "| normal, 6 statistics | " in few.table(rows)


def test_real_pictures_give_a_row_of_each_kind(
    tmp_path: Path, mvtec: Path, tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = fitting.fit
    monkeypatch.setattr(
        fitting, "fit", lambda data, out, **how: fit(data, out, settings=tiny, **how | {"seed": 0})
    )
    monkeypatch.setattr(figures, "FEW", 12)
    (one,) = few.calibrated(str(mvtec), (6, 7), 3, str(tmp_path))["rows"]
    assert (one["n"], one["draws"], one["trained"] + one["good"]) == (6, 3, 16 + 4)
    many = few.learnt(str(mvtec), 1, str(tmp_path))
    assert (many["trained"], many["n"], many["good"], many["seed"]) == (12, 12, 4, 1)
    assert many["alarms"] in (0, 0.25, 0.5, 0.75, 1)
    assert many["left"] == 4
    assert many["left_alarms"] in (0, 0.25, 0.5, 0.75, 1)
