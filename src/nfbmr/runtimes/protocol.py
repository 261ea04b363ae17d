"""What all runtimes have in common: one method, and how they say that they are not there.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import BundleTamperedError, MissingExtraError
from nfbmr.scoring.maps import Maps
from nfbmr.system.packages import how_to_install


class Runtime(Protocol):
    """Runs the graph. Several threads may do so at once."""

    @property
    def name(self) -> str:
        """Short name for the screen."""
        ...

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) of the model's size to raw maps (N, K, H', W')."""
        ...


_INSTALL = {
    "onnxruntime": "pip install onnxruntime",
    "openvino": how_to_install("openvino"),
    "torch": how_to_install("train"),
    "timm": how_to_install("train"),
}


def is_installed(target: str) -> bool:
    """Tells whether a runtime's package is there, without loading it."""
    from importlib.util import find_spec

    package = {"onnx": "onnxruntime", "tensorrt": "onnxruntime"}.get(target, target)
    return find_spec(package) is not None


def missing(error: ImportError, package: str, why: str) -> MissingExtraError:
    if isinstance(error, ModuleNotFoundError):
        package = error.name or package
        hint = _INSTALL.get(package, f"pip install {package}")
        return MissingExtraError(f"{package} is not installed; {why}: {hint}")
    return MissingExtraError(f"{package} is installed but does not start ({error}); {why}")


def graph_bytes(graph: Path, sha256: str | None) -> bytes:
    """Reads a graph's file once, so that what is checked is what runs.

    Args:
        graph: the file.
        sha256: that it has to have; None of one that was just made.

    Raises:
        BundleTamperedError: it has another, or cannot be read.
    """
    try:
        data = graph.read_bytes()
    except OSError as error:
        raise unreadable(graph, error) from None
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise BundleTamperedError(
            f"{graph} is not the graph that was proved (its sha256 differs): it was changed, or "
            "the model was replaced while it was read; try again, then export again"
        )
    return data


def unreadable(graph: Path, error: Exception) -> BundleTamperedError:
    last = (str(error).split("\n\n")[0].strip().splitlines() or [type(error).__name__])[-1]
    return BundleTamperedError(
        f"{graph} cannot be read, or not run on this processor ({last}); export again"
    )
