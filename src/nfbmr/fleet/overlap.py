"""Sources that would name a picture twice, as far as their words and links show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nfbmr.errors import DataError
from nfbmr.fleet.words import base_of, is_glob, is_stored, matcher


def refuse_overlap(sources: Sequence[str]) -> None:
    """Refuses sources that name the same folder or picture, lie in each other, or may meet.

    Raises:
        DataError: two do.
    """
    plain: dict[str, str] = {}  # what it is called without links -> as it was given
    globs: list[tuple[str, str]] = []  # the same of globs
    for word in sources:
        full = _full(word)
        if _taken_as_glob(word):
            globs.append((full, word))
        elif full in plain:
            raise _twice(word, plain[full], f"{word} is {plain[full]}")
        else:
            plain[full] = word
    for full, word in plain.items():
        for folder in _above(full):
            if folder in plain:
                raise _twice(word, plain[folder], f"{word} lies in {plain[folder]}")
    for number, (full, word) in enumerate(globs):
        for there, other in globs[:number]:
            if _may_meet(full, there):
                raise _twice(word, other, f"{word} and {other} may name the same pictures")
        for there, other in plain.items():
            if matcher(full)(there) or (_may_be_folder(other) and _may_reach(full, there)):
                raise _twice(word, other, f"{word} may name pictures of {other}")


def _twice(word: str, other: str, why: str) -> DataError:
    which = "one of the two"
    if _taken_as_glob(word) or _taken_as_glob(other):
        which += ", or globs of other folders or endings, such as 'old/*.png' and 'old/*.jpg'"
    return DataError(f"{why}, so its pictures would be judged twice; give {which}")


def _taken_as_glob(word: str) -> bool:
    """Whether a word has wildcards and is no file's name itself."""
    return is_glob(word) and (is_stored(word) or not Path(word).exists())


def _full(word: str) -> str:
    """Returns what a source is called without links; of a glob, without those to its base."""
    if is_stored(word):
        return word.rstrip("/")
    if not _taken_as_glob(word):
        return str(Path(word).resolve())
    base, pattern = base_of(word)
    return f"{str(Path(base).resolve()).rstrip('/')}/{pattern}"


def _above(full: str) -> Iterator[str]:
    """Yields the folders that a path or an address lies in."""
    while "/" in full:
        full = full.rpartition("/")[0]
        yield full or "/"


def _may_be_folder(word: str) -> bool:
    return is_stored(word) or Path(word).is_dir()


def _may_reach(glob: str, folder: str) -> bool:
    """Whether a glob may name a picture below a folder."""
    pieces, names = glob.split("/"), folder.rstrip("/").split("/")
    for piece, name in zip(pieces, names, strict=False):
        if "**" in piece:
            return True
        if not _pieces_meet(piece, name):
            return False
    return len(pieces) > len(names)


def _may_meet(one: str, other: str) -> bool:
    """Whether two globs may name the same picture."""
    ours, theirs = one.split("/"), other.split("/")
    for piece, there in zip(ours, theirs, strict=False):
        if "**" in piece or "**" in there:
            return _pieces_meet(ours[-1], theirs[-1])
        if not _pieces_meet(piece, there):
            return False
    return len(ours) == len(theirs)


def _pieces_meet(one: str, other: str) -> bool:
    """Whether a name may fit both, each a glob or a name."""
    if "**" in one or "**" in other:
        return True
    if not is_glob(one) or not is_glob(other):
        return bool(matcher(one)(other) or matcher(other)(one))
    (head, tail), (begins, ends) = _fixed(one), _fixed(other)
    return (head.startswith(begins) or begins.startswith(head)) and (
        tail.endswith(ends) or ends.endswith(tail)
    )


def _fixed(glob: str) -> tuple[str, str]:
    """Returns what stands before the first wildcard and behind the last."""
    first = min(at for letter in "*?[" if (at := glob.find(letter)) >= 0)
    last = max(glob.rfind(letter) for letter in "*?[]")
    return glob[:first], glob[last + 1 :]
