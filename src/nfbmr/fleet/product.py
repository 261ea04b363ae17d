"""One product of a fleet, from its pictures to its figures.

`python -m nfbmr.fleet.product FILE PARENT` does the order in a file, and ends with its parent.

Whoever works on a product says in its state file how far it is. A fit that was killed goes on from
its work folder; a model that stands is not learnt again where only its test was broken off.
"""

from __future__ import annotations

import json
import logging
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from nfbmr.data.layouts import read_data
from nfbmr.errors import DataError, NfbmrError
from nfbmr.evaluation.evaluate import evaluate
from nfbmr.features.cache import FeatureCache
from nfbmr.fitting import fit
from nfbmr.fleet.fitness import misfits
from nfbmr.fleet.parent import alone, end_with
from nfbmr.fleet.place import BEAT_SECONDS, Place, State, this_process
from nfbmr.fleet.plan import Product, Resources
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.learning.crew import HERE, Helpers
from nfbmr.settings.changes import from_dict, to_dict
from nfbmr.system.files import written_beside

_MOST_WARNINGS = 40
_SAY_SECONDS = 2.0  # between two words of how far it is
_FIGURES = (
    *("image_auroc", "aupro", "recall", "precision", "f1"),
    *("false_alarm_rate_observed", "false_alarm_interval", "n_good", "n_defective", "inspect_ms"),
)
_UNLIMITED = 2**62  # bytes: a cache of one product's own goes with its fit


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a process is to do."""

    product: Product
    models: Path
    own_features: bool
    """Whether features lie beside the state, where every node sees them; else in the cache."""

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        product = self.product
        values = {
            "name": product.name,
            "data": str(product.data),
            "test": str(product.test),
            "ignore": None if product.ignore is None else str(product.ignore),
            "settings": to_dict(product.settings),
            "resources": vars(product.resources),
            "models": str(self.models),
            "own_features": self.own_features,
        }
        with written_beside(path) as beside:
            beside.write_text(json.dumps(values), encoding="utf-8")

    @staticmethod
    def read(path: Path) -> Order:
        """Reads it back."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        product = Product(
            name=values["name"],
            data=Path(values["data"]),
            test=Path(values["test"]),
            ignore=None if values["ignore"] is None else Path(values["ignore"]),
            settings=from_dict(values["settings"]),
            resources=Resources(**values["resources"]),
        )
        return Order(
            product=product, models=Path(values["models"]), own_features=values["own_features"]
        )


def fit_product(order: Order, helpers: Helpers = HERE) -> State:
    """Learns, calibrates, exports and tests one product in this process; returns its last state.

    What goes wrong ends in a state that says so, but for the end of the process itself.

    Args:
        order: what to do; its state is there, and says what the model is to rest on.
        helpers: who computes features and trains.
    """
    import torch

    torch.set_num_threads(order.product.resources.cpus)
    with _at_work(order) as work:
        try:
            work.end(_fitted(order, work, helpers))
        except NfbmrError as error:
            work.fail(str(error))
        except (KeyboardInterrupt, SystemExit):
            work.say(status="stopped")
            raise
        except Exception as error:  # one product does not stop the others
            _log.error("%s", traceback.format_exc())
            work.fail(f"{type(error).__name__}: {error}")
    return work.state


_log = logging.getLogger(__name__)


class _Work:
    """Says how far a product is, and that it is still at work."""

    def __init__(self, place: Place, state: State) -> None:
        self._place, self._lock = place, Lock()
        self._began, self._before = time.monotonic(), state.seconds
        self._said = 0.0
        self.warnings: list[str] = []
        self.state = state

    def say(self, **changed: Any) -> None:
        """Writes the state with some of it changed."""
        with self._lock:
            self._said = time.monotonic()
            seconds = self._before + self._said - self._began
            peak = _peak_mb()
            now = replace(self.state, seconds=seconds, peak_mb=peak, **changed)
            try:
                self.state = self._place.write(now)
            except OSError as error:  # a full disk: what is learnt may still be kept
                self.state = now
                _log.warning("the state cannot be written: %s", error)

    def __call__(self, what: str, done: int, total: int, loss: float | None = None) -> None:  # noqa: ARG002
        """Hears how far the work is."""
        if what != self.state.what or time.monotonic() - self._said > _SAY_SECONDS:
            self.say(what=what, done=done, total=total)

    def end(self, found: dict[str, Any]) -> None:
        """Says that all is done."""
        self.say(status="done", what="", warnings=tuple(self.warnings), **found)

    def fail(self, error: str) -> None:
        """Says why it cannot be done."""
        _log.error("%s", error)
        self.say(status="failed", what="", warnings=tuple(self.warnings), error=error)


@contextmanager
def _at_work(order: Order) -> Iterator[_Work]:
    """Keeps the state fresh and the log written while the body runs."""
    place = Place(order.models)
    name = order.product.name
    known = place.read(name) or State(product=name)
    work = _Work(place, known)
    work.say(
        status="running",
        attempts=known.attempts + 1,
        where=this_process(),
        error="",
        what="",
    )
    ended = Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            work.say()

    thread = Thread(target=beat, name="nfbmr-beat", daemon=True)
    thread.start()
    try:
        with _logged(place.folder(name) / "log.txt", work.warnings):
            yield work
    finally:
        ended.set()
        thread.join()


@contextmanager
def _logged(path: Path, warnings: list[str]) -> Iterator[None]:
    """Writes what the package says to a file, and gathers its warnings."""

    class Gathered(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING and len(warnings) < _MOST_WARNINGS:
                warnings.append(record.getMessage())

    logger = logging.getLogger("nfbmr")
    file = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handlers: tuple[logging.Handler, ...] = (file, Gathered())
    level = logger.level
    logger.setLevel(min(level or logging.INFO, logging.INFO))
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)


def _fitted(order: Order, work: _Work, helpers: Helpers) -> dict[str, Any]:
    """Does what is not done yet; returns what the state says of it."""
    product, place = order.product, Place(order.models)
    model = place.model(product.name)
    threads = product.resources.cpus
    # Of a product that workers learn together this process does what is left, without a GPU.
    device = product.device if product.resources.workers == 1 else "cpu"
    own = place.folder(product.name) / "features"
    if work.state.fitted and place.fitted(product.name) == work.state.fitted:
        inspector = load(model, device=device, threads=threads)
        work.warnings += work.state.warnings  # of its fit
    else:
        fit(
            product.data,
            model,
            settings=product.settings,
            ignore=None if product.ignore is None else str(product.ignore),
            device=device,
            cache=FeatureCache(own, _UNLIMITED) if order.own_features else None,
            progress=work,
            helpers=helpers,
        )
        work.say(fitted=place.fitted(product.name), warnings=tuple(work.warnings))
        inspector = load(model, device=device, threads=threads)
    shutil.rmtree(own, ignore_errors=True)  # a kill may have left them
    figures = _figures_of(inspector)
    tested = _tested(product, inspector, place, work)
    scores = None if tested is None else tested.pop("good_scores")
    return {
        "figures": figures | (tested or {}),
        "misfit": tuple(misfits(inspector.calibration, inspector.facts, scores)),
    }


def _figures_of(inspector: Inspector) -> dict[str, Any]:
    facts, calibration = inspector.facts, inspector.calibration
    return {
        "n_train": facts.n_train,
        "n_held_out": facts.n_held_out,
        "size": list(facts.size),
        "fit_seconds": round(facts.fit_seconds, 1),
        "false_alarm_rate_asked": calibration.false_alarm_rate,
        "threshold_extrapolated": calibration.extrapolated,
        "runtime": inspector.runtime.name,
    }


def _tested(
    product: Product, inspector: Inspector, place: Place, work: _Work
) -> dict[str, Any] | None:
    """Evaluates the model where there is a test set; returns its figures."""
    test = read_data(product.test)
    if not test.test and product.test == product.data:
        return None
    found = evaluate(inspector, product.test, place.evaluation(product.name), progress=work)
    good = [
        float(score)
        for sample, score in zip(found.samples, found.scores, strict=True)
        if sample.is_labelled and not sample.is_defect
    ]
    return {name: found.metrics[name] for name in _FIGURES} | {"good_scores": good}


def _peak_mb() -> int:
    """Returns the peak of this process's memory; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (2**20 if sys.platform == "darwin" else 2**10))


def main() -> None:
    """Does the order of a file; the state says how it ended."""
    # A stop is an end like any other: where the fit stands is kept.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    logging.getLogger("nfbmr").propagate = False  # standard error is the same log
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m nfbmr.fleet.product ORDER.json PARENT")
    end_with(int(sys.argv[2]))
    try:
        order = Order.read(Path(sys.argv[1]))
    except (OSError, ValueError) as error:
        raise DataError(f"{sys.argv[1]}: cannot be read as an order ({error})") from None
    with alone(Place(order.models).folder(order.product.name) / "lock"):
        fit_product(order)


if __name__ == "__main__":
    main()
