"""Which pictures of a folder or table are good, which are defective, and where their masks are.

`read_data` recognises four layouts by itself:

    folder    pictures at any depth: all are good ones to learn from.
              With a folder `good` beside others, `good` is learned from and each other folder is
              a type of defect, for the test; masks may lie in `ground_truth/DEFECT/`.
    mvtec     one MVTec AD category: `train/good`, `test/{good,DEFECT}`,
              `ground_truth/DEFECT/NAME_mask.png`
    dagm      one DAGM 2007 class: `{Train,Test}/*.PNG`, `{Train,Test}/Label/NAME_label.PNG` of the
              defective ones, and `Label/Labels.txt`
    table     CSV, TSV or Parquet with the columns path, label, mask, split (see `read_rows`)

What makes a set unusable is a LayoutError. What can be left out without harm is left out, counted
and named in `DataSet.warnings`. Names of folders and suffixes are compared without case; hidden
files are ignored.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from nfbmr.data.folders import find_entry, list_folders, list_pictures
from nfbmr.data.images import fingerprint, image_size
from nfbmr.data.tables import DEFECT_WORDS, GOOD_WORDS, TABLE_SUFFIXES, read_dagm_labels, read_rows
from nfbmr.errors import ImageError, LayoutError

Layout: TypeAlias = Literal["folder", "mvtec", "dagm", "table"]
Split: TypeAlias = Literal["train", "test"]
_Notes: TypeAlias = defaultdict[str, list[Path]]  # what is wrong -> with which files

_TITLES: dict[Layout, str] = {
    "folder": "folder",
    "mvtec": "MVTec AD category",
    "dagm": "DAGM 2007 class",
    "table": "table",
}
_NAMED = 5  # files that a message names
_LAYOUTS = (
    "expected a folder of good pictures, a folder 'good' beside folders of defects, an MVTec AD "
    "category (train/good), a DAGM 2007 class (Train, Test) or a table (CSV, TSV, Parquet)"
)
TRAIN_DEFECTS = "defective pictures of the training split, left out"
"""How that warning of a DataSet begins."""
_LONE_MASKS = "masks without a picture of that name, not used"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One picture and what is known of it."""

    path: Path
    split: Split
    defect: str
    """"good", else the type of defect such as "crack"; "defect" where the type is unknown."""
    mask: Path | None = None
    """Where the mask of the defect is; None for good pictures and where there is none."""

    @property
    def is_defect(self) -> bool:
        """Whether the part is defective."""
        return self.defect != "good"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """The pictures of one product: all of `train` are good."""

    root: Path
    layout: Layout
    samples: tuple[Sample, ...]
    """First those to learn from, then those of the test; each sorted by path."""
    warnings: tuple[str, ...]
    """One line for each kind of trouble: how many files, what was done, up to five names."""

    @property
    def train_good(self) -> tuple[Sample, ...]:
        """The good pictures to learn from; empty only for a table whose rows are all for test."""
        return tuple(s for s in self.samples if s.split == "train" and not s.is_defect)

    @property
    def test(self) -> tuple[Sample, ...]:
        """The pictures of the test, good and defective."""
        return tuple(s for s in self.samples if s.split == "test")

    @property
    def name(self) -> str:
        """The last part of the root's path, without the suffix of a table."""
        root = self.root.resolve()
        return root.stem if self.layout == "table" else root.name

    def describe(self) -> str:
        """Says in one line, for the screen, what was found."""
        defective = [s for s in self.test if s.is_defect]
        masks = sum(s.mask is not None for s in defective)
        line = f"{_TITLES[self.layout]} '{self.name}': {len(self.train_good)} good to learn from"
        if not self.test:
            return f"{line}; no test pictures"
        line += f"; test {len(self.test) - len(defective)} good, {len(defective)} defective"
        return f"{line} ({masks or 'none'} with masks)" if defective else line


def read_data(root: str | os.PathLike[str]) -> DataSet:
    """Recognises the layout of a folder or table and lists its pictures.

    No picture is decoded; of pictures with masks the headers are read, and files of equal length
    in both train and test are hashed.

    Raises:
        LayoutError: there is nothing at `root`, no layout fits or several do, there are no good
            pictures, or a table contradicts itself or names pictures that do not exist.
        ImageError: a picture that had to be hashed cannot be read.
        MissingExtraError: `root` is a Parquet table and pyarrow is not installed.
    """
    root = Path(root)
    notes: _Notes = defaultdict(list)
    try:
        layout, samples = _read_table(root, notes) if root.is_file() else _read_tree(root, notes)
        samples = _checked(samples, notes)
    except OSError as error:
        raise LayoutError(
            f"{error.filename or root}: found no way to read it ({error.strerror}); "
            "expected readable files and folders; check their permissions"
        ) from error
    warnings = _lines(notes, root)
    is_test_table = layout == "table" and samples and not notes[TRAIN_DEFECTS]
    if not is_test_table and all(s.split == "test" for s in samples):
        found = "; ".join(("no good pictures to learn from", *warnings))
        raise LayoutError(f"{root}: found {found}; {_LAYOUTS}; add pictures of good parts")
    return DataSet(root=root, layout=layout, samples=tuple(samples), warnings=warnings)


def find_duplicates(samples: Sequence[Sample]) -> tuple[tuple[Sample, ...], ...]:
    """Groups samples whose files hold the same bytes, whatever their names.

    Only files of equal length are hashed. Groups and their members keep the order of `samples`.

    Raises:
        ImageError: a file cannot be read.
    """
    return _groups(_groups([tuple(samples)], _length), lambda s: fingerprint(s.path))


def _groups(
    groups: Iterable[tuple[Sample, ...]], key: Callable[[Sample], object]
) -> tuple[tuple[Sample, ...], ...]:
    """Splits each group by `key` and drops what then stands alone."""
    parts: list[tuple[Sample, ...]] = []
    for group in groups:
        by_key: dict[object, list[Sample]] = defaultdict(list)
        for sample in group:
            by_key[key(sample)].append(sample)
        parts += [tuple(part) for part in by_key.values() if len(part) > 1]
    return tuple(parts)


def _length(sample: Sample) -> int:
    """Bytes; 0 for a broken link too."""
    try:
        return sample.path.stat().st_size
    except OSError:
        return 0


def _lines(notes: _Notes, root: Path) -> tuple[str, ...]:
    base = root.parent if root.is_file() else root
    lines = []
    for trouble, paths in notes.items():
        shown = (p.relative_to(base) if p.is_relative_to(base) else p for p in paths[:_NAMED])
        names = ", ".join(p.as_posix() for p in shown)
        more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        if paths:
            lines.append(f"{trouble}: {len(paths)} ({names}{more})")
    return tuple(lines)


def _checked(samples: Iterable[Sample], notes: _Notes) -> list[Sample]:
    """Leaves out what cannot be used, drops masks that do not fit, and sorts."""
    kept = []
    for sample in sorted(samples, key=lambda s: (s.split == "test", s.path)):
        if _length(sample) == 0:
            notes["empty files or broken links, left out"].append(sample.path)
        elif sample.split == "train" and sample.is_defect:
            # Nothing learns from them, and a test that took them in would not be the published one.
            notes[TRAIN_DEFECTS].append(sample.path)
        elif sample.mask is not None and (trouble := _mask_trouble(sample, sample.mask)):
            notes[trouble].append(sample.mask)
            kept.append(replace(sample, mask=None))
        else:
            kept.append(sample)
    if any(s.mask for s in kept):
        bare = [s.path for s in kept if s.is_defect and not s.mask]
        notes["defective pictures without a mask, kept"] += bare
    _note_leaks(kept, notes)
    return kept


def _note_leaks(samples: list[Sample], notes: _Notes) -> None:
    lengths: dict[Split, set[int]] = {"train": set(), "test": set()}
    for sample in samples:
        lengths[sample.split].add(_length(sample))
    shared = lengths["train"] & lengths["test"]
    for group in find_duplicates([s for s in samples if _length(s) in shared]):
        if group[0].split == "train":  # train comes first
            twice = [s.path for s in group if s.split == "test"]
            notes["test pictures that are also learned from, kept"] += twice


def _mask_trouble(sample: Sample, mask: Path) -> str | None:
    if not sample.is_defect:
        return "masks of good pictures, not used"
    try:
        if image_size(mask) == image_size(sample.path):
            return None
    except ImageError:
        return "masks that cannot be read, or whose picture cannot, not used"
    return "masks of another size than their picture, not used"


def _pictures(folder: Path, notes: _Notes, *, deep: bool = True) -> list[Path]:
    pictures, others = list_pictures(folder, deep=deep)
    notes["files that are not pictures, left out"] += others
    return pictures


def _beside(folder: Path) -> list[Path]:
    """The pictures in the folder itself, where only those in its sub-folders count."""
    return list_pictures(folder, deep=False)[0]


def _read_tree(root: Path, notes: _Notes) -> tuple[Layout, list[Sample]]:
    if not root.is_dir():
        raise LayoutError(f"{root}: found nothing at this path; {_LAYOUTS}; check the path")
    train, test = find_entry(root, "train"), find_entry(root, "test")
    if train and (good := find_entry(train, "good")):
        return "mvtec", _read_mvtec(train, good, test, find_entry(root, "ground_truth"), notes)
    if train and test and _beside(train):
        samples = _read_dagm(train, "train", notes)
        return "dagm", samples + _read_dagm(test, "test", notes)
    products = [folder for folder in list_folders(root) if is_product(folder)]
    if products:
        raise LayoutError(
            f"{root}: found several products ({', '.join(p.name for p in products)}); "
            f"expected one; choose one, such as {products[0]}"
        )
    return "folder", _read_folder(root, notes)


def is_product(folder: Path) -> bool:
    """Whether the folder looks like one MVTec AD category or one DAGM 2007 class.

    Raises:
        OSError: the folder cannot be read.
    """
    train, test = find_entry(folder, "train"), find_entry(folder, "test")
    return bool(find_entry(train, "good") or (train and find_entry(test, "label")))


def _read_folder(root: Path, notes: _Notes) -> list[Sample]:
    truth = find_entry(root, "ground_truth")
    types = [folder for folder in list_folders(root) if folder != truth]
    words = {folder: folder.name.lower() for folder in types if folder.name.isalpha()}
    goods = [folder for folder, word in words.items() if word in GOOD_WORDS]
    odd = [folder.name for folder, word in words.items() if word in {"train", "test"}]
    if not goods:
        odd += [folder.name for folder, word in words.items() if word in DEFECT_WORDS]
        odd += [truth.name] if truth else []
    if odd:
        raise LayoutError(
            f"{root}: found the folder {', '.join(odd)} and none of good pictures that fits it; "
            f"{_LAYOUTS}; put good pictures into 'good', or 'train/good' where there is a 'train'"
        )
    if not goods:
        return _labelled(root, "train", "good", None, notes)
    notes["pictures beside the folders, left out"] += _beside(root)
    samples = [s for good in goods for s in _labelled(good, "train", "good", None, notes)]
    return samples + _typed([t for t in types if t not in goods], truth, notes)


def _read_mvtec(
    train: Path, good: Path, test: Path | None, truth: Path | None, notes: _Notes
) -> list[Sample]:
    samples = _labelled(good, "train", "good", None, notes)
    aside = notes["pictures of train that are not in train/good, left out"]
    aside += _beside(train)
    for folder in list_folders(train):
        aside += _pictures(folder, notes) if folder != good else []
    if test is not None:
        notes["pictures of test that are not in a folder, left out"] += _beside(test)
    return samples + _typed(list_folders(test), truth, notes)


def _typed(types: list[Path], truth: Path | None, notes: _Notes) -> list[Sample]:
    """The test: one folder for each type of defect, one of them perhaps `good`."""
    samples: list[Sample] = []
    masks = {folder: find_entry(truth, folder.name) for folder in types}
    for folder, masks_of_type in masks.items():
        # Words only: a folder `0` is as likely the first of several types of defect.
        word = folder.name.lower()
        defect = "good" if word.isalpha() and word in GOOD_WORDS else folder.name
        samples += _labelled(folder, "test", defect, masks_of_type, notes)
    for folder in list_folders(truth):
        notes[_LONE_MASKS] += _pictures(folder, notes) if folder not in masks.values() else []
    return samples


def _labelled(
    folder: Path, split: Split, defect: str, truth: Path | None, notes: _Notes
) -> list[Sample]:
    """Every picture in `folder`, with its mask NAME_mask or NAME in the folder `truth`."""
    pictures = _pictures(folder, notes)
    if not pictures:
        notes["folders without pictures"].append(folder)
    masks = {_stem(path, truth): path for path in _pictures(truth, notes)} if truth else {}
    samples = []
    for path in pictures:
        stem = _stem(path, folder)
        mask = masks.get(f"{stem}_mask", masks.get(stem))
        samples.append(Sample(path=path, split=split, defect=defect, mask=mask))
    _note_lone(masks.values(), samples, notes)
    return samples


def _note_lone(masks: Iterable[Path], samples: list[Sample], notes: _Notes) -> None:
    used = {sample.mask for sample in samples}
    notes[_LONE_MASKS] += [mask for mask in masks if mask not in used]


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _read_dagm(folder: Path, split: Split, notes: _Notes) -> list[Sample]:
    """One of Train and Test: Labels.txt decides where there is one, else the label pictures."""
    label = find_entry(folder, "label")
    listing = find_entry(label, "labels.txt")
    rows = read_dagm_labels(listing) if listing else {}
    masks = {_dagm_stem(path): path for path in (_beside(label) if label else [])}
    samples = []
    for path in _pictures(folder, notes, deep=False):
        mask = masks.get(_dagm_stem(path))
        is_defect = mask is not None
        if listing:
            row = rows.pop(path.name.lower(), None)
            if row is None:
                notes["pictures that Labels.txt does not list, left out"].append(path)
                continue
            is_defect = row.is_defect
            mask = masks.get(_dagm_stem(Path(row.mask)), mask)
        defect = "defect" if is_defect else "good"
        samples.append(Sample(path=path, split=split, defect=defect, mask=mask))
    absent = [folder / row.picture for row in rows.values()]
    notes["pictures that Labels.txt lists and that do not exist"] += absent
    _note_lone(masks.values(), samples, notes)
    return samples


def _dagm_stem(path: Path) -> str:
    return path.stem.lower().removesuffix("_label")


def _read_table(table: Path, notes: _Notes) -> tuple[Layout, list[Sample]]:
    if table.suffix.lower() not in TABLE_SUFFIXES:
        raise LayoutError(f"{table}: found a single file; {_LAYOUTS}; give the folder instead")
    rows, unknown = read_rows(table)
    notes["columns that are not known, not used"] += [Path(name) for name in unknown]
    by_file: dict[Path, Sample] = {}
    missing = []
    for row in rows:
        path = table.parent / row.path
        mask = table.parent / row.mask if row.mask else None
        if mask and not mask.is_file():
            notes["masks that do not exist"].append(mask)
            mask = None
        split: Split = row.split or ("train" if row.defect == "good" else "test")
        sample = Sample(path=path, split=split, defect=row.defect, mask=mask)
        if not path.is_file():
            missing.append(f"{row.path} in row {row.number}")
        elif (first := by_file.setdefault(path.resolve(), sample)) is not sample:
            if replace(first, path=path) != sample:
                raise LayoutError(
                    f"{table}: found {row.path} again in row {row.number} with another label, "
                    "mask or split; expected each picture once; delete one of the rows"
                )
            notes["rows that repeat a picture, left out"].append(path)
    if missing:
        raise LayoutError(
            f"{table}: found {len(missing)} of {len(rows)} pictures missing "
            f"({', '.join(missing[:_NAMED])}); expected paths relative to {table.parent}; mend them"
        )
    return "table", list(by_file.values())
