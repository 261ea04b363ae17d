"""What its folders and its own name call a picture: good, defective, both, left open, nothing.

A word for good beside one of which nothing is known says nothing, unless that word turns nothing
around (`Shared`). Below a folder of good pictures, sub-folders may count or say when and where;
where unknown words sort them, nothing says that all of them are good.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from nfbmr.data.series import are_no_series
from nfbmr.data.words import Meaning, denies, meaning

Label: TypeAlias = Literal["good", "defect", "both", "open", "unknown"]
_NORMALS = frozenset({"normal", "normals"})  # of a surface, below a folder of good pictures
_LETTERS = re.compile(r"[A-Za-z]{1,2}")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What of the names of a tree turns nothing around, and what may."""

    words: frozenset[str]
    """Unknown words beside words for good: `bottle` of `bottle_ok`, `bottle_ng`."""
    below: frozenset[str]
    """Unknown words in folders below good and defective ones alike: `ng/berlin`."""


def names_of(part: Path, root: Path) -> tuple[str, ...]:
    """Returns the folders of a picture below `root`."""
    return part.relative_to(root).parts[:-1]


def is_good(name: str) -> bool:
    """Whether the whole name says good: good, ok, 01_OK, gut."""
    said = meaning(name)
    return said.only and said.says == {"good"} and said.split is None


def shared_in(parts: Iterable[Path], root: Path) -> Shared:
    """Finds what the names of pictures have in common.

    Words that stand beside a word for defective, too, or in every name that says something.
    """
    folders = {names_of(part, root) for part in parts}
    names = {name for above in folders for name in above}
    stems = {part.stem for part in parts}
    said = [m for name in names | stems if (m := meaning(name)).says & {"good", "defect"}]
    bad = {word for m in said if "good" not in m.says for word in (*m.unknown, *m.sorts)}
    every = set.intersection(*({*m.unknown, *m.sorts} for m in said)) if said else set()
    every = {word for word in every if not denies(word)}  # `ok no 1`, `ok no 2`
    below = {
        word
        for above in folders
        for name in _behind("defect", above)
        for word in (*meaning(name).unknown, *meaning(name).sorts)
    }
    return Shared(
        words=frozenset((bad | every) - {"?"}),
        below=frozenset(below - {"?"}),
    )


def _behind(word: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the folders below the first one that says `word` and nothing against it."""
    for i, name in enumerate(names):
        if meaning(name).says == {word}:
            return names[i + 1 :]
    return ()


def label_of(part: Path, root: Path, shared: Shared) -> Label:
    """What the folders say, or the file's own name where they say nothing.

    A word for good beside an unknown one that is not `shared` says nothing: `ikke_god` is not good.
    """
    found = [meaning(name) for name in names_of(part, root)]
    own = meaning(part.stem)
    if own.only or not any(said.says - {"mask"} for said in found):
        found.append(own)
    says = {word for said in found for word in said.says}
    if "defect" not in says and _is_open(found, own):
        return "open"
    if any("good" in said.says and not _is_plain(said, shared.words) for said in found):
        return "unknown"
    if {"good", "defect"} <= says:
        return "both"
    return "good" if "good" in says else "defect" if "defect" in says else "unknown"


def _is_plain(said: Meaning, shared: frozenset[str]) -> bool:
    return {*said.unknown, *said.sorts} <= shared


def _is_open(found: Sequence[Meaning], own: Meaning) -> bool:
    """Whether a word for doubt stands beside or below one for good: `ok_rest`, `good/unsure`."""
    is_good = False
    for said in found:
        is_good |= "good" in said.says
        if is_good and said.open:
            return True
    return own.doubtful or (own.open and "good" in own.says)


def unlike_below_good(good: Iterable[Path], root: Path, shared: Shared) -> bool:
    """Whether sub-folders of good pictures are sorted by words of which nothing is known.

    `good/returned` beside `good/line 1`, not `good/line 2`; `good/berlin` only where `ng/berlin`.
    """
    kinds, letters = set(), set()
    for names in {names_of(part, root) for part in good}:
        if not any(is_good(name) for name in names):
            continue
        below = _behind("good", names)
        kinds.add(tuple(kind for name in below for kind in _kind(name, shared.below)))
        letters |= {name.lower() for name in below if _LETTERS.fullmatch(name)}
    short = {word for word in letters if meaning(word).short}
    return len(kinds) > 1 or are_no_series(short)


def _kind(name: str, shared: frozenset[str]) -> tuple[str, ...]:
    said = meaning(name)
    if name.lower() in _NORMALS:
        return (name.lower(),)
    denied = ("not",) if said.denied and not said.says else ()
    return (*(word for word in (*said.unknown, *said.sorts) if word not in shared), *denied)
