"""The paper's figures that show pictures and vectors: 2b, 7, 8 and 9.

Each function takes a sheet and returns the figure, or None where its inputs are missing.

Shapes: k = exhibits, h w = a thumbnail, H' W' = grid, m = vectors, C = channels.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nfbmr.errors import MissingExtraError
from nfbmr.evaluation.report.plots import DEFECT_COLOUR, GOOD_COLOUR
from nfbmr.inspection.pictures import heatmap_overlay
from nfbmr.paper.aggregates import Category, categories_of
from nfbmr.paper.drawing import Drawn, Sheet, label, network_label, not_shown
from nfbmr.paper.readings import OUTDATED, Exhibits, Shown, exhibits_of, holding
from nfbmr.system.packages import how_to_install

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Bytes = NDArray[np.uint8]

_CELL = 0.92  # inches a side
_GAP = 0.04
_PIXELS = 180  # a side of a cell
_DEFECTS = 3  # of a category in Figs. 8 and 9, and a good one
_PAPERS_CLASSES = ("Class2", "Class4", "Class6", "Class8")
_FEW = 6  # vectors below which t-SNE shows nothing
_NO_MASK = 225  # gray
_NO_MAP = 245

RESPONSES = "Responses of a pre-trained network and of TNF to a defect"
NOT_AVAILABLE = "not available"


def draw_responses(sheet: Sheet) -> Drawn | None:
    """Fig. 2b: a defect, its mask, and how another pre-trained network and TNF respond to it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    every = _exhibits(sheet)
    found, outdated = holding(every, "other", "tnf")
    shown = [
        (category, one, int(np.flatnonzero(one["is_defect"])[0]))
        for category, one in found
        if one["is_defect"].any()
    ]
    if not shown:
        return sheet.lacking("2b", RESPONSES, OUTDATED) if outdated else None
    blocks = 1 if len(shown) <= 4 else 2
    lines = math.ceil(len(shown) / blocks)
    width, height = 4 * (_CELL + _GAP), _CELL + 0.26
    size = blocks * width + (blocks - 1) * 0.4 + 0.2, lines * height + 0.4
    other = str(shown[0][1]["other_name"])
    heads = ("picture", "mask", network_label(other), "TNF")

    def paint(figure: Figure) -> None:
        for number, (category, exhibits, chosen) in enumerate(shown):
            block, line = divmod(number, lines)
            left, top = 0.1 + block * (width + 0.4), 0.3 + line * height
            _place(figure, size, (left, top + 0.16), [_response_cells(exhibits, chosen)])
            for column, head in enumerate(heads):
                middle = left + column * (_CELL + _GAP) + _CELL / 2
                if line == 0:
                    _write(figure, size, (middle, 0.2), head, fontsize=7.5, ha="center")
                if column == 2 and not exhibits["other"].size:
                    at = middle, top + 0.16 + _CELL / 2
                    style = {"fontsize": 7.5, "ha": "center", "va": "center", "color": "#666666"}
                    _write(figure, size, at, NOT_AVAILABLE, **style)
            name = f"{label(category.name)}: {label(str(exhibits['defects'][chosen]))}"
            _write(figure, size, (left, top + 0.12), name, fontsize=7.5, weight="bold")

    caption = (
        f"Brighter is a stronger response: |f|²/2 of the features f of {label(other, 32)}, a "
        "network trained on ImageNet alone, and |z|²/2 of TNF, each on its own grid. Each map has "
        "a scale of its own, from the least to the most that the network gives to the pictures of "
        "its category shown here, good ones included. A gray mask means that there is none."
        f"{not_shown((category.name for category in outdated), OUTDATED)}"
    )
    return sheet.keep("2b", RESPONSES, caption, size, paint, has_photos=True)


def _response_cells(exhibits: Exhibits, chosen: int) -> list[Bytes]:
    image = np.asarray(exhibits["images"][chosen], np.uint8)
    cells = [image, _mask(exhibits, chosen)]
    for key in ("other", "tnf"):
        every = np.asarray(exhibits[key], np.float64)
        if not every.size:
            cells.append(np.full(image.shape, _NO_MAP, np.uint8))
            continue
        low, high = float(every.min()), float(every.max())
        cells.append(_coloured((every[chosen] - low) / ((high - low) or 1.0), image.shape))
    return [_fitted(cell) for cell in cells]


def _coloured(level: NDArray[np.float64], shape: tuple[int, ...]) -> Bytes:
    """Returns levels (H', W') in [0, 1] in colours of rising lightness, as large as the picture."""
    from matplotlib import colormaps

    rgb = np.rint(255 * colormaps["magma"](np.clip(level, 0, 1))[..., :3]).astype(np.uint8)
    large = Image.fromarray(rgb).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(large)


def draw_heatmaps(sheet: Sheet, number: str) -> Drawn | None:
    """Figs. 8 and 9: picture, mask and heatmap of some defects and of a good picture.

    Args:
        sheet: of MVTec AD or further sets for Fig. 8, of DAGM for Fig. 9.
        number: of the figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    shown = _exhibits(sheet)
    if not shown:
        return None
    columns = 1 if len(shown) == 1 else 2 if len(shown) <= 6 else 3
    lines = math.ceil(len(shown) / columns)
    width = (_DEFECTS + 1) * (_CELL + _GAP)
    height = 3 * (_CELL + _GAP)
    size = 0.75 + columns * (width + 0.25), lines * (height + 0.5) + 0.75

    def paint(figure: Figure) -> None:
        for place, (category, exhibits) in enumerate(shown):
            line, column = divmod(place, columns)
            left, top = 0.75 + column * (width + 0.25), line * (height + 0.5) + 0.45
            _paint_block(figure, size, (left, top), category, exhibits)
            if column == 0:
                for row, name in enumerate(("picture", "mask", "heatmap")):
                    middle = top + (row + 0.5) * (_CELL + _GAP)
                    _write(figure, size, (0.68, middle), name, fontsize=8, ha="right", va="center")
        _paint_scale(figure, size)

    caption = (
        "Of each category at most three defects and a good picture; each is the one with the "
        "median score of its kind. Heatmaps show the map that the score is taken from, eq. 14: of "
        "each position half the sum of source and target error. All share one scale, fixed by "
        "held-out good pictures: colour begins at 0.5, and 1 is as high as good pictures get but "
        "for the asked share. A gray mask means that there is none."
    )
    return sheet.keep(number, "Where NF-BMR sees defects", caption, size, paint, has_photos=True)


def _paint_block(
    figure: Figure,
    size: tuple[float, float],
    corner: tuple[float, float],
    category: Category,
    exhibits: Exhibits,
) -> None:
    left, top = corner
    _write(figure, size, (left, top - 0.19), label(category.name, 30), fontsize=9, weight="bold")
    is_defect = np.asarray(exhibits["is_defect"], np.bool_)
    defects, good = np.flatnonzero(is_defect), np.flatnonzero(~is_defect)
    rows: list[list[Bytes]] = [[], [], []]
    for column, chosen in enumerate([*defects[:_DEFECTS], *good[:1]]):
        name = str(exhibits["defects"][chosen]) if is_defect[chosen] else "good"
        middle = (left + column * (_CELL + _GAP) + _CELL / 2, top - 0.05)
        _write(figure, size, middle, label(name, 15), fontsize=6.5, ha="center")
        image = np.ascontiguousarray(exhibits["images"][chosen], np.uint8)
        heatmap = np.asarray(exhibits["heatmaps"][chosen], np.float32)
        cells = (image, _mask(exhibits, int(chosen)), heatmap_overlay(image, heatmap))
        for row, cell in zip(rows, cells, strict=True):
            row.append(_fitted(cell))
    _place(figure, size, corner, rows)


def _paint_scale(figure: Figure, size: tuple[float, float]) -> None:
    """Draws the colours of levels 0 to 2 over middle gray, by the overlay itself."""
    levels = np.tile(np.linspace(0, 2, 240, dtype=np.float32), (12, 1))
    gray = np.full((*levels.shape, 3), 128, np.uint8)
    axes = _axes(figure, size, (0.75, size[1] - 0.38, 2.6, 0.13))
    axes.imshow(heatmap_overlay(gray, levels), aspect="auto", extent=(0, 2, 0, 1))
    axes.set_yticks([])
    axes.set_xticks([0, 0.5, 1, 2], ["0", "0.5", "1", "2 and more"], fontsize=7)
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="x", length=2, pad=1)


def _mask(exhibits: Exhibits, chosen: int) -> Bytes:
    """Returns the mask (h, w, 3), white on the defect; gray where a defect has none."""
    mask = np.asarray(exhibits["masks"][chosen], np.bool_)
    if exhibits["is_defect"][chosen] and not exhibits["has_mask"][chosen]:
        return np.full((*mask.shape, 3), _NO_MASK, np.uint8)
    return np.repeat(255 * mask.astype(np.uint8)[..., None], 3, axis=2)


def _fitted(picture: Bytes) -> Bytes:
    """Returns the picture on a white square of a cell, its ratio of sides kept."""
    height, width = picture.shape[:2]
    share = _PIXELS / max(height, width)
    sides = max(1, round(width * share)), max(1, round(height * share))
    cell = Image.new("RGB", (_PIXELS, _PIXELS), "white")
    small = Image.fromarray(picture).resize(sides, Image.Resampling.LANCZOS)
    cell.paste(small, ((_PIXELS - sides[0]) // 2, (_PIXELS - sides[1]) // 2))
    return np.asarray(cell)


def draw_vectors(sheet: Sheet) -> Drawn | None:
    """Fig. 7: t-SNE of source features, of another network's, and of TNF's target features.

    Raises:
        MissingExtraError: matplotlib or scikit-learn is not installed.
    """
    found = [one for one in _exhibits(sheet) if len(one[1]["vectors_source"]) >= _FEW]
    if not found:
        return None
    as_in_paper = [
        one for one in found if sheet.of_set == "dagm" and one[0].name in _PAPERS_CLASSES
    ]
    shown = (as_in_paper if len(as_in_paper) == len(_PAPERS_CLASSES) else found)[:4]
    other = label(str(shown[0][1]["other_name"]), 32)
    lines = (
        ("S", "vectors_source", "source features of SNN"),
        ("T", "vectors_other", f"features of another network, {other}"),
        ("NF", "vectors_target", "target features of TNF"),
    )

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        panels = figure.subplots(3, len(shown), squeeze=False)
        for row, (short, key, _) in enumerate(lines):
            panels[row, 0].set_ylabel(short, rotation=0, fontsize=11, weight="bold", labelpad=14)
            for column, (category, exhibits) in enumerate(shown):
                _paint_vectors(panels[row, column], exhibits, key)
                if row == 0:
                    panels[row, column].set_title(label(category.name))
        for colour, marker, name in ((GOOD_COLOUR, "o", "good"), (DEFECT_COLOUR, "^", "defective")):
            panels[0, 0].plot([], [], marker, color=colour, markersize=5, label=name)
        handles, names = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=2)

    explained = "; ".join(f"{short}: {text}" for short, _, text in lines)
    caption = (
        f"{explained}. A point is one picture: its vector where the mask covers most, or at a "
        "random position of a good one; without masks the mean over positions. Distances between "
        "clusters and the axes of a t-SNE have no meaning of their own."
    )
    size = max(2.3 * len(shown) + 0.6, 4.2), 6.6
    return sheet.keep("7", "t-SNE of both domains", caption, size, paint)


def _paint_vectors(axes: Axes, exhibits: Exhibits, key: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#bbbbbb")
    points = _embedded(np.asarray(exhibits[key], np.float64))
    if points is None:
        says = NOT_AVAILABLE if exhibits[key].shape[1] == 0 else "too few or\nequal vectors"
        axes.text(
            0.5, 0.5, says, ha="center", va="center", transform=axes.transAxes, color="#666666"
        )
        return
    is_defect = np.asarray(exhibits["vectors_is_defect"], np.bool_)
    for chosen, colour, marker in ((~is_defect, GOOD_COLOUR, "o"), (is_defect, DEFECT_COLOUR, "^")):
        axes.scatter(
            points[chosen, 0],
            points[chosen, 1],
            s=16,
            color=colour,
            marker=marker,
            alpha=0.75,
            linewidths=0,
        )
    axes.margins(0.08)


def _embedded(vectors: NDArray[np.float64]) -> NDArray[Any] | None:
    """Returns (m, 2) places for vectors (m, C); None where they hold nothing to place."""
    usable = vectors.size and np.isfinite(vectors).all() and np.ptp(vectors, axis=0).any()
    if not usable or len(vectors) < _FEW or vectors.shape[1] < 2:
        return None
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingExtraError(
            "Fig. 7 needs scikit-learn, which is not installed; " + how_to_install("report")
        ) from error
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # PCA of vectors that are nearly equal
        places = TSNE(random_state=0, perplexity=perplexity, init="pca").fit_transform(vectors)
    return np.asarray(places)


def _exhibits(sheet: Sheet) -> Shown:
    return exhibits_of(sheet.results, categories_of(sheet.rows, sheet.of_set))


def _place(
    figure: Figure, size: tuple[float, float], corner: tuple[float, float], cells: list[list[Bytes]]
) -> None:
    """Shows rows of cells as one picture, with its upper left corner in inches."""
    gap = round(_PIXELS * _GAP / _CELL)
    side = _PIXELS + gap
    height, width = len(cells) * side - gap, len(cells[0]) * side - gap
    joined = np.full((height, width, 3), 255, np.uint8)
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            y, x = row * side, column * side
            joined[y : y + _PIXELS, x : x + _PIXELS] = cell
    inch = _CELL / _PIXELS
    axes = _axes(figure, size, (*corner, width * inch, height * inch))
    axes.imshow(joined, interpolation="nearest", aspect="auto")
    axes.set_axis_off()


def _axes(
    figure: Figure, size: tuple[float, float], place: tuple[float, float, float, float]
) -> Axes:
    """Returns axes at (left, top, width, height) in inches from the upper left corner."""
    left, top, width, height = place
    below = size[1] - top - height
    return figure.add_axes((left / size[0], below / size[1], width / size[0], height / size[1]))


def _write(
    figure: Figure, size: tuple[float, float], at: tuple[float, float], text: str, **style: Any
) -> None:
    """Writes at (left, top) in inches from the upper left corner."""
    figure.text(at[0] / size[0], 1 - at[1] / size[1], text, **style)
