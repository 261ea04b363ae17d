"""Pictures for people: heatmap overlays, mask outlines, small pictures inside HTML.

No matplotlib here, since `nfbmr inspect --heatmaps` draws with these too. Nothing here feeds a
network: what a network sees is decoded and resized elsewhere.

    H W   height and width of one picture        u   place in the colour table, 0..1
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from scipy import ndimage

from nfbmr.data.folders import DRAWN
from nfbmr.inspection.regions import Region
from nfbmr.inspection.result import Inspection

HEATMAP_VISIBLE = 0.5
"""Heatmap level where colour begins; below, the picture is left as it is."""

HEATMAP_FULL = 2.0
"""Heatmap level where the colour stops changing."""

_ALARM = 1.0
_SCALE = (
    "0 = typical good, 1 = alarm level; same for all pictures. Colour begins at "
    f"{HEATMAP_VISIBLE:g} (violet), is red at {_ALARM:g}, pale yellow from {HEATMAP_FULL:g} on"
)
_MAX_ALPHA = 0.68

# Places u and their sRGB colours: dark violet, red, orange, pale yellow. Lightness rises along the
# table, so that the order also shows without colour vision and in print.
_ANCHORS = (
    (0.00, (84, 18, 120)),
    (0.20, (152, 28, 112)),
    (0.38, (212, 44, 76)),
    (0.58, (243, 104, 40)),
    (0.80, (252, 178, 36)),
    (1.00, (255, 246, 170)),
)


def _colour_table() -> NDArray[np.float32]:
    u = np.linspace(0, 1, 256)
    places = [place for place, _ in _ANCHORS]
    channels = [np.interp(u, places, [rgb[c] for _, rgb in _ANCHORS]) for c in range(3)]
    return np.stack(channels, axis=1).astype(np.float32)


_TABLE = _colour_table()  # (256, 3)

_OUTLINE = np.array((0, 229, 255), np.uint8)
_OUTLINE_EDGE = np.array((4, 30, 40), np.uint8)
_REGION = np.array((255, 255, 255), np.uint8)
_REGION_EDGE = np.array((20, 8, 28), np.uint8)
_FINE = 4  # a line is drawn so many times as large, then averaged
_MUCH = 2**22  # bytes of a picture in which it is not


def heatmap_overlay(image: NDArray[np.uint8], heatmap: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lays the heatmap over the picture, on one fixed scale for all pictures.

    Nothing shows below half of the threshold; colour fades in up to it (the level that only the
    asked false-alarm share of good pictures reach anywhere) and brightens up to twice that. So a
    good part looks calm.

    Args:
        image: (H, W, 3).
        heatmap: (H, W), finite; 0 = typical good.

    Returns:
        A new picture (H, W, 3).
    """
    _check_image(image)
    assert heatmap.shape == image.shape[:2], "heatmap and picture differ in size"
    colour, alpha = _coloured(heatmap)
    mixed: NDArray[np.float32] = (1 - alpha) * image + alpha * colour
    return np.rint(mixed).astype(np.uint8)


def heatmap_layer(heatmap: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns what `heatmap_overlay` lays over a picture, RGBA (H, W, 4), to be laid there later.

    Args:
        heatmap: (H, W), finite; 0 = typical good.
    """
    colour, alpha = _coloured(heatmap)
    layer: NDArray[np.float32] = np.concatenate([colour, 255 * alpha], axis=2)
    return np.rint(layer).astype(np.uint8)


def _coloured(heatmap: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns colours (H, W, 3) in 0..255 and how opaque they are (H, W, 1), 0..1."""
    level = heatmap.astype(np.float32)
    fade = np.clip((level - HEATMAP_VISIBLE) / (_ALARM - HEATMAP_VISIBLE), 0, 1)
    alpha = (_MAX_ALPHA * fade * fade * (3 - 2 * fade))[..., None]  # H W 1
    u = np.clip((level - HEATMAP_VISIBLE) / (HEATMAP_FULL - HEATMAP_VISIBLE), 0, 1)
    return _TABLE[np.rint(u * 255).astype(np.intp)], alpha


def outline_mask(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draws the contour of the mask, in cyan with a dark edge, around the marked pixels.

    Where the mask touches the frame the contour runs inside, so that a full mask shows too.

    Args:
        image: (H, W, 3).
        mask: (H, W), True on the defect.

    Returns:
        A new picture (H, W, 3).
    """
    _check_image(image)
    assert mask.dtype == np.bool_
    assert mask.shape == image.shape[:2], "mask and picture differ in size"
    width = max(1, round(max(mask.shape) / 200))
    near = ndimage.binary_dilation(mask, _square(), iterations=width)
    far = ndimage.binary_dilation(near, _square(), iterations=width)
    frame = np.ones_like(mask)
    frame[width:-width, width:-width] = False
    drawn = image.copy()
    drawn[far & ~near] = _OUTLINE_EDGE
    drawn[(near & ~mask) | (mask & frame)] = _OUTLINE
    return drawn


def colour_regions(
    image: NDArray[np.uint8],
    heatmap: NDArray[np.float32],
    regions: Sequence[Region],
    size: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Lays the heatmap over the regions of a picture alone: one without any stays as it is.

    Args:
        image: (H, W, 3), the picture or a smaller copy.
        heatmap: (H, W), as for `heatmap_overlay`.
        regions: of the picture.
        size: (H, W) of the picture, where the image has another.

    Returns:
        A new picture (H, W, 3).
    """
    _check_image(image)
    drawn = image.copy()
    for part, inside in _stencils(image.shape[:2], regions, size):
        drawn[part][inside] = heatmap_overlay(image[part], heatmap[part])[inside]
    return drawn


def heatmap_in_regions(
    heatmap: NDArray[np.float32], regions: Sequence[Region], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Returns a heatmap (H, W) that is 0 outside of the regions of its picture.

    Args:
        heatmap: (H, W), of the picture's size or another.
        regions: of the picture.
        size: (H, W) of the picture.
    """
    found = np.zeros_like(heatmap)
    shape = (heatmap.shape[0], heatmap.shape[1])
    for part, inside in _stencils(shape, regions, size):
        found[part][inside] = heatmap[part][inside]
    return found


def _stencils(
    shape: tuple[int, ...], regions: Sequence[Region], size: tuple[int, int] | None
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """Yields where each region lies in an image of a shape (H, W), and what of that is inside."""
    scale = _scale_to((shape[0], shape[1]), size)
    for region in regions:
        left, top = np.floor(region.box[:2] * scale).astype(int).tolist()
        ends = np.ceil(region.box[2:] * scale).astype(int)  # rounded, it may lie behind the last
        right, bottom = np.minimum(ends, shape[1::-1]).tolist()
        stencil = Image.new("1", (right - left, bottom - top))
        corners = np.array(region.outline) * scale - (left + 0.5, top + 0.5)
        ImageDraw.Draw(stencil).polygon(corners.ravel().tolist(), fill=1)
        yield np.s_[top:bottom, left:right], np.asarray(stencil)


def outline_regions(
    image: NDArray[np.uint8], regions: Sequence[Region], size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Draws a line around each region, white with a dark edge.

    Args:
        image: (H, W, 3), the picture or a smaller copy.
        regions: of the picture.
        size: (H, W) of the picture, where the image has another.

    Returns:
        A new picture (H, W, 3).
    """
    _check_image(image)
    height, width = image.shape[:2]
    scale = _scale_to((height, width), size)
    line = max(1.5, max(height, width) / 400)
    drawn = image.copy()
    for colour, wide in ((_REGION_EDGE, 2.4 * line), (_REGION, line)):
        for region in regions:
            points = np.array(region.outline) * scale
            _draw_line(
                drawn, points.clip(0.5 * line, np.array((width, height)) - 0.5 * line), wide, colour
            )
    return drawn


def _scale_to(shape: tuple[int, int], size: tuple[int, int] | None) -> NDArray[np.float64]:
    """Returns pixels of an image (H, W) for one of its picture, `size`: across and down."""
    height, width = shape
    full = size or (height, width)
    return np.array((width / full[1], height / full[0]))


def _draw_line(
    image: NDArray[np.uint8], points: NDArray[np.float64], wide: float, colour: NDArray[np.uint8]
) -> None:
    """Draws a closed line through points (P, 2), (x, y) in pixels, into a picture, edges smooth."""
    margin = int(wide) + 2
    left, top = (points.min(axis=0).astype(int) - margin).clip(0).tolist()
    right, bottom = (points.max(axis=0).astype(int) + margin).tolist()
    part = image[top:bottom, left:right]
    fine = _FINE if part.size < _MUCH else 1
    stencil = Image.new("L", (fine * part.shape[1], fine * part.shape[0]))
    at = [(x, y) for x, y in (fine * (points - (left, top)) - 0.5).tolist()]
    ImageDraw.Draw(stencil).line([*at, *at[:2]], 255, max(1, round(fine * wide)), "curve")
    share = np.asarray(stencil.reduce(fine), np.float32)[..., None] / 255
    part[:] = np.rint((1 - share) * part + share * colour).astype(np.uint8)


def write_heatmap(path: Path, image: NDArray[np.uint8], result: Inspection) -> None:
    """Writes a picture as PNG: its regions in the heatmap's colours, with a line around each.

    The text chunks `nfbmr:verdict`, `nfbmr:score`, `nfbmr:threshold`, `nfbmr:picture` (its width
    and height), `nfbmr:regions` (a JSON list with `box`, `area`, `area_mm2`, `peak`, `at` and
    `p_value` of each, as `Region.to_dict`, in pixels of the picture) and `nfbmr:scale` say in the
    file what was found.

    Args:
        path: of the PNG; its folder is there.
        image: (H, W, 3), the picture that was inspected, or a smaller copy.
        result: what was said of it.

    Raises:
        OSError: the file cannot be written.
    """
    regions, size = result.regions, result.size
    drawn = image
    if regions:
        drawn = colour_regions(image, result.heatmap_at(image.shape[:2]), regions, size)
        drawn = outline_regions(drawn, regions, size)
    text = PngInfo()
    text.add_text(*DRAWN)
    for name, value in (
        ("verdict", result.verdict),
        ("score", repr(result.score)),
        ("threshold", repr(result.threshold)),
        ("picture", f"{size[1]} x {size[0]}"),
        ("regions", _told(regions)),
        ("scale", _SCALE),
    ):
        text.add_text(f"nfbmr:{name}", value)
    # Of pictures of parts the least effort makes files as small as any, in half of the time.
    Image.fromarray(drawn).save(path, "PNG", pnginfo=text, compress_level=1)


def _told(regions: Sequence[Region]) -> str:
    """Returns regions as JSON, without their outlines, which the picture shows."""
    rows = [region.to_dict() for region in regions]
    return json.dumps([{k: v for k, v in row.items() if k != "outline"} for row in rows])


def to_data_uri(
    image: NDArray[np.uint8], max_side: int = 384, form: Literal["jpeg", "png"] = "jpeg"
) -> str:
    """The picture as a `data:` address, so that a page needs no second file.

    Args:
        image: (H, W, 3).
        max_side: pixels; a longer side is shrunk to this, the ratio of sides is kept.
        form: JPEG of quality 85, or PNG without loss.
    """
    _check_image(image)
    assert max_side >= 1
    picture = Image.fromarray(image)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": 85} if form == "jpeg" else {}
    picture.save(buffer, form, optimize=True, **options)
    return f"data:image/{form};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _check_image(image: NDArray[np.uint8]) -> None:
    assert image.dtype == np.uint8, "needs a picture of bytes"
    assert image.ndim == 3, "needs a picture (H, W, 3)"
    assert image.shape[2] == 3, "needs a picture (H, W, 3)"


def _square() -> NDArray[np.bool_]:
    return np.ones((3, 3), np.bool_)
