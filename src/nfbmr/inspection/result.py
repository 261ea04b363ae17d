"""What nfbmr says of one picture, or why it can say nothing.

Shapes: K = raw maps, H W = grid or pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import resize_map
from nfbmr.data.pose import Turn
from nfbmr.scoring.calibration import Calibration, Verdict
from nfbmr.scoring.heat import heatmap
from nfbmr.scoring.maps import Maps
from nfbmr.settings.schema import ScoringSettings


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What nfbmr says of one picture."""

    path: str | None
    """The picture's file, where it came from one."""
    score: float
    """Standard deviations above what good pictures have; higher = more anomalous."""
    p_value: float
    """Conformal: a good picture scores this high or higher with about this probability."""
    is_defect: bool
    """Whether the score is above the threshold."""
    threshold: float
    """On the score's scale."""
    maps: Maps = field(repr=False)
    """Raw maps (K, H', W') on the model's grid, of the picture as it was turned."""
    size: tuple[int, int]
    """(H, W) of the picture, after orientation."""
    scoring: ScoringSettings = field(repr=False)
    calibration: Calibration = field(repr=False)
    turn: Turn | None = field(default=None, repr=False)
    """How the picture was turned before the network saw it; None where it stayed as it lay."""

    @property
    def verdict(self) -> Verdict:
        """`defect` above the threshold, `look` for a person above the lower one, else `good`."""
        return self.calibration.verdict(self.score)

    @property
    def look_threshold(self) -> float:
        """Above it a person is to look; `threshold` at most."""
        return self.calibration.look_threshold

    @property
    def heatmap(self) -> NDArray[np.float32]:
        """Where: float32 (H, W) of the picture; 0 = typical good, 1 = as high as good ones get.

        The scale is the good pictures', never this picture's own. Computed at each call.
        """
        return self.heatmap_at(self.size)

    def heatmap_at(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Returns the heatmap at another size (H, W), e.g. that of a thumbnail."""
        fused = heatmap(self.maps, self.scoring, self.calibration)
        if self.turn is not None:
            fused = self.turn.back(resize_map(fused, self.turn.size))
        return resize_map(fused, size)

    def to_dict(self) -> dict[str, Any]:
        """Returns `path, verdict, score, p_value, is_defect, threshold, look_threshold, size`."""
        return {
            "path": self.path,
            "verdict": self.verdict,
            "score": self.score,
            "p_value": self.p_value,
            "is_defect": self.is_defect,
            "threshold": self.threshold,
            "look_threshold": self.look_threshold,
            "size": list(self.size),
        }


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A picture of a stream that could not be read; the stream goes on."""

    path: str | None
    error: str
