"""Thresholds: the rate of a place, what would change, saved and undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nfbmr.errors import BundleError
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.scoring.calibrate import recalibrate
from nfbmr.station.audit import verify
from nfbmr.station.services.jobs import ConflictError
from nfbmr.station.services.judge import Given
from nfbmr.station.services.threshold import rate_at
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import queries

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]


@pytest.fixture
def line(settings: Settings, model_copy: Path) -> Iterator[Station]:
    """A station with a model that a test may change."""
    with Station(settings(models=(model_copy,))) as station:
        yield station


def test_a_rate_has_its_threshold_where_it_was_looked_for(inspector: Inspector) -> None:
    now = inspector.calibration
    scores = np.array(now.scores)
    for place in (*scores[:-1], *(0.5 * (scores[1:] + scores[:-1]))):
        if np.searchsorted(scores, place, side="right") == 0:
            continue
        asked = recalibrate(now, rate_at(now, float(place)))
        at = float(now.shown(asked.raw(np.array(asked.threshold))))
        below = scores[scores <= place + 1e-9]
        assert at == pytest.approx(below[-1], abs=1e-6)
        assert asked.attainable_rate == pytest.approx(
            (len(scores) + 1 - len(below)) / (len(scores) + 1)
        )


def test_beyond_every_good_picture_the_threshold_is_extrapolated_to_there(
    inspector: Inspector,
) -> None:
    now = inspector.calibration
    lowest = recalibrate(now, 0.9 / (len(now.scores) + 1))
    start = float(now.shown(lowest.raw(np.array(lowest.threshold))))
    for place in (start + 0.05, start + 0.2):
        asked = recalibrate(now, rate_at(now, place))
        assert asked.extrapolated
        assert float(now.shown(asked.raw(np.array(asked.threshold)))) == pytest.approx(
            place, abs=1e-3
        )


def test_a_place_beyond_all_numbers_has_the_least_rate(inspector: Inspector) -> None:
    assert rate_at(inspector.calibration, 1e6) == pytest.approx(1e-6, rel=0.01)


def test_a_proposal_names_exactly_the_parts_that_then_are_judged_otherwise(
    line: Station, png: Encoded
) -> None:
    pictures = [png(seed, defect=seed % 5 == 0) for seed in range(100, 115)]

    async def inspected() -> list[str]:
        name = line.pool.all()[0].name
        return [
            (await line.judge.inspect(Given(data=data, model=name))).recorded.verdict
            for data in pictures
        ]

    before = asyncio.run(inspected())
    (loaded,) = line.pool.all()
    proposal = line.thresholds.propose(loaded, 0.6, 0.9)
    said = {one.recorded.id: one.verdict for one in proposal.otherwise}
    new = line.thresholds.save(loaded, proposal, "ann", "too many escapes")
    assert (proposal.tried, proposal.incomparable) == (15, 0)
    after = asyncio.run(inspected())
    assert {n: b for n, (a, b) in enumerate(zip(before, after, strict=True), 1) if a != b} == said
    assert said
    assert new.inspector.calibration.false_alarm_rate == 0.6
    back = line.thresholds.propose(new, 0.2, 0.3)
    assert back.tried == 30


def test_a_saved_threshold_is_in_the_model_and_in_the_record_and_can_be_undone(
    line: Station, model_copy: Path
) -> None:
    (loaded,) = line.pool.all()
    kept = loaded.inspector.calibration
    proposal = line.thresholds.propose(loaded, 0.5, 0.7)
    new = line.thresholds.save(loaded, proposal, "ann", "tried")
    assert load(model_copy, runtime="torch").calibration == new.inspector.calibration
    (event,) = line.thresholds.history(loaded.name)
    assert (event.actor, event.reason) == ("ann", "tried")
    assert event.old is not None
    assert event.new is not None
    assert event.old["false_alarm_rate"] == kept.false_alarm_rate
    assert event.new["false_alarm_rate"] == 0.5
    with pytest.raises(ConflictError, match="meanwhile"):
        line.thresholds.save(loaded, proposal, "bob", "late")
    again = line.thresholds.undo(new, "bob")
    assert again.inspector.calibration == kept
    assert again.calibration == loaded.calibration
    assert load(model_copy, runtime="torch").calibration == kept
    assert line.thresholds.history(loaded.name)[0].reason == f"undoes change {event.number}"
    chain = line.store.read(lambda c: list(queries.whole_chain(c)))
    assert verify(chain).trouble is None


def test_what_cannot_be_recorded_is_not_done(line: Station, model_copy: Path) -> None:
    (loaded,) = line.pool.all()
    before = {file.name: file.read_bytes() for file in model_copy.iterdir()}
    proposal = line.thresholds.propose(loaded, 0.5, 0.7)

    def failing(*_: object) -> None:
        raise ValueError("no space")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queries, "append", failing)
        with pytest.raises(ValueError, match="no space"):
            line.thresholds.save(loaded, proposal, "ann", "tried")
    assert {file.name: file.read_bytes() for file in model_copy.iterdir()} == before
    assert line.pool.all() == [loaded]
    assert line.thresholds.history(loaded.name) == []


def test_a_change_that_cannot_be_saved_is_taken_back_in_the_record(
    line: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    (loaded,) = line.pool.all()
    kept = loaded.inspector.calibration
    first = line.thresholds.propose(loaded, 0.5, 0.7)
    now = line.thresholds.save(loaded, first, "ann", "tried")
    proposal = line.thresholds.propose(now, 0.6, 0.7)

    def failing(_: Inspector) -> None:
        raise BundleError("it cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(Inspector, "save_calibration", failing)
        with pytest.raises(BundleError, match="cannot be written"):
            line.thresholds.save(now, proposal, "ann", "again")
    back, done, _ = line.thresholds.history(now.name)
    assert (done.reason, done.actor) == ("again", "ann")
    assert (back.actor, back.old) == ("station", done.new)
    assert back.new is not None
    assert back.new["calibration"] == now.calibration
    assert back.new["takes_back"] == done.number
    assert line.pool.all() == [now]
    again = line.thresholds.undo(now, "bob")
    assert again.inspector.calibration == kept, "what came about is undone, not what did not"


def test_what_others_changed_is_not_undone(line: Station) -> None:
    (loaded,) = line.pool.all()
    with pytest.raises(ConflictError, match="nothing to undo"):
        line.thresholds.undo(loaded, "ann")
    proposal = line.thresholds.propose(loaded, 0.5, 0.7)
    new = line.thresholds.save(loaded, proposal, "ann", "tried")
    with pytest.raises(ConflictError, match="something else"):
        line.thresholds.undo(replace(new, calibration="0" * 64), "ann")
