"""Good pictures that are unlike the others: a person should look whether they are good.

A calibration keeps the file names of those with the highest scores, `names`, and the highest scores
of pictures that were learnt from and do not calibrate, `trained`; older ones keep neither.

Shapes: n = good pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from nfbmr.errors import CalibrationError
from nfbmr.scoring.calibrate import LEAST_HELD_OUT, scales_of
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.conformal import threshold_for
from nfbmr.scoring.maps import Floats
from nfbmr.scoring.tails import end_of_tail
from nfbmr.settings.schema import ScoringSettings
from nfbmr.system.files import one_line

MOST_TRAINED = 20
"""Pictures that were learnt from and do not calibrate, of which scores and names are kept."""

_LEAST_NAMED = 100  # that calibrate, of which the names are kept
_SHARE_NAMED = 5  # at least every so-manyth
_LONGEST = 255  # characters of a name, as file systems have them
_MANY = 2000  # pictures, of which a few are no part of a scale to speak of
_UPPER = (0.5, 0.9)  # quantiles by which two scales of the same pictures are compared
_SHOWN = 5  # pictures of a list
_HASH = 12  # digits of a hash that stand for a picture

_MOST_ODD = 20
_MOVES = 0.95  # of the threshold: what an odd picture leaves of it, at most, when it goes
_HARDLY = 0.01  # likewise, where that is to be said aloud
_BEYOND = 0.1  # sets in which chance alone would put a good picture beyond that tail


@dataclass(frozen=True, kw_only=True)
class Odd:
    """A good picture that scores unlike the others."""

    picture: str
    """As in `Calibration.pictures`."""
    score: float
    """On the scale that is shown."""
    without: float
    """What the threshold would be without it, on the same scale; scales are learnt anew then, as
    by `nfbmr.scoring.without`, so this is nearly so."""


@dataclass(frozen=True, kw_only=True)
class Unlike:
    """A good picture among those that score highest, odd or not."""

    picture: str
    """sha256 of its pixels."""
    name: str
    """As people know it: its file's name, or the beginning of that hash."""
    score: float
    """On the scale that is shown."""
    without: float | None
    """What the threshold would be without it, likewise; None where it does not calibrate."""
    is_odd: bool
    """Whether `odd_ones` has it."""


def with_names(calibration: Calibration, names: Mapping[str, str]) -> Calibration:
    """Returns a calibration that knows how its oddest pictures are called.

    So many of the highest scores, that those behind them are known once these are left out.

    Args:
        calibration: that knows its pictures.
        names: of files, by sha256 of the pixels; of other pictures, too.
    """
    n = len(calibration.pictures)
    highest = calibration.pictures[max(0, n - max(_LEAST_NAMED, n // _SHARE_NAMED)) :]
    known = [one for one in (*highest, *calibration.trained) if one in names]
    kept = {one: _plain(names[one]) for one in known}
    return replace(calibration, names=kept)


def name_of(calibration: Calibration, picture: str) -> str:
    """Returns what a picture is called, of its sha256; the hash's beginning where nobody knows.

    Where another file has the same name, both.
    """
    short = f"sha256 {picture[:_HASH]}..."
    name = calibration.names.get(picture)
    if name is None:
        return short
    alike = Counter(calibration.names.values())[name]
    return _plain(name) if alike == 1 else f"{_plain(name)} ({short})"


def _plain(name: str) -> str:
    """Returns a name of one line that steers no terminal, whoever wrote it into a file."""
    return one_line(name)[:_LONGEST]


def oddest(
    calibration: Calibration, scoring: ScoringSettings, most: int = _SHOWN
) -> tuple[Unlike, ...]:
    """Returns the pictures that calibrate and score highest, the highest first.

    All odd ones, then others up to `most`; none of a calibration that does not know its pictures.
    """
    odd = {one.picture: one for one in odd_ones(calibration, scoring)}
    raw = calibration.raw(np.array(calibration.scores))
    n = len(calibration.pictures)
    found: list[Unlike] = []
    for place in range(n - 1, -1, -1):
        picture = calibration.pictures[place]
        if len(found) >= most and picture not in odd:
            continue
        found.append(
            Unlike(
                picture=picture,
                name=name_of(calibration, picture),
                score=calibration.scores[place],
                without=_threshold_without(calibration, scoring, raw, [place]),
                is_odd=picture in odd,
            )
        )
    return tuple(found)


def oddest_trained(calibration: Calibration, most: int = _SHOWN) -> tuple[Unlike, ...]:
    """Returns the pictures that were learnt from, do not calibrate, and score highest."""
    ordered = sorted(calibration.trained.items(), key=lambda item: -item[1])[:most]
    return tuple(
        Unlike(
            picture=picture,
            name=name_of(calibration, picture),
            score=float(calibration.shown(np.array(raw))),
            without=None,
            is_odd=False,
        )
        for picture, raw in ordered
    )


def without_all(
    calibration: Calibration, scoring: ScoringSettings, odd: Sequence[Odd] | None = None
) -> float | None:
    """Returns what the threshold would be without all odd ones, as `Odd.without`.

    None where fewer than two are odd, or too few would be left.

    Args:
        calibration: whose they are.
        scoring: of the model.
        odd: as of `odd_ones`, where that is known already.
    """
    odd = odd_ones(calibration, scoring) if odd is None else odd
    if len(odd) < 2 or len(calibration.scores) - len(odd) < LEAST_HELD_OUT:
        return None
    raw = calibration.raw(np.array(calibration.scores))
    places = [calibration.pictures.index(one.picture) for one in odd]
    return _threshold_without(calibration, scoring, raw, places)


def odd_ones(calibration: Calibration, scoring: ScoringSettings) -> tuple[Odd, ...]:
    """Names the good pictures that lift the threshold by themselves, or lie far above the others.

    The oddest first; none of a calibration that does not know its pictures. That the asked share
    of good pictures lies above the threshold is no oddity: only the highest lifts it by itself,
    where it rests on that. Where several are odd, each hides what the others do to the
    threshold: so those count, too, that the tail of the calmer ones would not reach in ten such
    sets, were it exponential.
    """
    if not calibration.pictures:
        return ()
    raw = calibration.raw(np.array(calibration.scores))
    end = float(end_of_tail(raw[:, None], _BEYOND)[0])
    n, (_, rank) = len(raw), threshold_for(raw, calibration.false_alarm_rate)
    found = []
    for place in range(n - 1, max(-1, n - 1 - max(_MOST_ODD, n // 10)), -1):
        may_move = place == n - 1 and rank >= n
        if raw[place] <= end and not may_move:
            break
        shown = _threshold_without(calibration, scoring, raw, [place])
        score = calibration.scores[place]
        moves = may_move and score > shown and shown < _MOVES * calibration.threshold
        if raw[place] > end or moves:
            found.append(Odd(picture=calibration.pictures[place], score=score, without=shown))
    return tuple(found)


def stands_far_out(calibration: Calibration) -> bool:
    """Tells whether the highest score lies where good pictures alone would hardly put it."""
    raw = calibration.raw(np.array(calibration.scores))
    return bool(raw[-1] > end_of_tail(raw[:, None], _HARDLY)[0])


def _threshold_without(
    calibration: Calibration, scoring: ScoringSettings, raw: Floats, left_out: list[int]
) -> float:
    """Returns the threshold without some of the raw scores (n,), on the scale that is shown.

    Where the calibration keeps its statistics all scales are learnt again from the others; what
    these score on both tells where the new threshold lies on the present scale. Of very many
    pictures none moves a scale.
    """
    kept = np.delete(np.arange(len(raw)), left_out)
    old = new = raw[kept]
    if calibration.table and len(raw) <= _MANY:
        seen = np.array(calibration.seen)[kept] if calibration.seen else None
        table = np.array(calibration.table)[kept]
        with suppress(CalibrationError):  # too alike to be calibrated without
            new = scales_of(table, scoring, seen, calibration.own, ())[1]
    threshold, _ = threshold_for(np.sort(new), calibration.false_alarm_rate)
    wide, wider = (np.diff(np.quantile(one, _UPPER))[0] for one in (new, old))
    if wide > 0:
        above = new >= np.median(new)
        stretch = wider / wide
        threshold = float(np.median((old - stretch * new)[above]) + stretch * threshold)
    return float(calibration.shown(np.array(threshold)))
