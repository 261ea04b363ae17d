"""What is said of good pictures that are unlike the others.

Shapes: none; see `nfbmr.scoring.odd`.
"""

from __future__ import annotations

from collections.abc import Sequence

from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.odd import (
    Odd,
    Unlike,
    name_of,
    odd_ones,
    oddest,
    oddest_trained,
    stands_far_out,
    without_all,
)
from nfbmr.settings.schema import ScoringSettings
from nfbmr.system.words import counted

_SHOWN = 5  # pictures of a list
_LITTLE = 0.5  # of the threshold, below which it would lie without what lifts it by far
_NEXT = ". Then more may be among the next: nfbmr doctor MODEL lists them"
_REMEDY = (
    "take it out and fit again; or leave it out of the threshold alone, though the model still "
    "takes what it learnt from it for good: nfbmr calibrate MODEL --without FILE"
)

UNKNOWN = (
    "Which good pictures look least like the rest is not known: this model is of an older version, "
    "which kept no names; calibrate it with good pictures, or fit again"
)


def odd_in_words(
    calibration: Calibration,
    scoring: ScoringSettings,
    most: int = 2 * _SHOWN,
    least: int = _SHOWN,
    *,
    markdown: bool = False,
) -> list[str]:
    """Says which good pictures look least like the rest, and what they amount to, in lines.

    Args:
        calibration: that names them.
        scoring: of the model.
        most: pictures of a list.
        least: pictures that calibrate of a list, odd or not.
        markdown: whether names are to be read as names there, whatever is in them.
    """
    lines = oddest_listed(calibration, scoring, most, least, markdown=markdown)
    return [*lines, "", _amount(calibration, scoring)] if calibration.pictures else lines


def oddest_listed(
    calibration: Calibration,
    scoring: ScoringSettings,
    most: int = 2 * _SHOWN,
    least: int = _SHOWN,
    *,
    markdown: bool = False,
) -> list[str]:
    """Lists the good pictures that look least like the rest; as `odd_in_words` without the end."""
    found = oddest(calibration, scoring, least)
    if not found:
        return [f"{UNKNOWN}."]
    lines = ["The good pictures that look least like the rest, of those that calibrate:", ""]
    lines += [f"- {_said(one, markdown)}" for one in found[:most]]
    if more := sum(one.is_odd for one in found[most:]):
        lines.append(f"- {counted(more, 'more odd one')}")
    if trained := oddest_trained(calibration, least):
        lines += ["", "Of those that were learnt from and do not calibrate, which score lower:", ""]
        lines += [f"- {_said(one, markdown)}" for one in trained]
    return lines


def _said(one: Unlike, markdown: bool) -> str:
    name = "`" + one.name.replace("`", "'") + "`" if markdown else one.name
    odd = "; ODD" if one.is_odd else ""
    without = (
        ""
        if one.without is None
        else f"; without it the threshold would be about {one.without:.2f}"
    )
    return f"{name}: score {one.score:z.3f}{odd}{without}"


def odd_warning(calibration: Calibration, scoring: ScoringSettings) -> str | None:
    """Returns a sentence that names the odd ones, up to five; None where there are none."""
    odd = odd_ones(calibration, scoring)
    if not odd:
        return None
    rest = without_all(calibration, scoring, odd)
    told = "; ".join(
        f"{name_of(calibration, one.picture)} (score {one.score:z.2f}; without it the threshold "
        f"would be about {one.without:z.2f})"
        for one in odd[:_SHOWN]
    )
    if len(odd) > _SHOWN:
        told += f"; {len(odd) - _SHOWN} more"
    if rest is not None:
        told += f"; without all of them about {rest:.2f}"
    return (
        f"{counted(len(odd), 'good picture is', 'good pictures are')} unlike the others; look "
        f"whether good: {told}. {_lifted(calibration, odd, rest)}Where one is not, {_REMEDY}"
        f"{_NEXT if len(odd) > 1 else ''}"
    )


def _amount(calibration: Calibration, scoring: ScoringSettings) -> str:
    """Says how many are odd, and what the threshold would be without all of them."""
    odd = odd_ones(calibration, scoring)
    if not odd:
        return f"None of them is odd. The threshold is {calibration.threshold:.3f}."
    rest = without_all(calibration, scoring, odd)
    all_of = "" if rest is None else f", without the {len(odd)} odd ones about {rest:.2f}"
    return (
        f"The threshold is {calibration.threshold:.3f}{all_of}. {_lifted(calibration, odd, rest)}"
        f"Look whether {'the odd one is' if len(odd) == 1 else 'odd ones are'} good; where one is "
        f"not, {_REMEDY}."
    )


def _lifted(calibration: Calibration, odd: Sequence[Odd], rest: float | None) -> str:
    """Says aloud where the threshold would be less than half as high without far ones.

    Args:
        calibration: whose they are.
        odd: as of `odd_ones`, one at least.
        rest: as of `without_all`.
    """
    lower = odd[0].without if rest is None else rest
    is_lifted = calibration.threshold > 0 and lower < _LITTLE * calibration.threshold
    if not is_lifted or not stands_far_out(calibration):
        return ""
    return (
        f"WITHOUT {'IT' if len(odd) == 1 else 'THEM'} THE THRESHOLD WOULD BE LESS THAN HALF AS "
        "HIGH: as it stands, defects may pass. "
    )
