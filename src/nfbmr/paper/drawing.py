"""How every figure of the paper is drawn and kept: one style, PNG and SVG, names made safe.

Only matplotlib's `Figure` is used, never pyplot's global state. No text is read as mathematics,
since names of folders may hold a dollar sign.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nfbmr.evaluation.report.plots import load_matplotlib
from nfbmr.paper.aggregates import RANDOM_WARNING, SET_TITLES, Row, is_random
from nfbmr.system.files import printable, written_beside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SYSTEM_COLOURS = {
    "nf-bmr-1": "#0050b5",
    "nf-bmr-2": "#d62728",
    "nf-bmr-3": "#5bb8f0",
    "nf-b-pfm": "#b58900",
    "nf": "#000000",
    "nfbmr": "#7a4fa3",
    "pfm": "#b8c4cc",
    "b-pfm": "#7c919e",
    "mb-pfm": "#3d5361",
}
"""As section 4.4 tells of Fig. 10; the baselines are grays, each darker than the one before."""

_STYLE = {
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "nfbmr",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "figure.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.09,
    "figure.constrained_layout.h_pad": 0.07,
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
_DPI = 150


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One figure, or why there is none.

    Attributes:
        number: as the paper's, such as `2a`.
        title: one line.
        caption: sentences on what it shows.
        files: the PNG and the SVG; empty where it was not drawn.
        reason: why it was not drawn; "" where it was.
        has_photos: whether it shows pictures, so that PNG suits it better than SVG.
    """

    number: str
    title: str
    caption: str = ""
    files: tuple[Path, ...] = ()
    reason: str = ""
    has_photos: bool = False


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What all figures of one set of categories share.

    Attributes:
        rows: those of the set.
        of_set: a key of `SET_TITLES`.
        results: the folder with scores and exhibits.
        out: the folder for the figures.
    """

    rows: Sequence[Row]
    of_set: str
    results: Path
    out: Path

    def lacking(self, number: str, title: str, reason: str) -> Drawn:
        """Returns the figure as one that was not drawn.

        Args:
            number: as the paper's.
            title: without the set's name, which is added.
            reason: why, without a full stop.
        """
        return Drawn(number=number, title=f"{title}, {SET_TITLES[self.of_set]}", reason=reason)

    def keep(
        self,
        number: str,
        title: str,
        caption: str,
        size: tuple[float, float],
        paint: Callable[[Figure], None],
        has_photos: bool = False,
    ) -> Drawn:
        """Draws one figure and writes it as PNG and SVG.

        Args:
            number: as the paper's.
            title: without the set's name, which is added.
            caption: sentences.
            size: width and height in inches.
            paint: fills the empty figure.
            has_photos: see `Drawn`.

        Raises:
            MissingExtraError: matplotlib is not installed.
            OSError: the files cannot be written.
        """
        title = f"{title}, {SET_TITLES[self.of_set]}"
        means_nothing = any(is_random(row) for row in self.rows)
        if means_nothing:
            title = f"{title} (RANDOM WEIGHTS)"
            caption = f"{RANDOM_WARNING}. {caption}"
        stem = f"figure_{number}_{self.of_set}"
        files = tuple(self.out / f"{stem}.{suffix}" for suffix in ("png", "svg"))

        def stamped(figure: Figure) -> None:
            paint(figure)
            if means_nothing:
                _stamp(figure)

        write_drawing(files, size, stamped)
        return Drawn(
            number=number, title=title, caption=caption, files=files, has_photos=has_photos
        )


def write_drawing(
    files: Sequence[Path], size: tuple[float, float], paint: Callable[[Figure], None]
) -> None:
    """Draws one figure in the style of all and writes it, in the form that each suffix names.

    Args:
        files: `.png` or `.svg`; older ones are replaced.
        size: width and height in inches.
        paint: fills the empty figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the files cannot be written.
    """
    matplotlib, figure_class = load_matplotlib()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # names of folders
        figure = figure_class(figsize=size)
        paint(figure)
        for path in files:
            kind = path.suffix[1:]
            metadata = nothing if kind == "svg" else {"Software": None}
            with written_beside(path) as beside:
                figure.savefig(beside, format=kind, dpi=_DPI, metadata=metadata)


def _stamp(figure: Figure) -> None:
    """Writes the warning across the figure, for it may be looked at without its caption."""
    size = 0.055 * 72 * float(figure.get_figwidth())
    figure.text(
        *(0.5, 0.5, "RANDOM WEIGHTS"),
        fontsize=size,
        rotation=20,
        color="#c00000",
        alpha=0.35,
        ha="center",
        va="center",
        weight="bold",
    )


def label(text: str, longest: int = 18) -> str:
    """Returns a name to write into a figure: one line, printable, cut to `longest` letters."""
    plain = re.sub(r"\s+", " ", printable(text)).strip() or "?"
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


def network_label(network: str) -> str:
    """Returns timm's name of a network without its port and its tag: efficientnet_b3."""
    return label(network.partition(".")[0].removeprefix("tf_"))


def not_shown(names: Iterable[str], reason: str) -> str:
    """Returns a sentence for a caption on categories that a figure lacks; "" without any."""
    listed = ", ".join(label(name, 30) for name in names)
    return f" Not shown: {listed}, for {reason}." if listed else ""
