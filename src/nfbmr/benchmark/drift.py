"""How often the drift alarm is false, how late a true one: `python -m nfbmr.benchmark.drift`.

Two kinds of rows, one each time:

- `unchanged`: drawn streams that never change, against one shared calibration, all statistics and
  the lag as `nfbmr.scoring.drift` chooses it (`growing`); and for comparison what the alarm does
  not do: every part judged however alike neighbours are (`unthinned`), or each part ranked among
  the calibration alone (`fixed`), both for the score alone;
- `changed`: values of real good pictures, drawn again and again, then those of the same pictures
  made brighter, blurred or shifted, each inspected once.

What `Monitor` does part by part is here done for many streams at once; a test compares them.

Shapes: N = parts, Q = statistics, k = streams of one line, S = sequences, L = their length.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.benchmark.drift_changes import (
    CALIBRATING,
    CHANGES,
    NAMES,
    below_its_cut,
    changed,
    seen,
)
from nfbmr.benchmark.figures import kept_rows
from nfbmr.scoring.alike import MOST, lag_for, surely_alike
from nfbmr.scoring.bets import Bets
from nfbmr.scoring.drift import LEVEL, LOOK_FIRST, RECENT, Reference
from nfbmr.scoring.intervals import share_interval
from nfbmr.scoring.maps import Floats
from nfbmr.system import provenance

Row = dict[str, Any]

NEIGHBOURS = (0.0, 0.2, 0.5)
_AT_ONCE = 1000  # sequences that bet together
_VALUES_AT_ONCE = 10_000_000


@dataclass(frozen=True)
class Sequence:
    """P-values that one bet after the other is made on."""

    p: Floats
    """(L,)."""
    limit: float
    """Of the logarithm of the capital."""


def drawn(rng: np.random.Generator, parts: int, count: int, neighbours: float) -> Floats:
    """Draws normal values (N, Q) whose neighbours have a correlation, of first order."""
    from scipy.signal import lfilter

    noise = rng.standard_normal((parts, count)) * math.sqrt(1 - neighbours**2)
    noise[0] /= math.sqrt(1 - neighbours**2)
    return np.asarray(lfilter([1], [1, -neighbours], noise, axis=0))


def calibration(seed: int, count: int = len(NAMES), neighbours: float = 0.0) -> Reference:
    """Draws the good pictures that all streams share."""
    table = drawn(np.random.default_rng(seed), CALIBRATING, count, neighbours)
    return below_its_cut(table)


def ranked(known: Floats, values: Floats, coins: Floats) -> Floats:
    """Returns the p-values (L,) of `Ranks`, of values no two of which are equal."""
    n = np.arange(len(values))
    higher = len(known) - np.searchsorted(np.sort(known), values) + n - earlier_smaller(values)
    return np.asarray((higher + 1 - coins) / (len(known) + n + 1))


def earlier_smaller(values: Floats) -> NDArray[np.int64]:
    """Counts, of each value, those before it that are smaller, (L,).

    Ranks are sorted by one bit after the other, from the highest; all that share the bits before
    lie together, in the order in which they came. Where two first differ, the smaller has a 0.
    """
    n, bits = len(values), max(1, len(values) - 1).bit_length()
    rank = np.arange(1 << bits)  # what fills up is higher than all, and comes last
    rank[np.argsort(values)] = np.arange(n)
    count, place = np.zeros(1 << bits, np.int64), np.arange(1 << bits)
    for bit in range(bits - 1, -1, -1):
        ones = ((rank >> bit) & 1).reshape(-1, 2 << bit)
        zeros = np.cumsum(1 - ones, axis=1)
        count[place] += (ones * zeros).ravel()
        to = np.where(ones, (1 << bit) + np.arange(2 << bit) - zeros, zeros - 1)
        to = (to + np.arange(0, 1 << bits, 2 << bit)[:, None]).ravel()
        before = rank, place
        rank, place = np.empty_like(rank), np.empty_like(place)
        rank[to], place[to] = before
    return count[:n]


def runs(values: Floats, reference: Reference) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yields the lag and the compared parts of each run of `Monitor`, were there no alarm."""
    accepted = np.flatnonzero(values[:, 0] < reference.cut)
    recent: NDArray[np.int64] = np.empty(0, np.int64)
    k, at = lag_for(reference.values) or MOST, 0
    while at < len(accepted):
        end, look, again = len(accepted), LOOK_FIRST, None
        while at + look <= len(accepted):
            seen = np.concatenate([recent, accepted[at : at + look]])[-RECENT:]
            wanted = lag_for(values[seen]) or MOST
            if wanted > k:
                end, again = at + look, wanted
                break
            look *= 2
        yield k, accepted[at:end]
        if again is None:
            return
        recent = np.concatenate([recent, accepted[at:end]])
        first = accepted[end - 1] + again
        at, k = int(np.searchsorted(accepted, first)), again


def sequences(values: Floats, reference: Reference, coins: Floats) -> list[Sequence]:
    """Returns all tests of a line, as `Monitor` makes them.

    Args:
        values: of its parts, (N, Q).
        reference: what they are compared with at first.
        coins: (N, Q).
    """
    apart, found = surely_alike(reference.values), []
    for number, (k, parts) in enumerate(runs(values, reference), start=1):
        limit = math.log(k * values.shape[1] * 2**number / LEVEL)
        for j in range(k):
            own = parts[parts % k == j]
            known = reference.values[j % apart :: apart]
            found += [
                Sequence(ranked(known[:, q], values[own, q], coins[own, q]), limit)
                for q in range(values.shape[1])
            ]
    return found


def alarmed(tests: list[Sequence]) -> NDArray[np.bool_]:
    """Bets on all sequences (S,); returns which of them reach their limits."""
    found = np.zeros(len(tests), bool)
    order = np.argsort([len(one.p) for one in tests])
    for start in range(0, len(tests), _AT_ONCE):
        group = order[start : start + _AT_ONCE]
        longest = len(tests[group[-1]].p)
        table = np.full((longest, len(group)), np.nan)
        for place, i in enumerate(group):
            table[: len(tests[i].p), place] = tests[i].p
        limits = np.array([tests[i].limit for i in group])
        bets = Bets((len(group),))
        for p in table:
            found[group] |= bets.bet(p) >= limits
    return found


def unchanged(
    how: str,
    neighbours: float,
    streams: int,
    parts: int,
    *,
    alike: float = 0.0,
    shared: bool = True,
) -> Row:
    """Counts the alarms of streams that never change.

    Args:
        how: `growing`, `unthinned` or `fixed`.
        neighbours: correlation of parts that follow one another.
        streams: how many.
        parts: of each.
        alike: correlation of calibration pictures that follow one another.
        shared: whether all streams have one calibration, or each its own.
    """
    count = len(NAMES) if how == "growing" else 1
    began, alarms, lags = time.monotonic(), 0, Counter[int]()
    per_group = _VALUES_AT_ONCE // (parts * count) + 1
    for first in range(0, streams, per_group):
        tests, owners = [], []
        for stream in range(first, min(first + per_group, streams)):
            reference = calibration(0 if shared else 1 + stream, count, alike)
            rng = np.random.default_rng([1, stream])
            values, coins = drawn(rng, parts, count, neighbours), rng.random((parts, count))
            own = _TESTS[how](values, reference, coins)
            tests += own
            owners += [stream] * len(own)
            if how == "growing":
                lags[[k for k, _ in runs(values, reference)][-1]] += 1
        alarms += len(set(np.array(owners)[alarmed(tests)].tolist()))
    low, high = share_interval(alarms, streams)
    return {
        "kind": "unchanged",
        "how": how,
        "neighbours": neighbours,
        "calibration_neighbours": alike,
        "calibrating": CALIBRATING,
        "shared": shared,
        "statistics": count,
        "streams": streams,
        "parts": parts,
        "level": LEVEL,
        "alarms": alarms,
        "share": alarms / streams,
        "low": low,
        "high": high,
        "lags": {str(k): n for k, n in sorted(lags.items())},
        "seconds": round(time.monotonic() - began),
    }


def _unthinned(values: Floats, reference: Reference, coins: Floats) -> list[Sequence]:
    p = ranked(reference.values[:, 0], values[:, 0], coins[:, 0])
    return [Sequence(p, math.log(1 / LEVEL))]


def _fixed(values: Floats, reference: Reference, coins: Floats) -> list[Sequence]:
    known = np.sort(reference.values[:, 0])
    higher = len(known) - np.searchsorted(known, values[:, 0])
    return [Sequence((higher + coins[:, 0]) / (len(known) + 1), math.log(1 / LEVEL))]


_TESTS: dict[str, Callable[[Floats, Reference, Floats], list[Sequence]]] = {
    "growing": sequences,
    "unthinned": _unthinned,
    "fixed": _fixed,
}


def measure(
    out: Path, streams: int, parts: int, lines: int, sets: Iterable[tuple[str, Path, Path]]
) -> None:
    """Adds the rows that a file does not hold yet."""
    there = list(kept_rows(out))
    for name, job in _plan(streams, parts, lines, sets):
        if any(row["name"] == name for row in there):
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        row = {"name": name, **job(), "commit": provenance.commit()}
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


def _plan(
    streams: int, parts: int, lines: int, sets: Iterable[tuple[str, Path, Path]]
) -> Iterator[tuple[str, Callable[[], Row]]]:
    def unchanging(
        how: str, rho: float, alike: float = 0.0, *, shared: bool = True
    ) -> tuple[str, Callable[[], Row]]:
        also = ", calibration too" if alike else ""
        also += "" if shared else ", own calibrations"
        name = f"unchanged, {how}, neighbours {rho:g}{also}"
        return name, lambda: unchanged(how, rho, streams, parts, alike=alike, shared=shared)

    yield unchanging("fixed", 0.0)
    yield from (unchanging("growing", rho) for rho in NEIGHBOURS)
    for name, model, pictures in sets:
        yield from _changes(name, model, pictures, lines)
    yield unchanging("fixed", 0.0, shared=False)
    yield from (unchanging("unthinned", rho) for rho in NEIGHBOURS)
    yield from (unchanging("growing", rho, rho) for rho in NEIGHBOURS[1:])
    yield unchanging("growing", 0.0, shared=False)


def _changes(
    name: str, model: Path, pictures: Path, lines: int
) -> Iterator[tuple[str, Callable[[], Row]]]:
    from nfbmr.data.folders import list_pictures

    values: dict[str, Floats] = {}

    def job(change: str) -> Row:
        if not values:
            values.update(seen(model, list_pictures(pictures, deep=False)[0]))
        return {"set": name, **changed(change, values[""], values[change], lines)}

    for change in CHANGES:
        yield f"{name}, {change}", partial(job, change)


def tables(rows: list[Row]) -> str:
    """Returns what was measured as Markdown: shares of false alarms, then delays if there are."""
    delays = any(row["kind"] == "changed" for row in rows)
    return f"{table(rows)}\n\n{changes_table(rows)}" if delays else table(rows)


def table(rows: list[Row]) -> str:
    """Returns the shares of false alarms as Markdown."""
    words = {
        "growing": "as `nfbmr drift` does",
        "unthinned": "score alone, every part, growing reference",
        "fixed": "score alone, every part, ranked among the calibration alone",
    }
    lines = [
        "| how | calibration | neighbours' correlation | that of calibration pictures "
        "| false alarms, % | 95 % interval |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        if row["kind"] == "unchanged":
            cells = [
                words[row["how"]],
                "one for all" if row.get("shared", True) else "each its own",
                f"{row['neighbours']:g}",
                f"{row['calibration_neighbours']:g}",
            ]
            cells += [f"{100 * row['share']:.1f}"]
            cells += [f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def changes_table(rows: list[Row]) -> str:
    """Returns how many changed parts pass before the alarm, as Markdown."""
    lines = [
        "| pictures | change | found | parts until the alarm, median | in nine of ten lines "
        "| named most |",
        "|---|---|---:|---:|---:|---|",
    ]
    for row in rows:
        if row["kind"] == "changed":
            named = next(iter(row["named"]), "-").replace("_", " ")
            cells = [row["set"], row["change"], f"{row['found']} of {row['lines']}"]
            cells += [f"{row['median']:.0f}", f"{row['nine_of_ten']:.0f}", named]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parses the command line, measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/drift.jsonl"))
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--parts", type=int, default=10_000)
    parser.add_argument("--lines", type=int, default=100, help="of real pictures, for each change")
    parser.add_argument(
        "--real",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "MODEL", "PICTURES"),
        help="a model and a folder of good pictures that it did not learn from",
    )
    given = parser.parse_args()
    sets = [(name, Path(model), Path(pictures)) for name, model, pictures in given.real]
    measure(given.out, given.streams, given.parts, given.lines, sets)
    print(tables(list(kept_rows(given.out))))


if __name__ == "__main__":
    main()
