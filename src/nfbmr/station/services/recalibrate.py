"""A model calibrated anew on parts that people confirmed as good, in a thread with its progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nfbmr.data.images import ImageInput
from nfbmr.data.survey import looked_at
from nfbmr.errors import CalibrationError, ImageError, SettingsError
from nfbmr.inspection.recalibration import Model, calibrated_on
from nfbmr.inspection.result import Inspection
from nfbmr.model.folder import POSE, parts_said
from nfbmr.scoring.calibrate import LEAST_HELD_OUT
from nfbmr.scoring.chosen import Chosen
from nfbmr.scoring.conformal import images_needed
from nfbmr.scoring.ignored import MOST as MOST_SHARE
from nfbmr.scoring.ignored import MOST_AREAS, Area, are_areas
from nfbmr.scoring.odd import with_names
from nfbmr.station.engine.pool import Loaded
from nfbmr.station.services.jobs import ConflictError, Job, Jobs
from nfbmr.station.services.threshold import Thresholds
from nfbmr.station.store.confirmed import Confirmed, chosen_of, confirmed_good
from nfbmr.station.store.database import Store
from nfbmr.station.store.pictures import Pictures
from nfbmr.system.words import counted

RECALIBRATION = "recalibration"
MOST = 500
"""Pictures that calibrate, the newest confirmed ones, where the asked rate wants no more."""
_NAMED = 20  # of the highest scores, which may turn out odd


@dataclass(frozen=True, kw_only=True)
class Recalibrated:
    """What came of it."""

    used: int
    known: int
    """Left out: the model learnt from them."""
    unreadable: int
    threshold: float
    """On its own scale."""
    calibration: str
    """The hash that names the calibration, which was put in force then."""
    chosen: Chosen
    """How they were chosen."""
    said: tuple[str, ...]
    """What the calibration says of itself."""


class Recalibration:
    """Does it, and knows how far it is."""

    def __init__(
        self, store: Store, pictures: Pictures, thresholds: Thresholds, jobs: Jobs
    ) -> None:
        """Joins what it needs."""
        self._store, self._pictures = store, pictures
        self._thresholds, self._jobs = thresholds, jobs

    def confirmed(self, loaded: Loaded) -> Chosen | None:
        """Returns how the confirmed parts of a model were chosen whose pictures are kept.

        None of none.

        Raises:
            StationError: the database does not answer.
        """
        return self._store.read(chosen_of, loaded.name, self._parts(loaded))

    def _parts(self, loaded: Loaded) -> list[Confirmed]:
        most = max(MOST, self.wanted(loaded))
        return self._store.read(confirmed_good, loaded.name, most)

    def wanted(self, loaded: Loaded) -> int:
        """Returns how many are needed for the asked rate without extrapolation."""
        return images_needed(loaded.inspector.calibration.false_alarm_rate)

    def last(self, name: str) -> Job | None:
        """Returns the last one of a model, done or at work."""
        return self._jobs.last(RECALIBRATION, name)

    def start(
        self,
        loaded: Loaded,
        actor: str,
        reason: str = "",
        ignored: tuple[Area, ...] | None = None,
    ) -> Job:
        """Begins it; it ends in a `Recalibrated`, in force and in the record.

        Args:
            loaded: the model.
            actor: who asks.
            reason: and why.
            ignored: areas that count for no score; by default those of now.

        Raises:
            ConflictError: too few parts are confirmed, or other work is being done; or areas are
                given of parts that lie turned.
            SettingsError: areas lie outside the picture, or leave next to nothing of it.
        """
        areas = loaded.inspector.calibration.ignored if ignored is None else ignored
        if not are_areas(areas):
            raise SettingsError(
                f"{MOST_AREAS} areas at most were expected, within the picture, that leave "
                f"{100 * (1 - MOST_SHARE):.0f} % of it at least"
            )
        if areas and POSE in parts_said(loaded.path):
            raise ConflictError(
                "this model turns parts to one pose before it looks, so an area of the picture is "
                "no area of the part; ignore it at the fit, or cover it before the camera"
            )
        parts = self._parts(loaded)
        if len(parts) < LEAST_HELD_OUT:
            raise ConflictError(
                f"{counted(len(parts), 'part is', 'parts are')} confirmed as good and "
                f"{'has its picture' if len(parts) == 1 else 'have their pictures'}; at least "
                f"{LEAST_HELD_OUT} are needed, and {self.wanted(loaded)} for the asked share of "
                "false alarms; confirm more on Review"
            )
        paths = {self._pictures.folder / part.file: part for part in parts}
        return self._jobs.start(
            RECALIBRATION,
            loaded.name,
            actor,
            lambda job: self._done(job, loaded, paths, reason, areas),
        )

    def _done(
        self,
        job: Job,
        loaded: Loaded,
        paths: dict[Path, Confirmed],
        reason: str,
        areas: tuple[Area, ...],
    ) -> Recalibrated:
        inspector, total = loaded.inspector, 2 * len(paths)
        fresh, known, unreadable = _sorted_out(job, loaded, list(paths))
        if len(fresh) < LEAST_HELD_OUT:
            raise CalibrationError(
                f"of {len(paths)} confirmed good parts the model learnt from {known}, and "
                f"{unreadable} cannot be read; {len(fresh)} are left, at least {LEAST_HELD_OUT} "
                "are needed; confirm more on Review"
            )

        def each(pictures: Iterable[ImageInput]) -> Iterator[ImageInput]:
            for picture in pictures:
                job.step(total)
                yield picture

        now = inspector.calibration
        bare = inspector.with_calibration(replace(now, ignored=()))  # sees all of a picture

        def inspected(pictures: Iterable[ImageInput]) -> Iterator[Inspection]:
            return bare.inspected(each(pictures))

        rates = now.false_alarm_rate, now.look_rate
        model = Model(inspector.facts, inspector.settings, inspected)
        found = calibrated_on(list(fresh), model, rates, areas)
        chosen = self._store.read(chosen_of, loaded.name, [paths[path] for path in fresh])
        assert chosen is not None
        called = {one: f"inspection {paths[path].id}" for path, one in fresh.items()}
        found = with_names(replace(found, chosen=chosen), called)
        used = len(found.scores)
        why = f"calibrated on {used} parts that people confirmed as good"
        why = f"{why}, {chosen.brief}"
        why = f"{reason} ({why})" if reason else why
        highest = found.pictures[-_NAMED:]
        names = {one: paths[path].id for path, one in fresh.items() if one in highest}
        changed = inspector.with_calibration(found)
        new = self._thresholds.replace(loaded, changed, job.actor, why, names)
        return Recalibrated(
            used=used,
            known=known,
            unreadable=unreadable,
            threshold=found.threshold,
            calibration=new.calibration,
            chosen=chosen,
            said=tuple(found.describe()),
        )


def _sorted_out(job: Job, loaded: Loaded, paths: list[Path]) -> tuple[dict[Path, str], int, int]:
    """Returns pictures that a model does not know, how many it knows, and unreadable ones.

    The first by path, with the sha256 of their pixels.
    """
    facts, settings = loaded.inspector.facts, loaded.inspector.settings
    asked = facts.knows if facts.everyone(settings) else facts.trained
    fresh: dict[Path, str] = {}
    known = unreadable = 0
    for path, one in zip(paths, looked_at(paths, settings.data.white), strict=True):
        job.step(2 * len(paths))
        if isinstance(one, ImageError):
            unreadable += 1
        elif asked(one.fingerprint, one.pixel_hash):
            known += 1
        else:
            fresh[path] = one.pixel_hash
    return fresh, known, unreadable
