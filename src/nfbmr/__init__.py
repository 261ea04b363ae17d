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
    from nfbmr.data.layouts import read_data
    from nfbmr.data.video import frames
    from nfbmr.deployment.export import export
    from nfbmr.evaluation.evaluate import evaluate
    from nfbmr.fitting import fit
    from nfbmr.inspection.inspector import Inspector, load
    from nfbmr.inspection.pictures import heatmap_overlay
    from nfbmr.inspection.regions import Region
    from nfbmr.inspection.result import Failure, Inspection
    from nfbmr.inspection.why import Why
    from nfbmr.scoring.calibration import Calibration
    from nfbmr.settings.presets import preset
    from nfbmr.settings.schema import Settings

    __version__: str

__all__ = [
    "Calibration",
    "Failure",
    "Inspection",
    "Inspector",
    "NfbmrError",
    "Region",
    "Settings",
    "Why",
    "__version__",
    "evaluate",
    "export",
    "fit",
    "frames",
    "heatmap_overlay",
    "load",
    "preset",
    "read_data",
]

_HOMES = {
    "Calibration": "scoring.calibration",
    "Failure": "inspection.result",
    "Inspection": "inspection.result",
    "Inspector": "inspection.inspector",
    "Region": "inspection.regions",
    "Settings": "settings.schema",
    "Why": "inspection.why",
    "evaluate": "evaluation.evaluate",
    "export": "deployment.export",
    "fit": "fitting",
    "frames": "data.video",
    "heatmap_overlay": "inspection.pictures",
    "load": "inspection.inspector",
    "preset": "settings.presets",
    "read_data": "data.layouts",
}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first asked for: `import nfbmr` alone loads nothing heavy."""
    if name == "__version__":
        from importlib import metadata

        return metadata.version("nfbmr")
    if name not in _HOMES:
        raise AttributeError(f"module 'nfbmr' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"nfbmr.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
