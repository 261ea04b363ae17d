"""The paper's figures 2 to 10, as far as there is something to draw them from.

Figures 3 and 4 are drawings of the structure and hold no measurement. Figure 1 compares the ideas
of two papers; it is not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from nfbmr.paper.aggregates import SET_TITLES, Row, category_of, set_of
from nfbmr.paper.charts import draw_ablation, draw_bars, draw_likelihoods, draw_roc
from nfbmr.paper.drawing import Drawn, Sheet
from nfbmr.paper.grids import RESPONSES, draw_heatmaps, draw_responses, draw_vectors
from nfbmr.paper.structure import draw_structure
from nfbmr.settings.schema import Settings

__all__ = ["Drawn", "draw_figures"]


class _Plan(NamedTuple):
    number: str
    title: str
    sets: tuple[str, ...]
    needs: str
    draw: Callable[[Sheet], Drawn | None]


_EVERY = tuple(SET_TITLES)
_EXHIBITS = "exhibits of NF-BMR, n = 2"
_SEEN = "Where NF-BMR sees defects"
_PLANS = (
    _Plan("2a", "Log-likelihoods of TNF", _EVERY, _EXHIBITS, draw_likelihoods),
    _Plan("2b", RESPONSES, _EVERY, _EXHIBITS, draw_responses),
    _Plan("5", "ROC curves of NF-BMR", _EVERY, "scores of NF-BMR, n = 2", draw_roc),
    _Plan("6", "Image AUROC of each method", _EVERY, "rows of Tables 1 and 3", draw_bars),
    _Plan("7", "t-SNE of both domains", _EVERY, _EXHIBITS, draw_vectors),
    _Plan(
        "8",
        _SEEN,
        ("mvtec", "further"),
        _EXHIBITS,
        lambda sheet: draw_heatmaps(sheet, "8"),
    ),
    _Plan("9", _SEEN, ("dagm",), _EXHIBITS, lambda sheet: draw_heatmaps(sheet, "9")),
    _Plan(
        "10", "The ablation", ("mvtec", "further"), "rows of two lines of Table 5", draw_ablation
    ),
)


def draw_figures(rows: Sequence[Row], settings: Settings, results: Path, out: Path) -> list[Drawn]:
    """Draws every figure once for each set of categories that has rows, Figs. 3 and 4 once.

    Args:
        rows: lines of `results.jsonl`.
        settings: of NF-BMR, n = 2, whose structure is drawn.
        results: the results folder with `scores` and `exhibits`.
        out: the folder for `figure_NUMBER_SET.png` and `.svg`, and for `figure_3` and `figure_4`;
            it is made.

    Returns:
        In the paper's order; one that lacks its inputs has no files, and a reason.

    Raises:
        SettingsError: the settings are not of NF-BMR.
        MissingExtraError: matplotlib or scikit-learn is not installed.
        OSError: a file cannot be written.
    """
    drawn: list[Drawn] = []
    for plan in _PLANS:
        if plan.number == "5":  # in the paper's order
            drawn += draw_structure(settings, {n: _files(out, n) for n in ("3", "4")})
        sets = [key for key in plan.sets if _rows_of(rows, key)]
        for key in sets:
            sheet = Sheet(rows=_rows_of(rows, key), of_set=key, results=results, out=out)
            reason = f"there are no {plan.needs} in the results folder yet"
            drawn.append(plan.draw(sheet) or sheet.lacking(plan.number, plan.title, reason))
        if not sets:
            names = " or ".join(SET_TITLES[key] for key in plan.sets)
            reason = f"there are no rows of {names}"
            drawn.append(Drawn(number=plan.number, title=plan.title, reason=reason))
    return drawn


def _files(out: Path, number: str) -> list[Path]:
    return [out / f"figure_{number}.{suffix}" for suffix in ("png", "svg")]


def _rows_of(rows: Sequence[Row], of_set: str) -> list[Row]:
    return [row for row in rows if set_of(category_of(row)) == of_set]
