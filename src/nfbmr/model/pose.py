"""The pose of a model's parts as a file of its directory. No torch here, no pickle.

template  float32 (R, A)
stretch   float64 ()
arc       float64 ()
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nfbmr.data.pose import Pose
from nfbmr.data.rings import ANGLES, RINGS
from nfbmr.errors import BundleTamperedError
from nfbmr.model.folder import brief

_SHAPES = {
    "template": (np.float32, (RINGS, ANGLES)),
    "stretch": (np.float64, ()),
    "arc": (np.float64, ()),
}


def write_pose(path: Path, pose: Pose) -> None:
    """Writes a pose to a file."""
    from safetensors.numpy import save_file

    values = {"template": pose.template, "stretch": pose.stretch, "arc": pose.arc}
    save_file({name: np.asarray(values[name], kind) for name, (kind, _) in _SHAPES.items()}, path)


def read_pose(path: Path) -> Pose:
    """Reads what `write_pose` wrote.

    Raises:
        BundleTamperedError: the file cannot be read, or holds other things or impossible values.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise BundleTamperedError(f"{path} is not readable ({brief(error)})") from None
    shapes = {name: (value.dtype.type, value.shape) for name, value in found.items()}
    if shapes != _SHAPES or not all(np.isfinite(value).all() for value in found.values()):
        raise BundleTamperedError(
            f"{path} holds no pose that this program wrote; restore the file or fit again"
        )
    stretch, arc = float(found["stretch"]), float(found["arc"])
    if not 1e-3 <= stretch <= 1e3 or not 0 <= arc <= 360:
        raise BundleTamperedError(
            f"{path}: a stretch of {stretch:g} and an arc of {arc:g} degrees are impossible; "
            "restore the file or fit again"
        )
    return Pose(found["template"], stretch, arc)
