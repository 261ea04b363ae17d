"""What a model directory says of its exported graphs: which there are, and how they were proved.

A graph takes uint8 pixels (N, H, W, 3) and gives raw maps (N, K, H', W'), whatever computes it. It
is only ever written together with the report of its gate: `nfbmr.deployment` compares its answers
with those of torch and leaves nothing behind where they part. No torch, no ONNX here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from nfbmr.errors import BundleTamperedError
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

Target = Literal["onnx", "openvino"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
TARGETS: tuple[Target, ...] = get_args(Target)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

CALIBRATION = "calibration.json"
"""Torch's, and that of every graph that answers as torch does."""

LEARNT_AGAIN: tuple[Precision, ...] = ("bf16", "int8")
"""Precisions so coarse that what follows SNN is learnt again, on what SNN gives in them.

The flow knows how little good features move, so coarse features would look defective to a flow that
learnt from fine ones. Such a graph serves the runtime that it was learnt with, and has a
calibration of its own.
"""


_DIFFERENCES = ("maps", "scores", "p_values")  # of a `Gate`


def graph_file(target: Target, precision: Precision) -> str:
    """Returns the graph's file name in a model directory; both runtimes share fp32's and fp16's."""
    coarse = {"fp32": "", "fp16": ".fp16", "bf16": ".bf16", "int8": ".int8"}[precision]
    own = ".openvino" if precision in LEARNT_AGAIN and target == "openvino" else ""
    return f"model{coarse}{own}.onnx"


def calibration_file(target: Target, precision: Precision) -> str:
    """Returns the file name of the calibration that goes with a graph."""
    return f"calibration.{target}.{precision}.json" if precision in LEARNT_AGAIN else CALIBRATION


class Gate(BaseModel):
    """What was compared before the graph was let through, and by how much it differed at most."""

    # A report: what a later version says besides does no harm.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    good: int = Field(ge=0)
    """Pictures of good parts."""
    drawn: int = Field(ge=0)
    """Pictures of noise and shapes, most of them far from good."""
    maps: float = Field(ge=0)
    """Difference of a raw map, as a share of the largest value of that map."""
    maps_allowed: float = Field(gt=0)
    scores: float = Field(ge=0)
    """Difference of a score, as a share of the score, or of 1 where the score is smaller."""
    scores_allowed: float = Field(gt=0)
    p_values: float = Field(ge=0, le=1)
    """Difference of a p-value; where it was learnt again, from the model in single precision, for
    good pictures."""
    separates: float | None = Field(default=None, ge=0, le=1)
    """Where it was learnt again: the share of pairs, a good picture and one damaged on purpose, in
    which the damaged one scores higher (an AUROC)."""
    separated: float | None = Field(default=None, ge=0, le=1)
    """The same of the model in single precision."""
    strength: float | None = Field(default=None, gt=0, le=1)
    """Of the damage."""
    most_lost: float | None = Field(default=None, ge=-1, le=1)
    """By how much `separates` lies below `separated` at most, with 95 % confidence."""
    ranks: float | None = Field(default=None, ge=-1, le=1)
    """Rank correlation of both models' scores of these pictures."""
    certified: bool | None = None
    """Whether these show that it finds as much as single precision does. None where nothing was
    learnt again, or where a version before this question exported it."""
    not_certified: str = ""
    """Why they cannot show it."""
    probe: tuple[float, ...] = Field(default=(), max_length=16)
    """Means of the raw maps of a drawn picture, where it was learnt again: what another processor
    has to find as well. Some compute 8-bit products with fewer digits, and judge otherwise."""
    milliseconds: float = Field(ge=0)
    """Of one picture's graph, median, on the machine that exported."""
    calibration: str = Field(default="", max_length=64)
    """sha256 of the calibration that gave the verdicts; empty in models of older versions."""
    versions: dict[str, str]
    """Of what computed both sides."""

    def describe(self, *, learnt_again: bool = False) -> str:
        """Returns a sentence."""
        p_values = "" if learnt_again else f", of a p-value {self.p_values:.3g}"
        compared = f"same verdict on {self.good} good and {self.drawn} drawn pictures"
        if not self.good:
            compared = f"compared on {self.drawn} drawn pictures alone, no good one; same verdict"
        return (
            f"{compared}; largest difference of a score {self.scores:.1e} "
            f"({self.scores_allowed:.0e} allowed), of a map {self.maps:.1e} "
            f"({self.maps_allowed:.0e} allowed){p_values}; "
            f"{self.milliseconds:.1f} ms a picture{self._beside() if learnt_again else ''}"
        )

    def _beside(self) -> str:
        if self.separates is None or self.separated is None:
            return ""
        found = (
            "; learnt again: tells pictures damaged on purpose from good ones in "
            f"{100 * self.separates:.1f} % of pairs, in single precision "
            f"{100 * self.separated:.1f} %"
        )
        if self.most_lost is not None and self.ranks is not None:
            found += (
                f" (with 95 % confidence at most {100 * self.most_lost:.1f} points are lost), rank "
                f"correlation of the scores {self.ranks:.3f}"
            )
        found += f", and p-values of good ones part from it by up to {self.p_values:.2g}"
        if self.certified:
            return found
        why = self.not_certified or "exported by an older version; export again"
        return f"{found}; NOT CERTIFIED to find as much as single precision: {why}"


class Export(BaseModel):
    """One way to run the model without torch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: Target
    """The runtime that passed the gate."""
    precision: Precision
    graph: str = Field(pattern=r"^[0-9a-f]{64}$")
    """sha256 of the file that was proved."""
    gate: Gate

    @property
    def file(self) -> str:
        """Name of the graph's file in the model directory."""
        return graph_file(self.target, self.precision)

    @property
    def calibration(self) -> str:
        """Name of the file in the model directory that calibrates it."""
        return calibration_file(self.target, self.precision)

    def describe(self) -> str:
        """Returns what its gate found, in a sentence."""
        return self.gate.describe(learnt_again=self.precision in LEARNT_AGAIN)

    @property
    def name(self) -> str:
        """E.g. `openvino int8`."""
        return f"{self.target} {self.precision}"


def with_stronger_proof(done: Export, before: Iterable[Export]) -> Export:
    """Returns an export, with the proof from before where that says more of the very same graph.

    That is one by the same versions and calibration, on more good pictures; the larger difference
    of both counts, and how fast it is now. Where a network was learnt again its calibration goes
    with it, so the new export stands.
    """
    now = done.gate
    same = (
        one.gate
        for one in before
        if (one.name, one.graph, one.gate.versions) == (done.name, done.graph, now.versions)
        and now.calibration == one.gate.calibration != ""
    )
    found = next((gate for gate in same if gate.good > now.good), None)
    if found is None or done.precision in LEARNT_AGAIN:
        return done
    _log.info(
        "%s: the graph is the one that was proved on %s before, now on %d; that proof stays",
        done.name,
        counted(found.good, "good picture"),
        now.good,
    )
    worst = {name: max(getattr(found, name), getattr(now, name)) for name in _DIFFERENCES}
    return done.model_copy(
        update={"gate": found.model_copy(update=worst | {"milliseconds": now.milliseconds})}
    )


_ADAPTER: TypeAdapter[tuple[Export, ...]] = TypeAdapter(tuple[Export, ...])


def exports_to_json(exports: tuple[Export, ...]) -> str:
    """Returns the text of `exports.json`."""
    return _ADAPTER.dump_json(exports, indent=1).decode() + "\n"


def exports_from_json(text: bytes) -> tuple[Export, ...]:
    """Reads the text back and checks it.

    Raises:
        BundleTamperedError: it is not one that nfbmr wrote.
    """
    try:
        found = _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BundleTamperedError(
            f"exports.json refused: {first['msg']}; restore the file or export again"
        ) from None
    if len({export.name for export in found}) != len(found):
        raise BundleTamperedError("exports.json names a graph twice; export again")
    return found
