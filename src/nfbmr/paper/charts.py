"""The paper's figures that are curves and bars: 2a, 5, 6 and 10.

Each function takes a sheet and returns the figure, or None where its inputs are missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nfbmr.evaluation.metrics import image_auroc, roc_curve
from nfbmr.evaluation.report.plots import DEFECT_COLOUR, GOOD_COLOUR
from nfbmr.paper.aggregates import (
    TITLES,
    Category,
    Row,
    categories_of,
    group_size,
    over_categories,
    over_seeds,
    systems_of,
)
from nfbmr.paper.drawing import (
    SYSTEM_COLOURS,
    Drawn,
    Sheet,
    label,
    not_shown,
)
from nfbmr.paper.published import paper_figure
from nfbmr.paper.readings import (
    COVERED,
    OUTDATED,
    Floats,
    Scores,
    exhibits_of,
    holding,
    read_scores,
)
from nfbmr.paper.systems import ABLATION, BASELINES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6bb1")
_DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)))
_MARKERS = {"nf-bmr-1": "s", "nf-bmr-2": "o", "nf-bmr-3": "^", "nf-b-pfm": "D", "nf": "X"}
_FAR = 4.0  # widths of the middle 80 % of the good areas
_NO_AREA = "no area is known to be defective: no mask covers enough of one, or there are no masks"


def draw_likelihoods(sheet: Sheet) -> Drawn | None:
    """Fig. 2a: histograms of the log-likelihoods that TNF gives to good and to defective areas.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    every = exhibits_of(sheet.results, categories_of(sheet.rows, sheet.of_set))
    found, outdated = holding(every, "areas_good", "areas_defective")
    shown = [one for one in found if len(one[1]["areas_good"]) and len(one[1]["areas_defective"])]
    title = "Log-likelihoods of TNF"
    if not shown:
        reason = _NO_AREA if found else OUTDATED
        return sheet.lacking("2a", title, reason) if every else None
    columns = min(len(shown), 4 if len(shown) < 13 else 5)
    lines = math.ceil(len(shown) / columns)

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes, (category, one) in zip(panels, shown, strict=False):
            _histogram(axes, one["areas_good"], one["areas_defective"])
            axes.set_title(label(category.name))
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=2)
        figure.supxlabel("log-likelihood of an area, nats, up to a constant", fontsize=9)
        figure.supylabel("share of the kind, %", fontsize=9)

    known = {category for category, _ in shown}
    unknown = [category.name for category, _ in found if category not in known]
    caption = (
        "An area is a position of the grid of features; its log-likelihood is that of TNF, up to "
        f"a constant. Defective are areas that the mask covers by {100 * COVERED:g} % or more, "
        "good are those of good pictures and those that no mask touches; areas at a mask's edge "
        "are left out, and so are defective pictures without a mask. Values far from those of "
        "good areas are counted in the outermost bar. Where there are very many areas, some are "
        f"drawn by lot.{not_shown(unknown, _NO_AREA)}"
        f"{not_shown((category.name for category in outdated), OUTDATED)}"
    )
    size = max(2.7 * columns, 4.2), 1.9 * lines + 0.9
    return sheet.keep("2a", title, caption, size, paint)


def _histogram(axes: Axes, good: Floats, defective: Floats) -> None:
    q10, centre, q90 = (float(q) for q in np.quantile(good, (0.1, 0.5, 0.9)))
    every = np.concatenate([good, defective])
    reach = _FAR * (q90 - q10) or float(np.ptp(every)) or 1.0
    low, high = (float(q) for q in np.quantile(every, (0, 1)))
    low, high = max(low, centre - reach), min(high, centre + reach)
    edges = np.linspace(low, high if high > low else low + 1, 51)
    for name, values, colour in (
        ("good areas", good, GOOD_COLOUR),
        ("defective areas", defective, DEFECT_COLOUR),
    ):
        # In float32 an end of the axis could round to outside of it.
        clipped = np.clip(values.astype(np.float64), edges[0], edges[-1])
        share = 100 * np.histogram(clipped, edges)[0] / len(values)
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.45, label=name)
        axes.stairs(share, edges, color=colour, linewidth=1)
    axes.locator_params(axis="x", nbins=4)
    axes.locator_params(axis="y", nbins=4)
    axes.ticklabel_format(axis="x", useOffset=False, style="plain")


def draw_roc(sheet: Sheet) -> Drawn | None:
    """Fig. 5: the ROC curve of each category, whole and its upper left corner.

    Raises:
        MissingExtraError: matplotlib or scikit-learn is not installed.
    """
    shown = [(category, one) for category, one in _scores(sheet, "nf-bmr-2") if one.has_both]
    if not shown:
        return None

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        whole, corner = figure.subplots(1, 2)
        for number, (category, scores) in enumerate(shown):
            fpr, tpr = roc_curve(scores.score, scores.is_defect)
            area = image_auroc(scores.score, scores.is_defect) or 0.0
            for axes in (whole, corner):
                axes.plot(
                    fpr,
                    tpr,
                    color=_LINES[number % len(_LINES)],
                    linestyle=_DASHES[number // len(_LINES) % len(_DASHES)],
                    linewidth=1.5,
                    label=f"{100 * area:5.1f}  {label(category.name)}",
                )
        whole.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=(0, (4, 4)))
        whole.set(xlim=(-0.01, 1), ylim=(0, 1.01), title="whole")
        corner.set(xlim=(-0.002, 0.2), ylim=(0.8, 1.002), title="upper left corner")
        for axes in (whole, corner):
            axes.set(xlabel="share of good pictures flagged", aspect="equal")
            axes.locator_params(nbins=5)
            axes.grid(color="#000000", alpha=0.1, linewidth=0.6)
        whole.set_ylabel("share of defects found")
        handles, names = corner.get_legend_handles_labels()
        figure.legend(
            handles,
            names,
            loc="outside right center",
            title="AUROC, %",
            alignment="left",
            handlelength=2.6,
        )

    caption = f"A line for each category, by the image score of NF-BMR, n = 2. {_seeds(shown)}"
    return sheet.keep("5", "ROC curves of NF-BMR", caption, (11.0, 4.6), paint)


def draw_bars(sheet: Sheet) -> Drawn | None:
    """Fig. 6: image AUROC of each method as bars, the published means as dashed lines.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    systems = [key for key in BASELINES if key in systems_of(sheet.rows)]
    used = [row for row in sheet.rows if row["system"] in systems]
    categories = categories_of(used, sheet.of_set)
    if not categories:
        return None
    names = [one.name for one in categories]
    places = np.arange(len(names), dtype=np.float64)
    if len(names) > 1:
        names, places = [*names, "mean"], np.append(places, len(names) + 0.4)
    width = 0.84 / max(len(systems), 3)

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        bars, lines, lowest = [], [], 100.0
        for number, key in enumerate(systems):
            values, spreads = _bar_values(used, key, categories)
            x = places + (number - (len(systems) - 1) / 2) * width
            style: dict[str, Any] = {"color": SYSTEM_COLOURS[key], "label": TITLES[key]}
            if any(spreads):
                style |= {"yerr": spreads, "error_kw": {"linewidth": 0.8, "ecolor": "#444444"}}
            bars.append(axes.bar(x, values, 0.92 * width, **style))
            low = (v - s for v, s in zip(values, spreads, strict=True) if not math.isnan(v))
            lowest = min([lowest, *low])
            paper = paper_figure(key, sheet.of_set, "all", "image_auroc")
            if paper is not None:
                name = f"{TITLES[key]}, published mean {paper.text()}"
                style = {"color": SYSTEM_COLOURS[key], "linestyle": "--", "linewidth": 1.1}
                lines.append(axes.axhline(paper.percent, label=name, **style))
                lowest = min(lowest, paper.percent)
        _set_percent_axis(axes, lowest)
        if len(categories) > 1:
            axes.axvline(len(categories) - 0.3, color="#999999", linewidth=0.8)
        axes.set_xlim(-0.6, places[-1] + 0.6)
        _name_categories(axes, places, names)
        figure.legend(handles=[*bars, *lines], loc="outside upper center", ncols=4)

    size = max(8.5, 1.2 + len(places) * max(0.45, 0.15 * len(systems))), 4.4
    of = group_size(used, sheet.of_set)
    part = "" if len(categories) == of else f" Bars show {len(categories)} of {of} categories."
    caption = (
        "Bars are means over seeds, with the sample standard deviation where there are several. "
        f"Dashed lines are published means over all categories, not measured here.{part}"
    )
    return sheet.keep("6", "Image AUROC of each method", caption, size, paint)


def _bar_values(
    rows: Sequence[Row], system: str, categories: Sequence[Category]
) -> tuple[list[float], list[float]]:
    """Returns mean and spread of each category and, where there are several, of their mean."""
    means = [over_seeds(rows, system, one, "image_auroc") for one in categories]
    if len(categories) > 1:
        size = len(categories)
        means.append(over_categories(rows, system, categories, size, "image_auroc"))
    values = [math.nan if mean is None else mean.value for mean in means]
    return values, [0.0 if mean is None else mean.spread or 0.0 for mean in means]


def draw_ablation(sheet: Sheet) -> Drawn | None:
    """Fig. 10: image AUROC of the five lines of Table 5, in the paper's colours.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    systems = [key for key in ABLATION if key in systems_of(sheet.rows)]
    used = [row for row in sheet.rows if row["system"] in systems]
    categories = categories_of(used, sheet.of_set)
    if not categories or len(systems) < 2:
        return None
    places = [float(place) for place in range(len(categories))]

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        lowest = 100.0
        for key in systems:
            means = [over_seeds(used, key, one, "image_auroc") for one in categories]
            values = [math.nan if mean is None else mean.value for mean in means]
            axes.plot(
                places,
                values,
                color=SYSTEM_COLOURS[key],
                marker=_MARKERS[key],
                markersize=5.5,
                linewidth=2.2 if key == "nf-bmr-2" else 1.4,
                zorder=3 if key == "nf-bmr-2" else 2,
                label=TITLES[key],
            )
            lowest = min([lowest, *(value for value in values if not math.isnan(value))])
        _set_percent_axis(axes, lowest)
        axes.set_xlim(-0.5, len(categories) - 0.5)
        axes.grid(color="#000000", alpha=0.1, linewidth=0.6)
        _name_categories(axes, places, [one.name for one in categories])
        figure.legend(loc="outside upper center", ncols=5)

    caption = "A point is the mean over seeds. Lines only lead the eye from category to category."
    size = max(7.5, 1.5 + 0.6 * len(categories)), 4.2
    return sheet.keep("10", "The ablation", caption, size, paint)


def _scores(sheet: Sheet, system: str) -> list[tuple[Category, Scores]]:
    found = []
    for category in categories_of(sheet.rows, sheet.of_set):
        scores = read_scores(sheet.results, sheet.rows, system, category)
        if scores is not None:
            found.append((category, scores))
    return found


def _seeds(shown: Sequence[tuple[Category, Scores]]) -> str:
    seeds = sorted({scores.seed for _, scores in shown})
    return f"Of seed {' and '.join(map(str, seeds))}."


def _set_percent_axis(axes: Axes, lowest: float) -> None:
    """Lets the axis begin at a multiple of five, clear of the lowest value, and says where."""
    bottom = max(0.0, 5 * math.floor((lowest - 1.5) / 5))
    axes.set_ylim(bottom, 100 + 0.03 * (100 - bottom))
    axes.set_ylabel(f"image AUROC, %; the axis begins at {bottom:g}")


def _name_categories(axes: Axes, places: Any, names: Sequence[str]) -> None:
    crowded = len(names) > 6
    axes.set_xticks(
        places,
        [label(name) for name in names],
        rotation=35 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor",
    )
    axes.tick_params(axis="x", length=0)
