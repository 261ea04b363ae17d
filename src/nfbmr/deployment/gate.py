"""The gate: the same pictures through the same `Inspector`, with torch and with a new graph.

Where a raw map, a score or a verdict parts by more than the precision allows, the graph is refused,
and the error says where.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nfbmr.data.images import ImageInput
from nfbmr.errors import ExportError
from nfbmr.inspection.inspector import Inspection, Inspector
from nfbmr.model.bundle import Bundle
from nfbmr.model.exports import Export, Gate, Precision, Target
from nfbmr.runtimes.choose import open_export
from nfbmr.runtimes.protocol import Runtime
from nfbmr.system import provenance
from nfbmr.system.files import sha256_of

_TIMED = 15


@dataclass(frozen=True, kw_only=True)
class _Allowed:
    maps: float
    """Share of the largest value of the map."""
    scores: float
    """Share of the score, or of 1 where it is smaller."""


_ALLOWED: dict[Precision, _Allowed] = {
    "fp32": _Allowed(maps=1e-3, scores=1e-4),
    "fp16": _Allowed(maps=5e-2, scores=2e-2),
    "bf16": _Allowed(maps=5e-2, scores=2e-2),
    "int8": _Allowed(maps=1e-3, scores=1e-4),
}


class Prover:
    """The gate: holds what torch said of the pictures, and compares."""

    def __init__(
        self,
        bundle: Bundle,
        expected: Sequence[Inspection],
        n_good: int,
        pictures: Sequence[ImageInput],
    ) -> None:
        """Takes torch's answers `expected` to `pictures`, of which the first `n_good` are good."""
        self.bundle = bundle
        self.expected = expected
        self.n_good = n_good
        self.pictures = pictures

    def prove(
        self, target: Target, precision: Precision, graph: Path, threads: int | None = None
    ) -> Export:
        """Compares a graph with torch.

        Raises:
            ExportError: they part; the message says where.
            MissingExtraError: the runtime is not installed.
        """
        allowed = _ALLOWED[precision]
        empty = Gate(
            good=self.n_good,
            drawn=len(self.pictures) - self.n_good,
            maps=0,
            maps_allowed=allowed.maps,
            scores=0,
            scores_allowed=allowed.scores,
            p_values=0,
            milliseconds=0,
            versions=provenance.versions(),
        )
        export = Export(target=target, precision=precision, graph=sha256_of(graph), gate=empty)
        runtime = open_export(export, graph, threads)
        found = inspected(self.bundle, runtime, self.pictures)
        measured = {
            "maps": self._worst("maps", [_maps_part(e, f) for e, f in self._pairs(found)], allowed),
            "scores": self._worst(
                "scores",
                [abs(f.score - e.score) / max(1, abs(e.score)) for e, f in self._pairs(found)],
                allowed,
            ),
            "p_values": max(abs(f.p_value - e.p_value) for e, f in self._pairs(found)),
        }
        self._same_verdicts(export.name, found)
        measured["milliseconds"] = _milliseconds(runtime, self.bundle.facts.size)
        return export.model_copy(update={"gate": empty.model_copy(update=measured)})

    def _pairs(self, found: Sequence[Inspection]) -> zip[tuple[Inspection, Inspection]]:
        return zip(self.expected, found, strict=True)

    def _worst(self, what: str, parts: list[float], allowed: _Allowed) -> float:
        worst = int(np.argmax(parts))
        limit: float = getattr(allowed, what)
        if not parts[worst] <= limit:  # also catches NaN
            raise ExportError(
                f"the graph does not answer as torch does: its {what} of {self._name(worst)} part "
                f"by {parts[worst]:.2g} of their size, {limit:.0e} is allowed; nothing was kept. "
                "Export with more precision"
            )
        return parts[worst]

    def _same_verdicts(self, name: str, found: Sequence[Inspection]) -> None:
        other = [
            number
            for number, (one, two) in enumerate(self._pairs(found))
            if one.is_defect != two.is_defect
        ]
        if other:
            one, two = self.expected[other[0]], found[other[0]]
            raise ExportError(
                f"{name} gives another verdict than torch on {len(other)} of {len(found)} "
                f"pictures, first on {self._name(other[0])} (score {one.score:.4g} with torch, "
                f"{two.score:.4g} here, threshold {one.threshold:.4g}); nothing was kept. "
                "Export with more precision"
            )

    def _name(self, number: int) -> str:
        picture = self.pictures[number]
        if isinstance(picture, str | os.PathLike):
            return os.fspath(picture)
        return f"drawn picture {number - self.n_good}"


def inspected(bundle: Bundle, runtime: Runtime, pictures: Sequence[ImageInput]) -> list[Inspection]:
    found = list(Inspector(bundle, runtime).inspect_many(pictures))
    for result in found:
        if not isinstance(result, Inspection):
            raise ExportError(f"{runtime.name}: {result.path or 'a drawn picture'}: {result.error}")
    return [result for result in found if isinstance(result, Inspection)]


def _maps_part(expected: Inspection, found: Inspection) -> float:
    """Returns the largest difference of a map, as a share of that map's largest value."""
    largest = np.abs(expected.maps).max(axis=(1, 2))
    part = np.abs(found.maps - expected.maps).max(axis=(1, 2))
    return float((part / np.where(largest > 0, largest, 1)).max())


def _milliseconds(runtime: Runtime, size: tuple[int, int]) -> float:
    pixels = np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype(np.uint8)
    times = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        runtime.run(pixels)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times))
