"""Makes a set of parts that lie in any pose out of one whose parts all lie alike.

Each picture is turned about its middle by an angle of its own, 0 to 360 degrees, and its corners
are filled with the background's median colour; masks are turned alike.

    python -m nfbmr.benchmark.turned DATA OUT
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nfbmr.data.layouts import read_data

_EDGE = 6  # pixels along the border that show the background


def write_turned(data: Path, out: Path, seed: int = 0) -> int:
    """Writes turned copies of a set in MVTec AD layout as PNG; returns how many pictures.

    Raises:
        DataError: there are no pictures.
    """
    found = read_data(data)
    rng = np.random.default_rng(seed)
    pictures = [*found.train_good, *found.test]
    for sample in sorted(pictures, key=lambda one: str(one.path)):
        angle = rng.uniform(0, 360)
        with Image.open(sample.path) as opened:
            picture = opened.convert("RGB")
        turned = picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=_background(picture))
        _save(turned, out / sample.path.relative_to(data))
        for path in sample.masks:
            with Image.open(path) as opened:
                mask = opened.convert("L").rotate(angle, Image.Resampling.NEAREST)
            _save(mask, out / path.relative_to(data))
    return len(pictures)


def _background(picture: Image.Image) -> tuple[int, ...]:
    pixels = np.asarray(picture)
    rows, columns = (np.moveaxis(pixels, axis, 0) for axis in (0, 1))
    border = [
        part.reshape(-1, 3) for lines in (rows, columns) for part in (lines[:_EDGE], lines[-_EDGE:])
    ]
    return tuple(int(value) for value in np.median(np.concatenate(border), axis=0))


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path.with_suffix(".png"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    print(f"{write_turned(given.data, given.out)} pictures turned, in {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
