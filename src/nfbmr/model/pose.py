"""The pose of a model's parts as a file of its directory. No torch here, no pickle.

template  float32 (R, A)
stretch   float64 ()
arc       float64 ()
seen      uint8   (H, W), 0 or 1; neither of the two where all of a picture counts
ground    uint8   (3,)
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
    stored = {name: np.asarray(values[name], kind) for name, (kind, _) in _SHAPES.items()}
    if pose.seen is not None:
        stored |= {"seen": pose.seen.astype(np.uint8), "ground": np.array(pose.ground, np.uint8)}
    save_file(stored, path)


def read_pose(path: Path, size: tuple[int, int]) -> Pose:
    """Reads what `write_pose` wrote.

    Args:
        path: the file.
        size: (H, W) of the model.

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
    masked = {"seen": (np.uint8, size), "ground": (np.uint8, (3,))}
    expected = _SHAPES | masked if "seen" in found else _SHAPES
    if shapes != expected or not all(np.isfinite(value).all() for value in found.values()):
        raise BundleTamperedError(
            f"{path} holds no pose that this program wrote; restore the file or fit again"
        )
    stretch, arc = float(found["stretch"]), float(found["arc"])
    if not 1e-3 <= stretch <= 1e3 or not 0 <= arc <= 360:
        raise BundleTamperedError(
            f"{path}: a stretch of {stretch:g} and an arc of {arc:g} degrees are impossible; "
            "restore the file or fit again"
        )
    if "seen" not in found:
        return Pose(found["template"], stretch, arc)
    red, green, blue = found["ground"].tolist()
    seen = found["seen"] != 0
    return Pose(found["template"], stretch, arc, seen, ground=(red, green, blue))
