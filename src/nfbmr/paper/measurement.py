"""One row: a system learns a category, and its figures are taken on the test.

The figures come from the same lines as `nfbmr evaluate`; labels enter there and in `metrics`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import TrainingError
from nfbmr.evaluation.evaluate import Collected, collect, figures
from nfbmr.evaluation.metrics import best_f1, image_auroc
from nfbmr.inspection.result import About, Failure, Inspection
from nfbmr.learning.training_data import CHUNK
from nfbmr.paper.ledger import Row
from nfbmr.paper.product import Learnt, Product
from nfbmr.paper.systems import System
from nfbmr.scoring.maps import statistics
from nfbmr.settings.schema import ScoringSettings
from nfbmr.system.files import spreadsheet_cell, written_beside

_STATISTICS: tuple[Any, ...] = ("max", "top", "mean")
_FIGURES = (
    *("image_auroc", "image_ap", "precision", "recall", "f1", "pixel_auroc", "aupro"),
    *("false_alarm_rate_asked", "false_alarm_rate_observed", "threshold_extrapolated"),
    *("n_good", "n_defective", "n_train", "n_held_out", "inspect_ms", "settings_hash"),
    *("commit", "versions"),
)


_OF_THRESHOLD = (
    *("precision", "recall", "f1"),
    *("false_alarm_rate_asked", "false_alarm_rate_observed", "threshold_extrapolated"),
)


def measure(product: Product, system: System, learnt: Learnt, scores: Path) -> Row:
    """Takes the figures of a system on the test and writes its scores.

    Args:
        product: the category.
        system: that has learnt it.
        learnt: what it learnt.
        scores: the CSV file to write: path, label, score, p_value, and of a system whose score
            rests on one map also that map's maximum, top and mean.

    Returns:
        The row, without the keys that say what it is about.

    Raises:
        TrainingError: the network's values for a picture are not finite.
    """
    collected = collect(_judged(product, learnt), product.test)
    if collected.failures:
        raise TrainingError(
            f"{product.name}, {system.key}: {collected.failures[0]}; the row would leave out "
            "pictures of the test"
        )
    found = figures(learnt.inspector, collected)
    is_defect = np.array([sample.is_defect for sample in collected.samples])
    row: Row = {name: found[name] for name in _FIGURES}
    if not found["n_held_out"]:  # then a threshold and its errors would mean nothing
        row |= dict.fromkeys(_OF_THRESHOLD)
    row |= best_f1(np.array(collected.scores), is_defect)
    table = _one_map(system, learnt)
    for column, name in enumerate(_STATISTICS):
        auroc = None if table is None else image_auroc(table[:, column], is_defect)
        row[f"auroc_{name}"] = auroc
    if system.pair is not None:  # the settings alone do not name the two networks
        row["settings_hash"] = system.mark("")
    row["fit_seconds"] = round(learnt.fit_seconds, 2)
    row["weights"] = learnt.weights
    row["losses"] = learnt.inspector.facts.losses
    _write_scores(scores, collected, table, calibrated=bool(found["n_held_out"]))
    return row


def _judged(product: Product, learnt: Learnt) -> Iterator[Inspection | Failure]:
    assert not learnt.inspector.settings.scoring.by_judges, "their heatmaps need the pictures"
    sizes = product.test_sizes
    for start in range(0, len(sizes), CHUNK):
        chosen = range(start, min(start + CHUNK, len(sizes)))
        pictures = [About(path=str(product.test[i].path), size=sizes[i]) for i in chosen]
        yield from learnt.inspector.judge(learnt.maps[chosen.start : chosen.stop], pictures)


def _one_map(system: System, learnt: Learnt) -> NDArray[np.float64] | None:
    """Returns maximum, top and mean (N, 3) of the map, where the score rests on one map."""
    settings = system.settings.scoring
    if len(settings.maps) != 1:
        return None
    every = ScoringSettings(
        maps=settings.maps, statistics=_STATISTICS, top_share=settings.top_share
    )
    return statistics(learnt.maps, every)


def _write_scores(
    path: Path, collected: Collected, table: NDArray[np.float64] | None, *, calibrated: bool
) -> None:
    header = ["path", "label", "score", "p_value"]
    with (
        written_beside(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(header + ([] if table is None else list(_STATISTICS)))
        rows = zip(collected.samples, collected.scores, collected.p_values, strict=True)
        for number, (sample, score, p_value) in enumerate(rows):
            names = [spreadsheet_cell(str(sample.path)), spreadsheet_cell(sample.defect)]
            extra = [] if table is None else [repr(float(value)) for value in table[number]]
            writer.writerow([*names, repr(score), p_value if calibrated else "", *extra])
