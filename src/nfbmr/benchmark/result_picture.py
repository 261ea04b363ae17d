"""The README's picture: `python -m nfbmr.benchmark.result_picture MODEL DATA PICTURE.png`.

A good picture and the median-scored picture of each defect type, with heatmap and marked defect;
the median, so that the choice is neither the best nor the worst.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nfbmr.data.images import read_image, resize_image
from nfbmr.data.layouts import Sample, read_data
from nfbmr.data.masks import read_masks
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.inspection.pictures import colour_regions, outline_mask, outline_regions
from nfbmr.inspection.result import Inspection

_SIDE = 190
_GAP = 10
_TEXT = 44


def draw(inspector: Inspector, data: Path, path: Path) -> None:
    """Writes one PNG: a column a type, rows picture, heatmap, marked defect."""
    samples = read_data(data).test
    by_type: dict[str, list[tuple[float, Sample]]] = {}
    results = inspector.inspect_many([sample.path for sample in samples])
    for sample, result in zip(samples, results, strict=True):
        if isinstance(result, Inspection):
            by_type.setdefault(sample.defect, []).append((result.score, sample))
    names = ["good", *sorted(set(by_type) - {"good"})]
    median = {n: sorted(by_type[n], key=lambda pair: pair[0])[len(by_type[n]) // 2] for n in names}
    width = len(names) * (_SIDE + _GAP) + _GAP
    sheet = Image.new("RGB", (width, 3 * (_SIDE + _GAP) + _GAP + _TEXT), "white")
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(names):
        sample = median[name][1]
        result = inspector.inspect(sample.path)
        left = _GAP + column * (_SIDE + _GAP)
        verdict = "DEFECT" if result.is_defect else result.verdict
        pen.text((left, 6), name, "black", font=ImageFont.load_default(15))
        line = f"{verdict}, p = {result.p_value:.3f}"
        pen.text((left, 25), line, "black", font=ImageFont.load_default(12))
        for row, picture in enumerate(_rows(sample, result)):
            sheet.paste(Image.fromarray(picture), (left, _TEXT + row * (_SIDE + _GAP)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def _rows(sample: Sample, result: Inspection) -> list[NDArray[np.uint8]]:
    square = (_SIDE, _SIDE)
    image = resize_image(read_image(sample.path), square)
    mask = np.zeros(square, np.bool_)
    if sample.mask is not None:
        full = np.repeat(read_masks(sample.masks)[..., None].astype(np.uint8) * 255, 3, axis=2)
        mask = resize_image(full, square)[..., 0] > 0
    heat = colour_regions(image, result.heatmap_at(square), result.regions, result.size)
    return [image, outline_regions(heat, result.regions, result.size), outline_mask(image, mask)]


def main() -> None:
    """Parses the command line and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    draw(load(arguments.model), arguments.data, arguments.picture)


if __name__ == "__main__":
    main()
