"""Raw maps -> heatmap, on the scale of good pictures, never on the picture's own.

Shapes: N = images, K = raw maps, K' = those that are shown, H W = grid. Higher = more anomalous.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.maps import Maps, chosen_maps, fused_maps, shown_maps
from nfbmr.settings.schema import ScoringSettings


def heatmap(maps: Maps, scoring: ScoringSettings, calibration: Calibration) -> NDArray[np.float32]:
    """Fuses one image's raw maps (K, H, W) to one map (H, W) on the good images' scale.

    The maps are `scoring.heat` alone, or all of `scoring.maps`.

    0 is a typical good position; 1 is what the highest position of a good picture exceeds in
    the asked share of good pictures. Never scaled by the picture itself, so a good part is calm.
    """
    mean, std = np.array(calibration.map_mean), np.array(calibration.map_std)
    fused = fused_maps(chosen_maps(maps[None], shown_maps(scoring)), mean, std)[0]
    scaled = (fused - calibration.heat_zero) / (calibration.heat_one - calibration.heat_zero)
    return np.asarray(scaled, dtype=np.float32)
