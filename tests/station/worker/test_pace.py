"""How far a learning is, by its stages."""

from __future__ import annotations

import pytest

from nfbmr.station.worker.pace import CALIBRATING, TRYING, Pace

WAY = (
    ("survey", 25),
    ("pose", 19),
    ("features", 25),
    ("flow", 200),
    ("export", 4),
    (TRYING, 4),
)


def test_the_share_grows_and_the_time_left_becomes_short() -> None:
    pace, seconds = Pace(25, export=True), 0.0
    shares, lefts = [], []
    for what, total in WAY:
        for done in range(total + 1):
            seconds += 0.1
            far = pace.far(what, done, total, seconds)
            shares.append(far.share)
            lefts.append(far.left)
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.1
    assert shares[-1] == pytest.approx(1)
    assert lefts[-1] == pytest.approx(0)
    assert far.stage == "Trying it on good pictures"


def test_a_machine_that_took_longer_so_far_has_longer_to_go() -> None:
    quick = Pace(25, export=True).far("features", 20, 25, 20.0)
    slow = Pace(25, export=True).far("features", 20, 25, 200.0)
    assert slow.left > 5 * quick.left
    assert slow.share == quick.share


def test_what_is_left_out_takes_no_time_and_what_is_begun_anew_is_no_step_back() -> None:
    with_graphs = Pace(25, export=True).far("flow", 1, 200, 30.0)
    without = Pace(25, export=False).far("flow", 1, 200, 30.0)
    assert without.left < with_graphs.left
    pace = Pace(25, export=True)
    later = pace.far("flow", 100, 200, 30.0)
    assert pace.far("features", 1, 25, 31.0).share == later.share


def test_after_the_last_step_the_threshold_is_set() -> None:
    far = Pace(25, export=True).far("flow", 200, 200, 60.0)
    assert far == Pace(25, export=True).far(CALIBRATING, 0, 0, 60.0)
    assert far.stage == "Setting the threshold"
