"""Defects among the good pictures are drawn fairly, and what they cost is told on the same test."""

from __future__ import annotations

from pathlib import Path

import pytest

from nfbmr import fitting
from nfbmr.benchmark.rotten import learnt, rotten_of, table, told
from nfbmr.data.layouts import Sample
from nfbmr.settings.schema import Settings


def sample(defect: str, number: int) -> Sample:
    return Sample(path=Path(f"{defect}/{number}.png"), split="test", defect=defect)


TEST = [sample(name, n) for name in ("good", "crack", "chip") for n in range(20)]


def test_the_share_is_of_what_is_learnt_from_and_types_take_turns() -> None:
    drawn = rotten_of(TEST, n_good=95, share=0.05, seed=0)

    assert len(drawn) == 5, "5 of 100"
    assert [one.defect for one in drawn] == ["crack", "chip", "crack", "chip", "crack"]
    assert len({one.path for one in drawn}) == 5
    assert rotten_of(TEST, 95, 0.05, 0) == drawn
    assert rotten_of(TEST, 95, 0.05, 1) != drawn
    assert rotten_of(TEST, 95, 0.0, 0) == []


def test_a_type_that_runs_out_leaves_the_turns_to_the_others() -> None:
    few = [sample("crack", 0), *(sample("chip", n) for n in range(9))]
    assert [one.defect for one in rotten_of(few, 50, 0.1, 0)].count("crack") == 1
    assert len(rotten_of(few, 50, 0.1, 0)) == 6


def test_figures_are_of_the_pictures_asked_for_alone() -> None:
    of = [one for one in TEST if one.path.name != "3.png"]
    scores = {str(one.path): 2.0 if one.defect == "crack" else 0.5 for one in TEST}
    scores["crack/3.png"] = scores["chip/3.png"] = 9.0
    scores["good/0.png"] = 0.8
    row = {"scores": scores, "threshold": 1.0, "look_threshold": 0.7}

    said = told(row, TEST, [str(one.path) for one in of])

    assert said["recall"] == said["recall_with_look"] == 0.5
    assert said["false_alarm_rate"] == 0
    assert said["good_with_look"] == pytest.approx(1 / 19)
    assert said["image_auroc"] == pytest.approx(0.5 + 0.5 * 0.5 * 18 / 19)

    cured = {"scores": scores, "look_threshold": 0.4, "threshold": 0.6}
    lower = told(cured, TEST, [str(one.path) for one in of])

    assert lower["recall_with_look"] == lower["good_with_look"] == 1
    assert lower["recall"] == 0.5
    assert lower["false_alarm_rate"] == pytest.approx(1 / 19)


def test_the_table_sums_counts_and_averages_figures() -> None:
    figures = dict.fromkeys(
        ("image_auroc", "recall", "recall_with_look", "false_alarm_rate", "good_with_look"), 0.5
    )
    row = {"set": "pill", "share": 0.05, "rotten": 14, "named": 3, "named_rotten": 2}
    said = table(
        [
            row | {"test": figures, "clean": figures, "cured": figures, "ranks": [1, 20, 21]},
            row
            | {"ranks": [2, 90]}
            | {"test": figures | {"recall": 0.7}, "clean": figures}
            | {"cured": figures | {"recall": 0.9, "good_with_look": 0.2}},
        ]
    )
    assert "| pill | 5%: 28 | 50.0 (50.0) | 60.0 (50.0) |" in said
    assert said.rstrip().endswith("| 6, 4 | 3 | 70.0 | 50.0 | 35.0 |")


def test_a_fit_with_rotten_ones_is_told_with_and_without_those_it_names(
    tmp_path: Path, mvtec: Path, tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = fitting.fit
    monkeypatch.setattr(
        fitting, "fit", lambda data, out, **how: fit(data, out, settings=tiny, **how)
    )
    found = learnt(str(mvtec), 0.1, 0, str(tmp_path))
    assert found["rotten"] > 0
    assert found["named_rotten"] <= min(found["named"], found["rotten"])
    assert all(1 <= rank <= found["learnt_from"] for rank in found["ranks"])
    assert set(found["cured"]["scores"]) == set(found["scores"])
    same = found["cured"] == {key: found[key] for key in found["cured"]}
    assert same == (found["named"] == 0)
