"""`export`: a model directory gets a graph that runs without torch, once it is proved equal.

The gate: the same pictures go through the same `Inspector` twice, with torch and with the new
graph. Where a raw map, a score or a verdict parts by more than the precision allows, the export
fails, says where, and the directory stays as it was. In coarse precisions what follows SNN is
learnt again (`nfbmr.deployment.relearn`), and the graph must agree with what was learnt.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, fingerprint, load_image
from nfbmr.data.layouts import Sample, read_data
from nfbmr.deployment.damage import damaged, separation
from nfbmr.errors import ExportError, NfbmrError, SettingsError
from nfbmr.inspection.inspector import Inspection, Inspector
from nfbmr.learning.learn import without_copies
from nfbmr.model.bundle import Bundle, add_exports, read_bundle
from nfbmr.model.exports import LEARNT_AGAIN, Export, Gate, Precision, Target, graph_file
from nfbmr.runtimes.choose import Runtime, TorchRuntime, is_installed, open_export, probe
from nfbmr.system import provenance
from nfbmr.system.files import sha256_of
from nfbmr.system.progress import Progress, silent

_log = logging.getLogger(__name__)

_DRAWN = 16
_MOST_GOOD = 256  # pictures of the gate; more prove no more
_TIMED = 15
_DAMAGED = 64  # pictures damaged on purpose, at least
_LOSS = 0.02  # of pairs that what was learnt again may tell less well, beside chance


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


def export(
    path: str | os.PathLike[str],
    *,
    to: Target = "onnx",
    precision: Precision = "fp32",
    calibrate_on: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Export:
    """Adds a graph to a model directory, once it answers as torch does.

    Args:
        path: the model directory.
        to: the runtime that has to prove it.
        precision: `fp32`; `fp16`: weights kept in half the space; `bf16`: OpenVINO rounds while
            it computes, where the processor can; `int8`: SNN in 8-bit integers. For the latter two
            all that follows SNN is learnt again, which takes as long as the fit.
        calibrate_on: a folder of good pictures, or a data set, whose good training pictures are
            compared, too. `bf16` and `int8` learn from them: give those of the fit.
        threads: for one picture; by default all cores.
        progress: hears how far learning again is.

    Raises:
        BundleError: there is no sound model.
        SettingsError: runtime and precision do not go together, or pictures are missing.
        ExportError: the graph cannot be made, or does not answer as torch does.
        MissingExtraError: torch, its exporter or the runtime is not installed.
        TrainingError, ImageError: what follows SNN cannot be learnt again from these pictures.
    """
    if precision == "bf16" and to != "openvino":
        raise SettingsError("bf16 is OpenVINO's alone; use --to openvino, or another precision")
    if precision in LEARNT_AGAIN and calibrate_on is None:
        raise SettingsError(
            f"{precision} is learnt from good pictures: give those of the fit with --calibrate-on"
        )
    folder = Path(path)
    bundle = read_bundle(folder)
    good = [] if calibrate_on is None else _good(calibrate_on)
    reference = TorchRuntime(bundle, "cpu", threads)
    if precision in LEARNT_AGAIN:
        return _learn_again(folder, bundle, reference, (to, precision), good, threads, progress)
    paths = [sample.path for sample in good]
    (done,) = add_graphs(folder, bundle, reference, [(to, precision)], paths, threads)
    return done


def add_graphs(
    path: Path,
    bundle: Bundle,
    reference: TorchRuntime,
    wanted: Sequence[tuple[Target, Precision]],
    good: Sequence[Path],
    threads: int | None = None,
    *,
    keep_going: bool = False,
) -> tuple[Export, ...]:
    """Makes, proves and adds graphs; all of them or none.

    Args:
        path: the model directory that `bundle` came from.
        bundle: with its tensors.
        reference: what the graphs are compared with.
        wanted: runtimes and precisions.
        good: good pictures.
        threads: for one picture.
        keep_going: rather keep those that can be made; what fails is a warning, all is an error.

    Raises:
        ExportError, MissingExtraError: as `export`.
        BundleError: another model lies at `path` by now.
    """
    with tempfile.TemporaryDirectory(prefix="nfbmr-export-") as made:
        work = Path(made)
        pictures = _pictures(bundle, good)
        n = len(pictures) - _n_drawn(bundle)
        gate = Prover(bundle, _inspected(bundle, reference, pictures), n, pictures)
        exports: list[Export] = []
        for number, (target, precision) in enumerate(wanted, start=1):
            try:
                graph = _graph(precision, work, bundle, reference)
                exports.append(gate.prove(target, precision, graph, threads))
            except (NfbmrError, ImportError) as error:
                if not keep_going or (number == len(wanted) and not exports):
                    raise
                _log.warning("No graph for %s: %s", target, error)
        graphs = {export.file: work / export.file for export in exports}
        add_exports(path, graphs, tuple(exports), bundle.origin)
    return tuple(exports)


def _learn_again(
    path: Path,
    bundle: Bundle,
    single: TorchRuntime,
    wanted: tuple[Target, Precision],
    good: Sequence[Sample],
    threads: int | None,
    progress: Progress,
) -> Export:
    """Adds a graph whose SNN is coarse, with all that follows learnt again; or nothing.

    Two questions: does the graph say what was learnt, and does what was learnt tell damaged
    pictures from good ones as well as the model in single precision does?
    """
    from nfbmr.deployment.relearn import relearn

    with tempfile.TemporaryDirectory(prefix="nfbmr-export-") as made:
        work = Path(made)
        learnt = relearn(
            bundle, single.detector, good, *wanted, work, threads=threads, progress=progress
        )
        held_out = set(learnt.bundle.facts.held_out)
        unseen = [sample.path for sample in good if fingerprint(sample.path) in held_out]
        pictures = _pictures(bundle, unseen)
        n = len(pictures) - _n_drawn(bundle)
        expected = _inspected(learnt.bundle, learnt.reference, pictures)
        export = Prover(learnt.bundle, expected, n, pictures).prove(*wanted, learnt.graph, threads)
        runtime = open_export(export, learnt.graph, threads)
        beside = _beside((bundle, single), (learnt.bundle, runtime), pictures[:n], pictures[n:])
        beside["probe"] = probe(runtime, bundle.facts.size)
        export = export.model_copy(update={"gate": export.gate.model_copy(update=beside)})
        own = {export.calibration: learnt.bundle.calibration}
        add_exports(path, {export.file: learnt.graph}, (export,), bundle.origin, own)
    return export


_Model = tuple[Bundle, Runtime]


def _beside(
    single: _Model, coarse: _Model, good: Sequence[ImageInput], drawn: Sequence[ImageInput]
) -> dict[str, Any]:
    """Compares what was learnt again with the model in single precision.

    Returns:
        `p_values`, `separates`, `separated` of `Gate`.

    Raises:
        ExportError: it finds less than single precision does.
    """
    each = -(-_DAMAGED // len(good))  # pictures of one good one
    whole = single[0].facts.whole or single[0].facts.size
    worse = [
        damaged(load_image(picture, whole), each * number + one)
        for number, picture in enumerate(good)
        for one in range(each)
    ]
    said = [
        [_inspected(*model, part) for part in (good, worse, drawn)] for model in (single, coarse)
    ]
    scores = [[np.array([one.score for one in part]) for part in found] for found in said]
    separated, separates = (separation(found[0], found[1]) for found in scores)
    least = separated - _LOSS - 1 / len(good)
    if separates < least:
        raise ExportError(
            f"learnt again it tells damaged pictures from good ones in {100 * separates:.1f} % of "
            f"pairs, in single precision {100 * separated:.1f} %; {100 * least:.1f} % is the "
            "least; nothing was kept. Learn from more good pictures, or export with more precision"
        )
    pairs = [list(zip(*both, strict=True)) for both in zip(*said, strict=True)]
    if any(one.is_defect != two.is_defect for one, two in pairs[2]):
        raise ExportError(
            "learnt again it judges drawn pictures otherwise than in single precision; nothing "
            "was kept. Learn from more good pictures, or export with more precision"
        )
    return {
        "p_values": max(abs(one.p_value - two.p_value) for one, two in pairs[0]),
        "separates": separates,
        "separated": separated,
    }


def runtimes_here() -> list[tuple[Target, Precision]]:
    """Returns what a fit exports by itself: single precision for each runtime that is there."""
    if not (is_installed("onnx") and is_installed("onnxscript")):
        return []
    targets: tuple[Target, ...] = ("onnx", "openvino")
    return [(target, "fp32") for target in targets if is_installed(target)]


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
        found = _inspected(self.bundle, runtime, self.pictures)
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


def _good(source: str | os.PathLike[str]) -> list[Sample]:
    found = read_data(source)
    _log.info("%s", found.describe())
    return without_copies(found)


def _n_drawn(bundle: Bundle) -> int:
    return max(4, _DRAWN // _tiles(bundle))


def _tiles(bundle: Bundle) -> int:
    return 1 if bundle.tiling is None else len(bundle.tiling.corners)


def _pictures(bundle: Bundle, good: Sequence[Path]) -> list[ImageInput]:
    """Returns good pictures, then drawn ones: noise in finer and coarser blocks, plain ones."""
    rng = np.random.default_rng(0)
    size = bundle.facts.whole or bundle.facts.size
    height, width = size
    drawn: list[NDArray[np.uint8]] = []
    for number in range(_n_drawn(bundle)):
        cells = (1, 4, 32, max(size))[number % 4]
        shape = (-(-height // cells) + 1, -(-width // cells) + 1, 3)
        blocks = rng.integers(0, 256, shape).astype(np.uint8)
        full = blocks.repeat(cells, axis=0).repeat(cells, axis=1)
        drawn.append(np.ascontiguousarray(full[:height, :width]))
    return [*good[: max(8, _MOST_GOOD // _tiles(bundle))], *drawn]


def _inspected(
    bundle: Bundle, runtime: Runtime, pictures: Sequence[ImageInput]
) -> list[Inspection]:
    found = list(Inspector(bundle, runtime).inspect_many(pictures))
    for result in found:
        if not isinstance(result, Inspection):
            raise ExportError(f"{runtime.name}: {result.path or 'a drawn picture'}: {result.error}")
    return [result for result in found if isinstance(result, Inspection)]


def _graph(precision: Precision, work: Path, bundle: Bundle, reference: TorchRuntime) -> Path:
    """Makes the graph of a precision in `work`, where it is not there yet."""
    from nfbmr.deployment import graphs

    single, half = (work / graph_file("onnx", one) for one in ("fp32", "fp16"))
    if not single.exists():
        graphs.write_graph(reference.detector, bundle.facts.size, single)
    if precision != "fp16":
        return single
    if not half.exists():
        graphs.halve(single, half)
    return half


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
