"""What `watch` does with a picture by itself: its verdict as a row, and its heatmap where asked."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from nfbmr.data.derived import derived_of_others
from nfbmr.data.words import meaning
from nfbmr.errors import ImageError
from nfbmr.inspection.decoding import Named
from nfbmr.inspection.heatmaps import Heatmaps
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.result import Failure, Inspection
from nfbmr.inspection.rows import to_row
from nfbmr.system import provenance
from nfbmr.system.files import printable

_log = logging.getLogger(__name__)


class Inspecting:
    """Judges pictures of a hot folder by a model."""

    def __init__(self, inspector: Inspector, heatmaps: Path | None) -> None:
        """Takes the model, and the folder for heatmaps, None where none are drawn."""
        self._inspector = inspector
        self._model = str(inspector.path or inspector.facts.name)
        white = inspector.settings.data.white
        self._heatmaps = None if heatmaps is None else Heatmaps(heatmaps, white)
        self._said_derived = False

    def __call__(self, path: Path, data: bytes, identity: str) -> dict[str, Any]:
        """Returns a picture's row; one with `error` where there is no verdict."""
        self._say_derived(path)
        result = self._judged(path, data)
        row = to_row(result, self._model)
        if isinstance(result, Inspection) and result.has_more:
            row["has_more"] = True  # pages or frames, which were not looked at
        if self._heatmaps is not None and isinstance(result, Inspection):
            name = f"{provenance.now()[:10]}/{identity}_{Path(row['path']).stem[:50]}"
            try:
                row["heatmap"] = str(self._heatmaps.keep(name, data, result))
            except OSError as error:
                _log.warning("%s", printable(f"the heatmap of {row['path']} is not kept: {error}"))
        return row

    def _say_derived(self, path: Path) -> None:
        """Warns once of a file that by its name shows no part anew, and is inspected as any."""
        if self._said_derived or not meaning(path.stem).derived:
            return
        try:
            self._said_derived = path in derived_of_others(path.parent.iterdir())
        except OSError:  # a folder that is away for a moment
            return
        if self._said_derived:
            text = (
                f"{path} is inspected, though by its name it was made of another picture beside "
                "it; let the camera's program write such pictures elsewhere"
            )
            _log.warning("%s", printable(text))

    def _judged(self, path: Path, data: bytes) -> Inspection | Failure:
        try:
            return self._inspector.inspect(Named(data, str(path)))
        except ImageError as error:
            text = str(error).removeprefix(f"{len(data)} bytes")
            return Failure(path=str(path), error=f"{path}{text}" if text != str(error) else text)
        except Exception as error:  # whatever one picture does, the line goes on
            _log.exception("%s", printable(str(path)))
            return Failure(path=str(path), error=f"{type(error).__name__}: {error}")
