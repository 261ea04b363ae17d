"""Names that only count, say when or where, and names that sort pictures into kinds.

`line 1` and `line 2` are a series, and so are `A`, `B` and `C`; `P` and `F` are none, nor are `0`
and `1`, which are how programs write no and yes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from nfbmr.data.samples import counted
from nfbmr.data.words import meaning, spelled

_SIDES = tuple(map(set, ("lr", "bt", "bf", "hv")))  # left, right; top, bottom; back, front; ...
_ANSWERS = tuple(map(set, ("01", "tf", "pf", "ox", "yn", "jn")))
"""Signs for yes and no: 1 and 0, true and false, pass and fail, a circle and a cross, ..."""
_OFTEN = 3  # pictures that have a word in their names, where it is one that sorts them
_MOSTLY = 0.9  # share of the pictures that such words sort

_Rest = tuple[str, ...]


def are_unlike(names: Iterable[str]) -> bool:
    """Whether some of these folders may be good and others not, for all that their names say."""
    names = set(names)
    if names == {"0", "1"} or _answer_without_a_word(names):  # as labels are
        return True
    kinds = {(meaning(name).unknown, meaning(name).denied) for name in names}
    unclear = any(meaning(name).unclear for name in names)
    short = {"".join(meaning(name).short) for name in names}
    return len(names) > 1 and (len(kinds) > 1 or unclear or are_no_series(short - {""}))


def _answer_without_a_word(names: set[str]) -> bool:
    """Whether two folders are a word of which nothing is known with 0 and 1: `passt_1`."""
    words = [tuple(word for word, _ in spelled(name)) for name in sorted(names)]
    return (
        [one[-1:] for one in words] == [("0",), ("1",)]
        and len({one[:-1] for one in words}) == 1
        and words[0][-2:-1] == meaning(min(names)).unknown[-1:] != ()
    )


def are_no_series(words: set[str]) -> bool:
    """Whether words of one or two letters may sort good from defective: `P` and `F`, `CD`, `UD`.

    `A`, `B`, `C` count, and some say where a camera stands.
    """
    letters = sorted(words)
    count = all(len(word) == 1 for word in letters) and (
        len(letters) == ord(letters[-1]) - ord(letters[0]) + 1 if letters else True
    )
    return len(letters) > 1 and not count and words not in _SIDES


def answered(names: Iterable[str]) -> frozenset[str]:
    """Returns the names for good that differ only by an answer behind the word: `ok_1`, `ok_0`.

    So may labels be written; `ok_1`, `ok_2` and `cam_0_ok`, `cam_1_ok` count.
    """
    found: dict[_Rest, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in {*names}:
        if split := _answer_in(name):
            found[split[1]][split[0]].add(name)
    return frozenset(
        name
        for by_answer in found.values()
        if {*by_answer} in _ANSWERS
        for some in by_answer.values()
        for name in some
    )


def answered_files(stems: Iterable[str]) -> frozenset[str]:
    """Returns as `answered` does for files, of which each has a number of its own, too.

    `007_ok_0` and `007_ok_1` are two pictures of one part, if all parts have both.
    """
    found: dict[_Rest, dict[str, dict[str, _Rest]]] = defaultdict(lambda: defaultdict(dict))
    for stem in stems:
        if split := _answer_in(stem):
            shape = tuple("#" if word.isdigit() else word for word in split[1])
            found[shape][split[0]][stem] = split[1]
    answers = frozenset[str]()
    for by_answer in found.values():
        is_often = all(len(some) >= _OFTEN for some in by_answer.values())
        numbers = {frozenset(some.values()) for some in by_answer.values()}
        if {*by_answer} in _ANSWERS and is_often and len(numbers) > 1:
            answers |= {stem for some in by_answer.values() for stem in some}
    return answers


def _answer_in(name: str) -> tuple[str, _Rest] | None:
    """Splits a name for good into what stands behind that word, one sign, and all else."""
    if meaning(name).says != {"good"}:
        return None
    words = tuple(word for word, _ in spelled(name))
    for i, word in (*enumerate(words[1:], 1), (0, words[0])):
        if len(word) == 1 and (not i or meaning(words[i - 1]).says == {"good"}):
            return word, (*words[:i], "*", *words[i + 1 :])
    return None


def sorted_by_name(parts: Sequence[Path]) -> str:
    """Says by which words files without a word for good are sorted: `crazing 300, patches 300`.

    Names of chance, as those of cameras and hashes, have many words, and each seldom.
    """
    if answers := _by_answers(parts):
        return answers
    kinds: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for part in parts:
        said = meaning(part.stem)
        kinds[said.unknown, said.denied, said.split].append(said.bare)
    words = {kind: names for kind, names in kinds.items() if len(names) >= _OFTEN}
    if len(words) < 2:
        kinds = defaultdict(list)
        for part in parts:
            kinds[meaning(part.stem).short].append(meaning(part.stem).bare)
        words = {kind: names for kind, names in kinds.items() if kind and len(names) >= _OFTEN}
        if not are_no_series({"".join(map(str, kind)) for kind in words}):
            return ""
    elif _are_counted({"".join(meaning(names[0]).unknown) for names in words.values()}):
        return ""
    if sum(map(len, words.values())) < _MOSTLY * len(parts):
        return ""
    return counted({_words(names[0]): len(names) for names in words.values()})


def _by_answers(parts: Sequence[Path]) -> str:
    """Says that files differ by 0 and 1 behind or before their number, of which each has one.

    Such as `17_0` and `18_1`; `17_0` and `17_1` are two pictures of a part, and `cam_0` counts.
    """
    for end in (-1, 0):
        found: dict[str, set[_Rest]] = defaultdict(set)
        for part in parts:
            words = tuple(word for word, _ in spelled(part.stem))
            rest = words[:-1] if end else words[1:]
            if rest and len(words[end]) == 1 and rest[end].isdigit():
                found[words[end]].add(rest)
        numbers = [*found.values()]
        is_often = all(len(some) >= _OFTEN for some in numbers)
        is_most = sum(map(len, numbers)) >= _MOSTLY * len(parts)
        if {*found} in _ANSWERS and is_often and is_most and not set.intersection(*numbers):
            names = {sign: f"NUMBER_{sign}" if end else f"{sign}_NUMBER" for sign in found}
            return counted({names[sign]: len(some) for sign, some in found.items()})
    return ""


def _are_counted(words: set[str]) -> bool:
    """Whether words differ by a last letter that counts or says a side: `camA`, `camB`."""
    return len({word[:-1] for word in words}) == 1 and not are_no_series(
        {word[-1:] for word in words}
    )


def _words(bare: str) -> str:
    return " ".join(word for word in bare.split() if not word.isdigit()) or "(no word)"
