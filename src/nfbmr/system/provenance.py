"""Which program computed a figure: versions and commit, kept with every model and report."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    *("nfbmr", "numpy", "pillow", "torch", "timm", "safetensors", "scikit-learn"),
    *("onnxruntime", "openvino"),
)


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that compute, of those installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Returns the checkout's commit, `-dirty` with changes; None where it is no checkout."""
    checkout = Path(__file__).resolve().parents[3]  # of src/nfbmr/system
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=12", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def now() -> str:
    """Returns the time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()
