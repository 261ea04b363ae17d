"""Has the line changed: the alarms, what they say, and that the same parts give the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nfbmr.scoring.calibrate import calibrate, with_looks
from nfbmr.scoring.drift import BLOCK, LEVEL, STEP, Monitor, Reference, reference_of
from nfbmr.scoring.maps import MAPS, Floats
from nfbmr.scoring.without import without
from nfbmr.settings.schema import ScoringSettings

NAMES = ("score", "brightness")


def _reference(n: int = 100, seed: int = 0) -> Reference:
    table = np.random.default_rng(seed).standard_normal((n, 2))
    cut = float(np.sort(table[:, 0])[-1])
    return Reference(names=NAMES, values=table[table[:, 0] < cut], cut=cut)


def _feed(monitor: Monitor, values: Floats, defect: float = math.inf) -> Monitor:
    for own in values:
        monitor.add(own.tolist(), defect=bool(own[0] > defect))
    return monitor


@pytest.mark.parametrize(("by", "higher"), [(2.0, True), (-2.0, False)])
def test_a_change_is_found_soon_and_named(by: float, higher: bool) -> None:
    values = np.random.default_rng(1).standard_normal((900, 2))
    values[600:, 1] += by
    monitor = _feed(Monitor(_reference(), seed=0), values)
    assert monitor.alarm is not None
    assert monitor.defects_alarm is None
    assert 600 < monitor.alarm.number < 700
    assert (monitor.alarm.name, monitor.alarm.higher) == ("brightness", higher)
    assert max(monitor.trail[:600]) < 1 <= monitor.trail[monitor.alarm.number - 1]


def test_what_never_changes_raises_nothing_though_some_are_defects() -> None:
    values = np.random.default_rng(2).standard_normal((1500, 2))
    monitor = _feed(Monitor(_reference(), seed=0), values, defect=2.0)
    assert monitor.alarm is None
    assert monitor.defects_alarm is None
    assert monitor.compared < monitor.parts == 1500
    assert max(monitor.evidence.values()) < 1


def test_parts_above_the_cut_are_not_compared() -> None:
    monitor = Monitor(_reference(), seed=0)
    _feed(monitor, np.full((400, 2), 99.0))
    assert monitor.compared == 0
    assert monitor.alarm is None


def test_more_defects_are_an_alarm_of_their_own() -> None:
    rng = np.random.default_rng(3)
    monitor = Monitor(_reference(), seed=0)
    for number in range(8 * 1000):
        share = 0.02 if number < 4000 else 0.2
        is_defect = bool(rng.random() < share)
        values = [99.0 if is_defect else -9.0 + rng.random(), float(rng.standard_normal())]
        if number < 4000:
            assert monitor.defects_alarm is None
        monitor.add(values, defect=is_defect)
    assert monitor.defects_alarm is not None
    assert monitor.defects_alarm.name == "defects"
    assert sum(monitor.defect_counts[:80]) < sum(monitor.defect_counts[80:])
    assert len(monitor.defect_counts) == 8000 // BLOCK


def test_the_same_parts_and_seed_give_the_same_and_another_seed_another() -> None:
    values = np.random.default_rng(4).standard_normal((300, 2))
    one, two = (_feed(Monitor(_reference(), seed=5), values) for _ in range(2))
    assert one.trail == two.trail
    assert one.evidence == two.evidence
    assert _feed(Monitor(_reference(), seed=6), values).trail != one.trail


def test_alike_neighbours_are_noticed_and_half_of_the_level_goes_to_what_follows() -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_normal((1000, 2))
    for i in range(1, len(values)):
        values[i] = 0.6 * values[i - 1] + 0.8 * values[i]
    monitor = Monitor(_reference(), seed=0)
    before = monitor.streams
    _feed(monitor, values)
    assert monitor.streams > before
    assert monitor.runs > 1
    assert monitor.limit == pytest.approx(math.log(2 * monitor.streams * 2**monitor.runs / LEVEL))
    known = Monitor(_reference(), seed=0, recent=values)
    assert known.runs == 1
    assert known.streams >= 5


def test_a_step_is_found_and_is_not_taken_for_neighbours_that_are_alike() -> None:
    values = np.random.default_rng(8).standard_normal((1700, 2))
    values[900:, 1] += 0.65
    monitor = Monitor(_reference(), seed=0)
    streams = monitor.streams
    _feed(monitor, values)
    assert (monitor.streams, monitor.runs, monitor.too_alike) == (streams, 1, False)
    assert monitor.alarm is not None
    assert monitor.alarm.number > 900
    assert (monitor.alarm.name, monitor.alarm.higher) == ("brightness", True)


def test_a_slow_change_shows_against_the_calibration() -> None:
    rng = np.random.default_rng(6)
    values = rng.standard_normal((2000, 2))
    monitor = _feed(Monitor(_reference(), seed=0), values[:1000])
    assert monitor.apart() == {}
    values[1000:, 1] += np.linspace(0, 3, 1000)
    _feed(monitor, values[1000:])
    assert monitor.apart()["brightness"] > 0.9
    assert len(monitor.lately) == monitor.compared // STEP


def test_the_reference_is_what_lies_below_the_cut_in_the_order_of_time() -> None:
    rng = np.random.default_rng(7)
    maps = rng.random((40, len(MAPS), 4, 4)).astype(np.float32)
    scoring = ScoringSettings()
    names = [f"{i}" for i in range(40)]
    found = calibrate(maps, scoring, 0.1, names)
    brightness = np.arange(40.0)
    found = with_looks(found, {"brightness": brightness.tolist()})
    distance = MAPS.index("distance")
    for name, place, bright, far in zip(
        found.pictures,
        found.places,
        found.watched["brightness"],
        found.watched["feature_distance"],
        strict=True,
    ):
        assert int(name) == place == bright
        assert far == pytest.approx(maps[place, distance].mean(), rel=1e-5)
    reference = reference_of(found)
    assert reference.names == ("score", "brightness", "feature_distance")
    assert len(reference.values) == found.rank - 1
    assert reference.cut == found.scores[found.rank - 1]
    assert (np.diff(reference.values[:, 1]) > 0).all()
    fewer = without(found, ["3"], scoring)
    assert 3 not in fewer.places
    assert len(fewer.watched["brightness"]) == 39
    assert reference_of(fewer, ["brightness"]).names == ("score", "brightness")
