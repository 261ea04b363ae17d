"""Figs. 3 and 4: the structure of NF-BMR, drawn from the modules that run.

`python -m nfbmr.paper.structure --preset paper -o docs/images` writes structure.png and
mapping.png. Names, shapes and numbers are read from the modules; weights are not needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from nfbmr.networks.mapping import BidirectionalMapping
from nfbmr.networks.source import SourceNetwork
from nfbmr.paper.anatomy import (
    Anatomy,
    anatomy,
    blocks,
    parameters,
    stages,
    times,
)
from nfbmr.paper.boxes import (
    FIRST,
    FROZEN,
    OPERATION,
    SECOND,
    SHARED,
    Box,
    Canvas,
    Point,
    Words,
    formula,
    head,
)
from nfbmr.paper.details import DETAILS_SIZE, paint_details
from nfbmr.paper.drawing import Drawn, network_label, write_drawing
from nfbmr.paper.systems import make_system
from nfbmr.settings.schema import Settings
from nfbmr.settings.text import parse_changes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = 8.3, 4.3
_ROWS = 3.62, 2.42, 1.22
_COLUMNS = {"picture": 0.53, "snn": 1.76, "y": 3.03, "flow": 4.38, "z": 5.73}
_SUM, _END = 6.83, 7.78
_TENSOR = 0.9, 0.52
_NETWORK = 1.22, 1.04
_MAPPING = 1.52, 1.06
_BARS = Words(" ", 18)  # room for a row of bars


def paint_whole(canvas: Canvas, found: Anatomy) -> None:
    """Draws Fig. 3: a picture's way to its score."""
    top, middle, bottom = _ROWS
    x = _COLUMNS
    source, flow = found.detector.source, found.detector.flow
    assert isinstance(source, SourceNetwork)
    picture = canvas.box(
        *(x["picture"], middle, _TENSOR), [head("picture"), Words(times(found.picture))]
    )
    snn = canvas.box(x["snn"], middle, _NETWORK, _words_of(source), FROZEN)
    words = [formula("$y$"), Words(times(found.y))]
    if found.is_standardised:
        words.append(Words("standardised"))
    y = canvas.box(x["y"], middle, _TENSOR, words)
    words = [head("TNF"), Words(f"{len(flow.blocks)} coupling blocks")]
    words.append(Words(f"{parameters(flow)} parameters"))
    tnf = canvas.box(x["flow"], middle, _NETWORK, words, FIRST)
    z = canvas.box(x["z"], middle, _TENSOR, [formula("$z$"), Words(times(found.z))])
    for one, other in ((picture, snn), (snn, y), (y, tnf), (tnf, z)):
        canvas.arrow(one.right, other.left)
    tmnn = _mapping_box(canvas, (x["flow"] - 0.14, top), "TMNN", found.mapping, to_target=True)
    smnn = _mapping_box(canvas, (x["flow"] + 0.14, bottom), "SMNN", found.mapping, to_target=False)
    target = _error(canvas, (x["z"], top), "target error", r"$|z - z_\mathrm{MT}|^2$")
    source_error = _error(canvas, (x["y"], bottom), "source error", r"$|y - y_\mathrm{MS}|^2$")
    canvas.arrow(y.top, (y.x, top), tmnn.left)
    canvas.arrow(z.bottom, (z.x, bottom), smnn.right)
    canvas.arrow(z.top, target.bottom)
    canvas.arrow(y.bottom, source_error.top)
    canvas.arrow(tmnn.right, target.left)
    canvas.arrow(smnn.left, source_error.right)
    canvas.write((tmnn.right[0] + target.left[0]) / 2, top + 0.15, formula(r"$z_\mathrm{MT}$"))
    canvas.write(
        (smnn.left[0] + source_error.right[0]) / 2, bottom + 0.15, formula(r"$y_\mathrm{MS}$")
    )
    _paint_end(canvas, found, target, source_error)
    _paint_legend(canvas)


def _words_of(source: SourceNetwork) -> list[Words]:
    """Says which network SNN is, and what of it makes y."""
    count = f"{blocks(source)} blocks, " if blocks(source) else ""
    lines = [network_label(source.name), f"to {stages(source)}", f"{count}stride {source.stride}"]
    if source.neighbours:
        lines.append("and 3 × 3 means")
    if source.scales:
        lines.append(f"at {1 + len(source.scales)} sizes")
    return [head("SNN"), *map(Words, lines), Words(f"{parameters(source)} parameters")]


def _mapping_box(
    canvas: Canvas, at: Point, name: str, mapping: BidirectionalMapping, *, to_target: bool
) -> Box:
    """Draws TMNN or SMNN: its layers as a row of bars in the direction in which they run."""
    own = mapping.tmnn if to_target else mapping.smnn
    before, after = list(own.before), list(own.after)
    text = f"{len(before) - 1} + 1 + {len(after) - 1} residual blocks"
    counts = f"{parameters(own)} + {parameters(mapping.shared)} shared"
    words = [head(name), _BARS, Words(text), Words(counts)]
    box = canvas.box(*at, _MAPPING, words, SECOND)
    layers = [*before, mapping.shared, *after]
    step = min(0.17, (_MAPPING[0] - 0.2) / len(layers))
    y = at[1] + sum(one.height for one in words) / 2 - words[0].height - _BARS.height / 2
    for number, layer in enumerate(layers if to_target else layers[::-1]):
        x = at[0] + (number - (len(layers) - 1) / 2) * step
        tall = 0.2 if isinstance(layer, nn.Conv2d) else 0.14
        fill = SHARED if layer is mapping.shared else "white"
        canvas.bar(x, y, (0.7 * step, tall), fill)
    return box


def _error(canvas: Canvas, at: Point, name: str, text: str) -> Box:
    return canvas.box(*at, (0.94, 0.66), [Words(name, 8, bold=True), formula(text)], OPERATION)


def _paint_end(canvas: Canvas, found: Anatomy, target: Box, source: Box) -> None:
    """Draws eq. 14 and what comes of it."""
    top, middle, bottom = _ROWS
    words = [Words("half the\nsum", 8, bold=True), Words("eq. 14")]
    half = canvas.box(_SUM, middle, (0.72, 0.66), words, OPERATION)
    canvas.arrow(target.right, (_SUM, top), half.top)
    under = bottom - _MAPPING[1] / 2 - 0.17
    canvas.arrow(source.bottom, (source.x, under), (_SUM, under), half.bottom)
    score_map = canvas.box(_END, middle, (0.84, 0.5), [head("map"), Words(times(found.map))])
    canvas.arrow(half.right, score_map.left)
    words = [head("score"), *(Words(text.replace("of ", "of\n")) for text in found.score)]
    score = canvas.box(_END, bottom, (0.84, 0.4 + 0.13 * len(words)), words)
    canvas.arrow(score_map.bottom, score.top)


def _paint_legend(canvas: Canvas) -> None:
    x = 0.16
    for fill, text, width in (
        (FROZEN, "frozen", 0.8),
        (FIRST, "trained first, alone", 1.55),
        (SECOND, "trained second, TNF fixed", 1.95),
        (SHARED, "residual block shared by TMNN and SMNN", 0.0),
    ):
        canvas.bar(x, 0.17, (0.16, 0.16), fill)
        canvas.write(x + 0.15, 0.17, Words(text), ha="left")
        x += width


def draw_structure(settings: Settings, files: Mapping[str, Sequence[Path]]) -> list[Drawn]:
    """Draws Figs. 3 and 4.

    Args:
        settings: of NF-BMR.
        files: number of the figure, `3` or `4`, -> PNG and SVG files to write.

    Raises:
        SettingsError: the settings are not of NF-BMR.
        MissingExtraError: matplotlib is not installed.
        OSError: the files cannot be written.
    """
    found = anatomy(settings)
    made = []
    for one in _FIGURES:
        if one.number not in files:
            continue

        def paint(figure: Figure, paint: Paint = one.paint) -> None:
            paint(Canvas(figure), found)

        write_drawing(files[one.number], one.size, paint)
        made.append(
            Drawn(
                number=one.number,
                title=one.title,
                caption=f"{one.caption} {_READ}",
                files=tuple(files[one.number]),
            )
        )
    return made


Paint = Callable[[Canvas, Anatomy], None]


class _Figure(NamedTuple):
    number: str
    title: str
    size: Point
    caption: str
    paint: Paint


_READ = (
    "Drawn from the modules that run: names, shapes and numbers are read from them. Shapes are "
    "channels × height × width, of square pictures where the settings give no size; numbers with "
    "k and M are of parameters."
)
_FIGURES = (
    _Figure(
        "3",
        "The structure of NF-BMR",
        _SIZE,
        "SNN makes source features y of a picture, TNF makes target features z of them. TMNN maps "
        "y to z, SMNN maps z to y; a tall bar in them is a convolution, a square a residual block. "
        "The map is half the sum of both squared errors, each summed over channels (eq. 14).",
        paint_whole,
    ),
    _Figure(
        "4",
        "The structure of BMR and of a coupling block of TNF",
        DETAILS_SIZE,
        "(a) TMNN and SMNN, which have the block in the middle in common. (b) A residual block. "
        "(c) A coupling block.",
        paint_details,
    ),
)


def main() -> None:
    """Parses the command line and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=("paper", "fast"), default="paper")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    given = parser.parse_args()
    system = make_system("nf-bmr-2", given.preset, 0, changes=parse_changes(given.changes))
    files = {"3": [given.out / "structure.png"], "4": [given.out / "mapping.png"]}
    for one in draw_structure(system.settings, files):
        print(*one.files)


if __name__ == "__main__":
    main()
