"""A recorded verdict again: the same picture, the same model, the calibration of that time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from nfbmr.errors import ImageError, StationError
from nfbmr.inspection.decoding import Named
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.scoring.calibration import Verdict
from nfbmr.station.engine.pool import bundle_hash
from nfbmr.station.services.changes import kept_calibration
from nfbmr.station.store import queries
from nfbmr.station.store.database import Reader
from nfbmr.station.store.pictures import Pictures
from nfbmr.station.store.queries import Recorded
from nfbmr.station.store.versions import VERSIONS, Versions

TOLERANCE = 1e-4
"""Of a score, as a share of it, or of 1 where it is smaller: a batch of another size sums in
another order."""


@dataclass(frozen=True, kw_only=True)
class Reproduced:
    """A row of the record, and what is found now."""

    recorded: Recorded
    score: float
    p_value: float
    verdict: Verdict
    model: Path

    @property
    def same(self) -> bool:
        """Whether the verdict is the recorded one, and the score is, but for rounding."""
        scale = max(1.0, abs(self.recorded.score))
        near = abs(self.score - self.recorded.score) <= TOLERANCE * scale
        return near and self.verdict == self.recorded.verdict


def reproduce(
    store: Reader, pictures: Pictures, number: int, model: Path | None = None
) -> Reproduced:
    """Inspects a recorded picture once more, as it was inspected.

    Args:
        store: the record.
        pictures: where its pictures are.
        number: of the inspection.
        model: the model's directory; by default the version that the station kept, or where the
            model lay.

    Raises:
        StationError: there is no such row, its picture is gone or another, or the model is.
        BundleError: the model cannot be loaded.
    """
    row = store.read(queries.inspection, number)
    if row is None:
        raise StationError(f"there is no inspection {number} in {store.shown}")
    data = _picture(pictures, row)
    path = model or _kept(pictures, row) or _where(store, row)
    inspector = load(path, runtime=row.runtime)
    if bundle_hash(inspector) != row.bundle:
        raise StationError(
            f"{path} holds another model than the one that judged inspection {number} (bundle "
            f"{row.bundle[:12]}); give its directory with --model"
        )
    named = Named(data, f"inspection {number}")
    try:
        found = _as_then(inspector, store, row).inspect(named)
    except ImageError as error:
        raise StationError(f"the kept picture of inspection {number}: {error}") from None
    return Reproduced(
        recorded=row,
        score=found.score,
        p_value=found.p_value,
        verdict=found.verdict,
        model=path,
    )


def _picture(pictures: Pictures, row: Recorded) -> bytes:
    data = None if row.file is None else pictures.read(row.file)
    if data is None:
        raise StationError(
            f"the picture of inspection {row.id} is not kept in {pictures.folder} any more"
        )
    if hashlib.sha256(data).hexdigest() != row.picture:
        raise StationError(
            f"the picture of inspection {row.id} is not the one that was inspected: its sha256 "
            "differs"
        )
    return data


def _kept(pictures: Pictures, row: Recorded) -> Path | None:
    return Versions(pictures.folder / VERSIONS).path(row.bundle)


def _where(store: Reader, row: Recorded) -> Path:
    before: int | None = None
    while found := store.read(queries.events, kinds=("model",), subject=row.model, before=before):
        for event in found:
            if event.new is not None and event.new["bundle"] == row.bundle:
                return Path(event.new["path"])
        before = found[-1].number
    raise StationError(f"where the model of inspection {row.id} lay is not known: give --model")


def _as_then(inspector: Inspector, store: Reader, row: Recorded) -> Inspector:
    calibration = kept_calibration(store, row.calibration, inspector)
    if calibration is None:
        raise StationError(f"the calibration of inspection {row.id} is not the one that judged it")
    return inspector.with_calibration(calibration)
