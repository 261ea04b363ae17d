"""Folders read by the words of their names: which pictures are good, which defective, what type.

`read_mvtec` knows `train/good` beside `test/TYPE`, whatever the types are called. `read_folder`
takes any other tree: what a word calls good is learnt; a tree in which no word says anything is
taken for good as it was given, with the count of each folder; where good or defective ones lie
beside pictures of which nothing is known, it refuses.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from nfbmr.data.called import (
    Label,
    Shared,
    is_good,
    label_of,
    names_of,
    shared_in,
    unlike_below_good,
)
from nfbmr.data.folders import list_folders, list_pictures
from nfbmr.data.masks import marks_something
from nfbmr.data.parts import (
    NO_PICTURES,
    annotated_beside,
    drawn_among,
    is_mask_folder,
    is_ours,
    pair,
    pictures_of,
    sort_out,
)
from nfbmr.data.samples import LAYOUTS, NAMED, Notes, Sample, Split, counted
from nfbmr.data.series import answered, answered_files, are_unlike, sorted_by_name
from nfbmr.data.tables import TABLE_SUFFIXES
from nfbmr.data.words import meaning
from nfbmr.errors import ImageError, LayoutError
from nfbmr.system.words import counted as number_of

_DO = (
    f"{LAYOUTS}; put good pictures into 'good', or 'train/good' where there is a 'train', and each "
    "type of defect into a folder beside it, or give the folder of good pictures alone"
)
_NO_WORD = "pictures of which no word says whether they are good"
_OTHER_SPLIT = "pictures of a validation or private split, left out"
_CONTRADICTED = "pictures that one name calls good and another defective, left out"
_OPEN = "pictures whose names leave open whether they are good, left out"


def train_folder(root: Path) -> Path | None:
    """Finds the folder of a training split that has a folder of good pictures.

    Raises:
        OSError: a folder cannot be read.
    """
    folders = list_folders(root) if root.is_dir() else []
    found = (folder for folder in folders if meaning(folder.name).split == "train")
    return next((folder for folder in found if good_folders(folder)), None)


def good_folders(train: Path | None) -> list[Path]:
    """Lists the folders in `train` whose whole name means good: good, ok, 01_OK, gut.

    Raises:
        OSError: the folder cannot be read.
    """
    return [folder for folder in list_folders(train) if is_good(folder.name)]


def read_mvtec(root: Path, train: Path, notes: Notes) -> list[Sample]:
    """Reads one MVTec AD category, or what is laid out like it.

    Raises:
        OSError: a folder cannot be read.
    """
    samples: list[Sample] = []
    masks: list[Path] = []
    aside = notes["pictures of train that are not in train/good, left out"]
    aside += list_pictures(train, deep=False)[0]
    goods = good_folders(train)
    _refuse_answers(answered(folder.name for folder in goods), root)
    for folder in list_folders(train):
        if folder not in goods:
            aside += pictures_of(folder, notes)
            continue
        samples += [_sample(part, "train", "good") for part in _filled(folder, root, masks, notes)]
    for folder in list_folders(root):
        said = meaning(folder.name)
        if folder != train and said.split == "test":
            samples += _types(folder, root, masks, notes)
        elif folder != train and said.split is not None:
            notes[_OTHER_SPLIT] += list_pictures(folder, deep=True)[0]
        elif folder != train and is_mask_folder(folder.name):
            masks += pictures_of(folder, notes)
    samples = _with_masks(_without_doubt(samples, root, notes), masks, root, notes)
    _refuse_drawn(samples, root)
    return samples


def _without_doubt(samples: list[Sample], root: Path, notes: Notes) -> list[Sample]:
    """Leaves out what lies in `train/good`, but whose further names do not call good."""
    shared = shared_in([sample.path for sample in samples], root)
    kept = []
    for sample in samples:
        label = "good" if sample.is_defect else label_of(sample.path, root, shared)
        if label == "good" or (sample.split == "test" and label != "open"):
            kept.append(sample)
        else:
            notes[_CONTRADICTED if label == "both" else _OPEN].append(sample.path)
    _refuse_unlike_below([s.path for s in kept if s.split == "train"], root, shared)
    return kept


def _refuse_answers(answers: Iterable[str], root: Path) -> None:
    """Refuses `good_1` beside `good_0`: either may be the good one."""
    if found := sorted(answers):
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        names = ", ".join(found[:NAMED])
        raise LayoutError(f"{root}: found the names {names}{more}, which may say yes and no; {_DO}")


def _refuse_unlike_below(good: list[Path], root: Path, shared: Shared) -> None:
    if unlike_below_good(good, root, shared):
        raise LayoutError(
            f"{root}: found folders below good ones of which no word says whether they are good "
            f"({_counted(good, root)}); expected folders that only count or say when and where, "
            "such as 'line 1'; take away what is not good, and put the rest into one folder"
        )


def _types(test: Path, root: Path, masks: list[Path], notes: Notes) -> list[Sample]:
    """The test: one folder for each type of defect, one of them perhaps `good`."""
    notes["pictures of test that are not in a folder, left out"] += list_pictures(test, deep=False)[
        0
    ]
    samples = []
    for folder in list_folders(test):
        if is_mask_folder(folder.name):
            masks += pictures_of(folder, notes)
            continue
        said = meaning(folder.name)
        if "good" in said.says and said.open:
            notes[_OPEN] += pictures_of(folder, notes)
            continue
        defect = "good" if is_good(folder.name) else folder.name
        filled = _filled(folder, root, masks, notes)
        if filled and defect != "good" and said.says == {"good"}:
            raise _refusal(root, _NO_WORD, filled)
        samples += [_sample(p, "test", defect) for p in filled]
    return samples


def _filled(folder: Path, root: Path, masks: list[Path], notes: Notes) -> list[Path]:
    """The parts of a folder, which should have some; its masks join `masks`."""
    parts, inside = sort_out(folder, root, notes)
    masks += inside
    if not parts and not is_ours(folder.name):
        notes["folders without pictures"].append(folder)
    return parts


def _with_masks(samples: list[Sample], masks: list[Path], root: Path, notes: Notes) -> list[Sample]:
    paired = pair([sample.path for sample in samples], masks, root, notes)
    return [_sample(s.path, s.split, s.defect, paired.get(s.path, ())) for s in samples]


def _sample(path: Path, split: Split, defect: str, masks: tuple[Path, ...] = ()) -> Sample:
    mask = masks[0] if masks else None
    return Sample(path=path, split=split, defect=defect, mask=mask, more_masks=masks[1:])


def read_folder(root: Path, notes: Notes, *, to_learn: bool = True) -> list[Sample]:
    """Reads any tree by the words in its names, and by masks beside its pictures.

    Raises:
        LayoutError: nothing says of some pictures whether they are good; or none are for learning,
            though they are `to_learn`.
        OSError: a folder cannot be read.
    """
    parts, masks = sort_out(root, root, notes)
    paired = pair(parts, masks, root, notes)
    labels: dict[Label, list[Path]] = defaultdict(list)
    shared = shared_in(parts, root)
    _refuse_answers(answered(name for part in parts for name in names_of(part, root)), root)
    for part in parts:
        labels[label_of(part, root, shared)].append(part)
    notes[_CONTRADICTED] += labels["both"]
    notes[_OPEN] += labels["open"]
    _refuse_unlike_below(labels["good"], root, shared)
    in_silence = (p.stem for p in labels["good"] if not _is_said_above(p, root))
    _refuse_answers(answered_files(in_silence), root)
    by_mask = _by_masks(labels["unknown"], paired, notes)
    unknown = [part for part in labels["unknown"] if part not in by_mask]
    if not (labels["good"] or labels["defect"] or by_mask):
        if turned := [part for part in unknown if _may_say_good(part, root)]:
            raise _refusal(root, _NO_WORD, turned)
        is_called_good = _refuse_unlike(root, unknown, masks, notes)
        return [
            Sample(path=p, split="train", defect="good", is_labelled=is_called_good)
            for p in unknown
        ]
    types = _unnamed_types(root, unknown, labels["good"], notes)
    known = dict.fromkeys(labels["good"], "good")
    known |= {part: _type(part, root) for part in labels["defect"]}
    known |= by_mask | types
    samples = []
    for part, defect in known.items():
        split = _split(part, root)
        if split == "other":
            notes[_OTHER_SPLIT].append(part)
            continue
        is_test = defect != "good" or (not to_learn and _is_test(root))
        split = split or ("test" if is_test else "train")
        its_masks = () if by_mask.get(part) == "good" else paired.get(part, ())
        samples.append(_sample(part, split, defect, its_masks))
    if to_learn and all(sample.is_defect or sample.split == "test" for sample in samples):
        raise _refusal(root, "no good pictures to learn from", known)
    _refuse_drawn(samples, root)
    return samples


def _is_test(root: Path) -> bool:
    """Whether a tree is itself called as a test, and no more: `test`, not `good test`."""
    said = meaning(root.resolve().name)
    return said.split == "test" and not (said.says or said.unknown or said.bare.count(" "))


def _refuse_drawn(samples: list[Sample], root: Path) -> None:
    """Refuses a folder of masks that no name calls so: its pictures would count as defects."""
    bare = [s.path for s in samples if s.is_defect and s.mask is None]
    if found := drawn_among(bare, [s.path for s in samples if not s.is_defect]):
        raise LayoutError(
            f"{root}: found pictures that look like masks, of two values, among defective ones "
            f"({_counted(found, root)}); expected pictures of parts there; put masks into a folder "
            "'masks', each called as its picture, or take them away"
        )


def _is_said_above(part: Path, root: Path) -> bool:
    return any(meaning(name).says - {"mask"} for name in names_of(part, root))


def _may_say_good(part: Path, root: Path) -> bool:
    """Whether a word for good is in a picture's names, whatever stands beside it."""
    return any("good" in meaning(name).says for name in (*names_of(part, root), part.stem))


def _by_masks(
    unknown: list[Path], paired: Mapping[Path, tuple[Path, ...]], notes: Notes
) -> dict[Path, str]:
    """Labels by masks, where each of the pictures that no word knows has one."""
    if not unknown or not all(part in paired for part in unknown):
        return {}
    labels = {}
    for part in unknown:
        try:
            labels[part] = "defect" if any(map(marks_something, paired[part])) else "good"
        except ImageError:
            notes["pictures whose mask cannot be read, left out"].append(part)
            labels[part] = ""
    return {part: label for part, label in labels.items() if label}


def _split(part: Path, root: Path) -> Literal["train", "test", "other"] | None:
    splits = [split for name in names_of(part, root) if (split := meaning(name).split)]
    return splits[-1] if splits else None


def _type(part: Path, root: Path) -> str:
    """The folder that names the type of defect; `defect` where only the file or a mask says so."""
    names = names_of(part, root)
    for i, name in enumerate(names):
        said = meaning(name)
        if "defect" in said.says:
            below = names[i + 1] if i + 1 < len(names) else ""
            is_type = said.only and below and not any(c.isdigit() for c in below)
            other = meaning(below)
            return below if is_type and other.bare and not other.split else name
    return "defect"


def _unnamed_types(
    root: Path, unknown: list[Path], good: Sequence[Path], notes: Notes
) -> dict[Path, str]:
    """Takes folders beside `good` for types of defect; refuses what cannot be one."""
    beside_good = any(names and is_good(names[0]) for names in (names_of(p, root) for p in good))
    types: dict[Path, str] = {}
    unclear: list[Path] = []
    for part in unknown:
        names = names_of(part, root)
        if beside_good and not names:
            notes["pictures beside the folders, left out"].append(part)
        elif beside_good and _may_be_a_type(names[0]):
            types[part] = names[0]
        else:
            unclear.append(part)
    if unclear:
        raise _refusal(root, _NO_WORD, unclear)
    return types


def _may_be_a_type(name: str) -> bool:
    """Whether a folder beside `good` may be a type of defect.

    No date, `images` or `class 1`; and none that holds a word for good: `good copy`, `good_berlin`.
    """
    said = meaning(name)
    if said.split or said.unclear or "good" in said.says:
        return False
    is_short = (name.isdigit() and len(name) <= 2) or (name.isalpha() and bool(said.bare))
    return bool(said.unknown) or is_short


def _refuse_unlike(root: Path, parts: list[Path], masks: list[Path], notes: Notes) -> bool:
    """Refuses a tree without a word for good or defective whose pictures may be anything.

    Folders that only count, `line 1` and `line 2`, or that are of one kind, are as they were given.

    Returns:
        Whether the tree itself is called good.
    """
    if masks:
        raise _refusal(
            root, f"{number_of(len(masks), 'mask')}, and no word that says what is good", masks
        )
    is_called_good = _by_its_name(root)
    others = notes[NO_PICTURES]
    said = [p for p in others if _annotates(p, root)] or annotated_beside(parts, others)
    if said and not is_called_good:
        files = number_of(len(said), "file of labels that is", "files of labels that are")
        raise _refusal(root, f"{files} not read, and no word that says what is good", said)
    if not is_called_good and (sorts := sorted_by_name(parts)):
        text = f"files of which no word says whether they are good ({sorts})"
        raise LayoutError(f"{root}: found {text}; {_DO}")
    names = {names_of(part, root) for part in parts}
    if any(meaning(name).split for folders in names for name in folders):
        raise _refusal(root, "no word that says what is good", parts)
    beside: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for folders in names:
        for depth in range(len(folders) + 1):
            beside[folders[:depth]].add(folders[depth] if depth < len(folders) else "")
    if any(are_unlike(children) for children in beside.values()):
        raise _refusal(root, "folders of which no word says whether they are good", parts)
    return is_called_good


def _refusal(root: Path, found: str, of: Iterable[Path]) -> LayoutError:
    """Names the folders in `root` whose words have a meaning that does not help, and what else."""
    said = {folder.name: meaning(folder.name) for folder in list_folders(root)}
    known = [name for name, m in said.items() if m.says - {"good"} or m.split]
    beside = f"the folder {', '.join(known[:NAMED])} and " if known else ""
    return LayoutError(f"{root}: found {beside}{found} ({_counted(of, root)}); {_DO}")


def _annotates(file: Path, root: Path) -> bool:
    """Whether a file that is no picture has a name that says labels: `labels.csv`, `labels/1.txt`.

    A table called as a split, `train.csv`, is one, too.
    """
    names = (*names_of(file, root), file.stem)
    is_table = file.suffix.lower() in TABLE_SUFFIXES
    return any("mask" in meaning(name).says for name in names) or (
        is_table and meaning(file.stem).split is not None
    )


def _by_its_name(root: Path) -> bool:
    """Refuses a folder that is itself called `NG`, or `NG/images`; whether it is called good."""
    for folder in (root.resolve(), *root.resolve().parents[:2]):
        said = meaning(folder.name)
        if said.says and said.says <= {"defect", "mask"} and said.only and said.split is None:
            raise LayoutError(
                f"{root}: found a folder whose name '{folder.name}' says that what is in it is not "
                "good; expected good pictures; give their folder, or rename this one if they are"
            )
        if said.bare or said.says:
            return is_good(folder.name)
    return False


def _counted(paths: Iterable[Path], root: Path) -> str:
    """Counts pictures by folder: `Normal 20, Anomaly 10`."""
    folders = (path.parent.relative_to(root).as_posix() for path in paths)
    return counted(Counter("the folder itself" if name == "." else name for name in folders))
