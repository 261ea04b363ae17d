"""What a word that denies makes of the words beside it: `not ok`, `ok no`, `no defect`.

A denial before a word turns it around, and so does one behind a word for good. What else a denial
may mean, a number in `ok no 12` or the north in `ok_n`, is left as an unknown word: beside a word
for good nothing may be made of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Token: TypeAlias = tuple[str, str]
"""A word as it is compared, and its kind; see `words`."""

_BAD = frozenset({"defect", "type"})
_TOLD = frozenset({"checked", "label"})
_OPPOSITE = {"good": "defect", "defect": "good", "type": "good"}
_ABBREVIATED = frozenset({"n", "ne"})  # no, and the north and north-east
_NUMBERING = frozenset({"no", "n"})
_NOT_BEHIND = frozenset(
    {
        *("n", "un", "ne", "ei", "ej", "bez", "ohne", "without", "sans", "sin", "senza", "sem"),
        *("zonder", "kein", "keine", "keinen", "без"),
    }
)
"""Denials that deny what comes next, or that are abbreviations: behind a word they say nothing."""
_PASSED_OVER = frozenset({"number", "neutral", "short"})


def denied(tokens: Sequence[Token]) -> list[Token]:
    """Turns `not ok` and `ok no` into a defect, `no defect` and `defect free` into good ones.

    `not checked` and `not labelled` are doubt.

    `anomaly detection` is neither. Denials that deny nothing beside a word for good are unknown.
    """
    out = list(tokens)
    used = set[int]()
    for i, (word, kind) in enumerate(tokens):
        after = tokens[i + 1][1] if i + 1 < len(tokens) else ""
        by = _before(tokens, i)
        if kind in _OPPOSITE and by is not None:
            used.add(by)
            is_open = kind in _BAD and tokens[by][0] in _ABBREVIATED
            out[i] = word, "unknown" if is_open else _OPPOSITE[kind]
        elif kind in _TOLD and by is not None:
            used.add(by)
            out[i] = word, "doubt"  # `not checked`
        elif kind in _BAD and after == "free":
            out[i] = word, "good"
        elif kind in _BAD and after == "topic":
            out[i] = word, "topic"
        elif kind == "good" and after == "after":
            out[i] = word, "defect"
    says_good = any(kind == "good" for _, kind in tokens)
    for i, (word, kind) in enumerate(tokens):
        if kind == "not" and i not in used:
            _behind(tokens, i, out)
            if says_good and out[i][1] == "not" and len(word) > 1 and not _counts(tokens, i):
                out[i] = word, "unknown"
    if [kind for _, kind in tokens if kind not in _PASSED_OVER] == ["free"]:
        out = [(word, "good" if kind == "free" else kind) for word, kind in tokens]  # MT_Free
    return out


def _before(tokens: Sequence[Token], i: int) -> int | None:
    """Where the denial of a word stands that comes before it: `not ok`, `nicht in Ordnung`."""
    if i and tokens[i - 1][1] == "not":
        return i - 1
    is_in = i > 1 and tokens[i - 1] == ("in", "short") and tokens[i - 2][1] == "not"
    return i - 2 if is_in else None


def _counts(tokens: Sequence[Token], i: int) -> bool:
    """Whether a word is that of a number: `No 5`."""
    return tokens[i][0] in _NUMBERING and i + 1 < len(tokens) and tokens[i + 1][1] == "number"


def _behind(tokens: Sequence[Token], i: int, out: list[Token]) -> None:
    """Takes the denial at `i` for that of the word before it, and says in `out` what it made."""
    word, kind = out[i - 1] if i else ("", "")
    if tokens[i - 1 if i else 0][1] not in _OPPOSITE or kind != tokens[i - 1][1]:
        return  # nothing before it, or that is denied already
    rest = [k for _, k in tokens[i + 1 :]]
    is_plain = tokens[i][0] not in _NOT_BEHIND and not _counts(tokens, i)
    if kind == "good":
        if is_plain and {*rest} <= _PASSED_OVER:
            out[i - 1] = word, "defect"
            out[i] = tokens[i][0], "denial"
        else:
            out[i] = tokens[i][0], "unknown"
    elif is_plain and not rest:
        out[i - 1] = word, "good"
        out[i] = tokens[i][0], "denial"
    elif _counts(tokens, i):
        out[i] = tokens[i][0], "unknown"  # as beside good ones: `ok no 12`, `ng no 13`
    elif not rest and len(tokens[i][0]) > len("ne"):
        out[i - 1] = word, "unknown"  # `Fehler keine`
