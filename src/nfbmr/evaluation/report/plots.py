"""The plots of the report, as SVG elements to be placed into an HTML page.

Text and axes take the page's text colour (`currentColor`), so that one drawing serves light and
dark pages. Only matplotlib's `Figure` is used, never pyplot's global state. Nothing written into
a drawing comes from a file name.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import MissingExtraError
from nfbmr.evaluation.metrics import image_auroc, roc_curve
from nfbmr.system.packages import how_to_install

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Curve = Callable[[Floats], Floats]

GOOD_COLOUR = "#3f8fb5"
DEFECT_COLOUR = "#d9622b"
_INK = "#010203"  # stands for the page's text colour until the SVG is written
_RUG_PLACES = 400
_HEAVY_TAIL = 12.0

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nfbmr",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def roc_plot(scores: Floats, is_defect: Bools, predicted: Bools) -> str:
    """The ROC curve, its area in the title, and the point where the threshold puts us.

    Args:
        scores: (N,) finite, of at least one good and one defective picture.
        is_defect: (N,).
        predicted: (N,) the verdicts.

    Returns:
        An `<svg>` element.

    Raises:
        MissingExtraError: matplotlib or scikit-learn is not installed.
    """
    fpr, tpr = roc_curve(scores, is_defect)
    area = image_auroc(scores, is_defect)
    found, alarms = predicted[is_defect].mean(), predicted[~is_defect].mean()

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_INK, alpha=0.35, linewidth=1, linestyle=(0, (4, 4)))
        axes.fill_between(fpr, tpr, color=GOOD_COLOUR, alpha=0.12, linewidth=0)
        axes.plot(fpr, tpr, color=GOOD_COLOUR, linewidth=2, solid_joinstyle="round")
        axes.plot(alarms, found, "o", color=DEFECT_COLOUR, markersize=8, clip_on=False, zorder=5)
        side, below = (1 if alarms < 0.5 else -1), found > 0.3
        axes.annotate(
            f"at the threshold:\n{found:.1%} found, {alarms:.1%} false alarms",
            (alarms, found),
            (12 * side, -10 if below else 10),
            textcoords="offset points",
            horizontalalignment="left" if side > 0 else "right",
            verticalalignment="top" if below else "bottom",
        )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), title=f"ROC curve, AUROC {area:.4f}")
        axes.set(xlabel="share of good pictures flagged", ylabel="share of defects found")

    label = f"ROC curve with area {area:.4f}; at the threshold {found:.1%} of the defects are "
    return _svg(draw, f"{label}found and {alarms:.1%} of the good pictures flagged")


def score_plot(
    scores: Floats,
    is_defect: Bools,
    threshold: float | None,
    look: float | None = None,
    good: str = "good",
) -> str:
    """How the scores of good and defective pictures lie around the threshold.

    Bars give the share of each class, ticks single pictures; far scores squeeze the axis (asinh).

    Args:
        scores: (N,) finite, N at least 1.
        is_defect: (N,).
        threshold: None draws no line.
        look: the threshold above which a person looks, drawn below the other.
        good: what those that are not defective are called.

    Returns:
        An `<svg>` element; errors as of `roc_plot`.
    """
    scale = _display_scale(scores, is_defect)
    forward, inverse = scale or (np.asarray, np.asarray)
    marks = scores if threshold is None else np.append(scores, threshold)
    places = forward(marks.astype(np.float64))
    margin = 0.03 * float(np.ptp(places)) or 0.5
    low, high = float(places.min()) - margin, float(places.max()) + margin
    bins = int(np.clip(2 * np.sqrt(len(scores)), 14, 48))
    edges = np.linspace(low, high, bins + 1)

    def draw(axes: Axes) -> None:
        top = 0.0
        for name, chosen, colour in (
            (good, ~is_defect, GOOD_COLOUR),
            ("defective", is_defect, DEFECT_COLOUR),
        ):
            if chosen.any():
                shown = places[: len(scores)][chosen]
                share = 100 * np.histogram(shown, edges)[0] / chosen.sum()
                text = f"{name} ({chosen.sum()})"
                axes.stairs(share, edges, fill=True, color=colour, alpha=0.45, label=text)
                axes.stairs(share, edges, color=colour, linewidth=1.2)
                top = max(top, float(share.max()))
        _draw_rugs(axes, places[: len(scores)], is_defect, top)
        if threshold is not None:
            axes.axvline(places[-1], color=_INK, linewidth=1.2, linestyle=(0, (5, 3)))
            axes.plot([], [], color=_INK, linestyle=(0, (5, 3)), label=f"threshold {threshold:.5g}")
        if threshold is not None and look is not None and look < threshold:
            place = forward(np.array([look]))[0]
            axes.axvline(place, color=_INK, linewidth=1.0, linestyle=(0, (1, 2)))
            axes.plot([], [], color=_INK, linestyle=(0, (1, 2)), label=f"look {look:.4g}")
        axes.set(xlim=(low, high), title="Scores", ylabel="share of the class, %")
        axes.set_xlabel("score (axis squeezed far from good pictures)" if scale else "score")
        if scale:
            ticks = _round_ticks(inverse(np.linspace(low, high, 8)[1:-1]))
            axes.set_xticks(forward(ticks), [f"{tick:z.6g}" for tick in ticks])
        _legend_above(axes)

    return _svg(draw, "Histogram of the scores of good and defective pictures, and the threshold")


def p_value_plot(p_values: Floats) -> str:
    """Whether good pictures look like those that the threshold came from.

    If they do, their p-values are uniform and the steps follow the diagonal within the band (95%,
    Dvoretzky-Kiefer-Wolfowitz).

    Args:
        p_values: (N,) in [0, 1], of good pictures, N at least 1.

    Returns:
        An `<svg>` element.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    steps = np.sort(p_values)
    count = len(steps)
    band = float(np.sqrt(np.log(2 / 0.05) / (2 * count)))

    def draw(axes: Axes) -> None:
        line = np.array([0.0, 1.0])
        axes.fill_between(
            line, line - band, line + band, color=_INK, alpha=0.08, linewidth=0, label="95% band"
        )
        axes.plot(line, line, color=_INK, alpha=0.35, linewidth=1, linestyle=(0, (4, 4)))
        x = np.concatenate([[0.0], steps, [1.0]])
        y = np.concatenate([[0.0], np.arange(1, count + 1) / count, [1.0]])
        axes.step(x, y, where="post", color=GOOD_COLOUR, linewidth=1.8, label=f"good ({count})")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), title="p-values of good pictures")
        axes.set(xlabel="p-value", ylabel="share at or below")
        _legend_above(axes)

    return _svg(draw, "Cumulative share of the p-values of good pictures against the diagonal")


def _display_scale(scores: Floats, is_defect: Bools) -> tuple[Curve, Curve] | None:
    """For heavy tails, the map from score to place on the axis, and back; else None."""
    basis = scores if is_defect.all() else scores[~is_defect]
    q10, centre, q90 = (float(q) for q in np.quantile(basis, (0.1, 0.5, 0.9)))
    spread = (q90 - q10) / 2
    if spread <= 0 or np.abs(scores - centre).max() <= _HEAVY_TAIL * spread:
        return None
    unit = 2 * spread
    return (lambda x: np.arcsinh((x - centre) / unit)), (lambda u: centre + unit * np.sinh(u))


def _round_ticks(values: Floats) -> NDArray[np.float64]:
    """Rounds ascending values to as many digits as the distance to their neighbours needs."""
    gaps = np.diff(values)
    nearest = np.minimum(np.append(gaps, gaps[-1]), np.insert(gaps, 0, gaps[0]))
    digits = 10.0 ** np.floor(np.log10(nearest / 2))
    return np.unique(np.rint(values / digits) * digits)


def _draw_rugs(axes: Axes, places: Floats, is_defect: Bools, top: float) -> None:
    """One tick a picture below the bars; pictures at nearly the same place share one."""
    step = float(np.ptp(places)) / _RUG_PLACES or 1.0
    for chosen, colour, height in (
        (~is_defect, GOOD_COLOUR, -0.035),
        (is_defect, DEFECT_COLOUR, -0.085),
    ):
        shown = np.unique(np.rint(places[chosen] / step)) * step
        axes.plot(
            shown, np.full(len(shown), height * top), "|", color=colour, markersize=6, alpha=0.8
        )
    axes.set_ylim(-0.13 * top, 1.06 * top)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1.06 * top])


def _legend_above(axes: Axes) -> None:
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.02, 1.0), ncols=3, handlelength=1.4, columnspacing=1.2
    )


def load_matplotlib() -> tuple[Any, type[Figure]]:
    """Imports matplotlib; returns it and its `Figure`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "Plots need matplotlib, which is not installed; " + how_to_install("report")
        ) from error
    return matplotlib, Figure


def _svg(draw: Callable[[Axes], None], label: str) -> str:
    matplotlib, figure_class = load_matplotlib()
    with matplotlib.rc_context(_STYLE):
        figure = figure_class(figsize=(6.0, 4.2), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(color=_INK, alpha=0.1, linewidth=0.6)
        draw(axes)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _as_element(buffer.getvalue(), label)


def _as_element(document: str, label: str) -> str:
    """Makes an SVG file an element of a page: no prologue, no addresses, the page's colours."""
    body = document[document.index("<svg") :]
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body, count=2)
    body = re.sub(r'\s(width|height)="[\d.]+pt"', "", body, count=2)
    body = body.replace(_INK, "currentColor")
    opening = f'<svg class="plot" role="img" aria-label="{html.escape(label)}"'
    return body.replace("<svg", opening, 1).strip()
