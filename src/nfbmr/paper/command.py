"""`nfbmr paper`: the experiments, from data sets on disk to tables, figures and one page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nfbmr.data.collections import DAGM_2007, MVTEC_AD, categories
from nfbmr.errors import DataError
from nfbmr.learning.estimates import duration
from nfbmr.paper.figures import draw_figures
from nfbmr.paper.ledger import Ledger, alone_in
from nfbmr.paper.page import write_page, write_tables
from nfbmr.paper.plan import (
    Estimator,
    Request,
    Source,
    Task,
    check_systems,
    left_to_do,
    make_tasks,
    read_source,
)
from nfbmr.paper.runner import EXHIBITED, Failed, run_tasks
from nfbmr.paper.systems import wanted_systems
from nfbmr.paper.tables import build_tables
from nfbmr.system.devices import choose_device
from nfbmr.system.progress import Progress, silent
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

RESULTS, PAGE = "results.jsonl", "paper.html"


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the pictures are."""

    mvtec: Path | None = None
    """A folder of MVTec AD categories; others of that layout count as further ones."""
    dagm: Path | None = None
    """A folder of DAGM 2007 classes."""
    others: tuple[tuple[str, Path], ...] = ()
    """Name and path of further data sets, of any layout that `nfbmr fit` reads."""
    only: tuple[str, ...] = ()
    """Categories to keep; all where it is empty."""


def read_sources(data: Data) -> tuple[list[Source], list[Failed]]:
    """Reads the categories asked for; one that cannot be used does not stop the others.

    Raises:
        DataError: no data were named, or a category asked for is not there.
        LayoutError: a folder holds no categories.
    """
    named: list[tuple[str, str, Path]] = []
    for dataset, root, other in (
        ("mvtec", data.mvtec, DAGM_2007),
        ("dagm", data.dagm, MVTEC_AD),
    ):
        if root is not None:  # both sets may lie in one folder
            found = categories(root).items()
            named += [(dataset, name, path) for name, path in found if name not in other.counts]
    named += [("other", name, path) for name, path in data.others]
    if not named and (data.mvtec or data.dagm):
        raise DataError(
            "found products of the other official set alone; expected MVTec AD's categories with "
            "--mvtec and DAGM 2007's classes with --dagm; exchange the two"
        )
    if not named:
        raise DataError(
            "no data: give --mvtec DIR, --dagm DIR or --data NAME=PATH; with --dry-run alone the "
            "official sets are planned for"
        )
    if absent := set(data.only) - {name for _, name, _ in named}:
        raise DataError(
            f"categories not found: {', '.join(sorted(absent))}; "
            f"there are {', '.join(name for _, name, _ in named)}"
        )
    sources, failed = [], []
    for dataset, name, path in named:
        if data.only and name not in data.only:
            continue
        try:
            sources.append(read_source(dataset, name, path))
        except DataError as error:
            failed.append(Failed(name=f"{dataset} {name}", reason=str(error)))
            _log.warning("%s %s is left out: %s", dataset, name, error)
    if not sources:
        raise DataError(f"nothing can be used: {'; '.join(one.reason for one in failed)}")
    return sources, failed


def reproduce(
    data: Data,
    out: Path,
    request: Request,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> list[Failed]:
    """Computes the rows that are missing, then writes tables, figures and the page.

    Args:
        data: where the pictures are.
        out: the results folder; a killed run goes on from what it finds there.
        request: which rows.
        device: `auto`, `cpu`, `cuda`, ...
        progress: hears each step.

    Returns:
        The categories that failed; the others are finished.

    Raises:
        NfbmrError: nothing can be done at all.
    """
    sources, failed = read_sources(data)
    tasks = make_tasks(sources, request)
    chosen = _device(device, request)
    with alone_in(out):
        ledger = Ledger(out / RESULTS)
        try:
            failed += run_tasks(tasks, request, ledger, out, chosen, progress)
        except KeyboardInterrupt:  # what is finished can be looked at
            publish(tasks, ledger, out, request)
            raise
        publish(tasks, ledger, out, request)
    return failed


def _device(name: str, request: Request) -> torch.device:
    settings = request.system(EXHIBITED, request.seeds[0]).settings
    return choose_device(name, small=settings.backbone.small)


def publish(tasks: Sequence[Task], ledger: Ledger, out: Path, request: Request) -> None:
    """Writes tables, figures and the page of the rows that are there."""
    # A row of other settings is not shown beside those of these.
    rows = ledger.rows(task.key for task in tasks if ledger.has(task.key, task.mark))
    if not rows:
        return
    tables = build_tables(rows, request.tables)
    write_tables(out / "tables", tables)
    settings = request.system(EXHIBITED, request.seeds[0]).settings
    figures = draw_figures(rows, settings, out, out / "figures")
    write_page(out / PAGE, tables, figures, rows)
    _log.info("%s: %s", counted(len(rows), "row"), out / PAGE)


def describe_plan(data: Data, out: Path | None, request: Request, device: str) -> list[str]:
    """Returns the plan as lines: rows, which are there, and the time that the rest will take.

    Args:
        data: where the pictures are; without any, the official sets are planned for.
        out: the results folder; None where there is none yet.
        request: which rows.
        device: `auto`, `cpu`, `cuda`, ...

    Raises:
        NfbmrError: as `reproduce`.
    """
    estimator = Estimator(request.backbone, _device(device, request))
    if data.mvtec is None and data.dagm is None and not data.others:
        return _official_plan(estimator, request)
    sources, failed = read_sources(data)
    tasks = make_tasks(sources, request)
    todo = tasks if out is None else left_to_do(tasks, Ledger(out / RESULTS))
    times = dict(zip((task.key for task in todo), estimator.rows(todo), strict=True))
    lines = []
    for task in tasks:
        key = task.key
        state = f"about {duration(times[key])}" if key in times else "there already"
        lines.append(f"{key.dataset} {key.category} {key.system} seed {key.seed}: {state}")
    lines += [f"{one.name}: cannot be used: {one.reason}" for one in failed]
    total = duration(sum(times.values()))
    return [
        *lines,
        f"{counted(len(tasks), 'row')}, {len(todo)} to compute: about {total} on "
        f"{estimator.device}",
    ]


def _official_plan(estimator: Estimator, request: Request) -> list[str]:
    """Plans for the official sets by their known counts, without any data."""
    check_systems(("mvtec", "dagm"), request)
    lines, total = [], 0.0
    for dataset, collection in (("mvtec", MVTEC_AD), ("dagm", DAGM_2007)):
        shared: set[tuple[object, ...]] = set()
        spent = 0.0
        for category, counts in collection.counts.items():
            n, n_test = counts.train_good, counts.test_good + counts.test_defective
            for seed in request.seeds:
                for key in wanted_systems(dataset, request.tables, request.systems):
                    system = request.system(key, seed)
                    spent += estimator.of(system, n, n_test, (category, seed), shared)
        lines.append(
            f"{collection.title}: {len(collection.counts)} categories, "
            f"{sum(counts.train_good for counts in collection.counts.values())} pictures to learn "
            f"from, seeds {', '.join(map(str, request.seeds))}: about {duration(spent)}"
        )
        total += spent
    return [*lines, f"the whole of the paper: about {duration(total)} on {estimator.device}"]
