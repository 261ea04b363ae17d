"""Versions of a model: who put which on the line when, what another would say, and putting it back.

What was learnt here and was never on the line is compared as another version is.

A version is what a model learnt (its bundle) with a calibration. The first is kept as a directory
(`nfbmr.station.store.versions`), the second as a text in the database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nfbmr.errors import ImageError
from nfbmr.inspection.decoding import Named
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.model.calibrations import calibration_hash
from nfbmr.scoring.calibration import Verdict
from nfbmr.station.audit import Change, Event
from nfbmr.station.engine.pool import Loaded, Pool, bundle_hash
from nfbmr.station.services.changes import KINDS, TAKES_BACK, Changes
from nfbmr.station.services.jobs import ConflictError, Job, Jobs
from nfbmr.station.services.placed import BUNDLES, NOT_ON_LINE, ON_LINE
from nfbmr.station.settings import GIGABYTE, StationSettings
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.pictures import Pictures
from nfbmr.station.store.queries import Filter, Recorded
from nfbmr.station.store.versions import Versions

COMPARISON = "comparison"
LAST = 100
"""Recorded parts that two versions are compared on."""
_EVENTS = 300  # that a list of versions is made from


@dataclass(frozen=True, kw_only=True)
class Stay:
    """A version's time on the line."""

    bundle: str
    calibration: str
    runtime: str
    since: str
    """UTC, ISO 8601."""
    until: str | None
    """None of what is there."""
    actor: str
    """Who put it there; `station` where it was found in its directory."""
    reason: str
    kept: bool
    """Whether it can be put back."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one version says of a picture."""

    verdict: Verdict
    score: float
    regions: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Differing:
    """A recorded part of which two versions say different things."""

    recorded: Recorded
    now: Said
    """By what is on the line."""
    then: Said
    """By the other."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two versions on the last recorded parts."""

    now: tuple[str, str]
    """Bundle and calibration of what was on the line."""
    other: tuple[str, str]
    """Likewise of the other."""
    tried: int
    unkept: int
    """Recorded parts whose pictures are gone or cannot be read."""
    differing: list[Differing]
    """The newest first."""


class Line:
    """What is on the line, was, and can be again."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        pictures: Pictures,
        versions: Versions,
        changes: Changes,
        jobs: Jobs,
    ) -> None:
        """Joins what it needs."""
        self._store, self._pool, self._pictures = store, pool, pictures
        self._versions, self._changes, self._jobs = versions, changes, jobs

    def history(self, name: str) -> list[Stay]:
        """Returns which version of a model was on the line from when to when, the newest first.

        Raises:
            StationError: the database does not answer.
        """
        events = self._store.read(
            queries.events, kinds=("model", "learn", *KINDS), subject=name, limit=_EVENTS
        )
        found, until = [], None
        for place, event in enumerate(events):
            if event.kind != "model":
                continue
            if event.new is None:  # it left the line
                until = event.time
                continue
            cause = _cause(event, events[place + 1 :])
            found.append(
                Stay(
                    bundle=event.new["bundle"],
                    calibration=event.new["calibration"],
                    runtime=event.new["runtime"],
                    since=event.time,
                    until=until,
                    actor=cause.actor,
                    reason=cause.reason,
                    kept=self._versions.path(event.new["bundle"]) is not None,
                )
            )
            until = event.time
        return found

    def opened(self, name: str, bundle: str, calibration: str) -> Inspector:
        """Loads a version of a model.

        Raises:
            ConflictError: it is not kept, or opens otherwise now.
            NfbmrError: it cannot be loaded.
        """
        now = self._pool.get(name)
        if now is not None and now.bundle == bundle:
            found = now.inspector
        else:
            path = self._versions.path(bundle)
            if path is None:
                raise ConflictError(f"the model {bundle[:12]} is not kept any more")
            found = load(path, runtime=self._pool.runtime)
            if bundle_hash(found) != bundle:
                raise ConflictError(
                    f"the model {bundle[:12]} was opened otherwise then; start the station with "
                    "the --runtime of that time"
                )
        text = self._changes.calibration(calibration, found)
        if text is None:
            raise ConflictError(f"the calibration {calibration[:12]} is not in the record")
        return found.with_calibration(text)

    def compare(
        self, loaded: Loaded, bundle: str, calibration: str, actor: str, last: int = LAST
    ) -> Job:
        """Begins to judge the last recorded parts by what is on the line and by another version.

        Args:
            loaded: what is on the line.
            bundle: of the other.
            calibration: of the other.
            actor: who asks.
            last: parts, at most.

        Returns:
            The job; it ends in a `Compared`.

        Raises:
            ConflictError: other work is being done, or the version is not among those of the model.
        """
        self._known(loaded.name, bundle, calibration)
        return self._jobs.start(
            COMPARISON,
            loaded.name,
            actor,
            lambda job: self._compared(
                job, loaded, lambda: self.opened(loaded.name, bundle, calibration), last
            ),
        )

    def comparison(self, name: str) -> Job | None:
        """Returns the last comparison of a model, done or at work."""
        return self._jobs.last(COMPARISON, name)

    def compare_learnt(
        self, loaded: Loaded, learnt: Path, called: str, actor: str, last: int = LAST
    ) -> Job:
        """Likewise with a model that was learnt here and is not on the line yet.

        Args:
            loaded: what is on the line.
            learnt: the directory of the other.
            called: names the learning, for `comparison_with`.
            actor: who asks.
            last: parts, at most.

        Raises:
            ConflictError: other work is being done.
        """
        return self._jobs.start(
            f"{COMPARISON} {called}",
            loaded.name,
            actor,
            lambda job: self._compared(
                job, loaded, lambda: load(learnt, runtime=self._pool.runtime), last
            ),
        )

    def comparison_with(self, name: str, called: str) -> Job | None:
        """Returns the last comparison of a learning with the model of a name."""
        return self._jobs.last(f"{COMPARISON} {called}", name)

    def _known(self, name: str, bundle: str, calibration: str) -> None:
        stays = self.history(name)
        if not any((stay.bundle, stay.calibration) == (bundle, calibration) for stay in stays):
            raise ConflictError(f"'{name}' had no such version on the line")

    def _compared(
        self, job: Job, loaded: Loaded, opened: Callable[[], Inspector], last: int
    ) -> Compared:
        other = opened()
        other_pair = bundle_hash(other), calibration_hash(other.calibration)
        pair = (loaded.bundle, loaded.calibration), other_pair
        rows = self._store.read(queries.page, Filter(model=loaded.name), limit=last)
        tried, differing = 0, []
        for row in rows:
            job.step(len(rows))
            data = None if row.file is None else self._pictures.read(row.file)
            if data is None:
                continue
            try:
                now = _said_of(row, data, loaded.inspector, pair[0])
                then = _said_of(row, data, other, pair[1])
            except ImageError:  # damaged since
                continue
            tried += 1
            if now.verdict != then.verdict:
                differing.append(Differing(recorded=row, now=now, then=then))
        return Compared(
            now=pair[0],
            other=pair[1],
            tried=tried,
            unkept=len(rows) - tried,
            differing=differing,
        )

    def switch(
        self, loaded: Loaded, bundle: str, calibration: str, actor: str, reason: str
    ) -> Loaded:
        """Puts another version on the line, and into the model's directory.

        Raises:
            ConflictError: something else is on the line by now, or the version is not kept.
            BundleError: the model's directory cannot be written.
            StationError: the database takes nothing.
        """
        self._known(loaded.name, bundle, calibration)
        if (bundle, calibration) == (loaded.bundle, loaded.calibration):
            raise ConflictError("this version is on the line already")
        changed = self.opened(loaded.name, bundle, calibration)

        def save() -> None:
            if bundle == loaded.bundle:
                changed.save_calibration()
                return
            self._versions.bring(bundle, loaded.path, changed.identity, changed.calibration)

        return self._changes.make(
            "switch", loaded, changed, (actor, reason), save, lambda: self._pool.reload(loaded.name)
        )

    def undo(self, loaded: Loaded, actor: str) -> Loaded:
        """Puts what was there before the last switch on the line; raises as `switch`."""
        last = self._changes.to_undo("switch", loaded)
        assert last.old is not None
        before = last.old["bundle"], last.old["calibration"]
        return self.switch(loaded, *before, actor, f"undoes change {last.number}")

    def can_undo(self, loaded: Loaded) -> bool:
        """Whether the last switch is still in force."""
        try:
            self._changes.to_undo("switch", loaded)
        except ConflictError:
            return False
        return True


def _cause(found: Event, earlier: list[Event]) -> Event:
    """Returns the change that put a version on the line, or the finding of it itself."""
    there = found.new or {}
    taken_back: set[int] = set()
    for event in earlier:
        new = event.new or {}
        if event.kind == "model" or new.get("state") == NOT_ON_LINE:
            break
        if event.kind == "learn":
            known = new.get(BUNDLES)  # older events do not say them
            if new["state"] == ON_LINE and (known is None or there.get("bundle") in known):
                why = f": {event.reason}" if event.reason else ""
                return replace(event, reason=f"learnt at the station{why}")
        elif TAKES_BACK in new:
            taken_back.add(new[TAKES_BACK])
        elif event.number not in taken_back and new.get("calibration") == there.get("calibration"):
            return event
    return replace(found, reason="found in its directory")


def _said_of(row: Recorded, data: bytes, inspector: Inspector, version: tuple[str, str]) -> Said:
    """Returns what a version says of a recorded part: what it said, where it was that version."""
    if (row.bundle, row.calibration) == version:
        return Said(verdict=row.verdict, score=row.score, regions=row.regions)
    result = inspector.inspect(Named(data, f"inspection {row.id}"))
    regions = [region.to_dict() for region in result.regions]
    return Said(verdict=result.verdict, score=result.score, regions=regions)


def prune(settings: StationSettings, store: Store, pool: Pool, versions: Versions) -> list[str]:
    """Deletes kept models beyond the limit, never one that is on the line; returns their names.

    Raises:
        StationError: the database does not answer.
    """
    if pool.troubles:  # nobody can say what they have on the line
        return []
    why = f"more than {settings.keep_versions_gigabytes:g} gigabytes of versions are kept"

    def told(bundle: str) -> None:
        change = Change(
            kind="version",
            subject=bundle,
            actor="station",
            old={"kept": True},
            new={"kept": False},
            reason=why,
        )
        store.write(queries.append, change).result()

    on_line = {loaded.bundle for loaded in pool.all()}
    most = int(settings.keep_versions_gigabytes * GIGABYTE)
    return versions.prune(on_line, most, told)
