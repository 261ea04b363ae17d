"""The words that name sources: addresses in stores, and globs."""

from __future__ import annotations

import re
from collections.abc import Callable

_STORE = re.compile(r"([a-z][a-z0-9+.-]+)://(.+)", re.DOTALL)
_WILD = re.compile(r"[*?\[]")
_PIECES = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]|.", re.DOTALL)
_MEANS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def is_stored(word: str) -> bool:
    """Whether this is an address in an object store, such as `s3://bucket/part.png`."""
    return _STORE.fullmatch(word) is not None


def scheme_of(address: str) -> tuple[str, str]:
    """Cuts an address into the kind of store and the rest."""
    found = _STORE.fullmatch(address)
    assert found is not None, address
    return found[1], found[2]


def is_glob(word: str) -> bool:
    """Whether a word has wildcards."""
    return _WILD.search(word) is not None


def base_of(word: str) -> tuple[str, str]:
    """Cuts a glob into the folder before the first wildcard, and the rest."""
    folder = word[: _first_wild(word)].rpartition("/")[0]
    return (folder or ("/" if word.startswith("/") else ".")), word[len(folder) :].lstrip("/")


def _first_wild(word: str) -> int:
    found = _WILD.search(word)
    assert found is not None, word
    return found.start()


def matcher(pattern: str) -> Callable[[str], object]:
    """Returns what tells whether a path relative to the base fits a glob."""
    pieces = _PIECES.findall(pattern)
    return re.compile("".join(map(_meant, pieces)), re.DOTALL).fullmatch


def _meant(piece: str) -> str:
    """Returns a piece of a glob as a regular expression."""
    if piece in _MEANS:
        return _MEANS[piece]
    if len(piece) == 1:
        return re.escape(piece)
    letters = piece[1:-1]
    none_of = "^" if letters.startswith("!") else ""
    return f"[{none_of}{re.escape(letters.removeprefix('!')).replace(chr(92) + '-', '-')}]"
