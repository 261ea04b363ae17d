"""Which pictures of a tree show parts, which are masks, and which mask belongs to which part.

A mask lies in a folder named so (`ground_truth`, `Masks`, `gt`), or beside its picture: `X_mask`,
`X_GT`, `X_label` beside `X`, or in a form that only a mask has, two-valued where its partner of the
same name is not.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from nfbmr.data.derived import DERIVED, derived_of_others
from nfbmr.data.folders import is_picture, list_pictures
from nfbmr.data.maps import without_maps
from nfbmr.data.masks import drawn_levels, is_drawn
from nfbmr.data.samples import Notes
from nfbmr.data.words import mask_of, meaning
from nfbmr.system.files import plain_file

LONE_MASKS = "masks without a picture of that name, not used"
NO_PICTURES = "files that are not pictures, left out"
_NO_FILES = "pipes, sockets or devices, left out"
_OURS = frozenset({"error", "look", "heatmaps"})
"""What `nfbmr watch` and `nfbmr inspect` write beside good and defective pictures."""
_SIDECARS = frozenset({".xml", ".json", ".txt"})
_ANNOTATION = re.compile(
    rb"<annotation|<object>|\"(shapes|annotations|objects|bbox|segmentation|label)\"\s*:"
    rb"|\A\s*\d+( +[01]?\.\d+){4}"  # of Pascal VOC, LabelMe and COCO; of YOLO
)
_READ = 4096  # bytes of a text
_TRIED = 3  # pictures of a folder that are opened to see whether they are masks

Place = tuple[tuple[str, ...], str]  # folders below the root as they are compared, and stem


def pictures_of(folder: Path, notes: Notes, *, deep: bool = True) -> list[Path]:
    """Lists pictures; notes what lies among them and is none.

    Raises:
        OSError: a folder cannot be read.
    """
    pictures, others = list_pictures(folder, deep=deep)
    for path in others:
        notes[_NO_FILES if is_picture(path.name) else NO_PICTURES].append(path)
    return pictures


def sort_out(folder: Path, root: Path, notes: Notes) -> tuple[list[Path], list[Path]]:
    """Lists the pictures of parts in a folder, at any depth, and the masks; each sorted by path.

    Left out, and noted, is what nfbmr wrote itself, what was made of other pictures, and depth and
    the like beside a folder `rgb`; see `without_maps`.

    Args:
        folder: `root` or a folder in it.
        root: of the data set; the names of folders above it say nothing.
        notes: takes what is left out.

    Raises:
        LayoutError: `normal` lies beside `height` and the like, and nothing is called `rgb`.
        OSError: a folder cannot be read.
    """
    pictures = list(_without_ours(pictures_of(folder, notes), root, notes))
    pictures = without_maps(pictures, root, notes)
    derived = derived_of_others(pictures, root)
    notes[DERIVED] += [path for path in pictures if path in derived]
    pictures = [path for path in pictures if path not in derived]
    masks = _among_masks(pictures, root)
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in pictures:
        if path not in masks:
            by_folder[path.parent].append(path)
    for here in by_folder.values():
        masks |= _named_masks(here)
        masks |= _drawn_beside([path for path in here if path not in masks])
    masks |= _drawn_folders(
        {f: [p for p in here if p not in masks] for f, here in by_folder.items()}
    )
    return [p for p in pictures if p not in masks], sorted(masks)


def annotated_beside(parts: Sequence[Path], others: Iterable[Path]) -> list[Path]:
    """Returns the texts beside pictures of the same name that say what is seen in them.

    As programs for labelling write them, or of some pictures alone; what cameras write of each of
    their pictures is none.
    """
    names = {part.with_suffix("") for part in parts}
    found = [
        path
        for path in others
        if path.suffix.lower() in _SIDECARS and path.with_suffix("") in names
    ]
    if len(found) == len(names) and not any(_is_annotation(path) for path in found[:_TRIED]):
        return []
    return found


def _is_annotation(path: Path) -> bool:
    if not path.is_file():
        return False
    with plain_file(path) as stream:
        return _ANNOTATION.search(stream.read(_READ)) is not None


def is_mask_folder(name: str) -> bool:
    """Whether the name of a folder says that masks lie in it: `Masks`, not `solder_mask_gap`."""
    said = meaning(name)
    return "mask" in said.says and said.only


def is_ours(name: str) -> bool:
    """Whether nfbmr writes folders of that name among pictures: they hold no parts to learn."""
    return name.lower() in _OURS or name.lower().endswith("_heatmaps")


def pair(
    parts: Sequence[Path], masks: Iterable[Path], root: Path, notes: Notes
) -> dict[Path, tuple[Path, ...]]:
    """Finds the masks of each part, sorted, mostly one; notes masks without a part."""
    waiting = set(masks)
    places: dict[Place, set[Path]] = defaultdict(set)
    for mask in waiting:
        named = mask_of(mask.stem)
        for folders in _folders(mask, root):
            places[folders, ""].add(mask)  # perhaps the folder of one picture's masks
            for stem in {mask.stem.lower(), named[0] if named else ""} - {""}:
                places[folders, stem].add(mask)
    alone = _alone(parts, waiting)
    found: dict[Path, tuple[Path, ...]] = {}
    for part in parts:
        fitting = next((places[p] for p in _wanted(part, root) if p in places), set())
        fitting = fitting or alone.get(part.parent, set())
        waiting -= fitting
        if fitting:
            found[part] = tuple(sorted(fitting))
    notes[LONE_MASKS] += sorted(waiting)
    return found


def drawn_among(defective: Iterable[Path], good: Sequence[Path]) -> list[Path]:
    """Returns the pictures of folders that look like masks, where good ones do not.

    Args:
        defective: pictures without a mask; three of a folder are opened.
        good: pictures of good parts.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in defective:
        by_folder[path.parent].append(path)
    found: list[Path] = []
    for here in by_folder.values():
        levels = [*takewhile(bool, map(drawn_levels, here[:_TRIED]))]
        if len(levels) == len(here[:_TRIED]) and max(levels) > 1:
            found += here
    return found if found and not all(map(is_drawn, good[:_TRIED])) else []


def _alone(parts: Iterable[Path], masks: Iterable[Path]) -> dict[Path, set[Path]]:
    """Returns the masks called `mask` alone by folder, where one part lies in that: image.png."""
    here = Counter(part.parent for part in parts)
    found: dict[Path, set[Path]] = defaultdict(set)
    for mask in masks:
        if here[mask.parent] == 1 and _is_called_mask(mask.stem):
            found[mask.parent].add(mask)
    return found


def _is_called_mask(stem: str) -> bool:
    """Whether a file's name is a word for masks and no more; `label_12` may be a part."""
    return is_mask_folder(stem) and not any(c.isdigit() for c in stem)


def _wanted(part: Path, root: Path) -> Iterator[Place]:
    """Yields where the mask of a part may lie, the surest place first."""
    stem = part.stem.lower()
    is_learnt = any(meaning(name).split == "train" for name in part.relative_to(root).parts[:-1])
    for folders in _folders(part, root):
        bases = [folders]
        if not is_learnt:
            bases.append(tuple(name for name in folders if name != "test"))
        yield from ((base, stem) for base in bases)
        yield from (((*base, stem), "") for base in bases)


def _folders(path: Path, root: Path) -> list[tuple[str, ...]]:
    """The folders of a picture: as they are but for those of masks; by words; without `NG`."""
    names = path.relative_to(root).parts[:-1]
    exact: list[str] = []
    bare: list[str] = []
    rest: list[str] = []
    for name in names:
        said = meaning(name)
        split: list[str] = [said.split] if said.split else []
        exact += split or ([] if _says_nothing_of_a_part(name) else [name.lower()])
        bare += split or ([said.bare] if said.bare else [])
        rest += split or ([said.rest] if said.rest else [])
    return [tuple(exact), tuple(bare), tuple(rest)]


def _says_nothing_of_a_part(name: str) -> bool:
    said = meaning(name)
    return name.lower() == "rgb" or (said.says == {"mask"} and said.only)


def _without_ours(pictures: Iterable[Path], root: Path, notes: Notes) -> Iterator[Path]:
    for path in pictures:
        if any(is_ours(name) for name in path.relative_to(root).parts[:-1]):
            notes["pictures in error, look or heatmaps, as nfbmr writes them, left out"].append(
                path
            )
        else:
            yield path


def _among_masks(pictures: list[Path], root: Path) -> set[Path]:
    """Returns those in folders of masks; where more is said, `crack_mask`, their looks decide."""
    masks: set[Path] = set()
    doubtful: dict[Path, list[Path]] = defaultdict(list)
    for path in pictures:
        names = path.relative_to(root).parts[:-1]
        if any(is_mask_folder(name) for name in names):
            masks.add(path)
        elif any("mask" in meaning(name).says for name in names):
            doubtful[path.parent].append(path)
    for here in doubtful.values():
        if all(is_drawn(path) for path in here[:_TRIED]):
            masks |= {*here}
    return masks


def _named_masks(here: list[Path]) -> set[Path]:
    """Returns those of a folder whose own names call them masks of others."""
    stems = {path.stem.lower() for path in here}
    masks = set()
    for path in here:
        named = mask_of(path.stem)
        if named is not None and (named[1] or named[0] in stems):
            masks.add(path)
    called = {path for path in here if _is_called_mask(path.stem)}
    return masks | called if {*here} - masks - called else masks


def _drawn_beside(here: list[Path]) -> set[Path]:
    """Returns the masks among pictures of a folder that share a stem: X.png or X_a.png by X.jpg."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in here:
        by_stem[path.stem.lower()].append(path)
    kinds: dict[tuple[str, str], list[tuple[Path, Path]]] = defaultdict(list)
    for path in here:
        stem, suffix = path.stem.lower(), path.suffix.lower()
        for partner in by_stem[stem]:
            if partner.suffix.lower() != suffix:
                kinds["", f"{partner.suffix.lower()} {suffix}"].append((path, partner))
        shorter, _, end = stem.replace("-", "_").replace(" ", "_").rpartition("_")
        for partner in by_stem.get(stem[: len(shorter)], []) if shorter else []:
            if end.isalpha():
                kinds[end, ""].append((path, partner))
    masks: set[Path] = set()
    for pairs in kinds.values():
        if all(is_drawn(mask) and not is_drawn(part) for mask, part in pairs[:_TRIED]):
            masks |= {mask for mask, _ in pairs}
    return masks


def _drawn_folders(by_folder: dict[Path, list[Path]]) -> set[Path]:
    """Returns the pictures of folders that hold the masks of a folder with pictures so named."""
    stems = {folder: {p.stem.lower() for p in here} for folder, here in by_folder.items()}
    beside: dict[str, set[Path]] = defaultdict(set)
    for folder, names in stems.items():
        for name in names:
            beside[name].add(folder)
    masks: set[Path] = set()
    drawn: dict[Path, bool] = {}

    def are_drawn(folder: Path) -> bool:
        if folder not in drawn:
            drawn[folder] = all(is_drawn(path) for path in by_folder[folder][:_TRIED])
        return drawn[folder]

    for folder, here in by_folder.items():
        others = {other for path in here for other in beside[path.stem.lower()]} - {folder}
        if here and others and are_drawn(folder) and not all(are_drawn(o) for o in others):
            masks |= {*here}
    return masks
