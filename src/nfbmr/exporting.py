"""`export`: a model directory gets a graph that runs without torch, once it is proved equal.

The gate: the same pictures go through the same `Inspector` twice, with torch and with the new
graph. Where a raw map, a score or a verdict parts by more than the precision allows, the export
fails, says where, and the directory stays as it was.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfbmr import provenance
from nfbmr.bundle import Bundle, add_exports, read_bundle, sha256_of
from nfbmr.data.images import ImageInput, load_image
from nfbmr.data.layouts import read_data
from nfbmr.errors import ExportError, NfbmrError, SettingsError
from nfbmr.exports import GRAPHS, Export, Gate, Precision, Target
from nfbmr.inference import Inspection, Inspector
from nfbmr.runtimes import Runtime, TorchRuntime, is_installed, open_export

_log = logging.getLogger(__name__)

_DRAWN = 16
_MOST_GOOD = 256  # pictures of the gate; more prove no more
_RANGES = 64  # good pictures that set the ranges of 8-bit integers
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
    "bf16": _Allowed(maps=0.5, scores=0.3),
    "int8": _Allowed(maps=0.5, scores=0.3),
}


def export(
    path: str | os.PathLike[str],
    *,
    to: Target = "onnx",
    precision: Precision = "fp32",
    calibrate_on: str | os.PathLike[str] | None = None,
    threads: int | None = None,
) -> Export:
    """Adds a graph to a model directory, once it answers as torch does.

    Args:
        path: the model directory.
        to: the runtime that has to prove it.
        precision: `fp32`; `fp16`: weights kept in half the space; `bf16`: OpenVINO rounds while
            it computes, where the processor can; `int8`: convolutions in 8-bit integers.
        calibrate_on: a folder of good pictures, or a data set, whose good training pictures are
            compared, too. `int8` needs it.
        threads: for one picture; by default all cores.

    Raises:
        BundleError: there is no sound model.
        SettingsError: runtime and precision do not go together, or pictures are missing.
        ExportError: the graph cannot be made, or does not answer as torch does.
        MissingExtraError: torch, its exporter or the runtime is not installed.
    """
    if precision == "bf16" and to != "openvino":
        raise SettingsError("bf16 is OpenVINO's alone; use --to openvino, or another precision")
    if precision == "int8" and calibrate_on is None:
        raise SettingsError(
            "int8 learns its ranges from good pictures: give some with --calibrate-on"
        )
    folder = Path(path)
    bundle = read_bundle(folder)
    good = [] if calibrate_on is None else _good(calibrate_on)
    reference = TorchRuntime(bundle, "cpu", threads)
    (done,) = add_graphs(folder, bundle, reference, [(to, precision)], good, threads)
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
    most = 1 if bundle.tiling is None else len(bundle.tiling.corners)
    good = good[: max(8, _MOST_GOOD // most)]
    with tempfile.TemporaryDirectory(prefix="nfbmr-export-") as made:
        work = Path(made)
        pictures = _pictures(bundle.facts.whole or bundle.facts.size, good, max(4, _DRAWN // most))
        gate = Prover(bundle, _inspected(bundle, reference, pictures), len(good), pictures)
        exports: list[Export] = []
        for number, (target, precision) in enumerate(wanted, start=1):
            try:
                graph = _graph(precision, work, bundle, reference, good)
                exports.append(gate.prove(target, precision, graph, threads))
            except (NfbmrError, ImportError) as error:
                if not keep_going or (number == len(wanted) and not exports):
                    raise
                _log.warning("No graph for %s: %s", target, error)
        graphs = {export.file: work / export.file for export in exports}
        add_exports(path, graphs, tuple(exports), bundle.origin)
    return tuple(exports)


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


def _good(source: str | os.PathLike[str]) -> list[Path]:
    found = read_data(source)
    _log.info("%s", found.describe())
    return [sample.path for sample in found.train_good]


def _pictures(size: tuple[int, int], good: Sequence[Path], n: int) -> list[ImageInput]:
    """Returns good pictures, then n drawn ones: noise in finer and coarser blocks, plain ones."""
    rng = np.random.default_rng(0)
    height, width = size
    drawn: list[NDArray[np.uint8]] = []
    for number in range(n):
        cells = (1, 4, 32, max(size))[number % 4]
        shape = (-(-height // cells) + 1, -(-width // cells) + 1, 3)
        blocks = rng.integers(0, 256, shape).astype(np.uint8)
        full = blocks.repeat(cells, axis=0).repeat(cells, axis=1)
        drawn.append(np.ascontiguousarray(full[:height, :width]))
    return [*good, *drawn]


def _inspected(
    bundle: Bundle, runtime: Runtime, pictures: Sequence[ImageInput]
) -> list[Inspection]:
    found = list(Inspector(bundle, runtime).inspect_many(pictures))
    for result in found:
        if not isinstance(result, Inspection):
            raise ExportError(f"{runtime.name}: {result.path or 'a drawn picture'}: {result.error}")
    return [result for result in found if isinstance(result, Inspection)]


def _graph(
    precision: Precision, work: Path, bundle: Bundle, reference: TorchRuntime, good: Sequence[Path]
) -> Path:
    """Makes the graph of a precision in `work`, where it is not there yet."""
    from nfbmr import graphs

    path = work / GRAPHS[precision]
    if path.exists():
        return path
    single = work / GRAPHS["fp32"]
    if not single.exists():
        graphs.write_graph(reference.detector, bundle.facts.size, single)
    if precision == "fp16":
        graphs.halve(single, path)
    elif precision == "int8":
        chosen = good[:: max(1, len(good) // _RANGES)][:_RANGES]
        graphs.quantise(single, path, np.stack(list(_pixels(bundle, chosen))))
    return path


def _pixels(bundle: Bundle, files: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    """Yields what the graph takes: pictures, or one tile of each, another one each time."""
    tiling = bundle.tiling
    for number, file in enumerate(files):
        picture = load_image(file, bundle.facts.whole or bundle.facts.size)
        if tiling is not None:
            picture = tiling.cut_one(picture, number % len(tiling.corners))
        yield picture


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
