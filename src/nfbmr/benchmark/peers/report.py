"""What the race gave: one table a set, one over all, and the picture: AUROC against time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from nfbmr.benchmark.peers.catalogue import AT_OUR_SIZE, CORESET, OURS, PEERS, peer
from nfbmr.evaluation.report.plots import load_matplotlib
from nfbmr.paper.ledger import Row
from nfbmr.system.files import written_beside

_TITLES = {OURS: "**nfbmr**"} | {one.key: one.title for one in PEERS}
_TITLES |= {one.key + AT_OUR_SIZE: f"{one.title}, nfbmr's size" for one in PEERS}
_COLUMNS = (
    ("image AUROC", "image_auroc", 100, 1),
    ("AP", "image_ap", 100, 1),
    ("pixel AUROC", "pixel_auroc", 100, 1),
    ("AUPRO", "aupro", 100, 1),
    ("fit, s", "fit_seconds", 1, 0),
    ("ms per image", "inspect_ms", 1, 0),
    ("peak memory, MB", "peak_mb", 1, 0),
    ("model, MB", "model_mb", 1, 1),
)
_RATIOS = ("fit_seconds", "inspect_ms")
_OF_TRAINING = ("image_auroc", "image_ap", "pixel_auroc", "aupro", "fit_seconds")
"""What random weights and a training cut short say nothing of."""
RANKED = {"image_auroc": "image AUROC", "aupro": "AUPRO"}
"""By what systems are ranked: key of a row -> its title."""


def is_random(row: Row) -> bool:
    """Whether the row was made with random weights, so that its accuracy means nothing."""
    return any(str(source).startswith("random") for source in row["weights"])


def tables(rows: Sequence[Row]) -> str:
    """Returns Markdown: a table for each set, then the ranks by each of `RANKED`."""
    names = list(dict.fromkeys(row["category"] for row in rows))
    parts = [_of_set(name, [row for row in rows if row["category"] == name]) for name in names]
    return "\n".join([*parts, *map(partial(ranks, rows), RANKED)])


def _of_set(name: str, rows: list[Row]) -> str:
    heads = ["", *(title for title, *_ in _COLUMNS), "learnt", "seeds"]
    lines = [f"### {name}", "", _line(heads), "|---" + "|---:" * (len(heads) - 1) + "|"]
    ours = {key: _mean(rows, OURS, key) for key in _RATIOS}
    for system in dict.fromkeys(row["system"] for row in rows):
        own = [row for row in rows if row["system"] == system]
        cells = [_title(system, own)]
        for _, key, factor, digits in _COLUMNS:
            values = [factor * row[key] for row in own if row[key] is not None]
            if not values or (key in _OF_TRAINING and is_random(own[0])):
                cells.append("-")
                continue
            spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
            base = ours.get(key)
            times = f" ({np.mean(values) / base:.1f}x)" if base and system != OURS else ""
            cells.append(f"{np.mean(values):.{digits}f}{spread}{times}")
        learnt = "speed alone" if is_random(own[0]) else _learnt(system, own)
        lines.append(_line([*cells, learnt, str(len(own))]))
    return "\n".join([*lines, ""])


def _title(system: str, rows: Sequence[Row]) -> str:
    """Says whose row it is, and whether its accuracy is that of a peer that had its time."""
    if is_random(rows[0]):
        return f"{_TITLES[system]} (random weights)"
    return _TITLES[system] + (" (not trained out)" if _cut_off(system, rows) else "")


def _cut_off(system: str, rows: Sequence[Row]) -> bool:
    """Whether the time ended a peer before its documented epochs, or PatchCore's whole coreset."""
    if system == OURS:
        return False
    one = peer(system)
    if one.fits_coreset:
        return any(row["coreset"] < CORESET for row in rows)
    return any(row["epochs"] < one.epochs for row in rows)


def _learnt(system: str, rows: Sequence[Row]) -> str:
    """Says how much of what is documented the time allowed: epochs, or PatchCore's coreset."""
    documented = 1 if system == OURS else peer(system).epochs
    if documented > 1:
        return f"{np.mean([row['epochs'] for row in rows]):.0f} of {documented} epochs"
    if any(row.get("coreset") for row in rows):
        return f"{100 * np.mean([row['coreset'] for row in rows]):.1f} % of positions"
    return "all"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _mean(rows: Sequence[Row], system: str, key: str) -> float | None:
    values = [row[key] for row in rows if row["system"] == system and row[key] is not None]
    return float(np.mean(values)) if values else None


def ranks(rows: Sequence[Row], key: str = "image_auroc") -> str:
    """Returns the ranks of those that were measured on every set; 1 is best, ties share the mean.

    Args:
        rows: of the race.
        key: by which they are ranked, one of `RANKED`. Sets without masks have no AUPRO and are
            left out of its ranks.
    """
    from scipy.stats import rankdata

    rows = [row for row in rows if row[key] is not None]
    measured = _on_every_set(rows)
    systems = list(dict.fromkeys(row["system"] for row in measured))
    if not systems:
        return ""
    names = list(dict.fromkeys(row["category"] for row in rows))
    means = np.array(
        [
            [
                _mean([row for row in measured if row["category"] == name], system, key)
                for system in systems
            ]
            for name in names
        ],
        dtype=float,
    )  # (sets, systems)
    places = np.stack([rankdata(-row) for row in means])
    lines = [
        f"### Rank by {RANKED[key]}",
        "",
        _line(["", *names, "mean rank", f"mean {RANKED[key].removeprefix('image ')}"]),
        "|---" + "|---:" * (len(names) + 2) + "|",
    ]
    for place in np.argsort(places.mean(axis=0), kind="stable"):
        own = [f"{rank:g}" for rank in places[:, place]]
        end = [f"{places[:, place].mean():.2f}", f"{100 * means[:, place].mean():.1f}"]
        lines.append(_line([_TITLES[systems[place]], *own, *end]))
    return "\n".join([*lines, ""])


def _over_sets(rows: Sequence[Row], system: str, key: str) -> float:
    """Returns the mean of the sets' means, so that a set with more seeds counts no more."""
    sets = dict.fromkeys(row["category"] for row in rows)
    means = [_mean([r for r in rows if r["category"] == name], system, key) for name in sets]
    return float(np.mean([mean for mean in means if mean is not None]))


def _on_every_set(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows of systems that have an image AUROC on every set: only these compare."""
    measured = [row for row in rows if not is_random(row)]
    names = {row["category"] for row in rows}
    found: dict[str, set[str]] = {}
    for row in measured:
        found.setdefault(row["system"], set()).add(row["category"])
    return [row for row in measured if found[row["system"]] == names]


def _crowded(x: float, y: float, points: Sequence[tuple[float, float]]) -> bool:
    """Whether a name above and to the right of a point would cover another point."""
    return any(x < other <= 1.5 * x and y <= height < y + 3 for other, height in points)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draws mean image AUROC over the sets against time to fit, and against time per image.

    Args:
        rows: of the race.
        path: of the picture; its suffix is the format.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: it cannot be written.
    """
    matplotlib, figure_class = load_matplotlib()
    measured = _on_every_set(rows)
    with matplotlib.rc_context({"font.size": 9, "svg.hashsalt": "nfbmr"}):
        figure = figure_class(figsize=(9.0, 3.8), layout="constrained")
        for axes, (key, label) in zip(
            figure.subplots(1, 2, sharey=True),
            (("fit_seconds", "seconds to fit"), ("inspect_ms", "milliseconds per image")),
            strict=True,
        ):
            systems = list(dict.fromkeys(row["system"] for row in measured))
            points = [
                (_over_sets(measured, s, key), 100 * _over_sets(measured, s, "image_auroc"))
                for s in systems
            ]
            for system, (x, y) in zip(systems, points, strict=True):
                ours = system == OURS
                colour, marker, size = ("#d9622b", "*", 190) if ours else ("#3f8fb5", "o", 40)
                axes.scatter([x], [y], s=size, marker=marker, color=colour, zorder=3)
                axes.annotate(
                    _TITLES[system].strip("*"),
                    (x, y),
                    xytext=(6, -13 if _crowded(x, y, points) else 5),
                    textcoords="offset points",
                    weight="bold" if ours else "normal",
                )
            axes.set_xscale("log")
            # 20, 30, 50, 100 instead of powers of ten, of which the range may hold one.
            axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 3, 5)))
            axes.xaxis.set_major_formatter(matplotlib.ticker.ScalarFormatter())
            axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
            axes.set_xlabel(f"{label} (logarithmic)")
            axes.margins(0.18)
            axes.grid(alpha=0.2)
            axes.spines[["top", "right"]].set_visible(False)
        figure.axes[0].set_ylabel("image AUROC, mean over sets, %")
        with written_beside(path) as beside:
            figure.savefig(beside, format=path.suffix[1:], dpi=150)
