"""Fig. 4: the mapping networks, one of their residual blocks, and a coupling block of TNF.

All places are in inches, see `nfbmr.paper.boxes`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from nfbmr.networks.flow import AffineCoupling
from nfbmr.networks.mapping import ResidualBlock
from nfbmr.paper import boxes
from nfbmr.paper.anatomy import Anatomy, convolution, parameters, times

DETAILS_SIZE = 8.0, 7.3

_TENSOR = 0.98, 0.5
_LAYER = 0.38, 1.26
_ALONE = 4  # blocks on a side that are drawn one by one
_LEFT = 0.14
_SHARED_WIDTH = 0.5


def paint_details(canvas: boxes.Canvas, found: Anatomy) -> None:
    """Draws Fig. 4."""
    _paint_mappings(canvas, found, 7.1)
    block = found.mapping.shared
    assert isinstance(block, ResidualBlock)
    _paint_block(canvas, block, 3.55)
    _paint_coupling(canvas, found, 2.3)


def _title(canvas: boxes.Canvas, top: float, text: str) -> None:
    canvas.write(_LEFT, top, boxes.Words(text, 9, bold=True), ha="left")


# ---- (a)


def _paint_mappings(canvas: boxes.Canvas, found: Anatomy, top: float) -> None:
    mapping = found.mapping
    _title(canvas, top, "(a) The mapping networks")
    rows = top - 1.03, top - 2.65
    shared = canvas.box(
        *(DETAILS_SIZE[0] / 2, (rows[0] + rows[1]) / 2),
        (_SHARED_WIDTH, rows[0] - rows[1] + _LAYER[1]),
        [
            boxes.head("shared residual block"),
            boxes.Words(f"{parameters(mapping.shared)}, one set of weights"),
        ],
        boxes.SHARED,
        upright=True,
    )
    ways = (
        ("TMNN, eq. 9", mapping.tmnn, ("$y$", found.y), (r"$z_\mathrm{MT}$", found.z_mt)),
        ("SMNN, eq. 10", mapping.smnn, ("$z$", found.z), (r"$y_\mathrm{MS}$", found.y_ms)),
    )
    for y, (name, own, given, made) in zip(rows, ways, strict=True):
        text = f"{name}: {parameters(own)} parameters of its own"
        canvas.write(_LEFT, y + _LAYER[1] / 2 + 0.13, boxes.Words(text, 8, bold=True), ha="left")
        first, last = (
            canvas.box(x, y, _TENSOR, [boxes.formula(text), boxes.Words(times(shape))])
            for x, (text, shape) in (
                (_LEFT + _TENSOR[0] / 2, given),
                (DETAILS_SIZE[0] - _LEFT - _TENSOR[0] / 2, made),
            )
        )
        middle = boxes.Box(shared.x, y, shared.width, _LAYER[1])
        _paint_layers(canvas, list(own.before), first, middle)
        _paint_layers(canvas, list(own.after), middle, last)


def _paint_layers(
    canvas: boxes.Canvas, layers: Sequence[nn.Module], start: boxes.Box, end: boxes.Box
) -> None:
    """Draws layers, spread evenly between two boxes, and the arrows through them."""
    drawn: list[list[boxes.Words]] = []
    blocks = [layer for layer in layers if isinstance(layer, ResidualBlock)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            drawn.append([boxes.Words(text) for text in convolution(layer)])
        elif len(blocks) <= _ALONE:
            drawn.append([boxes.Words("residual block"), boxes.Words(parameters(layer))])
        elif layer is blocks[0]:
            text = f"{len(blocks)} residual blocks"
            drawn.append([boxes.Words(text), boxes.Words(f"{parameters(layer)} each")])
    left, right = start.right[0], end.left[0]
    gap = (right - left - len(drawn) * _LAYER[0]) / (len(drawn) + 1)
    before = start
    for number, words in enumerate(drawn):
        x = left + gap * (number + 1) + _LAYER[0] * (number + 0.5)
        box = canvas.box(x, start.y, _LAYER, words, boxes.SECOND, upright=True)
        canvas.arrow(before.right, box.left)
        before = box
    canvas.arrow(before.right, end.left)


# ---- (b)


def _paint_block(canvas: boxes.Canvas, block: ResidualBlock, top: float) -> None:
    _title(canvas, top, f"(b) A residual block: {parameters(block)} parameters")
    plus = object()
    row: list[object] = [*block.body, plus]
    if block.relu == "after":
        row.append(nn.ReLU())
    drawn = [_words_of(one) for one in row]
    y, start, end = top - 0.72, 1.15, DETAILS_SIZE[0] - 0.95
    gap = (end - start - sum(width for _, width, _ in drawn)) / (len(drawn) + 1)
    first = block.body[0]
    assert isinstance(first, nn.Conv2d)
    canvas.write(0.55, y, boxes.Words(f"{first.in_channels}\nchannels"))
    canvas.line((0.88, y), (start, y))
    canvas.dot((start, y))
    at, places = (start, y), []
    for words, width, fill in drawn:
        box = canvas.box(at[0] + gap + width / 2, y, (width, 0.46), words, fill)
        canvas.arrow(at, box.left)
        at = box.right
        places.append(box)
    canvas.arrow(at, (end, y))
    over, sum_of_both = y + 0.42, places[row.index(plus)]
    canvas.arrow((start, y), (start, over), (sum_of_both.x, over), sum_of_both.top)
    last = [one for one in block.body if isinstance(one, nn.Conv2d)][-1]
    canvas.write(end + 0.42, y, boxes.Words(f"{last.out_channels}\nchannels"))


def _words_of(layer: object) -> tuple[list[boxes.Words], float, str]:
    """Returns what a box of a residual block says, its width and its fill."""
    if isinstance(layer, nn.Conv2d):
        return [boxes.Words(text) for text in convolution(layer)], 0.94, boxes.SECOND
    if isinstance(layer, nn.ReLU):
        return [boxes.Words("ReLU")], 0.46, boxes.OPERATION
    return [boxes.head("+")], 0.28, boxes.OPERATION


# ---- (c)


def _paint_coupling(canvas: boxes.Canvas, found: Anatomy, top: float) -> None:
    blocks = found.detector.flow.blocks
    block = blocks[0]
    assert isinstance(block, AffineCoupling)
    what = f"(c) One of the {len(blocks)} coupling blocks of TNF, eqs. 3 to 6"
    _title(canvas, top, f"{what}: {parameters(block)} parameters")
    upper, lower = top - 0.45, top - 1.85
    middle = (upper + lower) / 2
    one, two = block.parts
    mixed = canvas.box(
        *(0.95, middle),
        (0.38, 1.72),
        [boxes.Words("fixed permutation"), boxes.Words(f"of {len(block.permutation)} channels")],
        boxes.OPERATION,
        upright=True,
    )
    canvas.write(0.36, middle + 0.14, boxes.formula("$y$"))
    canvas.arrow((0.2, middle), mixed.left)
    joined = canvas.box(
        *(7.0, middle),
        (0.38, 1.72),
        [boxes.Words("both parts"), boxes.Words("joined")],
        boxes.OPERATION,
        upright=True,
    )
    canvas.arrow(joined.right, (7.75, middle))
    canvas.write(7.5, middle + 0.14, boxes.formula("$z$"))
    canvas.write(1.52, upper + 0.15, boxes.formula(f"$y_1$: {one}"))
    canvas.write(1.52, lower + 0.15, boxes.formula(f"$y_2$: {two}"))
    first = _paint_net(canvas, block, 1, (2.8, middle))
    second = _paint_net(canvas, block, 2, (5.3, middle))
    low = _scale_shift(canvas, (2.8, lower), 1)
    high = _scale_shift(canvas, (5.3, upper), 2)
    edge, end = mixed.right[0], joined.left[0]
    for branch, net, operation in (
        ((2.8, upper), first, low),
        ((5.3, lower), second, high),
    ):
        canvas.dot(branch)
        down = branch[1] > middle
        canvas.arrow(branch, net.top if down else net.bottom)
        canvas.arrow(net.bottom if down else net.top, operation.top if down else operation.bottom)
    canvas.arrow((edge, upper), high.left)
    canvas.arrow(high.right, (end, upper))
    canvas.arrow((edge, lower), low.left)
    canvas.arrow(low.right, (end, lower))
    canvas.write(6.42, upper + 0.15, boxes.formula("$z_1$"))
    canvas.write(6.42, lower + 0.15, boxes.formula("$z_2$"))


def _scale_shift(canvas: boxes.Canvas, at: boxes.Point, number: int) -> boxes.Box:
    text = rf"$\exp(s_{number}) \cdot y_{3 - number} + b_{number}$"
    return canvas.box(*at, (1.3, 0.36), [boxes.formula(text)], boxes.OPERATION)


def _paint_net(
    canvas: boxes.Canvas, block: AffineCoupling, number: int, at: boxes.Point
) -> boxes.Box:
    """Draws a sub-network: what it sees, its hidden layer, and the two halves of its output."""
    net = block.net1 if number == 1 else block.net2
    kernel = times((net.kernel, net.kernel))
    (hidden, given), made = net.weight1.shape[:2], len(net.weight2)
    place = given - block.parts[number - 1]
    seen = f"{given - place} + {place} of place" if place else str(given)
    parts = f"$s_{number}$, $b_{number}$: {made // 2} each"
    words = [
        boxes.Words(f"conv {kernel}, {seen} → {hidden}"),
        boxes.Words(f"ReLU, conv {kernel}, {hidden} → {made}"),
        boxes.formula(f"{parts}, $|s_{number}| < {block.clamp:g}$"),
    ]
    return canvas.box(*at, (2.2, 0.64), words, boxes.FIRST)
