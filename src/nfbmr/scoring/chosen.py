"""Good pictures that people chose: whether they can stand for all good parts of a line.

A rate is stated for parts like those that calibrate. Who confirms parts on a page sees first what
the model called odd, so such parts are soon too many among the confirmed ones, and lift thresholds.

Shapes: counts alone.
"""

from __future__ import annotations

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from nfbmr.system.words import percent

_SURELY = 0.01  # how often as many odd ones would be drawn by chance


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Chosen:
    """How many of the chosen parts the model had called odd (look or defect), and of all parts."""

    odd: int
    of: int
    """Chosen parts."""
    odd_of_all: int
    of_all: int
    """Parts on the line in the time of the chosen ones, which are among them."""

    @model_validator(mode="after")
    def _check(self) -> Chosen:
        if not (0 <= self.odd <= self.of >= 1 and self.odd <= self.odd_of_all <= self.of_all):
            raise ValueError(
                "its counts contradict one another: some odd ones of more were expected"
            )
        return self

    @property
    def for_odd(self) -> bool:
        """Whether more of them were odd than chance makes likely: odd ones were picked.

        Real defects are among all parts and not among the chosen ones, so this errs on the side of
        saying nothing.
        """
        from scipy.special import betainc  # scipy takes long to load

        share = self.odd_of_all / self.of_all
        if self.odd == 0 or share >= 1:
            return False
        return bool(betainc(self.odd, self.of - self.odd + 1, share) < _SURELY)

    @property
    def brief(self) -> str:
        """For the record, in one line."""
        caution = "; CAUTION: odd ones were picked" if self.for_odd else ""
        return (
            f"chosen by people: {self.odd} of {self.of} were called look or defect before, of all "
            f"parts of that time {self.odd_of_all} of {self.of_all}{caution}"
        )

    def describe(self) -> list[str]:
        """Returns sentences for the screen, the model card and the record."""
        found = [
            "People chose these pictures, so the rates are those of parts like them; they are the "
            "line's where chance chose, such as every tenth part of a day. The model had called "
            f"{self.odd} of these {self.of} look or defect ({percent(self.odd / self.of)}), and "
            f"{self.odd_of_all} of all {self.of_all} parts of that time "
            f"({percent(self.odd_of_all / self.of_all)})."
        ]
        if self.for_odd:
            found.append(
                "CAUTION: that is more than chance would choose. Odd parts were picked, so the "
                "thresholds lie too high and defects may pass; confirm good parts that chance "
                "chooses, then calibrate again."
            )
        return found
