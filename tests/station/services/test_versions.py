"""Versions: which were on the line, what another would say, put there and taken back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nfbmr.errors import BundleError
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.model.bundle import read_bundle, write_bundle
from nfbmr.station.audit import Change, verify
from nfbmr.station.engine.pool import Loaded
from nfbmr.station.services.jobs import ConflictError
from nfbmr.station.services.judge import Given
from nfbmr.station.services.reproduce import reproduce
from nfbmr.station.services.versions import Compared, prune
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.versions import Versions

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]


@pytest.fixture
def line(settings: Settings, model_copy: Path) -> Iterator[Station]:
    """A station with a model that a test may change."""
    with Station(settings(models=(model_copy,))) as station:
        yield station


def fitted_anew(station: Station, path: Path) -> Loaded:
    """Puts another model into the directory, as a fit does; its thresholds are others, too."""
    bundle = read_bundle(path)
    facts = bundle.facts.model_copy(update={"created": "2030-01-01T00:00:00+00:00"})
    calibration = load(path, runtime="torch").recalibrated(0.6, look_rate=0.9).calibration
    write_bundle(path, replace(bundle, facts=facts, calibration=calibration, exports=()))
    return station.pool.reload(path.name)


def inspected(station: Station, pictures: list[bytes]) -> list[str]:
    async def each() -> list[str]:
        name = station.pool.all()[0].name
        answers = [await station.judge.inspect(Given(data=one, model=name)) for one in pictures]
        return [answer.recorded.verdict for answer in answers]

    return asyncio.run(each())


def compared(station: Station, loaded: Loaded, other: Loaded) -> Compared:
    job = station.line.compare(loaded, other.bundle, other.calibration, "ann")
    assert station.jobs._running is not None
    station.jobs._running[1].join(60)
    assert isinstance(job.found, Compared), job.trouble
    return job.found


def test_what_would_change_is_what_then_changes_and_a_switch_is_undone(
    line: Station, model_copy: Path, png: Encoded
) -> None:
    pictures = [png(seed, defect=seed % 5 == 0) for seed in range(100, 112)]
    (old,) = line.pool.all()
    before = inspected(line, pictures)
    new = fitted_anew(line, model_copy)
    assert (new.bundle, new.calibration) != (old.bundle, old.calibration)
    after = inspected(line, pictures)
    assert before != after
    found = compared(line, new, old)
    assert (found.tried, found.unkept) == (24, 0)
    expected = [
        (number, b, a)
        for number in range(24, 0, -1)
        for a, b in [(before[(number - 1) % 12], after[(number - 1) % 12])]
        if a != b
    ]
    said = [(one.recorded.id, one.now.verdict, one.then.verdict) for one in found.differing]
    assert said == expected

    back = line.line.switch(new, old.bundle, old.calibration, "ann", "worse than before")
    assert (back.bundle, back.calibration) == (old.bundle, old.calibration)
    on_disk = load(model_copy, runtime="torch")
    assert on_disk.identity == old.inspector.identity
    assert on_disk.calibration == old.inspector.calibration
    assert inspected(line, pictures) == before
    stays = line.line.history(old.name)
    assert [(stay.actor, stay.reason) for stay in stays] == [
        ("ann", "worse than before"),
        ("station", "found in its directory"),
        ("station", "found in its directory"),
    ]
    assert [stay.until for stay in stays] == [None, stays[0].since, stays[1].since]
    assert line.line.can_undo(back)
    again = line.line.undo(back, "bob")
    assert (again.bundle, again.calibration) == (new.bundle, new.calibration)
    assert line.line.history(old.name)[0].actor == "bob"
    assert verify(line.store.read(lambda c: list(queries.whole_chain(c)))).trouble is None


def test_an_earlier_threshold_is_a_version_too(line: Station, model_copy: Path) -> None:
    (loaded,) = line.pool.all()
    kept = loaded.inspector.calibration
    new = line.thresholds.save(loaded, line.thresholds.propose(loaded, 0.5, 0.7), "ann", "tried")
    assert line.line.history(loaded.name)[0].actor == "ann"
    back = line.line.switch(new, loaded.bundle, loaded.calibration, "bob", "as it was")
    assert back.inspector.calibration == kept
    assert load(model_copy, runtime="torch").calibration == kept
    with pytest.raises(ConflictError, match="on the line already"):
        line.line.switch(back, back.bundle, back.calibration, "bob", "again")
    with pytest.raises(ConflictError, match="no such version"):
        line.line.switch(back, back.bundle, "0" * 64, "bob", "another's")
    with pytest.raises(ConflictError, match="nothing to undo"):
        line.thresholds.undo(back, "bob")


def test_what_is_not_kept_or_cannot_be_written_leaves_the_line_as_it_is(
    line: Station, model_copy: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = line.pool.all()
    new = fitted_anew(line, model_copy)

    def failing(*_: object) -> None:
        raise BundleError("it cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(Versions, "bring", failing)
        with pytest.raises(BundleError):
            line.line.switch(new, old.bundle, old.calibration, "ann", "worse")
    assert line.pool.all() == [new]
    back, done = line.store.read(queries.events, kinds=("switch",), subject=old.name)
    assert (done.actor, back.actor) == ("ann", "station")
    assert not line.line.can_undo(new)
    assert prune(settings(keep_versions_gigabytes=1), line.store, line.pool, line.versions) == []
    none = settings(keep_versions_gigabytes=0)
    assert prune(none, line.store, line.pool, line.versions) == [old.bundle]
    (event,) = line.store.read(queries.events, kinds=("version",))
    assert event.subject == old.bundle
    assert [stay.kept for stay in line.line.history(old.name)] == [True, False]
    with pytest.raises(ConflictError, match="not kept any more"):
        line.line.switch(new, old.bundle, old.calibration, "ann", "worse")


def test_a_kept_version_gives_its_verdicts_again(
    line: Station, model_copy: Path, png: Encoded
) -> None:
    inspected(line, [png(1, defect=True)])
    fitted_anew(line, model_copy)
    found = reproduce(line.store, line.pictures, 1)
    assert found.same
    assert found.model == line.versions.path(found.recorded.bundle)


@pytest.mark.parametrize("kind", ["threshold", "switch"])
def test_a_change_that_a_kill_prevented_is_taken_back_at_the_next_start(
    settings: Settings, model_copy: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    made = settings(models=(model_copy,))
    with Station(made) as station:
        (old,) = station.pool.all()
        loaded = fitted_anew(station, model_copy)
        monkeypatch.setattr("nfbmr.station.services.changes.Changes._take_back", killed)
        monkeypatch.setattr(Inspector, "save_calibration", killed)
        monkeypatch.setattr(Versions, "bring", killed)
        proposal = station.thresholds.propose(loaded, 0.5, 0.7)
        with pytest.raises(KilledError):
            station.line.switch(
                loaded, old.bundle, old.calibration, "ann", "worse"
            ) if kind == "switch" else station.thresholds.save(loaded, proposal, "ann", "tried")
        monkeypatch.undo()
    for _ in range(2):  # the second start finds nothing more
        with Station(made) as station:
            back, told = station.store.read(queries.events, kinds=(kind,), subject=loaded.name)
            assert told.actor == "ann"
            assert back.actor == "station"
            assert back.new is not None
            assert back.new["takes_back"] == told.number
            assert back.new["bundle"] == loaded.bundle
            assert "ended before" in back.reason


def test_a_change_that_came_about_is_not_taken_back_where_somebody_restores_the_directory(
    settings: Settings, model_copy: Path
) -> None:
    made = settings(models=(model_copy,))
    with Station(made) as station:
        (old,) = station.pool.all()
        proposal = station.thresholds.propose(old, 0.5, 0.7)
        station.thresholds.save(old, proposal, "ann", "tried")
    old.inspector.save_calibration()
    with Station(made) as station:
        assert station.pool.all()[0].calibration == old.calibration
        (event,) = station.store.read(queries.events, kinds=("threshold",), subject=old.name)
        assert event.actor == "ann"


def test_who_put_what_was_learnt_here_on_the_line_is_said(line: Station, model_copy: Path) -> None:
    states = ("learning", "learnt", "on the line")
    for state in states:
        new = {"learning": 1, "state": state}
        change = Change(kind="learn", subject=model_copy.name, actor="eve", new=new)
        line.store.write(queries.append, change).result()
    fitted_anew(line, model_copy)
    stay = line.line.history(model_copy.name)[0]
    assert (stay.actor, stay.reason) == ("eve", "learnt at the station")


def test_two_comparisons_do_not_run_at_once(line: Station, model_copy: Path) -> None:
    (old,) = line.pool.all()
    new = fitted_anew(line, model_copy)
    go_on = threading.Event()
    line.jobs.start("comparison", "other", "bob", lambda _: go_on.wait(60))
    with pytest.raises(ConflictError, match="bob has started"):
        line.line.compare(new, old.bundle, old.calibration, "ann")
    go_on.set()
