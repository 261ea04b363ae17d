"""Boxes, arrows and words, of which drawings of networks are made.

All lengths and places are in inches from the lower left corner of the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.text import Text

Point = tuple[float, float]

INK = "#22272b"
FROZEN, FIRST, SECOND, SHARED = "#e2e5e8", "#cfe3f4", "#fbe2c6", "#c3e6c1"
"""Fills of what is frozen, trained first, trained second, and one in two places."""
OPERATION = "#f4f0e3"
"""Fill of what has no weights."""
_LINE = 1.1  # points
_SPACING = 1.25  # of lines, in font sizes
_INCH = 72.0  # points


@dataclass(frozen=True)
class Box:
    """A box that has been drawn: its middle and its sides."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> Point:
        """Middle of the left side."""
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> Point:
        """Middle of the right side."""
        return self.x + self.width / 2, self.y

    @property
    def top(self) -> Point:
        """Middle of the upper side."""
        return self.x, self.y + self.height / 2

    @property
    def bottom(self) -> Point:
        """Middle of the lower side."""
        return self.x, self.y - self.height / 2


@dataclass(frozen=True)
class Words:
    """Lines of text in one style.

    Attributes:
        text: lines; what stands between dollar signs is mathematics where `is_formula` says so.
        size: of the letters, points.
        bold: whether it is a heading.
        is_formula: whether dollar signs mean mathematics.
    """

    text: str
    size: float = 7.5
    bold: bool = False
    is_formula: bool = False

    @property
    def height(self) -> float:
        """Inches that the lines take."""
        return self.size * _SPACING * len(self.text.splitlines()) / _INCH


def head(text: str) -> Words:
    """Returns a heading in a box."""
    return Words(text, 9, bold=True)


def formula(text: str) -> Words:
    """Returns words with mathematics between dollar signs."""
    return Words(text, 8.5, is_formula=True)


@dataclass
class Canvas:
    """A figure that is drawn on in inches.

    Attributes:
        figure: empty.
        boxed: every text that stands in a box, with the box that must hold it.
    """

    figure: Figure
    boxed: list[tuple[Text, Patch]] = field(default_factory=list)

    def __post_init__(self) -> None:
        width, height = self.figure.get_size_inches()
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.set_axis_off()

    def write(self, x: float, y: float, words: Words, **style: Any) -> Text:
        """Writes lines around a place; `style` goes to matplotlib's text."""
        style = {"ha": "center", "va": "center", "color": INK} | style
        weight = "bold" if words.bold else "normal"
        return self.axes.text(
            *(x, y, words.text),
            fontsize=words.size,
            weight=weight,
            parse_math=words.is_formula,
            linespacing=_SPACING,
            **style,
        )

    def box(
        self,
        x: float,
        y: float,
        size: Point,
        words: Sequence[Words],
        fill: str = "white",
        *,
        upright: bool = False,
    ) -> Box:
        """Draws a box around (x, y), the words below each other in it.

        Args:
            x: of the middle.
            y: of the middle.
            size: width and height.
            words: from top to bottom; where it stands upright, from left to right.
            fill: colour.
            upright: whether the words run from below to above.
        """
        from matplotlib.patches import FancyBboxPatch

        width, height = size
        patch = FancyBboxPatch(
            (x - width / 2, y - height / 2),
            *(width, height),
            boxstyle="round,pad=0,rounding_size=0.05",
            facecolor=fill,
            edgecolor=INK,
            linewidth=_LINE,
            zorder=2,
        )
        self.axes.add_patch(patch)
        at = sum(one.height for one in words) / 2
        for one in words:
            at -= one.height / 2
            place = (x - at, y) if upright else (x, y + at)
            text = self.write(*place, one, rotation=90 if upright else 0, zorder=3)
            self.boxed.append((text, patch))
            at -= one.height / 2
        return Box(x, y, width, height)

    def bar(self, x: float, y: float, size: Point, fill: str) -> None:
        """Draws a small box without words around (x, y)."""
        from matplotlib.patches import Rectangle

        corner = x - size[0] / 2, y - size[1] / 2
        self.axes.add_patch(
            Rectangle(corner, *size, facecolor=fill, edgecolor=INK, linewidth=0.8, zorder=3)
        )

    def arrow(self, *points: Point) -> None:
        """Draws a line through the points, with a head at the last one."""
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path

        self.axes.add_patch(
            FancyArrowPatch(
                path=Path(list(points)),
                arrowstyle="-|>,head_length=4,head_width=2.2",
                color=INK,
                linewidth=_LINE,
                capstyle="butt",
                joinstyle="miter",
                zorder=1,
            )
        )

    def line(self, *points: Point) -> None:
        """Draws a line without a head."""
        xs, ys = zip(*points, strict=True)
        self.axes.plot(xs, ys, color=INK, linewidth=_LINE, zorder=1)

    def dot(self, at: Point) -> None:
        """Marks where a line branches."""
        self.axes.plot(*at, "o", color=INK, markersize=3.2, zorder=2)
