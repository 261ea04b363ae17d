"""Rows to means: which rows belong together, over seeds and over categories.

A row is one line of `results.jsonl`. Its shares are in [0, 1], and any of them may be None; means
here are in percent. The paper's means are taken over official categories alone, all others are
*further* sets.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nfbmr.data.collections import TEXTURES
from nfbmr.paper.published import CATEGORIES, OBJECTS

Row = dict[str, Any]

TITLES = {
    "nf-bmr-1": "NF-BMR, n = 1",
    "nf-bmr-2": "NF-BMR, n = 2",
    "nf-bmr-3": "NF-BMR, n = 3",
    "nf-b-pfm": "NF + B-PFM",
    "nf": "NF alone",
    "nfbmr": "nfbmr's own score",
    "pfm": "PFM",
    "b-pfm": "B-PFM",
    "mb-pfm": "MB-PFM",
}
"""System -> its name in tables and figures."""

OWN_SCORE = "nfbmr's own score is taken on NF-BMR, n = 2: four maps and twelve statistics."

SET_TITLES = {"mvtec": "MVTec AD", "dagm": "DAGM 2007", "further": "Further sets"}
"""Set -> its name; every category outside the official ones is in the last."""

RANDOM_WARNING = "Random weights: no figures of accuracy"


class Category(NamedTuple):
    """One product of one data set."""

    dataset: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean and how far it can be trusted.

    Attributes:
        value: in percent.
        spread: sample standard deviation over seeds, in points; None with one seed.
        seeds: how many it rests on; 0 where no seed has all categories.
        n: categories that it rests on.
        of: categories that there should be.
        is_random: a row in it was made with random weights.
    """

    value: float
    spread: float | None
    seeds: int
    n: int = 1
    of: int = 1
    is_random: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether no category is missing."""
        return self.n == self.of


def category_of(row: Row) -> Category:
    """Returns what the row is about."""
    return Category(str(row["dataset"]), str(row["category"]))


def set_of(category: Category) -> str:
    """Returns the key of `SET_TITLES` that a category belongs to."""
    is_official = category.name in CATEGORIES.get(category.dataset, ())
    return category.dataset if is_official else "further"


def categories_of(rows: Iterable[Row], of_set: str = "") -> list[Category]:
    """Returns the categories that have rows: textures, objects, classes, then further ones.

    Args:
        rows: any.
        of_set: a key of `SET_TITLES` to keep one set; "" keeps all.
    """
    found = {category_of(row) for row in rows}
    return sorted((one for one in found if of_set in ("", set_of(one))), key=_place)


def _place(category: Category) -> tuple[int, int, list[tuple[int, str]], str]:
    place = list(SET_TITLES).index(set_of(category))
    group = int(category.name in OBJECTS)
    return place, group, natural(category.name), category.dataset


def natural(text: str) -> list[tuple[int, str]]:
    """Returns a key to sort by in which Class2 comes before Class10."""
    parts = re.findall(r"\d+|\D+", text)
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in parts]


def group_categories(rows: Iterable[Row], group: str) -> list[Category]:
    """Returns the categories with rows of `textures`, `objects`, `mvtec`, `dagm` or `further`."""
    if group in SET_TITLES:
        return categories_of(rows, group)
    names = TEXTURES if group == "textures" else OBJECTS
    return [one for one in categories_of(rows, "mvtec") if one.name in names]


def group_size(rows: Iterable[Row], group: str) -> int:
    """Returns how many categories a group has when it is complete."""
    sizes = {"textures": len(TEXTURES), "objects": len(OBJECTS)}
    sizes |= {dataset: len(names) for dataset, names in CATEGORIES.items()}
    return sizes[group] if group in sizes else len(categories_of(rows, "further"))


def is_random(row: Row) -> bool:
    """Whether the row was made with random weights, so that its accuracy means nothing."""
    return bool(re.search(r"(^| and )random\b", str(row.get("weights", ""))))


def number(row: Row, figure: str) -> float | None:
    """Returns a figure of the row; None where it is missing or not finite."""
    value = row.get(figure)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def by_seed(rows: Iterable[Row], system: str, category: Category, figure: str) -> dict[int, float]:
    """Returns seed -> figure of one system on one category; of equal rows the last one counts."""
    found: dict[int, float] = {}
    for row in rows:
        if row["system"] == system and category_of(row) == category:
            value = number(row, figure)
            if value is not None:
                found[int(row["seed"])] = value
    return dict(sorted(found.items()))


def over_seeds(rows: Sequence[Row], system: str, category: Category, figure: str) -> Mean | None:
    """Returns the mean over seeds of one system on one category; None without a figure."""
    return over_categories(rows, system, [category], 1, figure)


def over_categories(
    rows: Sequence[Row], system: str, categories: Sequence[Category], of: int, figure: str
) -> Mean | None:
    """Returns the mean over seeds of the mean over categories, and its spread over seeds.

    Only seeds that have all categories with any figure count, since a seed that lacks the hard
    ones would look better. Where no seed has them all, the mean over the categories' own means is
    given, without a spread.

    Args:
        rows: any; those of other systems are passed over.
        system: the key.
        categories: those to take the mean over, as far as they have figures.
        of: how many there should be.
        figure: its name, a share in [0, 1].
    """
    tables = [by_seed(rows, system, category, figure) for category in categories]
    tables = [table for table in tables if table]
    if not tables:
        return None
    complete = set(tables[0]).intersection(*tables[1:])
    if complete:
        values = [statistics.fmean(table[seed] for table in tables) for seed in sorted(complete)]
    else:
        values = [statistics.fmean(statistics.fmean(table.values()) for table in tables)]
    used = set(categories)
    return Mean(
        value=100 * statistics.fmean(values),
        spread=100 * statistics.stdev(values) if len(values) > 1 else None,
        seeds=len(complete),
        n=len(tables),
        of=of,
        is_random=any(
            is_random(row) for row in rows if row["system"] == system and category_of(row) in used
        ),
    )


def median(
    rows: Iterable[Row], system: str, categories: Sequence[Category], figure: str
) -> float | None:
    """Returns the median of a figure over all rows of a system on these; None without any."""
    values = [
        value
        for row in rows
        if row["system"] == system and category_of(row) in categories
        if (value := number(row, figure)) is not None
    ]
    return statistics.median(values) if values else None


def systems_of(rows: Iterable[Row]) -> list[str]:
    """Returns the systems that have rows, in the order of `TITLES`."""
    found = {row["system"] for row in rows}
    return [key for key in TITLES if key in found]
