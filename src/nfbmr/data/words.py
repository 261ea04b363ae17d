"""What the name of a folder or file, or a label, says: good, defective, a mask, for the test.

A name is split at everything that is no letter, at digits, and where a small letter meets a
capital one; case and accents do not count. A word that no list of `vocabulary` holds says nothing,
and nothing may be made of it: see `Meaning.unknown`. Words of the kind `made` sort no folders, and
are unknown there; behind a picture's name they say what was made of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from nfbmr.data.denials import Token, denied
from nfbmr.data.vocabulary import LISTS

Said: TypeAlias = Literal["good", "defect", "mask"]
SplitWord: TypeAlias = Literal["train", "test", "other"]
"""`other`: pictures that are neither to learn from nor for the test, as those of a validation."""


def _folded(text: str) -> str:
    """Compares without case, accents and width: `Défaut` is `defaut`."""
    text = unicodedata.normalize("NFKD", text.casefold().replace("ı", "i").replace("ł", "l"))
    bare = "".join(c for c in text if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFC", bare)


_KINDS: dict[str, str] = {}
for _kind, _words in LISTS.items():
    for _word in _words.split():
        _KINDS.setdefault(_folded(_word), _kind)
_CHAINED = sorted((w for w in _KINDS if not re.match(r"[a-zа-я]", w)), key=len, reverse=True)
"""Words of scripts that put no spaces between them, the longest first: 不良品 is not 良品."""

_DERIVED = frozenset({"derived", "made"})
_OPEN = frozenset({"aside", "doubt"})
_SAID_ONLY_SO = frozenset({"made", "checked"})
"""Words that say something behind a picture's name, or behind a denial, and else nothing."""
_UNKNOWN = frozenset({"unknown", "derived", "answer"})
_NOT_ALONE = frozenset({"unknown", "type", "unclear", "derived", "answer"}) | _OPEN
_SAYING = frozenset({"good", "defect", "mask", "not", "free"})
_ANSWERED = frozenset({"good", "defect"})
_WHOLE = frozenset({"good", "defect", "mask"})
_INITIALS = frozenset({"ok", "io", "iop", "ng", "nok", "nio", "niop", "ko", "gt"})
"""Words that are written letter by letter, too: i.O., N.O.K."""
_TAILS = """part parts teil teile piece pieces image images img imgs pic pics picture pictures
    photo photos bild bilder sample samples item items data dir set"""
_PICTURES = frozenset(_TAILS.split())
"""What may stand behind a word without a space: goodparts, but not goodyear."""

_STRUCK = "\u0334-\u0338\u20d2\u20d3\u20d8-\u20e0\u20e5-\u20eb"
"""Lines through a letter, and rings around it with a line."""
_DASHES = "+\u2010-\u2015\u2212-"
_DOUBT = re.compile(
    r"[?!¬≠~±¿‽؟⸮⍰✗✘✕✖☓⨯⮾⮿🗙🗴🗵🗶🗷❌❎⛔🚫⚠👎🔴🛑]"
    rf"|[{_STRUCK}]|(?<!\d)[*×]|[*×](?!\d)"
    rf"|\w\W*[{_DASHES}][\W_]*$|^\W*[{_DASHES}]\W*[^\W\d_]"
    r"|\.\.[\W_]*$|[/\\|][\W_]*$|^[\W_]*[/\\|]"
)
"""Signs that may turn a name around: `ok?`, `!ok`, `good-` beside `good+`, and half an answer.

Of the latter are `ok...` and `ok/`; `7 - ok` and `line 3/ok` say it.
"""
_TELLING = re.compile(
    r"[^\w\s.,:;&#*×'\"()\[\]/\-\u2013\u2014\u2018-\u201f«»。✓✔✅☑👍👌🟢○◯◎]"
    r"|[(\[][\W_]*[)\]]|[,:;&(\[][\W_]*$|#(?!\d)|(?<!\d):\s*\d[\d.,:]*\W*$"
    r"|(?<![\d.])\d*[.,]\d+(?![\d.])|(?<!\d)\d+\s*/\s*\d+(?!\s*[\d/])"
)
"""What else says more in a label than the word for good: `ok ★`, `ok ()`, `ok,`, `#ok`, `ok: 0`,
`ok 0.02`, `ok 3/10`."""
_RUN = re.compile(r"\d+|[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LATIN = re.compile(r"[a-zа-яё]+|[^a-zа-яё]+")
_SPACED = re.compile(r"\W|_")
_SUFFIX = re.compile(r"^(?P<of>.+?)[\W_]*(?<![A-Za-z])(?P<word>[A-Za-z]+)[\W_]*\d{0,2}$")
_ENDS = {"Mask": True, "GT": True, "Label": False}  # 001Mask, partGT


@dataclass(frozen=True, kw_only=True, slots=True)
class Meaning:
    """What a name says."""

    says: frozenset[Said]
    """None of them, one, or several, as `ok_and_ng` does."""
    only: bool
    """Whether it says nothing else: `02_NG` and `bad parts`, not `deep scratch` or `bad_weld`."""
    split: SplitWord | None
    unknown: tuple[str, ...]
    """Words of which nothing is known of parts, such as `overlay`, answers such as `yes`, and a
    question mark; none of `line 3` and `2024-01-05`."""
    short: tuple[str, ...]
    """Words of one or two letters of which nothing is known: a series, as `A` and `B`, or not."""
    denied: bool
    """Whether it denies, as `passt nicht` does beside `passt`, whatever it denies."""
    unclear: bool
    """Whether it sorts pictures without saying what is good: `class 1`, `positive`, `overlay`."""
    sorts: tuple[str, ...]
    """Words that sort by something else, such as `class` and `quality`."""
    open: bool
    """Whether it leaves open what is good, whatever else it says: `ok_unsure`, `good_other`."""
    doubtful: bool
    """Whether it says doubt in so many words: `unsure`, `quarantine`, not `other`."""
    derived: bool
    """Whether it says that a picture was made of another: `overlay`, `heatmap`, `augmented`."""
    rest: str
    """The name without words for masks, for pictures and for defects of no type, to compare."""
    bare: str
    """The name without words for masks and for pictures."""


@lru_cache(maxsize=65_536)
def meaning(name: str) -> Meaning:
    """Says what a folder's or a file's name, without its suffix, or a label says."""
    tokens = list(_tokens(name))
    kinds = ["unknown" if kind in _SAID_ONLY_SO else kind for _, kind in denied(tokens)]
    for i, token in enumerate(tokens[:-1]):
        if token == ("in", "short") and tokens[i + 1][0] == "ordnung":
            kinds[i] = "neutral"
    says: set[Said] = set()
    if "mask" in kinds or (
        "label" in kinds and not {"defect", "type", "good", "unknown"} & {*kinds}
    ):
        says.add("mask")
    if "good" in kinds:
        says.add("good")
    if {"defect", "type"} & {*kinds}:
        says.add("defect")
    split: SplitWord | None = None
    for word in ("train", "test", "other"):
        split = word if word in kinds else split
    doubt = ("?",) if _DOUBT.search(unicodedata.normalize("NFKC", name)) else ()
    return Meaning(
        says=frozenset(says),
        only=bool(says) and not doubt and not _NOT_ALONE & {*kinds},
        split=split,
        unknown=_of_kind(_UNKNOWN, tokens, kinds) + doubt,
        short=_of_kind({"short"}, tokens, kinds),
        denied=any(kind in {"not", "free", "after"} and len(word) > 1 for word, kind in tokens),
        unclear=bool(({"unclear", "derived"} | _OPEN) & {*kinds} or (says and "answer" in kinds)),
        sorts=_of_kind({"unclear"}, tokens, kinds),
        open=bool(_OPEN & {*kinds}),
        doubtful="doubt" in kinds,
        derived=any(kind in _DERIVED for _, kind in tokens),
        rest=_left(tokens, kinds, {"mask", "label", "neutral", "defect"}),
        bare=_left(tokens, kinds, {"mask", "label", "neutral"}),
    )


def is_plainly_good(label: str) -> bool:
    """Whether a label says good and nothing else at all: not `good x`, not `good A`, not `ok ★`.

    Folders have such names as they count, labels of a table do not count.
    """
    said = meaning(label)
    if not said.only or said.says != {"good"} or said.short:
        return False
    text = unicodedata.normalize("NFKC", label)
    bare = "".join(c for c in text if unicodedata.category(c) not in {"Mn", "Mc", "Cf"})
    return not _TELLING.search(bare.strip())


def spelled(name: str) -> tuple[tuple[str, bool], ...]:
    """Splits a name into its words and numbers, each with whether it says `Meaning.derived`."""
    return tuple((word, kind in _DERIVED) for word, kind in _tokens(name))


def denies(word: str) -> bool:
    """Whether a word as `Meaning` has it is one such as `no`."""
    return _KINDS.get(word) == "not"


def answers(word: str) -> bool:
    """Whether a cell is yes or no in one of the languages, and no more."""
    tokens = list(_tokens(word))
    return bool(tokens) and all(kind in {"not", "answer"} for _, kind in tokens)


def _of_kind(wanted: AbstractSet[str], tokens: list[Token], kinds: list[str]) -> tuple[str, ...]:
    return tuple(word for (word, _), kind in zip(tokens, kinds, strict=True) if kind in wanted)


def _left(tokens: list[Token], kinds: list[str], without: set[str]) -> str:
    return " ".join(w for (w, _), kind in zip(tokens, kinds, strict=True) if kind not in without)


def mask_of(stem: str) -> tuple[str, bool] | None:
    """Names the picture that a mask beside it belongs to: 001 for 001_mask, 001_GT and mask_001.

    Returns:
        The stem of that picture, in lower case, and whether the word can mean nothing else: a label
        may be what the camera looks at. None where the stem is no mask's.
    """
    for end, sure in _ENDS.items():
        if stem.endswith(end) and len(stem) > len(end):
            return stem.removesuffix(end).rstrip(" _-.").lower(), sure
    if found := _SUFFIX.match(stem):
        kind = _KINDS.get(_folded(found["word"]))
        of = re.sub(r"(?i)[\W_]*ground$", "", found["of"]).lower()
        if kind in {"mask", "label"} and of:
            return of, kind == "mask"
    first = re.match(r"^(?P<word>[A-Za-z]+)[\W_]+(?P<of>.+)$", stem)
    if first and _KINDS.get(_folded(first["word"])) == "mask":
        return first["of"].lower(), False
    return None


def _tokens(name: str) -> Iterator[Token]:
    """Splits a name into words and numbers, each with its kind."""
    joined = _folded(_SPACED.sub("", name))
    if _SPACED.search(name) and _KINDS.get(joined) in _WHOLE:
        yield joined, _KINDS[joined]  # i.O., n.i.O., N.G., ground_truth
        return
    yield from _joined(list(_apart(name)))


def _joined(tokens: list[Token]) -> Iterator[Token]:
    """Joins letters that stand apart wherever they do: `02 n.i.O.`, `Teil N.G`, `n_i_o_1`.

    Those of `_INITIALS` among others, and any word that is all there is of single letters.
    """
    start = 0
    while start < len(tokens):
        run = start
        while run < len(tokens) and _is_letter(tokens[run]):
            run += 1
        for end in range(min(len(tokens), max(run, start + len("niop"))), start, -1):
            word = "".join(word for word, _ in tokens[start:end])
            is_all = end == run and (not start or not _is_letter(tokens[start - 1]))
            is_joined = word in _INITIALS or (is_all and _KINDS.get(word) in _WHOLE)
            if end == start + 1 or is_joined:
                yield (word, _KINDS[word]) if is_joined else tokens[start]
                start = end
                break


def _is_letter(token: Token) -> bool:
    return len(token[0]) == 1 and token[1] != "number"


def _apart(name: str) -> Iterator[Token]:
    """Splits a name into words and numbers, as they are written."""
    for run in _RUN.findall(unicodedata.normalize("NFC", name)):
        if run[0].isdigit():
            yield run, "number"
        elif (whole := _folded(run)) in _KINDS:
            yield whole, _KINDS[whole]
        else:
            for part in _CAMEL.split(run):
                yield from _parts(_folded(part))


def _parts(word: str) -> Iterator[Token]:
    """Splits what is written in one: goodparts, gutteile, NG品."""
    if word in _KINDS:
        yield word, _KINDS[word]
        return
    runs = _LATIN.findall(word)
    if len(runs) > 1:
        for run in runs:
            yield from _parts(run)
        return
    if not re.match(r"[a-zа-яё]", word):
        yield from _chained(word)
        return
    for cut in range(2, len(word) - 1):
        halves = word[:cut], word[cut:]
        kinds = [_KINDS.get(half, "") for half in halves]
        if (
            {*kinds} <= _SAYING
            or (kinds[0] in _SAYING and halves[1] in _PICTURES)
            or ("answer" in kinds and _ANSWERED & {*kinds})
        ):
            yield from zip(halves, kinds, strict=True)
            return
    yield word, "unknown" if len(word) > 2 else "short"


def _chained(word: str) -> Iterator[Token]:
    while word:
        known = next((w for w in _CHAINED if word.startswith(w)), None)
        if known is None:
            start = min((i for w in _CHAINED if (i := word.find(w)) > 0), default=len(word))
            yield word[:start], "unknown"
            word = word[start:]
        else:
            yield known, _KINDS[known]
            word = word[len(known) :]
