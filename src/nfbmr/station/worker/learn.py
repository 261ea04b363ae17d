"""The process that learns: `python -m nfbmr.station.worker.learn FOLDER`.

It knows the folder of its learning and nothing of database and page. Killed, it is started again by
the same words and goes on from the fit's last checkpoint.
"""

from __future__ import annotations

import base64
import errno
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfbmr.errors import NfbmrError
from nfbmr.features.cache import FeatureCache
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.odd import odd_ones, with_names
from nfbmr.settings.changes import from_dict
from nfbmr.station.services import heat
from nfbmr.station.worker.pace import TRYING, Pace
from nfbmr.station.worker.place import Job, Place, Said
from nfbmr.system.packages import how_to_install

if TYPE_CHECKING:
    from nfbmr.inspection.inspector import Inspector

_log = logging.getLogger(__name__)

IN_USE = 75
"""The exit code where another process learns this already."""

_EVERY = 0.5  # seconds between two words of how far it is
_PATIENCE = 10.0  # seconds for the lock: the station looks at it for moments
_POLITE = 5  # the line's inspections go first
_OFTEN = 2  # of each kind of pictures that are shown with a heatmap


def main(folder: Path) -> int:
    """Learns what a folder's job says; returns the process's exit code."""
    place = Place(folder)
    with place.held(_PATIENCE) as free:
        if not free:
            _log.warning("%s is learnt by another process", folder)
            return IN_USE
        if hasattr(os, "nice"):
            os.nice(_POLITE)
        teller = _Teller(place)
        try:
            result = _learnt(place, place.job(), teller)
        except Exception as error:
            _log.exception("Nothing is learnt")
            reason = _named(explained(error, place.log), place)
            teller.end(replace(teller.said, state="failed", reason=reason, time=time.time()))
            return 1
        teller.end(
            replace(
                teller.said, state="learnt", share=1.0, left=0.0, result=result, time=time.time()
            )
        )
    return 0


class _Teller:
    """Says how far the work is, now and then."""

    def __init__(self, place: Place) -> None:
        self._place, self._pace = place, Pace(0, export=False)
        self._started = time.monotonic()
        self._told = float("-inf")
        self.said = Said(pid=os.getpid(), stage="Starting", time=time.time())
        self._place.say(self.said)

    def begin(self, job: Job) -> None:
        self._pace = Pace(len(job.pictures), export=job.export)
        self.said = replace(self.said, left=self._pace.whole, time=time.time())
        self._place.say(self.said)

    def __call__(self, what: str, done: int, total: int, loss: float | None = None) -> None:
        del loss
        now = time.monotonic()
        far = self._pace.far(what, done, total, now - self._started)
        new = far.stage != self.said.stage
        self.said = replace(self.said, **vars(far), time=time.time())
        if new or now - self._told >= _EVERY:
            self._told = now
            with suppress(OSError):  # a full disk stops the learning itself, which says so
                self._place.say(self.said)

    def end(self, said: Said) -> None:
        self._place.say(said)


def _learnt(place: Place, job: Job, teller: _Teller) -> dict[str, Any]:
    from nfbmr.fitting import fit

    teller.begin(job)
    started = time.monotonic()
    with _noticed() as warnings:
        inspector = fit(
            [place.pictures / one.file for one in job.pictures],
            place.model(job.name),
            settings=from_dict(job.settings),
            device=job.device,
            cache=FeatureCache(place.cache),
            progress=teller,
            export=job.export,
        )
    inspector = _with_known_names(inspector, job)
    seconds = max(time.monotonic() - started, inspector.facts.fit_seconds)
    found = _result(inspector) | {
        "seconds": seconds,
        "warnings": [_named(one, place) for one in warnings],
        "heats": _heats(inspector, place, job, teller),
    }
    place.forget_work(job.name)
    return found


def _with_known_names(inspector: Inspector, job: Job) -> Inspector:
    """Has the model call pictures as people do; their files here have the station's own names."""
    names = {one.pixels: one.name for one in job.pictures}
    changed = inspector.with_calibration(with_names(inspector.calibration, names))
    changed.save_calibration()
    return changed


def _result(inspector: Inspector) -> dict[str, Any]:
    now, facts = inspector.calibration, inspector.facts
    return {
        "trained": facts.n_train,
        "held_out": facts.n_held_out,
        "everyone": facts.everyone(inspector.settings),
        "size": list(inspector.size),
        "scores": list(now.scores),
        "threshold": now.threshold,
        "look_threshold": now.look_threshold,
        "false_alarm_rate": now.false_alarm_rate,
        "look_rate": now.look_rate,
        "expected_rate": now.attainable_rate,
        "interval": list(now.rate_interval()),
        "extrapolated": now.extrapolated,
        "sentences": now.describe(),
        "odd": [vars(one) for one in odd_ones(now, inspector.settings.scoring)],
        "runtime": inspector.runtime.name,
    }


def _heats(inspector: Inspector, place: Place, job: Job, teller: _Teller) -> list[dict[str, Any]]:
    """Returns first heatmaps: of the pictures with the highest scores, and of typical ones."""
    files = {one.pixels: place.pictures / one.file for one in job.pictures}
    chosen = _chosen(inspector.calibration)
    found = []
    for done, (kind, pixels, score) in enumerate(chosen):
        teller(TRYING, done, len(chosen))
        result = inspector.inspect(files[pixels])
        png = heat.to_keep(result)
        found.append(
            {
                "kind": kind,
                "pixels": pixels,
                "score": score,
                "png": None if png is None else base64.b64encode(png).decode("ascii"),
            }
        )
    return found


def _chosen(calibration: Calibration) -> list[tuple[str, str, float]]:
    """Returns kind, hash and score of the pictures that are shown; scores ascend."""
    n = len(calibration.scores)
    places = dict.fromkeys(range(n - 1, max(-1, n - 1 - _OFTEN), -1), "highest")
    typical = [n // 2 + step for step in range(_OFTEN)]
    places = dict.fromkeys(typical, "typical") | places
    return [
        (kind, calibration.pictures[at], calibration.scores[at])
        for at, kind in sorted(places.items(), reverse=True)
        if at < n
    ]


@contextmanager
def _noticed() -> Iterator[list[str]]:
    """Collects what the learning warns of."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    collector, logger = Collector(logging.WARNING), logging.getLogger("nfbmr")
    logger.addHandler(collector)
    try:
        yield found
    finally:
        logger.removeHandler(collector)


def _named(text: str, place: Place) -> str:
    """Calls pictures by the names that people know, instead of the station's own."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        for one in place.job().pictures:
            for known in (str(place.pictures / one.file), one.file):
                text = text.replace(known, f"'{one.name}'")
    return text


def explained(error: Exception, log: Path) -> str:
    """Says in plain words why nothing was learnt, and what to do."""
    if isinstance(error, NfbmrError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{error.name} is not installed, so this machine cannot learn; to learn here, "
            f"{how_to_install('train')}, then start again"
        )
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return (
            "the memory of this machine did not suffice; end what else runs here, or give smaller "
            "pictures or the preset fast, then start again"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk of {log.parent} is full; free space there, then start again"
    said = f"{type(error).__name__}: {error}"
    return f"the program failed ({said}); {log} says where. Start again once; then report it"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    sys.exit(main(Path(sys.argv[1])))
