"""The paper's tables 1 to 5 from rows of results, and further ones beside them.

Figures are in percent. Published figures stand in lines and columns of their own that say so; a
difference is ours minus the paper's in points, and is given only where no category is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nfbmr.paper import aggregates, published
from nfbmr.paper.aggregates import SET_TITLES, TITLES, Category, Mean, Row
from nfbmr.paper.systems import ABLATION, BASELINES
from nfbmr.paper.table import (
    NOTHING,
    Table,
    difference,
    finished,
    most_seeds,
    text_of,
)
from nfbmr.system.files import printable

HELD_OUT = "At the threshold from held-out good pictures"
ORACLE = "Threshold chosen on the test labels, for comparison only"
PAPERS = "the paper's (published)"
DIFFERENCE = "difference, points"
_PIXELS = {"pixel_auroc": "Pixel AUROC", "aupro": "AUPRO"}
_METHOD_FIGURES = ("image_auroc", *_PIXELS)
_TIMES = ("Seconds to fit", "ms per picture")
_REDUCTIONS = {
    "image_auroc": "as in the other tables",
    "auroc_max": "maximum",
    "auroc_top": "mean of the highest 3 %",
    "auroc_mean": "mean",
}


def build_tables(rows: Sequence[Row], tables: Iterable[int] = (1, 2, 3, 4, 5)) -> list[Table]:
    """Makes the tables asked for, of as many rows as there are.

    Args:
        rows: lines of `results.jsonl`, of any data sets, systems and seeds.
        tables: the paper's numbers. One whose data set has no row at all is left out, unless there
            are no rows at all; one whose systems have none says so in a note.

    Returns:
        In the order of their numbers, each followed by its supplements.
    """
    made: list[Table] = []
    for number in sorted(set(tables)):
        dataset, build = _BUILDERS[number]
        own = [row for row in rows if (row["dataset"] == "dagm") == (dataset == "dagm")]
        if own or not rows:
            made += build(own)
    return made


@dataclass(frozen=True, kw_only=True)
class _Column:
    """What a column shows of each category."""

    header: str
    system: str
    figure: str = "image_auroc"
    paper: str = "image_auroc"
    """The paper's figure that stands below."""


def _auroc_table(
    number: str, title: str, dataset: str, rows: list[Row], notes: Sequence[str] = ()
) -> Table:
    columns = _system_columns(rows, dataset, BASELINES)
    if published.paper_figure("", dataset, "all", "image_auroc"):
        columns.append(_Column(header=f"{published.SUPERVISED.method} (published)", system=""))
    return _by_category(number, title, dataset, rows, columns, notes)


def _system_columns(rows: Sequence[Row], dataset: str, systems: Sequence[str]) -> list[_Column]:
    measured = aggregates.systems_of(rows)
    return [
        _Column(header=TITLES[key], system=key)
        for key in systems
        if key in measured or published.paper_figure(key, dataset, "all", "image_auroc")
    ]


def _verdict_table(number: str, title: str, dataset: str, rows: list[Row]) -> Table:
    system = "nf-bmr-2"
    columns = [
        _Column(header=f"{heading}: {name}", system=system, figure=figure, paper=paper)
        for heading, figures in (
            (HELD_OUT, ("precision", "recall", "f1")),
            (ORACLE, ("precision_at_f1_max", "recall_at_f1_max", "f1_max")),
        )
        for figure, paper, name in zip(
            figures, ("precision", "recall", "f1"), ("precision", "recall", "F1"), strict=True
        )
    ]
    columns.insert(
        3,
        _Column(
            header=f"{HELD_OUT}: good pictures flagged",
            system=system,
            figure="false_alarm_rate_observed",
            paper="",
        ),
    )
    asked = sorted({aggregates.number(row, "false_alarm_rate_asked") or 0.0 for row in rows} - {0})
    rates = ", ".join(f"{100 * rate:g} %" for rate in asked)
    notes = (
        f"Precision, recall and F1 on the left are of the verdicts of {TITLES[system]}. Their "
        f"threshold comes from held-out good pictures for a false-alarm rate of {rates}."
        if rates
        else "On the left nothing is measured: every good picture trained, as in the paper, and "
        "none was held out to set a threshold.",
        "On the right the threshold is the one that suits the test labels best. Nobody has it in "
        "use, so these figures are an upper bound, and for comparison only.",
        "The paper does not say how its threshold was set; its figures stand under both.",
    )
    return _by_category(number, title, dataset, rows, columns, notes)


def _by_category(
    number: str,
    title: str,
    dataset: str,
    rows: list[Row],
    columns: Sequence[_Column],
    notes: Sequence[str] = (),
) -> Table:
    """A line for each category, then means, the paper's, and differences."""
    used = [row for row in rows if row["system"] in {column.system for column in columns}]
    seeds = most_seeds(used)
    lines: list[tuple[str, ...]] = []
    for group in ("textures", "objects") if dataset == "mvtec" else ("dagm",):
        own = aggregates.group_categories(used, group)
        if own:
            lines.append(_heading("Classes" if group == "dagm" else group.title(), columns))
            lines += [_category_line(used, one, columns, seeds) for one in own]
            if group != "dagm":
                lines += _mean_lines(used, dataset, group, columns, seeds)
    if aggregates.group_categories(used, dataset):
        lines.append(_heading(f"All of {SET_TITLES[dataset]}", columns))
        lines += _mean_lines(used, dataset, "all", columns, seeds)
    further = aggregates.group_categories(used, "further")
    if further:
        lines.append(_heading("Further sets, which are not in the paper", columns))
        lines += [_category_line(used, one, columns, seeds) for one in further]
        if len(further) > 1:
            lines += _mean_lines(used, dataset, "further", columns, seeds)
    header = ("Category", *(column.header for column in columns))
    return finished(number, title, header, lines, used, notes)


def _heading(text: str, columns: Sequence[_Column]) -> tuple[str, ...]:
    return (text, *[""] * len(columns))


def _category_line(
    rows: list[Row], category: Category, columns: Sequence[_Column], seeds: int
) -> tuple[str, ...]:
    found = [aggregates.over_seeds(rows, c.system, category, c.figure) for c in columns]
    return (printable(category.name), *(text_of(mean, seeds) for mean in found))


def _mean_lines(
    rows: list[Row], dataset: str, group: str, columns: Sequence[_Column], seeds: int
) -> list[tuple[str, ...]]:
    means = [_group_mean(rows, c.system, dataset, group, c.figure) for c in columns]
    size = aggregates.group_size(rows, dataset if group == "all" else group)
    name = {"all": f"all {size}", "further": f"these {size}"}.get(group, f"{size} {group}")
    lines = [(f"Mean of {name}", *(text_of(mean, seeds) for mean in means))]
    stated = [published.paper_figure(c.system, dataset, group, c.paper) for c in columns]
    if any(stated):
        lines.append((PAPERS, *(one.text() if one else NOTHING for one in stated)))
        pairs = zip(means, stated, strict=True)
        lines.append((DIFFERENCE, *(difference(mean, one) for mean, one in pairs)))
    return lines


def _group_mean(rows: list[Row], system: str, dataset: str, group: str, figure: str) -> Mean | None:
    key = dataset if group == "all" else group
    own = aggregates.group_categories(rows, key)
    size = aggregates.group_size(rows, key)
    return aggregates.over_categories(rows, system, own, size, figure)


def _tables_1(rows: list[Row]) -> list[Table]:
    made = [_auroc_table("1", f"Image AUROC on {_sets(rows)}, %", "mvtec", rows)]
    if rows:
        made.append(_cost_table("1b", rows))
    if aggregates.group_categories(rows, "mvtec"):
        made.append(_methods_table(rows))
    return made


def _tables_2(rows: list[Row]) -> list[Table]:
    title = f"Precision, recall and F1 on {_sets(rows)}, %"
    return [_verdict_table("2", title, "mvtec", rows)]


def _tables_3(rows: list[Row]) -> list[Table]:
    abstract, supervised = published.DAGM_IN_ABSTRACT, published.SUPERVISED
    notes = (
        f"The paper's abstract gives {abstract.text()} as the mean; its section 4.3 has 98.5.",
        f"{supervised.method} learn from pictures of defects, too. Section 4.3 gives them "
        f"{supervised.percent:g}; none is measured here.",
    )
    made = [_auroc_table("3", "Image AUROC on DAGM 2007, %", "dagm", rows, notes)]
    return [*made, _cost_table("3b", rows)] if rows else made


def _tables_4(rows: list[Row]) -> list[Table]:
    return [_verdict_table("4", "Precision, recall and F1 on DAGM 2007, %", "dagm", rows)]


def _tables_5(rows: list[Row]) -> list[Table]:
    used = [row for row in rows if row["system"] in (*ABLATION, "nfbmr")]
    made = [_ablation_table(used)]
    if used:
        columns = _system_columns(used, "mvtec", (*ABLATION, "nfbmr"))
        title = f"The ablation by category: image AUROC on {_sets(used)}, %"
        made.append(_by_category("5a", title, "mvtec", used, columns))
        made.append(_reduction_table(used))
    return made


_BUILDERS: dict[int, tuple[str, Callable[[list[Row]], list[Table]]]] = {
    1: ("mvtec", _tables_1),
    2: ("mvtec", _tables_2),
    3: ("dagm", _tables_3),
    4: ("dagm", _tables_4),
    5: ("mvtec", _tables_5),
}


def _sets(rows: Iterable[Row]) -> str:
    found = {aggregates.set_of(one) for one in aggregates.categories_of(rows)}
    names = {"mvtec": "MVTec AD", "dagm": "DAGM 2007", "further": "further sets"}
    return " and ".join(names[key] for key in names if key in found) or "MVTec AD"


def _ablation_table(rows: list[Row]) -> Table:
    """Table 5: a line for each system."""
    seeds = most_seeds(rows)
    further = aggregates.group_categories(rows, "further")
    groups = {"textures": "textures", "objects": "objects", "all": "all 15"}
    official = bool(aggregates.group_categories(rows, "mvtec"))
    shown = [key for key in groups if official]
    pixels = ("all", "all 15") if official else ("further", "further sets")
    header = (
        "System",
        *(f"Image AUROC: {groups[key]}" for key in shown),
        *((f"Image AUROC: {PAPERS}, all 15", f"Image AUROC: {DIFFERENCE}") if official else ()),
        *(f"Image AUROC, further sets: {printable(one.name)}" for one in further),
        *(f"{name}: {pixels[1]}" for name in ("Pixel AUROC", "AUPRO")),
        *("Median time: seconds to fit", "Median time: ms per picture"),
    )
    lines = []
    for column in _system_columns(rows, "mvtec" if official else "", (*ABLATION, "nfbmr")):
        key, line = column.system, [column.header]
        means = [_group_mean(rows, key, "mvtec", group, "image_auroc") for group in shown]
        line += [text_of(mean, seeds) for mean in means]
        if official:
            paper = published.paper_figure(key, "mvtec", "all", "image_auroc")
            line += [paper.text() if paper else NOTHING, difference(means[-1], paper)]
        found = [aggregates.over_seeds(rows, key, one, "image_auroc") for one in further]
        found += [_group_mean(rows, key, "mvtec", pixels[0], name) for name in _PIXELS]
        line += [text_of(mean, seeds) for mean in found]
        lines.append((*line, *_times(rows, key, aggregates.categories_of(rows))))
    return finished("5", f"The ablation on {_sets(rows)}, %", header, lines, rows)


def _times(rows: list[Row], system: str, categories: Sequence[Category]) -> tuple[str, str]:
    fit = aggregates.median(rows, system, categories, "fit_seconds")
    inspect = aggregates.median(rows, system, categories, "inspect_ms")
    return (
        NOTHING if fit is None else f"{fit:.1f}" if fit < 100 else f"{fit:.0f}",
        NOTHING if inspect is None else f"{inspect:.1f}",
    )


def _reduction_table(rows: list[Row]) -> Table:
    """Table 5b: what the order of the systems owes to how a map becomes one number."""
    systems = [key for key in ABLATION if key in aggregates.systems_of(rows)]
    used = [row for row in rows if row["system"] in systems]
    seeds = most_seeds(used)
    official = aggregates.group_categories(used, "mvtec")
    sets = [("MVTec AD", official, 15)] if official else []
    sets += [(printable(c.name), [c], 1) for c in aggregates.group_categories(used, "further")]
    lines = []
    for title, categories, size in sets:
        lines.append((title, *[""] * len(_REDUCTIONS)))
        for key in systems:
            means = [
                aggregates.over_categories(used, key, categories, size, figure)
                for figure in _REDUCTIONS
            ]
            lines.append((TITLES[key], *(text_of(mean, seeds) for mean in means)))
    header = ("System", *(f"Image score: {name}" for name in _REDUCTIONS.values()))
    note = (
        "The order of the systems can depend on how a map is reduced to one score. The first "
        "column is the one chosen before any test; none is chosen by these figures."
    )
    title = "The ablation by how a map becomes a score: image AUROC, %"
    return finished("5b", title, header, lines, used, (note,))


def _cost_table(number: str, rows: list[Row]) -> Table:
    """Tables 1b and 3b: pixels and time, of every system measured."""
    seeds = most_seeds(rows)
    lines: list[tuple[str, ...]] = []
    for key in aggregates.systems_of(rows):
        own = [row for row in rows if row["system"] == key]
        lines.append((TITLES[key], "", "", "", ""))
        for category in aggregates.categories_of(own):
            pixels = [aggregates.over_seeds(own, key, category, name) for name in _PIXELS]
            cells = (text_of(mean, seeds) for mean in pixels)
            lines.append((printable(category.name), *cells, *_times(own, key, [category])))
    header = ("Category", "Pixel AUROC", "AUPRO", *_TIMES)
    title = f"Pixels and time on {_sets(rows)}: pixel figures in %, medians of times"
    note = "Without masks there are no pixel figures. The paper has none for its own method."
    return finished(number, title, header, lines, rows, (note,))


def _methods_table(rows: list[Row]) -> Table:
    """Table 1c: other methods as published, below what is measured here."""
    seeds = most_seeds(rows)
    screw = Category("mvtec", "screw")
    lines: list[tuple[str, ...]] = [("Measured here", *[""] * 5)]
    for key in aggregates.systems_of(rows):
        means = [_group_mean(rows, key, "mvtec", "all", name) for name in _METHOD_FIGURES]
        means.append(aggregates.over_seeds(rows, key, screw, "image_auroc"))
        lines.append((TITLES[key], *(text_of(mean, seeds) for mean in means), "measured"))
    lines.append(("Published by others, not measured here", *[""] * 5))
    figures = {(one.method, one.group, one.figure): one for one in published.OTHER_METHODS}
    for method in dict.fromkeys(one.method for one in published.OTHER_METHODS):
        wanted = [(method, "all", name) for name in _METHOD_FIGURES]
        wanted.append((method, "screw", "image_auroc"))
        found = [figures.get(key) for key in wanted]
        source = next(one.source for one in found if one)
        cells = (one.text() if one else NOTHING for one in found)
        lines.append((f"{method} (published)", *cells, source))
    header = ("Method", "Image AUROC", *_PIXELS.values(), "Image AUROC on screw", "Where from")
    note = (
        "Several published codes report the epoch that is best on the test, which is worth about "
        "a point. Here it is always the last step."
    )
    tiles = [one.name for one in aggregates.categories_of(rows) if "magnetic" in one.name.lower()]
    beside = [f"{one.method} {one.text()}" for one in published.MAGNETIC_TILES]
    source = published.MAGNETIC_TILES[0].source
    extra = (f"Published for magnetic tiles: {', '.join(beside)} ({source}).",) if tiles else ()
    title = "Other methods on MVTec AD, mean of all 15, %"
    return finished("1c", title, header, lines, rows, (note, *extra))
