"""What the figures are drawn from, read back from a results folder: scores and exhibits.

Shapes: N = test pictures, k = exhibits, h w = a thumbnail, H' W' = grid, m = vectors, C = channels.
"""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.paper.aggregates import Category, Row, category_of

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Exhibits = dict[str, NDArray[Any]]
"""The arrays of one category's file of exhibits, by name."""

Shown = list[tuple[Category, Exhibits]]
"""Categories with their exhibits, in the order in which they are drawn."""

COVERED = 0.25
"""Share of an area that a mask covers at the least where the area counts as defective."""

OUTDATED = (
    "an earlier version kept the exhibits, without what this figure shows; to have it, take the "
    "row of NF-BMR, n = 2, out of results.jsonl and run again"
)
"""Why a category is passed over whose row is not computed again by itself."""

_NEEDED = frozenset(
    (
        *("images", "masks", "has_mask", "is_defect", "names", "defects", "heatmaps"),
        *("tnf", "vectors_source", "vectors_other", "vectors_target", "vectors_is_defect"),
        "other_name",
    )
)
"""What every file of exhibits holds; figures that show more ask `holding` for it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """The scores of one system on one category's test.

    Attributes:
        score: (N,) the image scores, finite.
        is_defect: (N,).
        seed: of the run.
    """

    score: Floats
    is_defect: Bools
    seed: int

    @property
    def has_both(self) -> bool:
        """Whether there are good and defective pictures."""
        return bool(self.is_defect.any() and not self.is_defect.all())


def read_scores(
    results: Path, rows: Iterable[Row], system: str, category: Category
) -> Scores | None:
    """Reads the scores of the lowest seed; None where they are absent, damaged or not finite.

    Args:
        results: the results folder.
        rows: which runs there are.
        system: the key.
        category: whose test.
    """
    seeds = [
        int(row["seed"]) for row in rows if row["system"] == system and category_of(row) == category
    ]
    if not seeds:
        return None
    folder = results / "scores" / category.dataset / category.name
    try:
        path = folder / f"{system}-{min(seeds)}.csv"
        with path.open(encoding="utf-8", newline="") as stream:
            lines = list(csv.DictReader(stream))
        score = np.array([float(line["score"]) for line in lines])
        is_defect = np.array([line["label"] != "good" for line in lines], dtype=np.bool_)
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None
    if not len(score) or not np.isfinite(score).all():
        return None
    return Scores(score=score, is_defect=is_defect, seed=min(seeds))


def read_exhibits(results: Path, category: Category) -> Exhibits | None:
    """Reads a category's exhibits; None where they are absent or damaged.

    Args:
        results: the results folder.
        category: whose pictures.
    """
    path = results / "exhibits" / category.dataset / f"{category.name}.npz"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except (
        *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error),
    ):
        return None
    return found if found.keys() >= _NEEDED else None


def exhibits_of(results: Path, categories: Iterable[Category]) -> Shown:
    """Reads the exhibits of those categories that have any picture in them."""
    found = [(category, read_exhibits(results, category)) for category in categories]
    return [(category, one) for category, one in found if one is not None and len(one["images"])]


def holding(shown: Shown, *names: str) -> tuple[Shown, list[Category]]:
    """Parts categories: those whose exhibits hold arrays of these names, and the `OUTDATED`."""
    new = [(category, one) for category, one in shown if one.keys() >= set(names)]
    return new, [category for category, one in shown if not one.keys() >= set(names)]
