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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, load_image
from nfbmr.data.layouts import read_data
from nfbmr.data.survey import Survey
from nfbmr.deployment.damage import damaged, separation
from nfbmr.deployment.gate import Prover, inspected
from nfbmr.errors import ExportError, NfbmrError, SettingsError
from nfbmr.learning.learn import look_over
from nfbmr.model.bundle import Bundle, add_exports, read_bundle
from nfbmr.model.exports import LEARNT_AGAIN, Export, Precision, Target, graph_file
from nfbmr.runtimes.choose import open_export
from nfbmr.runtimes.probe import probe
from nfbmr.runtimes.protocol import Runtime, is_installed
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.system.progress import Progress, silent

_log = logging.getLogger(__name__)

_DRAWN = 16
_MOST_GOOD = 256  # pictures of the gate; more prove no more
_DAMAGED = 64  # pictures damaged on purpose, at least
_LOSS = 0.02  # of pairs that what was learnt again may tell less well, beside chance


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
    good = None if calibrate_on is None else _good(calibrate_on, progress)
    reference = TorchRuntime(bundle, "cpu", threads)
    if precision in LEARNT_AGAIN and good is not None:
        return _learn_again(folder, bundle, reference, (to, precision), good, threads, progress)
    pictures = [] if good is None else [one.picture for one in good.pictures]
    (done,) = add_graphs(folder, bundle, reference, [(to, precision)], pictures, threads)
    return done


def add_graphs(
    path: Path,
    bundle: Bundle,
    reference: TorchRuntime,
    wanted: Sequence[tuple[Target, Precision]],
    good: Sequence[ImageInput],
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
        gate = Prover(bundle, inspected(bundle, reference, pictures), n, pictures)
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
    good: Survey,
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
        unseen = [one.picture for one in good.pictures if one.fingerprint in held_out]
        pictures = _pictures(bundle, unseen)
        n = len(pictures) - _n_drawn(bundle)
        expected = inspected(learnt.bundle, learnt.reference, pictures)
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
        [inspected(*model, part) for part in (good, worse, drawn)] for model in (single, coarse)
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


def _good(source: str | os.PathLike[str], progress: Progress) -> Survey:
    found = read_data(source)
    _log.info("%s", found.describe())
    return look_over(found.name, found.train_good, progress)


def _n_drawn(bundle: Bundle) -> int:
    return max(4, _DRAWN // _tiles(bundle))


def _tiles(bundle: Bundle) -> int:
    return 1 if bundle.tiling is None else len(bundle.tiling.corners)


def _pictures(bundle: Bundle, good: Sequence[ImageInput]) -> list[ImageInput]:
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
