"""A calibration as the text that a model directory keeps of it, and that text's name."""

from __future__ import annotations

import hashlib

from nfbmr.model.folder import to_json
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.calibration_json import calibration_to_dict


def calibration_text(calibration: Calibration) -> str:
    """Returns a calibration as the text that is kept of it."""
    return to_json(calibration_to_dict(calibration))


def calibration_hash(calibration: Calibration) -> str:
    """Names a calibration: sha256 of its text, as of its file in a model directory."""
    return hashlib.sha256(calibration_text(calibration).encode()).hexdigest()
