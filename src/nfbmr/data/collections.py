"""Folders of many products: MVTec AD and DAGM 2007 as downloaded, or anybody's own.

`categories` finds the products under a folder; `completeness` compares what lies there with what
the official sets hold. The counts of MVTec AD are those of its paper. Those of DAGM 2007 are of
the set with ten classes of Train and Test; one picture in about eight is defective, in Train too,
where the defective ones are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nfbmr.data.folders import list_folders, list_pictures
from nfbmr.data.layouts import TRAIN_DEFECTS, DataSet, Layout, is_product, read_data
from nfbmr.errors import DataError, LayoutError

_DEPTH = 3  # root/DAGM2007/Class1/Class1: what one archive in another leaves
_SHOWN = 8  # names that a message holds
_DETAILED = 3  # categories whose counts a summary repeats
_WHAT = ("train good", "test good", "test defective", "masks")
_ARCHIVE = re.compile(r"\.(zip|7z|rar|tar|tgz|txz|tar\.(gz|xz|bz2))$", re.IGNORECASE)
_EXPECTED = (
    "expected folders of products, each with train/good (MVTec AD) or with Train and Test/Label "
    "(DAGM 2007)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How many pictures a category has."""

    train_good: int
    test_good: int
    test_defective: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """An official set."""

    title: str
    layout: Layout
    counts: Mapping[str, Counts]
    """By the category's name, in the official order. Each defective test picture has a mask."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """One product, and how far it is what the official set holds."""

    name: str
    found: Counts | None
    """None where the product cannot be read; `error` says why."""
    masks: int
    """Defective test pictures with a mask."""
    expected: Counts | None
    """None where no official set has a category of this name and layout."""
    warnings: tuple[str, ...]
    error: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether it has exactly the official pictures and masks; False if it is not official."""
        return self.expected is not None and self.found is not None and not self.differences()

    def differences(self) -> list[str]:
        """Says which counts are not the official ones, such as "test defective 118 of 119"."""
        return [text for text, differs in self._rows() if differs]

    def describe(self) -> str:
        """Says in one line, for the screen, what is there and what should be."""
        if self.found is None:
            return f"{self.name}: cannot be used: {self.error}"
        state = "complete" if self.is_complete else "DIFFERS"
        if self.expected is None:
            state = "no official counts to compare with"
        return f"{self.name}: {state}; {', '.join(text for text, _ in self._rows())}"

    def _rows(self) -> list[tuple[str, bool]]:
        """Each count in words, and whether another was expected."""
        if self.found is None:
            return []
        found = (*_numbers(self.found), self.masks)
        wanted = found
        if self.expected is not None:
            wanted = (*_numbers(self.expected), self.expected.test_defective)
        rows = []
        for what, n, expected in zip(_WHAT, found, wanted, strict=True):
            aside = f" {'of' if n < expected else 'instead of'} {expected}"
            rows.append((f"{what} {n}{aside if n != expected else ''}", n != expected))
        return rows


def _numbers(counts: Counts) -> tuple[int, int, int]:
    return counts.train_good, counts.test_good, counts.test_defective


def _counts(
    names: str, train_good: tuple[int, ...], test_good: tuple[int, ...], defective: tuple[int, ...]
) -> dict[str, Counts]:
    rows = zip(names.split(), train_good, test_good, defective, strict=True)
    return {
        name: Counts(train_good=train, test_good=good, test_defective=bad)
        for name, train, good, bad in rows
    }


TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
"""The textures of MVTec AD; its other categories are objects."""

MVTEC_AD = Collection(
    title="MVTec AD",
    layout="mvtec",
    counts=_counts(
        "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw "
        "tile toothbrush transistor wood zipper",
        (209, 224, 219, 280, 264, 391, 245, 220, 267, 320, 230, 60, 213, 247, 240),
        (20, 58, 23, 28, 21, 40, 32, 22, 26, 41, 33, 12, 60, 19, 32),
        (63, 92, 109, 89, 57, 70, 92, 93, 141, 119, 84, 30, 40, 60, 119),
    ),
)
# Of each split, classes 1 to 6 have 575 pictures and classes 7 to 10 have 1,150.
DAGM_2007 = Collection(
    title="DAGM 2007",
    layout="dagm",
    counts=_counts(
        "Class1 Class2 Class3 Class4 Class5 Class6 Class7 Class8 Class9 Class10",
        (496, 509, 509, 493, 505, 492, 1000, 1000, 1000, 1000),
        (504, 491, 491, 507, 495, 508, 1000, 1000, 1000, 1000),
        (71, 84, 84, 68, 80, 67, 150, 150, 150, 150),
    ),
)
OFFICIAL: Mapping[str, Collection] = {known.title: known for known in (MVTEC_AD, DAGM_2007)}
"""The official sets, by their titles."""

_ORDER = {name.lower(): name for known in OFFICIAL.values() for name in known.counts}


def categories(root: Path) -> dict[str, Path]:
    """Finds the products under a folder, and refuses a folder without any.

    Returns:
        As `find_products`.

    Raises:
        LayoutError: there are none, or see `find_products`.
    """
    if not (found := find_products(root)):
        raise _nothing_found(root)
    return found


def find_products(root: Path) -> dict[str, Path]:
    """Finds the products under a folder: MVTec AD categories and DAGM 2007 classes.

    A folder that is one product gives just that one. Up to two more folders may lie in between, as
    in DAGM2007/Class1/Class1. Beside products, a folder of an official name is listed even if it
    is no product, so that whoever reads it learns what is wrong with it.

    Returns:
        By name; the official ones first, in the official order and spelling, then the others by
        the alphabet. Empty where there are none, as in a plain folder of pictures.

    Raises:
        LayoutError: two have the same name, the folder cannot be read, or it holds archives and
            no picture.
    """
    try:
        products, broken = _walk(root, _DEPTH)
        if not products:
            if archives(root) and not list_pictures(root, deep=True)[0]:
                raise _nothing_found(root)
            return {}
    except OSError as error:
        raise LayoutError(
            f"{error.filename or root}: found no way to read it ({error.strerror}); "
            "expected readable folders; check their permissions"
        ) from error
    named: dict[str, Path] = {}
    for folder in sorted(products, key=lambda folder: len(folder.parts)):
        first = named.setdefault(name := _official_name(folder), folder)
        if first.resolve() != folder.resolve():
            raise LayoutError(
                f"{root}: found {name} twice, {first} and {folder}; "
                "expected each product once; give the folder that holds the right one"
            )
    for folder in broken:
        named.setdefault(_official_name(folder), folder)
    order = {name: number for number, name in enumerate(_ORDER.values())}
    return dict(sorted(named.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def archives(root: Path) -> list[Path]:
    """Lists the archives that lie in a folder itself, sorted; none where it is no folder.

    Raises:
        OSError: the folder cannot be read.
    """
    entries = root.iterdir() if root.is_dir() else ()
    return sorted(p for p in entries if _ARCHIVE.search(p.name) and not p.name.startswith("."))


def completeness(root: Path) -> list[str]:
    """Compares the products under a folder with the official sets.

    A product that cannot be read becomes its own line.

    Returns:
        Lines for the screen: one for each product, each followed by its warnings, and one for each
        official set that has a category here, unless `root` is itself a product.

    Raises:
        LayoutError: see `categories`.
    """
    found = categories(root)
    products = [_examined(name, folder) for name, folder in found.items()]
    lines = [line for product in products for line in _lines(product)]
    if root not in found.values():
        waiting = [archive.name for archive in archives(root)]
        lines += [line for known in OFFICIAL.values() for line in _summary(known, products)]
        if waiting:
            lines.append(f"Warning: archives, perhaps not yet unpacked: {_listed(waiting)}")
    return lines


def compared(data: DataSet) -> Category:
    """Compares one product, already read, with the official category of its name and layout."""
    name = _official_name(data.root)
    expected = next(
        (k.counts[name] for k in OFFICIAL.values() if name in k.counts and k.layout == data.layout),
        None,
    )
    defective = [sample for sample in data.test if sample.is_defect]
    found = Counts(
        train_good=len(data.train_good),
        test_good=len(data.test) - len(defective),
        test_defective=len(defective),
    )
    # DAGM 2007 has defective pictures in Train by design; that nobody learns from them is its rule.
    usual = expected is not None and data.layout == "dagm"
    return Category(
        name=name,
        found=found,
        masks=sum(sample.mask is not None for sample in defective),
        expected=expected,
        warnings=tuple(w for w in data.warnings if not (usual and w.startswith(TRAIN_DEFECTS))),
    )


def _walk(folder: Path, depth: int) -> tuple[list[Path], list[Path]]:
    """The products under a folder, and the folders of an official name that hold none."""
    if is_product(folder):
        return [folder], []
    products: list[Path] = []
    broken: list[Path] = []
    for child in list_folders(folder) if depth and folder.is_dir() else []:
        try:
            inside, broken_inside = _walk(child, depth - 1)
        except OSError:  # one folder that cannot be read does not hide the others
            inside, broken_inside = [], []
        products += inside
        broken += broken_inside
        if not (inside or broken_inside) and child.name.lower() in _ORDER:
            broken.append(child)
    return products, broken


def _official_name(folder: Path) -> str:
    name = folder.resolve().name if folder.name in ("", "..") else folder.name
    return _ORDER.get(name.lower(), name)


def _nothing_found(root: Path) -> LayoutError:
    if not root.exists():
        return LayoutError(f"{root}: found nothing at this path; {_EXPECTED}; check the path")
    if not root.is_dir():
        return LayoutError(f"{root}: found a file; {_EXPECTED}; give the folder that holds them")
    if packed := [archive.name for archive in archives(root)]:
        return LayoutError(
            f"{root}: found archives not yet unpacked ({_listed(packed)}); {_EXPECTED}; "
            "unpack the archives there"
        )
    inside = [folder.name for folder in list_folders(root)]
    return LayoutError(
        f"{root}: found no product in it ({_listed(inside) if inside else 'no folders'}); "
        f"{_EXPECTED}; give the folder that holds them"
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _examined(name: str, folder: Path) -> Category:
    try:
        return compared(read_data(folder))
    except DataError as error:
        return Category(
            name=name, found=None, masks=0, expected=None, warnings=(), error=str(error)
        )


def _lines(product: Category) -> list[str]:
    return [product.describe(), *(f"  Warning: {warning}" for warning in product.warnings)]


def _summary(known: Collection, products: list[Category]) -> list[str]:
    """One line about an official set, none where nothing of it is here."""
    here = {p.name: p for p in products if p.name in known.counts and (p.expected or p.error)}
    if not here:
        return []
    complete = sum(product.is_complete for product in here.values())
    parts = [f"{known.title}: {complete} of {len(known.counts)} categories complete"]
    parts += [f"{name} cannot be used" for name, product in here.items() if product.error]
    differing = {name: product.differences() for name, product in here.items()}
    differing = {name: differences for name, differences in differing.items() if differences}
    if len(differing) > _DETAILED:
        parts.append(f"{', '.join(differing)} differ")
    else:
        parts += [f"{name}: {', '.join(words)}" for name, words in differing.items()]
    missing = [name for name in known.counts if name not in here]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        parts.append(f"{', '.join(missing)} {verb} missing")
    return ["; ".join(parts)]
