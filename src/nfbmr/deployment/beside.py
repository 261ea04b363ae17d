"""A model that was learnt again beside the one in single precision, on the same pictures.

No defect is at hand, so both are asked about good pictures damaged on purpose: hardly enough for
single precision to tell most of them, since plain damage is told by a worse model, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nfbmr.data.images import ImageInput
from nfbmr.deployment.damage import STRENGTHS, damaged_copies, fitting_strength
from nfbmr.deployment.gate import Pictures, inspected
from nfbmr.deployment.separation import ASKED, LOSS, RANKS, Compared, Scores, compare
from nfbmr.errors import ExportError, ImageError
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.result import Inspection

EACH = 8
"""Damaged copies of a good picture: whole turns of what `damaged` does."""

_SEARCH_EACH = 4  # one turn
_SEARCH_GOOD = 64
_MOVES = 4

Ask = Callable[[float], Scores]
"""Gives a model's scores of good pictures, and of their copies at a strength."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A model that was learnt again, beside the one in single precision."""

    p_values: float
    """Largest difference of a p-value of good pictures."""
    strength: float
    """Of the damage."""
    compared: Compared
    """How both tell it."""


def at_fitting_strength(search: Ask, single: Ask, again: Ask) -> tuple[float, Compared]:
    """Finds the strength that tests single precision, and compares both models there.

    Args:
        search: single precision again, of fewer pictures: it is asked several times.
        single: in single precision.
        again: the other model.

    Returns:
        The strength, and what was found at it.
    """
    low, high = ASKED
    strength = fitting_strength(lambda at: search(at).separation, (low + high) / 2)
    said = single(strength)
    for _ in range(_MOVES):  # of all pictures more or less may be told than of the fewer
        weaker = (said.separation > high) - (said.separation < low)
        place = STRENGTHS.index(strength) + weaker
        if not weaker or not 0 <= place < len(STRENGTHS):
            break
        strength = STRENGTHS[place]
        said = single(strength)
    return strength, compare(said, again(strength))


def beside(single: Inspector, again: Inspector, pictures: Pictures, name: str) -> Beside:
    """Compares what was learnt again with the model in single precision, on the same pictures.

    Args:
        single: in single precision.
        again: what was learnt again, as the runtime computes it.
        pictures: good ones that were held out of both models' training, and drawn ones.
        name: of what was learnt again, e.g. `openvino int8`.

    Raises:
        ExportError: it is not shown to find as much as single precision does, or judges drawn
            pictures otherwise; or a picture cannot be judged.
    """
    n = len(pictures.good)
    one, other = (inspected(model, pictures) for model in (single, again))
    strength, compared = at_fitting_strength(
        _asked(single, pictures.good[:_SEARCH_GOOD], one, _SEARCH_EACH),
        _asked(single, pictures.good, one, EACH),
        _asked(again, pictures.good, other, EACH),
    )
    if compared.worse:
        raise ExportError(_refusal(name, strength, compared))
    pairs = list(zip(one, other, strict=True))
    if any(first.is_defect != second.is_defect for first, second in pairs[n:]):
        raise ExportError(
            f"{name}, learnt again, judges drawn pictures otherwise than single precision does; "
            "nothing was kept. Learn from more good pictures, or export with more precision"
        )
    return Beside(
        p_values=max(abs(first.p_value - second.p_value) for first, second in pairs[:n]),
        strength=strength,
        compared=compared,
    )


def _asked(
    model: Inspector, good: Sequence[ImageInput], said: Sequence[Inspection], each: int
) -> Ask:
    def ask(strength: float) -> Scores:
        how = model.settings.data
        copies = damaged_copies(good, model.size, strength=strength, each=each, how=how)
        try:
            found = model.scores(copies)
        except ImageError as error:
            raise ExportError(f"{model.runtime.name}: a damaged picture: {error}") from None
        scores = [one.score for one in said[: len(good)]]
        return Scores(good=np.array(scores), copies=found.reshape(len(good), each))

    return ask


def _refusal(name: str, strength: float, found: Compared) -> str:
    loss = 100 * (found.separated - found.separates)
    return (
        f"{name}, learnt again, is not shown to find as much as single precision does: of "
        f"{found.good} held-out good pictures and {found.each} copies of each, damaged on purpose "
        f"(strength {strength:.2g}), it tells {100 * found.separates:.1f} % of pairs apart, single "
        f"precision {100 * found.separated:.1f} %: {loss:.1f} points lost, with 95 % confidence "
        f"at most {100 * found.most_loss:.1f}, where {100 * LOSS:.0f} is allowed; the rank "
        f"correlation of the scores is {found.ranks:.3f}, at least {RANKS} is asked; nothing "
        "was kept. Export with more precision (fp16 or fp32), or fit with more good pictures"
    )
