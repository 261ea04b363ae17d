"""Runs the rows of a plan, one category after the other, and keeps each as it finishes."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from nfbmr.errors import DataError, NfbmrError, TrainingError
from nfbmr.learning.estimates import duration
from nfbmr.paper.exhibits import write_exhibits
from nfbmr.paper.ledger import Ledger
from nfbmr.paper.measurement import measure
from nfbmr.paper.plan import Estimator, Request, Task, left_to_do
from nfbmr.paper.product import Product
from nfbmr.system import provenance
from nfbmr.system.progress import Progress, silent
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

EXHIBITED = "nf-bmr-2"
"""The system whose maps the figures show, with the first seed."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A category that could not be finished, and why."""

    name: str
    reason: str


def run_tasks(
    tasks: Sequence[Task],
    request: Request,
    ledger: Ledger,
    results: Path,
    device: torch.device,
    progress: Progress = silent,
) -> list[Failed]:
    """Computes the rows that are not there; a category that fails does not stop the others.

    Args:
        tasks: from `make_tasks`.
        request: that they were made from.
        ledger: of the finished rows.
        results: the folder; scores and exhibits are written there, too.
        device: where to compute.
        progress: hears each step.

    Returns:
        The categories that failed.
    """
    todo = left_to_do(tasks, ledger)
    _log.info("%s, %d there already", counted(len(tasks), "row"), len(tasks) - len(todo))
    if not todo:
        return []
    clock = _Clock(Estimator(request.backbone, device).rows(todo))
    failed = []
    done = 0
    by_category = itertools.groupby(todo, lambda task: (task.key.dataset, task.key.category))
    for (dataset, category), group in by_category:
        own = list(group)
        work = results / ".work" / dataset / category
        if any(one.is_symlink() for one in (work, work.parent)):
            raise DataError(
                f"{work}: found a link; expected a folder of this program's own, for it is deleted "
                "when the category is finished; remove the link"
            )
        first = own[0]
        white = first.system.settings.data.white
        product = Product(first.source.found, request.backbone, work, device, progress, white=white)
        try:
            for number, task in enumerate(own, start=done + 1):
                line = _run(task, product, request, ledger, results, device)
                _log.info("[%d of %d] %s; %s", number, len(todo), line, clock.tick())
        except (NfbmrError, torch.OutOfMemoryError) as found:
            error = found if isinstance(found, NfbmrError) else _out_of_memory(found)
            failed.append(Failed(name=f"{dataset} {category}", reason=str(error)))
            _log.warning("%s %s failed: %s", dataset, category, error)
            clock.skip(done + len(own))
        else:
            product.close()
        done += len(own)
    _remove_empty(results / ".work")
    return failed


def _out_of_memory(error: Exception) -> NfbmrError:
    return TrainingError(
        f"the device's memory is full ({str(error).splitlines()[0]}); give smaller batches, such "
        "as --set stage_one.batch=2 --set stage_two.batch=2, or another --device"
    )


def _remove_empty(folder: Path) -> None:
    """Removes a folder of folders in which nothing is left; a link is somebody else's."""
    if folder.is_dir() and not folder.is_symlink():
        for child in folder.iterdir():
            _remove_empty(child)
        with suppress(OSError):  # it holds something, or another process was faster
            folder.rmdir()


def _run(
    task: Task,
    product: Product,
    request: Request,
    ledger: Ledger,
    results: Path,
    device: torch.device,
) -> str:
    """Computes one row and keeps it; returns a line for the screen."""
    key = task.key
    learnt = product.learn(task.system)
    place = Path(key.dataset) / key.category
    scores = results / "scores" / place / f"{key.system}-{key.seed}.csv"
    row = measure(product, task.system, learnt, scores)
    if key.system == EXHIBITED and key.seed == request.seeds[0]:
        write_exhibits(product, learnt, results / "exhibits" / f"{place}.npz", request.weights)
    about = {**key._asdict(), "mark": task.mark, "backbone": request.backbone}
    ledger.add(about | row | {"device": str(device), "created": provenance.now()})
    auroc = 100 * row["image_auroc"]
    return f"{key.category}, {key.system}, seed {key.seed}: AUROC {auroc:.2f} %"


class _Clock:
    """The time left over the whole plan: the estimate, corrected by how the first rows went."""

    def __init__(self, expected: list[float]) -> None:
        self._expected = expected
        self._started = time.monotonic()
        self._done = 0

    def tick(self) -> str:
        """Notes a finished row; returns the time left, in words."""
        self._done += 1
        spent = time.monotonic() - self._started
        past, left = sum(self._expected[: self._done]), sum(self._expected[self._done :])
        return f"about {duration(left * spent / past if past else 0.0)} left"

    def skip(self, done: int) -> None:
        """Leaves out the rows that will not be computed."""
        self._expected[self._done : done] = [0.0] * (done - self._done)
        self._done = done
