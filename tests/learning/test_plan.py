"""What a fit says it will do, where there are very many pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nfbmr.learning.plan import Plan

PLAN = Plan(size=(64, 64), chosen=True, n_train=80_000, n_held_out=20_000, rate=0.01)


@pytest.mark.parametrize(
    ("everyone", "said"),
    [
        (True, "5000 of all, drawn evenly, calibrate, each judged without itself"),
        (False, "20000 held out; 5000 of them, drawn evenly, calibrate"),
    ],
)
def test_of_very_many_pictures_few_enough_calibrate(everyone: bool, said: str) -> None:
    split = replace(PLAN, everyone=everyone).describe()[1]
    assert said in split


def test_a_low_rate_has_more_calibrate() -> None:
    assert PLAN.most_calibrating == 5000
    assert replace(PLAN, rate=0.0001).most_calibrating == 99_990


def test_fewer_all_calibrate() -> None:
    few = replace(PLAN, n_train=160, n_held_out=40)
    assert few.describe()[1] == "160 good pictures to train on, 40 held out to calibrate"
    assert (
        replace(few, everyone=True)
        .describe()[1]
        .endswith("; all 200 calibrate, each judged without itself")
    )
