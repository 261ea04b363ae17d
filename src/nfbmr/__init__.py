"""nfbmr finds defects on products after seeing only good ones.

Example:
    >>> inspector = nfbmr.fit("bottle/train/good", out="models/bottle")  # doctest: +SKIP
    >>> result = inspector.inspect("part.png")  # doctest: +SKIP
    >>> result.score, result.p_value, result.is_defect, result.heatmap  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nfbmr.errors import NfbmrError

if TYPE_CHECKING:
    from nfbmr.data.video import frames
    from nfbmr.deployment.export import export
    from nfbmr.evaluation.evaluate import evaluate
    from nfbmr.fitting import fit
    from nfbmr.inspection.inspector import Failure, Inspection, Inspector, load

__all__ = [
    "Failure",
    "Inspection",
    "Inspector",
    "NfbmrError",
    "evaluate",
    "export",
    "fit",
    "frames",
    "load",
]

_HOMES = {
    "Failure": "inspection.inspector",
    "Inspection": "inspection.inspector",
    "Inspector": "inspection.inspector",
    "evaluate": "evaluation.evaluate",
    "export": "deployment.export",
    "fit": "fitting",
    "frames": "data.video",
    "load": "inspection.inspector",
}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first asked for: `import nfbmr` alone loads nothing heavy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nfbmr' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"nfbmr.{_HOMES[name]}"), name)
