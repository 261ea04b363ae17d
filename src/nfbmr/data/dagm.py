"""One class of DAGM 2007: `{Train,Test}/*.PNG`, `Label/NAME_label.PNG`, `Label/Labels.txt`."""

from __future__ import annotations

from pathlib import Path

from nfbmr.data.folders import find_entry, list_pictures
from nfbmr.data.parts import LONE_MASKS, pictures_of
from nfbmr.data.samples import Notes, Sample, Split
from nfbmr.data.tables import read_dagm_labels


def is_dagm(train: Path | None, test: Path | None) -> bool:
    """Whether these folders are those of a class: pictures in `train`, and a folder `Label`.

    Raises:
        OSError: a folder cannot be read.
    """
    if train is None or test is None or not list_pictures(train, deep=False)[0]:
        return False
    return any(find_entry(folder, "label") for folder in (train, test))


def read_dagm(folder: Path, split: Split, notes: Notes) -> list[Sample]:
    """Reads one of Train and Test: Labels.txt decides where there is one, else the label pictures.

    Raises:
        LayoutError: Labels.txt has another form.
        OSError: a folder cannot be read.
    """
    label = find_entry(folder, "label")
    listing = find_entry(label, "labels.txt")
    listing = listing if listing and listing.is_file() else None
    rows = read_dagm_labels(listing) if listing else {}
    beside = list_pictures(label, deep=False)[0] if label else []
    masks = {_stem(path): path for path in beside}
    samples = []
    for path in pictures_of(folder, notes, deep=False):
        mask = masks.get(_stem(path))
        is_defect = mask is not None
        if listing:
            row = rows.pop(path.name.lower(), None)
            if row is None:
                notes["pictures that Labels.txt does not list, left out"].append(path)
                continue
            is_defect = row.is_defect
            mask = masks.get(_stem(Path(row.mask)), mask)
        defect = "defect" if is_defect else "good"
        samples.append(Sample(path=path, split=split, defect=defect, mask=mask))
    absent = [folder / row.picture for row in rows.values()]
    notes["pictures that Labels.txt lists and that do not exist"] += absent
    used = {sample.mask for sample in samples}
    notes[LONE_MASKS] += [mask for mask in masks.values() if mask not in used]
    return samples


def _stem(path: Path) -> str:
    return path.stem.lower().removesuffix("_label")
