"""The gate: the same pictures through the same `Inspector`, with torch and with a new graph.

Where a raw map, a score or a verdict parts by more than the precision allows, the graph is refused,
and the error says where.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nfbmr.data.images import ImageInput
from nfbmr.errors import ExportError
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.result import Inspection
from nfbmr.model.bundle import Bundle
from nfbmr.model.exports import Precision, Target
from nfbmr.runtimes.protocol import Runtime
from nfbmr.scoring.calibration import calibration_scores

_TIMED = 15


def _nobody() -> None:
    """Hears nothing."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What a gate looks at."""

    good: Sequence[ImageInput]
    drawn: Sequence[ImageInput]
    """Noise and shapes, most of them far from good."""

    @property
    def all(self) -> list[ImageInput]:
        """The good ones first."""
        return [*self.good, *self.drawn]

    def name(self, number: int) -> str:
        """Returns what to call one of `all` in a message."""
        picture = self.all[number]
        if isinstance(picture, str | os.PathLike):
            return os.fspath(picture)
        drawn = number - len(self.good)
        return f"good picture {number + 1}" if drawn < 0 else f"drawn picture {drawn + 1}"


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """By how much a graph may part from torch."""

    maps: float
    """Share of the largest value of the map."""
    scores: float
    """Share of the score, or of 1 where it is smaller."""


_ALLOWED: dict[Precision, Allowed] = {
    "fp32": Allowed(maps=1e-3, scores=1e-4),
    "fp16": Allowed(maps=5e-2, scores=2e-2),
    "bf16": Allowed(maps=5e-2, scores=2e-2),
    "int8": Allowed(maps=1e-3, scores=1e-4),
}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """By how much a graph that passed parted from torch at most, and how fast it is."""

    maps: float
    """As `Allowed.maps`."""
    scores: float
    """As `Allowed.scores`."""
    allowed: Allowed
    p_values: float
    milliseconds: float
    """Of one picture's graph, median."""


class Prover:
    """The gate: holds what torch said of the pictures, and compares."""

    def __init__(
        self,
        bundle: Bundle,
        reference: Runtime,
        pictures: Pictures,
        tell: Callable[[], None] = _nobody,
    ) -> None:
        """Asks torch, the `reference`, about the pictures; `tell` is called after each of them.

        Raises:
            ExportError: a picture cannot be judged.
        """
        self.bundle = bundle
        self.pictures = pictures
        self.tell = tell
        self.expected = inspected(Inspector(bundle, reference), pictures, tell)

    def check_calibration(self, hashes: Sequence[str]) -> float:
        """Compares the stored scores of calibration pictures with those that torch gives here.

        A model that learnt on a GPU was calibrated there; its threshold serves here only if the
        scores are the same.

        Args:
            hashes: of the decoded pixels of the good pictures, in their order.

        Returns:
            By how much they part at most, as `Allowed.scores`.

        Raises:
            ExportError: they part by more than single precision may.
        """
        calibration = self.bundle.calibration
        stored = dict(zip(calibration.pictures, calibration.scores, strict=True))
        maps = np.stack([one.maps for one in self.expected[: len(hashes)]])
        found = calibration_scores(maps, self.bundle.settings.scoring, calibration)
        kept = np.array([stored[one] for one in hashes])
        parts = np.abs(found - kept) / np.maximum(1, np.abs(kept))
        worst = int(parts.argmax())
        if not parts[worst] <= _ALLOWED["fp32"].scores:
            raise ExportError(
                f"the threshold was learnt from other scores than this processor gives: "
                f"{self.pictures.name(worst)} had {kept[worst]:.6g} and has {found[worst]:.6g} "
                "here; inspect on the device that learnt, or fit with --device cpu"
            )
        return float(parts[worst])

    def compare(self, target: Target, precision: Precision, runtime: Runtime) -> Agreement:
        """Compares a graph, opened by `runtime`, with torch.

        Raises:
            ExportError: they part; the message says where.
        """
        allowed = _ALLOWED[precision]
        found = inspected(Inspector(self.bundle, runtime), self.pictures, self.tell)
        pairs = list(zip(self.expected, found, strict=True))
        maps = self._worst("maps", [_maps_part(*pair) for pair in pairs], allowed.maps)
        scores = self._worst("scores", [_scores_part(*pair) for pair in pairs], allowed.scores)
        self._same_verdicts(f"{target} {precision}", pairs)
        _same_alone(runtime, self.bundle.facts.size, allowed.maps)
        return Agreement(
            maps=maps,
            scores=scores,
            allowed=allowed,
            p_values=max(abs(one.p_value - two.p_value) for one, two in pairs),
            milliseconds=_milliseconds(runtime, self.bundle.facts.size),
        )

    def _worst(self, what: str, parts: list[float], limit: float) -> float:
        worst = int(np.argmax(parts))
        if not parts[worst] <= limit:  # also catches NaN
            raise ExportError(
                f"the graph does not answer as torch does: its {what} of "
                f"{self.pictures.name(worst)} part by {parts[worst]:.2g} of their size, "
                f"{limit:.0e} is allowed; nothing was kept. Export with more precision"
            )
        return parts[worst]

    def _same_verdicts(self, name: str, pairs: Sequence[tuple[Inspection, Inspection]]) -> None:
        other = [n for n, (one, two) in enumerate(pairs) if one.verdict != two.verdict]
        if other:
            one, two = pairs[other[0]]
            raise ExportError(
                f"{name} gives another verdict than torch on {len(other)} of {len(pairs)} "
                f"pictures, first on {self.pictures.name(other[0])} (score {one.score:.4g} with "
                f"torch, {two.score:.4g} here, threshold {one.threshold:.4g}); nothing was kept. "
                "Export with more precision"
            )


def inspected(
    inspector: Inspector, pictures: Pictures, tell: Callable[[], None] = _nobody
) -> list[Inspection]:
    """Returns what a model says of all pictures, the good ones first; `tell` hears each.

    Raises:
        ExportError: one of them cannot be judged.
    """
    found: list[Inspection] = []
    for number, result in enumerate(inspector.inspect_many(pictures.all)):
        if not isinstance(result, Inspection):
            name, runtime = pictures.name(number), inspector.runtime.name
            raise ExportError(f"{runtime}: {name} cannot be judged: {result.error}")
        found.append(result)
        tell()
    return found


def _maps_part(expected: Inspection, found: Inspection) -> float:
    """Returns the largest difference of a map, as a share of that map's largest value."""
    largest = np.abs(expected.maps).max(axis=(1, 2))
    part = np.abs(found.maps - expected.maps).max(axis=(1, 2))
    return float((part / np.where(largest > 0, largest, 1)).max())


def _scores_part(expected: Inspection, found: Inspection) -> float:
    """Returns the difference of the scores, as a share of the score, or of 1 where it is less."""
    return abs(found.score - expected.score) / max(1, abs(expected.score))


def _same_alone(runtime: Runtime, size: tuple[int, int], limit: float) -> None:
    """Asks about a picture of noise alone and beside others, in as many as no batch above has.

    Raises:
        ExportError: the graph is right for some number of pictures at once, but not for any.
    """
    pixels = np.random.default_rng(1).integers(0, 256, (3, *size, 3)).astype(np.uint8)
    (alone,), beside = runtime.run(pixels[:1]), runtime.run(pixels)[0]  # (K, H', W') each
    largest = np.abs(alone).max(axis=(1, 2), keepdims=True)
    part = float((np.abs(beside - alone) / np.where(largest > 0, largest, 1)).max())
    if not part <= limit:
        raise ExportError(
            f"the graph answers otherwise of a picture alone than of one beside others: its maps "
            f"part by {part:.2g} of their size, {limit:.0e} is allowed; nothing was kept. Inspect "
            "with torch, or choose another backbone"
        )


def _milliseconds(runtime: Runtime, size: tuple[int, int]) -> float:
    pixels = np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype(np.uint8)
    times = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        runtime.run(pixels)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times))
