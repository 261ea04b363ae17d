"""Pictures made of others, which show no part anew: `X_overlay`, `heatmap_X`, `annotated/X`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from nfbmr.data.words import meaning, spelled

DERIVED = "pictures that by their names were made of others beside them, left out"

_Words = tuple[str, ...]


def derived_of_others(pictures: Iterable[Path], root: Path | None = None) -> set[Path]:
    """Returns the pictures whose names say that they were made of others that are there, too.

    Such as `X_overlay` and `heatmap_X` beside `X`; and `overlays/X` where the folder of `overlays`
    holds `X`, or a folder beside `overlays` does.

    Args:
        pictures: files.
        root: of a data set, above all of them: the folders in it say by their names what is good,
            so none of them is left out for another.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in pictures:
        by_folder[path.parent].append(path)
    names: dict[Path, set[_Words]] = {}
    above: dict[Path, list[Path]] = defaultdict(list)
    for folder in by_folder:
        above[folder.parent].append(folder)

    def named(folder: Path) -> set[_Words]:
        if folder not in names:
            here = by_folder.get(folder, ())
            names[folder] = {_words(path) for path in here}
        return names[folder]

    found: set[Path] = set()
    for folder, here in by_folder.items():
        found |= {p for p in here if meaning(p.stem).derived and _is_made_of(p, named(folder))}
        if folder != root and meaning(folder.name).derived:
            beside = [folder.parent]
            if folder.parent != root:
                beside += [one for one in above[folder.parent] if not meaning(one.name).derived]
            others = set[_Words]().union(*map(named, beside))
            found |= {p for p in here if _words(p) in others or _is_made_of(p, others)}
    return found


def _words(path: Path) -> _Words:
    return tuple(word for word, _ in spelled(path.stem))


def _is_made_of(path: Path, others: set[_Words]) -> bool:
    """Whether a name is that of another with a word before or behind it that says what was made."""
    tokens = spelled(path.stem)
    words = _words(path)
    says = [is_derived for _, is_derived in tokens]
    return any(
        (words[:cut] in others and any(says[cut:])) or (words[cut:] in others and any(says[:cut]))
        for cut in range(1, len(words))
    )
