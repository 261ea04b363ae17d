"""Draws pictures like those of DAGM 2007, in its layout, so that all of it runs without it.

`python -m nfbmr.benchmark.dagm_like OUT --classes 1,2 --good 40 --defective 6` writes OUT/Class1
and OUT/Class2 as the real set has them: gray textures made by a random process, an artificial
defect on some of them, and a coarse ellipse around it as its label. These are not the real
pictures, and figures measured on them say nothing about the real ones.

Shapes: H W the side of a picture, equal. A texture is a float field (H, W) of mean 0 and
deviation 1. Lengths are in pixels of a picture of 512 and shrink with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Field: TypeAlias = NDArray[np.float64]
Split: TypeAlias = Literal["Train", "Test"]

SPLITS: tuple[Split, ...] = ("Test", "Train")
"""In the order in which the numbers run: the real Train goes on where Test ends."""
_TEXTURE, _DEFECT, _ORDER = range(3)  # streams of random numbers, so that one leaves others alone
_SIDE = 512


@dataclass(frozen=True, kw_only=True)
class Ellipse:
    """Where a defect is. Lengths in pixels, of the picture as it is drawn."""

    row: float
    column: float
    long: float
    """Half the longer axis."""
    short: float
    angle: float
    """Of the longer axis, radians."""

    def axes(self, side: int) -> tuple[Field, Field]:
        """Coordinates along the longer and the shorter axis, (H, W) each; 1 is the edge."""
        rows, columns = np.mgrid[:side, :side] - np.array([self.row, self.column])[:, None, None]
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        along = (cosine * columns + sine * rows) / self.long
        across = (cosine * rows - sine * columns) / self.short
        return along, across

    def inside(self, side: int) -> NDArray[np.bool_]:
        """Which pixels it covers, (H, W)."""
        along, across = self.axes(side)
        return np.asarray(np.hypot(along, across) <= 1)


# ---- textures: (random numbers, side, pixels per unit of length) -> field (H, W)

Texture: TypeAlias = Callable[[np.random.Generator, int, float], Field]


def _unit(field: Field) -> Field:
    return np.asarray((field - field.mean()) / field.std())


def _noise(rng: np.random.Generator, side: int, down: float, across: float | None = None) -> Field:
    """White noise smoothed over so many pixels, (H, W)."""
    sigma = (down, down if across is None else across)
    return _unit(ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma, mode="wrap"))


def _stone(rng: np.random.Generator, side: int, px: float) -> Field:
    return _unit(_noise(rng, side, 3 * px) + 0.7 * _noise(rng, side, 10 * px))


def _brushed(rng: np.random.Generator, side: int, px: float) -> Field:
    return _unit(_noise(rng, side, 1.5 * px, 60 * px) + 0.4 * _noise(rng, side, 1.5 * px))


def _weave(rng: np.random.Generator, side: int, px: float) -> Field:
    rows, columns = np.mgrid[:side, :side] / px
    rows = rows + 3 * _noise(rng, side, 40 * px) + rng.uniform(0, 40)
    columns = columns + 3 * _noise(rng, side, 40 * px) + rng.uniform(0, 40)
    threads = np.sin(2 * np.pi * rows / 20) * np.sin(2 * np.pi * columns / 20)
    return _unit(threads + 0.35 * _noise(rng, side, 2 * px))


def _leather(rng: np.random.Generator, side: int, px: float) -> Field:
    # Between the zero crossings of smooth noise lie cells, as grains between creases.
    creases = np.exp(-((_noise(rng, side, 6 * px) / 0.35) ** 2))
    return _unit(0.3 * _noise(rng, side, 2 * px) - creases)


def _wood(rng: np.random.Generator, side: int, px: float) -> Field:
    rows, columns = np.mgrid[:side, :side] / px
    bent = 0.94 * rows + 0.34 * columns + 9 * _noise(rng, side, 30 * px, 90 * px)
    rings = np.sin(2 * np.pi * (bent + rng.uniform(0, 26)) / 26)
    return _unit(rings + 0.8 * _noise(rng, side, 2 * px, 14 * px))


def _speckle(rng: np.random.Generator, side: int, px: float) -> Field:
    grains = (rng.random((side, side)) < 0.006 / px**2).astype(np.float64)
    grains = ndimage.gaussian_filter(grains, 2.5 * px, mode="wrap")
    return _unit(_unit(grains) + 0.4 * _noise(rng, side, 3 * px))


def _clouds(rng: np.random.Generator, side: int, px: float) -> Field:
    octaves = [2.0**k for k in range(1, 6)]
    return _unit(np.sum([s**0.4 * _noise(rng, side, s * px) for s in octaves], axis=0))


def _crosshatch(rng: np.random.Generator, side: int, px: float) -> Field:
    wide = ndimage.rotate(_noise(rng, side * 3 // 2, 2 * px, 40 * px), 45, reshape=False, order=1)
    lines = wide[side // 4 :, side // 4 :][:side, :side]
    wide = ndimage.rotate(_noise(rng, side * 3 // 2, 2 * px, 40 * px), -45, reshape=False, order=1)
    return _unit(lines + wide[side // 4 :, side // 4 :][:side, :side])


def _perforated(rng: np.random.Generator, side: int, px: float) -> Field:
    rows, columns = np.mgrid[:side, :side] / px + rng.uniform(0, 32, (2, 1, 1))
    rows, columns = (axis + _noise(rng, side, 12 * px) for axis in (rows, columns))
    waves = np.cos(2 * np.pi * rows / 32) + np.cos(2 * np.pi * columns / 32)
    return _unit(_noise(rng, side, 2.5 * px) - 3 / (1 + np.exp(6 * (0.9 - waves))))


def _flakes(rng: np.random.Generator, side: int, px: float) -> Field:
    fields = np.stack([_noise(rng, side, 9 * px) for _ in range(5)])
    highest = fields.argmax(axis=0) * 0.5
    return _unit(ndimage.gaussian_filter(highest, px) + 0.25 * _noise(rng, side, 2 * px))


# ---- defects: (field, another draw of the texture, ellipse, pixels per unit) -> field (H, W)

Defect: TypeAlias = Callable[[Field, Field, Ellipse, float], Field]


def _window(ellipse: Ellipse, side: int) -> Field:
    """1 in the middle, falling to 0 before the edge of the ellipse, which is a coarse label."""
    along, across = ellipse.axes(side)
    far = np.clip(3 * (0.9 - np.hypot(along, across)), 0, 1)
    return np.asarray(far * far * (3 - 2 * far))


def _stain(field: Field, _other: Field, ellipse: Ellipse, _px: float) -> Field:
    return field - _window(ellipse, len(field))


def _pale(field: Field, _other: Field, ellipse: Ellipse, _px: float) -> Field:
    return field + 1.2 * _window(ellipse, len(field))


def _scratch(field: Field, _other: Field, ellipse: Ellipse, px: float) -> Field:
    along, across = ellipse.axes(len(field))
    off = (across - 0.35 * np.sin(2 * along)) * ellipse.short
    ends = np.clip(4 * (0.8 - np.abs(along)), 0, 1)
    return np.asarray(field + 2.6 * ends * np.exp(-0.5 * (off / max(1.6 * px, 0.6)) ** 2))


def _crack(field: Field, other: Field, ellipse: Ellipse, px: float) -> Field:
    return field - (_scratch(field, other, ellipse, px) - field) * 1.1


def _bump(field: Field, _other: Field, ellipse: Ellipse, _px: float) -> Field:
    """Lit from one side: bright before, dark behind."""
    along, across = ellipse.axes(len(field))
    return field + 2.4 * _window(ellipse, len(field)) * np.clip(across + 0.2 * along, -1, 1)


def _turned(field: Field, other: Field, ellipse: Ellipse, _px: float) -> Field:
    return _mixed(field, other.T, _window(ellipse, len(field)))


def _worn(field: Field, _other: Field, ellipse: Ellipse, px: float) -> Field:
    smooth = ndimage.gaussian_filter(field, 8 * px, mode="wrap")
    return _mixed(field, smooth, 0.85 * _window(ellipse, len(field)))


def _coarser(field: Field, other: Field, ellipse: Ellipse, _px: float) -> Field:
    large = ndimage.zoom(other, 1.8, order=1)[: len(field), : len(field)]
    return _mixed(field, large, _window(ellipse, len(field)))


def _mixed(field: Field, other: Field, weight: Field) -> Field:
    return np.asarray((1 - weight) * field + weight * other)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a class looks, and what goes wrong with it."""

    texture: Texture
    defect: Defect
    level: float
    """The mean gray value."""
    contrast: float
    """The deviation of the gray values."""


KINDS: dict[int, Kind] = {
    1: Kind(texture=_stone, defect=_coarser, level=120, contrast=26),
    2: Kind(texture=_brushed, defect=_scratch, level=140, contrast=20),
    3: Kind(texture=_weave, defect=_bump, level=115, contrast=28),
    4: Kind(texture=_leather, defect=_stain, level=105, contrast=22),
    5: Kind(texture=_wood, defect=_turned, level=130, contrast=22),
    6: Kind(texture=_speckle, defect=_pale, level=95, contrast=24),
    7: Kind(texture=_clouds, defect=_crack, level=150, contrast=24),
    8: Kind(texture=_crosshatch, defect=_worn, level=125, contrast=24),
    9: Kind(texture=_perforated, defect=_worn, level=120, contrast=24),
    10: Kind(texture=_flakes, defect=_coarser, level=135, contrast=25),
}
"""By the number of the class."""


def draw(
    number: int, *, of_class: int, split: Split, defective: bool, size: int = _SIDE, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draws one picture; with and without a defect it has the same background.

    Returns:
        The picture, uint8 (size, size), and the label of its defect, 0 or 255, of the same shape;
        all 0 if it is good.
    """
    kind, px = KINDS[of_class], size / _SIDE
    key = (seed, of_class, SPLITS.index(split), number)
    field = kind.texture(np.random.default_rng((*key, _TEXTURE)), size, px)
    label = np.zeros((size, size), np.uint8)
    if defective:
        rng = np.random.default_rng((*key, _DEFECT))
        row, column = rng.uniform(0.22, 0.78, 2) * size
        long = rng.uniform(0.09, 0.17) * size
        angle = rng.uniform(0, np.pi)
        short = long * rng.uniform(0.4, 0.75)
        ellipse = Ellipse(row=row, column=column, long=long, short=short, angle=angle)
        field = kind.defect(field, kind.texture(rng, size, px), ellipse, px)
        label[ellipse.inside(size)] = 255
    gray = np.clip(np.rint(kind.level + kind.contrast * field), 0, 255).astype(np.uint8)
    return gray, label


def write_tree(
    root: Path,
    *,
    classes: Sequence[int] = (1, 2),
    n_good: int = 24,
    n_defective: int = 4,
    size: int = 128,
    seed: int = 0,
) -> Path:
    """Writes ROOT/ClassK/{Train,Test}/NNNN.PNG with Label/NNNN_label.PNG and Label/Labels.txt.

    Args:
        root: made where it is absent; files of the same names are replaced.
        classes: of 1 to 10.
        n_good: good pictures of a class in each of Train and Test.
        n_defective: defective ones, likewise.
        size: the side of the pictures, pixels.
        seed: other pictures, of the same kinds.

    Returns:
        `root`.
    """
    assert set(classes) <= set(KINDS), f"the classes are 1 to {len(KINDS)}"
    for of_class in classes:
        for split in SPLITS:
            # The numbers run on from one split to the next, from 1.
            n = n_good + n_defective
            numbers = range(1, n + 1) if split == SPLITS[0] else range(n + 1, 2 * n + 1)
            key = (seed, of_class, SPLITS.index(split), _ORDER)
            order = np.random.default_rng(key).permutation(numbers)
            defective = {int(number) for number in order[:n_defective]}
            folder = root / f"Class{of_class}" / split
            (folder / "Label").mkdir(parents=True, exist_ok=True)
            for number in numbers:
                picture, label = draw(
                    number,
                    of_class=of_class,
                    split=split,
                    defective=number in defective,
                    size=size,
                    seed=seed,
                )
                Image.fromarray(picture).save(folder / f"{number:04}.PNG")
                if number in defective:
                    Image.fromarray(label).save(folder / "Label" / f"{number:04}_label.PNG")
            rows = ["1", *(_row(number, number in defective) for number in numbers)]
            text = "".join(f"{row}\r\n" for row in rows)
            (folder / "Label" / "Labels.txt").write_bytes(text.encode())
    return root


def _row(number: int, defective: bool) -> str:
    """A row of Labels.txt; the separators are not all alike, as readers must expect."""
    label = f"{number:04}_label.PNG" if defective else "0"
    cells = [str(number), str(int(defective)), f"{number:04}.PNG", "0", label]
    return (" " if number % 5 == 0 else " \t" if number % 7 == 0 else "\t").join(cells)


def main() -> None:
    """Parses the command line and writes the tree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, metavar="OUT", help="the folder to write")
    parser.add_argument("--classes", default="1,2", help="of 1 to 10, such as 1,2,7")
    parser.add_argument("--size", type=int, default=_SIDE, help="the side, pixels")
    parser.add_argument("--good", type=int, default=100, help="good pictures of a class and split")
    parser.add_argument("--defective", type=int, default=14, help="defective ones, likewise")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    classes = [int(word) if word.isdecimal() else 0 for word in given.classes.split(",")]
    if not set(classes) <= set(KINDS):
        parser.error(f"found the classes {given.classes}; expected numbers of 1 to {len(KINDS)}")
    written = write_tree(
        given.root,
        classes=classes,
        n_good=given.good,
        n_defective=given.defective,
        size=given.size,
        seed=given.seed,
    )
    print(written)


if __name__ == "__main__":
    main()
