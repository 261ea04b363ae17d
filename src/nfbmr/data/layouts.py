"""Which pictures of a folder or table are good, which are defective, and where their masks are.

`read_data` recognises four layouts by itself:

    folder    any tree, read by the words of its names in a dozen languages (see `words`): what is
              called good, ok or normal is learnt, what is called defective or by a type of defect
              is for the test. With a folder `good` beside others, each other folder is a type of
              defect. Masks lie in folders that are called so, or beside their pictures. Where every
              picture has a mask, those whose mask is empty are good. A tree without any such word
              is taken for good; one whose words leave it open is refused. `ok_no` is
              a defect; what stands beside or below a word for doubt, `good/unsure`, is left out.
    mvtec     one MVTec AD category: `train/good`, `test/{good,DEFECT}`,
              `ground_truth/DEFECT/NAME_mask.png`; so, too, MVTec 3D-AD, LOCO and AD 2, BTAD, MPDD
    dagm      one DAGM 2007 class: `{Train,Test}/*.PNG`, `{Train,Test}/Label/NAME_label.PNG` of the
              defective ones, and `Label/Labels.txt`
    table     CSV, TSV or Parquet with the columns path, label, mask, split (see `read_rows`)

What makes a set unusable is a LayoutError. What can be left out without harm is left out, counted
and named in `DataSet.warnings`. Names of folders and suffixes are compared without case; hidden
files are ignored, and so is what nfbmr writes: `error/`, `look/`, `heatmaps/`.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath

from nfbmr.data.dagm import is_dagm, read_dagm
from nfbmr.data.derived import derived_of_others
from nfbmr.data.folders import find_entry, list_folders
from nfbmr.data.images import image_size
from nfbmr.data.masks import marks_something
from nfbmr.data.same import ends_of, fingerprint
from nfbmr.data.samples import LAYOUTS, NAMED, DataSet, Layout, Notes, Sample, Split, lines
from nfbmr.data.tables import TABLE_SUFFIXES, Row, labels_found, read_rows, unlabelled
from nfbmr.data.trees import read_folder, read_mvtec, train_folder
from nfbmr.errors import ImageError, LayoutError

__all__ = [
    "TRAIN_DEFECTS",
    "DataSet",
    "Layout",
    "Sample",
    "Split",
    "find_duplicates",
    "is_product",
    "read_data",
]

TRAIN_DEFECTS = "defective pictures of the training split, left out"
"""How that warning of a DataSet begins."""

_REAL_IAD = re.compile(r"S\d{4}")  # the folder of one part, seen by five cameras


def read_data(root: str | os.PathLike[str], *, to_learn: bool = True) -> DataSet:
    """Recognises the layout of a folder or table and lists its pictures.

    Pictures of parts are decoded only where one may be a mask, up to three of a folder; masks only
    where they decide what is good. Of pictures with masks the headers are read, and files of equal
    length in both train and test are hashed.

    Args:
        root: the folder or table.
        to_learn: whether there have to be good pictures to learn from. Where not, a folder that is
            itself called as a test, and that is no category, has all of its pictures for the test.

    Raises:
        LayoutError: there is nothing at `root`, no layout fits or several do, there are no good
            pictures to learn from or none at all, or a table contradicts itself or names pictures
            that do not exist.
        ImageError: a picture that had to be hashed cannot be read.
        MissingExtraError: `root` is a Parquet table and pyarrow is not installed.
    """
    root = Path(root)
    notes: Notes = defaultdict(list)
    try:
        if root.is_file():
            samples, labels = _read_table(root, notes)
            layout: Layout = "table"
        else:
            (layout, samples), labels = _read_tree(root, notes, to_learn), ""
        samples = _checked(samples, notes)
    except OSError as error:
        raise LayoutError(
            f"{error.filename or root}: found no way to read it ({error.strerror}); "
            "expected readable files and folders; check their permissions"
        ) from error
    warnings = lines(notes, root)
    is_test_table = layout == "table" and not notes[TRAIN_DEFECTS]
    may_be_test = bool(samples) and (is_test_table or not to_learn)
    if not may_be_test and all(s.split == "test" for s in samples):
        what = "no good pictures to learn from" if to_learn else "no pictures that can be used"
        found = "; ".join(part for part in (what, labels, *warnings) if part)
        raise LayoutError(f"{root}: found {found}; {LAYOUTS}; add pictures of good parts")
    return DataSet(
        root=root, layout=layout, samples=tuple(samples), warnings=warnings, labels=labels
    )


def find_duplicates(samples: Sequence[Sample]) -> tuple[tuple[Sample, ...], ...]:
    """Groups samples whose files hold the same bytes, whatever their names.

    Only files of equal length and equal ends are hashed: those of a camera that compresses nothing
    all have one length. Groups and their members keep the order of `samples`.

    Raises:
        ImageError: a file cannot be read.
    """
    alike = _groups(_groups([tuple(samples)], _length), lambda s: ends_of(s.path))
    return _groups(alike, lambda s: fingerprint(s.path))


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


def _checked(samples: Iterable[Sample], notes: Notes) -> list[Sample]:
    """Leaves out what cannot be used, drops masks that do not fit, and sorts."""
    kept = []
    for sample in sorted(samples, key=lambda s: (s.split == "test", s.path)):
        if _length(sample) == 0:
            notes["empty files or broken links, left out"].append(sample.path)
        elif sample.split == "train" and sample.is_defect:
            # Nothing learns from them, and a test that took them in would not be the published one.
            notes[TRAIN_DEFECTS].append(sample.path)
        elif sample.mask is None:
            kept.append(sample)
        elif not sample.is_defect:
            if all(map(_is_empty, sample.masks)):
                kept.append(replace(sample, mask=None, more_masks=()))
            elif sample.split == "train":
                notes["good pictures whose mask marks a defect, left out"].append(sample.path)
            else:
                notes["masks of good pictures, not used"] += sample.masks
                kept.append(replace(sample, mask=None, more_masks=()))
        else:
            kept.append(_with_fitting_masks(sample, notes))
    if any(s.mask for s in kept):
        bare = [s.path for s in kept if s.is_defect and not s.mask]
        notes["defective pictures without a mask, kept"] += bare
    _note_leaks(kept, notes)
    return kept


def _with_fitting_masks(sample: Sample, notes: Notes) -> Sample:
    fitting: list[Path] = []
    for mask in sample.masks:
        if trouble := _mask_trouble(sample.path, mask):
            notes[trouble].append(mask)
        else:
            fitting.append(mask)
    first = fitting[0] if fitting else None
    return replace(sample, mask=first, more_masks=tuple(fitting[1:]))


def _is_empty(mask: Path) -> bool:
    try:
        return not marks_something(mask)
    except ImageError:
        return False


def _note_leaks(samples: list[Sample], notes: Notes) -> None:
    lengths: dict[Split, set[int]] = {"train": set(), "test": set()}
    for sample in samples:
        lengths[sample.split].add(_length(sample))
    shared = lengths["train"] & lengths["test"]
    for group in find_duplicates([s for s in samples if _length(s) in shared]):
        if group[0].split == "train":  # train comes first
            twice = [s.path for s in group if s.split == "test"]
            notes["test pictures that are also learned from, kept"] += twice


def _mask_trouble(picture: Path, mask: Path) -> str | None:
    try:
        if image_size(mask) == image_size(picture):
            return None
    except ImageError:
        return "masks that cannot be read, or whose picture cannot, not used"
    return "masks of another size than their picture, not used"


def _read_tree(root: Path, notes: Notes, to_learn: bool) -> tuple[Layout, list[Sample]]:
    if not root.is_dir():
        found = "a pipe, a socket or a device" if root.exists() else "nothing at this path"
        raise LayoutError(f"{root}: found {found}; {LAYOUTS}; check the path")
    if learnt := train_folder(root):
        return "mvtec", read_mvtec(root, learnt, notes)
    train, test = find_entry(root, "train"), find_entry(root, "test")
    if train and test and is_dagm(train, test):
        return "dagm", read_dagm(train, "train", notes) + read_dagm(test, "test", notes)
    if test and not to_learn and train is None and is_dagm(test, test):
        return "dagm", read_dagm(test, "test", notes)
    products = [folder for folder in list_folders(root) if is_product(folder)]
    if products:
        raise LayoutError(
            f"{root}: found several products ({', '.join(p.name for p in products)}); "
            f"expected one; choose one, such as {products[0]}"
        )
    return "folder", read_folder(root, notes, to_learn=to_learn)


def is_product(folder: Path) -> bool:
    """Whether the folder looks like one product: `train/good`, DAGM 2007, VisA or Real-IAD.

    Raises:
        OSError: the folder cannot be read.
    """
    train, test = find_entry(folder, "train"), find_entry(folder, "test")
    if train_folder(folder) or (train and find_entry(test, "label")):
        return True
    visa = find_entry(find_entry(find_entry(folder, "data"), "images"), "normal")
    good, bad = find_entry(folder, "ok"), find_entry(folder, "ng")
    numbered = good and bad and any(_REAL_IAD.fullmatch(f.name) for f in list_folders(good))
    return bool(visa or numbered)


def _read_table(table: Path, notes: Notes) -> tuple[list[Sample], str]:
    """Returns the samples, and what the labels were taken for."""
    if table.suffix.lower() not in TABLE_SUFFIXES:
        raise LayoutError(f"{table}: found a single file; {LAYOUTS}; give the folder instead")
    read, unknown = read_rows(table)
    rows = [_by_mask(table, row) for row in read]
    notes["columns that are not known, not used"] += [Path(name) for name in unknown]
    without = unlabelled(rows)
    by_file: dict[Path, Sample] = {}
    missing = []
    for given, row in zip(read, rows, strict=True):
        path = _named(table, row.path)
        mask = _named(table, row.mask) if row.mask else None
        if row.number in without:
            notes["rows without a label, left out"].append(path)
            continue
        if row.is_open:
            notes["rows whose label leaves open whether the part is good, left out"].append(path)
            continue
        if not row.defect:
            notes["rows without a label whose mask cannot be read, left out"].append(path)
            continue
        if mask and not mask.is_file():
            notes["masks that do not exist"].append(mask)
            mask = None
        split: Split = row.split or ("train" if row.defect == "good" else "test")
        sample = Sample(
            path=path,
            split=split,
            defect=row.defect,
            mask=mask,
            is_labelled=bool(row.label or mask or given.mask),
        )
        if not path.is_file():
            missing.append(f"{row.path} in row {row.number}")
        elif (first := by_file.setdefault(path.resolve(), sample)) is not sample:
            if replace(first, path=path) != sample:
                raise LayoutError(
                    f"{table}: found {row.path} again in row {row.number} with another label, "
                    "mask or split; expected each picture once; delete one of the rows"
                )
            notes["rows that repeat a picture, left out"].append(path)
    derived = derived_of_others(sample.path for sample in by_file.values())
    notes["pictures that by their names were made of others in the table, kept"] += sorted(derived)
    if missing:
        raise LayoutError(
            f"{table}: found {len(missing)} of {len(rows)} pictures missing "
            f"({', '.join(missing[:NAMED])}); expected paths relative to {table.parent}; mend them"
        )
    return list(by_file.values()), labels_found(rows)


def _by_mask(table: Path, row: Row) -> Row:
    """Takes a row without a label for a defect where its mask marks one.

    Returns:
        The row; its `defect` is empty where the mask cannot be read.
    """
    if not (row.says_nothing and row.mask):
        return row
    try:
        marked = marks_something(_named(table, row.mask))
    except ImageError:
        return replace(row, defect="")
    return replace(row, defect="defect") if marked else replace(row, mask="")


def _named(table: Path, name: str) -> Path:
    r"""Finds a file by its name in a table; one written on Windows has `\` between its folders."""
    path = table.parent / name
    other = table.parent / PureWindowsPath(name).as_posix()
    return path if path.is_file() or not other.is_file() else other
