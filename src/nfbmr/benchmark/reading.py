"""How long a large picture takes from its file to the model's size, by each way of reading.

`python -m nfbmr.benchmark.reading -o docs/results/reading.jsonl`: draws pictures of 5, 12 and 20
megapixels as a camera sees them, large shapes and noise, in gray and in colour, as JPEG and PNG.
Each is brought to the size that the preset `fast` chooses for it, by three ways in turn, so that
what else the machine does falls on all of them: decoded whole and copied before it is resized, as
versions before did; whole; and scaled. A row says the medians, and by how many levels the pixels
part from those of the first.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nfbmr.benchmark.child import say_row
from nfbmr.data.images import load_image, stored_values
from nfbmr.data.sizes import choose_size
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import DataSettings

Row = dict[str, Any]
Size = tuple[int, int]

SIZES: dict[int, Size] = {5: (1944, 2592), 12: (3000, 4000), 20: (3648, 5472)}
"""Megapixels -> (H, W)."""

FORMATS = ("JPEG", "PNG")
_SHAPES = 64  # pixels of a drawn shape
_NOISE = 6.0  # levels
_QUALITY = 90


def _copied(file: bytes, size: Size) -> NDArray[np.uint8]:
    return load_image(stored_values(file)[1], size)


WAYS: dict[str, Callable[[bytes, Size], NDArray[np.uint8]]] = {
    "copied": _copied,
    "whole": lambda file, size: load_image(file, size, DataSettings(reading="whole")),
    "scaled": lambda file, size: load_image(file, size, DataSettings(reading="scaled")),
}
"""Name of a way -> what reads a file's bytes at a size; the first is that of versions before."""


def drawn(size: Size, *, gray: bool) -> Image.Image:
    """Draws a picture of `size` (H, W): smooth shapes, and the noise of a sensor."""
    rng = np.random.default_rng(0)
    cells = (size[0] // _SHAPES + 2, size[1] // _SHAPES + 2, 3)
    shapes = Image.fromarray(rng.integers(0, 256, cells, np.uint8))
    smooth = np.asarray(shapes.resize(size[::-1], Image.Resampling.BICUBIC), np.int16)
    noise = rng.normal(0, _NOISE, (*size, 1)).astype(np.int16)
    image = Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))
    return image.convert("L") if gray else image


def measure(megapixels: int, form: str, *, gray: bool, rounds: int) -> Row:
    """Times each way of reading one picture.

    Args:
        megapixels: one of `SIZES`.
        form: one of `FORMATS`.
        gray: whether it has one channel.
        rounds: measurements of each way, after one to warm up.
    """
    full = SIZES[megapixels]
    size = choose_size([full], preset("fast").pixel_budget)
    stream = io.BytesIO()
    options = {"quality": _QUALITY} if form == "JPEG" else {"compress_level": 3}
    drawn(full, gray=gray).save(stream, form, **options)
    file = stream.getvalue()
    pixels = {name: way(file, size).astype(int) for name, way in WAYS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            started = time.perf_counter()
            way(file, size)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: float(np.median(found)) for name, found in seconds.items()}
    parts = np.abs(pixels["scaled"] - pixels["copied"])
    return {
        "row": "reading",
        "megapixels": megapixels,
        "format": form,
        "gray": gray,
        "size": list(size),
        "rounds": rounds,
        "milliseconds": {name: round(1000 * median, 1) for name, median in medians.items()},
        "times_as_fast": round(medians["copied"] / medians["scaled"], 2),
        "whole_is_copied": bool((pixels["whole"] == pixels["copied"]).all()),
        "levels_apart": {"mean": round(float(parts.mean()), 3), "most": int(parts.max())},
    }


def rows(rounds: int) -> Iterator[Row]:
    """Measures every size, format and kind, in that order."""
    for megapixels in SIZES:
        for form in FORMATS:
            for gray in (False, True):
                yield measure(megapixels, form, gray=gray, rounds=rounds)


def main() -> None:
    """Parses the command line, measures, and adds rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("-o", "--out", type=Path, help="JSONL that rows are added to")
    arguments = parser.parse_args()
    for row in rows(arguments.rounds):
        say_row(row, arguments.out)


if __name__ == "__main__":
    main()
