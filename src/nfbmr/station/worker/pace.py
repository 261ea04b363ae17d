"""How far a learning is, and how long it will still take, from what it says of its stages.

Each stage has its usual seconds, of n pictures at the size that a preset chooses. Their proportion
holds on other machines, too: how much faster or slower those are shows in the stages that are done.
"""

from __future__ import annotations

from dataclasses import dataclass

from nfbmr.settings.presets import preset
from nfbmr.system.progress import TITLES

CALIBRATING = "calibrating"
TRYING = "trying"

_TITLES = {what: plain for what, (plain, _) in TITLES.items()} | {
    CALIBRATING: "Setting the threshold",
    TRYING: "Trying it on good pictures",
}

_STAGES: dict[str, tuple[float, float]] = {
    "survey": (1.0, 0.05),
    "pose": (4.0, 0.1),
    "features": (4.0, 0.5),
    "flow": (20.0, 0.1),
    "mapping": (0.0, 0.0),
    CALIBRATING: (5.0, 0.3),
    "folds": (30.0, 0.4),
    "export": (15.0, 0.1),
    TRYING: (2.0, 0.0),
}
"""Seconds of each stage on two cores: of itself, and for each picture."""
_BEFORE = 5.0  # until the first stage says something
_PRIOR = 10.0  # seconds that count as if they had taken as long as usual


@dataclass(frozen=True, kw_only=True)
class Far:
    """How far the work is."""

    stage: str
    done: int
    total: int
    share: float
    """Of all of it, in [0, 1]; never less than before."""
    left: float
    """Seconds."""


class Pace:
    """Hears the stages of one learning."""

    def __init__(self, pictures: int, *, export: bool) -> None:
        """Takes how many pictures are learnt, and whether graphs are made."""
        usual = {what: fixed + each * pictures for what, (fixed, each) in _STAGES.items()}
        if pictures >= preset("fast").calibration.folded_below:
            usual["folds"] = 0.0
        if not export:
            usual["export"] = 0.0
        self._usual = usual
        self.whole = _BEFORE + sum(usual.values())
        """Seconds that all of it usually takes."""
        self._share = 0.0

    def far(self, what: str, done: int, total: int, seconds: float) -> Far:
        """Returns how far the work is, so many seconds after its start."""
        if what == "flow" and done >= total:
            what, done, total = CALIBRATING, 0, 0
        before = _BEFORE
        for stage, usual in self._usual.items():
            if stage == what:
                before += usual * (done / total if total else 0.0)
                break
            before += usual
        slowness = (seconds + _PRIOR) / (before + _PRIOR)
        self._share = max(self._share, before / self.whole)
        return Far(
            stage=_TITLES.get(what, what),
            done=done,
            total=total,
            share=min(1.0, self._share),
            left=max(0.0, slowness * (self.whole - before)),
        )
