"""`export`: a model directory gets a graph that runs without torch, once it is proved equal.

The gate: the same pictures go through the same `Inspector` twice, with torch and with the new
graph. Where a raw map, a score or a verdict parts by more than the precision allows, the export
fails, says where, and the directory stays as it was. In coarse precisions what follows SNN is
learnt again (`nfbmr.deployment.relearn`), and the graph must agree with what was learnt.
"""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput
from nfbmr.data.layouts import read_data
from nfbmr.data.survey import Survey
from nfbmr.deployment.beside import Beside, beside
from nfbmr.deployment.gate import Agreement, Pictures, Prover
from nfbmr.errors import NfbmrError, SettingsError
from nfbmr.inspection.inspector import Inspector
from nfbmr.learning.learn import look_over
from nfbmr.model.bundle import Bundle, add_exports, read_bundle
from nfbmr.model.calibrations import calibration_hash
from nfbmr.model.exports import LEARNT_AGAIN, Export, Gate, Precision, Target, graph_file
from nfbmr.model.place import refuse_unwritable
from nfbmr.runtimes.choose import open_graph
from nfbmr.runtimes.probe import probe
from nfbmr.runtimes.protocol import is_installed
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.system import provenance
from nfbmr.system.files import sha256_of
from nfbmr.system.progress import Progress, silent

_log = logging.getLogger(__name__)

_DRAWN = 16
_MOST_GOOD = 256  # pictures of the gate where models are compared; more prove no more
_SPOT_CHECKED = 40  # where two computations of one model are: each has thousands of positions
_LEAST_GOOD = 8
_LEAST_HELD_OUT = 40  # where models are compared, whose difference fewer would leave open


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
            compared, too. `bf16` and `int8` learn from them: give those of the fit, and those
            that the model was calibrated with since.
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
    refuse_unwritable(folder)
    good = (
        None if calibrate_on is None else _good(calibrate_on, progress, bundle.settings.data.white)
    )
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
    calibrated: Sequence[str] = (),
    progress: Progress = silent,
) -> tuple[Export, ...]:
    """Makes, proves and adds graphs; all of them or none.

    Args:
        path: the model directory that `bundle` came from.
        bundle: with its tensors.
        reference: what the graphs are compared with.
        wanted: runtimes and precisions.
        good: good pictures; of many some are taken, from the first to the last.
        threads: for one picture.
        keep_going: rather keep those that can be made; what fails is a warning, all is an error.
        calibrated: where the good pictures calibrated the model, the hashes of their pixels: then
            their stored scores are compared, too.
        progress: hears of each picture that passes torch or a graph.

    Raises:
        ExportError, MissingExtraError: as `export`.
        BundleError: another model lies at `path` by now.
    """
    with tempfile.TemporaryDirectory(prefix="nfbmr-export-") as made:
        work = Path(made)
        apart = max(1, -(-len(good) // max(_LEAST_GOOD, _SPOT_CHECKED // _tiles(bundle))))
        pictures = _pictures(bundle, good[::apart])
        gate = Prover(bundle, reference, pictures, _counted(progress, pictures, len(wanted)))
        if calibrated and not bundle.calibration.folds:  # else other models gave the scores
            gate.check_calibration(calibrated[::apart][: len(pictures.good)])
        exports: list[Export] = []
        for number, (target, precision) in enumerate(wanted, start=1):
            try:
                graph = _graph(precision, work, bundle, reference)
                runtime = open_graph(target, precision, graph, threads)
                agreement = gate.compare(target, precision, runtime)
                exports.append(_export(target, precision, graph, bundle, pictures, agreement))
            except (NfbmrError, ImportError) as error:
                if not keep_going or (number == len(wanted) and not exports):
                    raise
                _log.warning("No graph for %s: %s", target, error)
        graphs = {export.file: work / export.file for export in exports}
        return add_exports(path, graphs, tuple(exports), bundle.identity)


def _counted(progress: Progress, pictures: Pictures, graphs: int) -> Callable[[], None]:
    """Gives what tells `progress` of one picture more: each passes torch, then each graph."""
    total = len(pictures.all) * (1 + graphs)
    done = itertools.count(1)
    return lambda: progress("export", next(done), total)


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

    target, precision = wanted
    with tempfile.TemporaryDirectory(prefix="nfbmr-export-") as made:
        work = Path(made)
        learnt = relearn(
            bundle, single.detector, good, *wanted, work, threads=threads, progress=progress
        )
        pictures = _pictures(bundle, learnt.compared, _LEAST_HELD_OUT)
        gate = Prover(learnt.bundle, learnt.reference, pictures)
        runtime = open_graph(target, precision, learnt.graph, threads)
        agreement = gate.compare(target, precision, runtime)
        models = Inspector(bundle, single), Inspector(learnt.bundle, runtime)
        found = beside(*models, pictures, f"{target} {precision}")
        if found.compared.why_not:
            _log.warning(
                "%s %s is kept but NOT CERTIFIED to find as much as single precision: %s",
                target,
                precision,
                found.compared.why_not,
            )
        means = probe(runtime, bundle.facts.size)
        export = _export(
            target, precision, learnt.graph, learnt.bundle, pictures, agreement, found, means
        )
        own = {export.calibration: learnt.bundle.calibration}
        add_exports(path, {export.file: learnt.graph}, (export,), bundle.identity, own)
    return export


def _export(
    target: Target,
    precision: Precision,
    graph: Path,
    bundle: Bundle,
    pictures: Pictures,
    agreement: Agreement,
    beside: Beside | None = None,
    probe: tuple[float, ...] = (),
) -> Export:
    """Writes down what was measured; the last two where it was learnt again."""
    gate = Gate(
        good=len(pictures.good),
        drawn=len(pictures.drawn),
        maps=agreement.maps,
        maps_allowed=agreement.allowed.maps,
        scores=agreement.scores,
        scores_allowed=agreement.allowed.scores,
        **({"p_values": agreement.p_values} if beside is None else _said_beside(beside)),
        probe=probe,
        calibration=calibration_hash(bundle.calibration),
        milliseconds=agreement.milliseconds,
        versions=provenance.versions(),
    )
    return Export(target=target, precision=precision, graph=sha256_of(graph), gate=gate)


def _said_beside(found: Beside) -> dict[str, Any]:
    compared = found.compared
    return {
        "p_values": found.p_values,
        "separates": compared.separates,
        "separated": compared.separated,
        "strength": found.strength,
        "most_lost": compared.most_loss,
        "ranks": compared.ranks,
        "certified": compared.certified,
        "not_certified": compared.why_not,
    }


def runtimes_here() -> list[tuple[Target, Precision]]:
    """Returns what a fit exports by itself: single precision for each runtime that is there."""
    if not (is_installed("onnx") and is_installed("onnxscript")):
        return []
    targets: tuple[Target, ...] = ("onnx", "openvino")
    return [(target, "fp32") for target in targets if is_installed(target)]


def _good(source: str | os.PathLike[str], progress: Progress, white: int | None) -> Survey:
    found = read_data(source)
    _log.info("%s", found.describe())
    return look_over(found.name, found.to_learn_from(), progress, white=white)


def _tiles(bundle: Bundle) -> int:
    return 1 if bundle.tiling is None else len(bundle.tiling.corners)


def _pictures(bundle: Bundle, good: Sequence[ImageInput], least: int = _LEAST_GOOD) -> Pictures:
    """Returns good pictures, and drawn ones: noise in finer and coarser blocks, plain ones.

    Args:
        bundle: whose pictures may be cut into tiles; the more tiles, the fewer pictures.
        good: of which `_MOST_GOOD` are taken at most.
        least: good ones to take, however many tiles there are.
    """
    rng = np.random.default_rng(0)
    size = bundle.facts.whole or bundle.facts.size
    height, width = size
    drawn: list[NDArray[np.uint8]] = []
    for number in range(max(4, _DRAWN // _tiles(bundle))):
        cells = (1, 4, 32, max(size))[number % 4]
        shape = (-(-height // cells) + 1, -(-width // cells) + 1, 3)
        blocks = rng.integers(0, 256, shape).astype(np.uint8)
        full = blocks.repeat(cells, axis=0).repeat(cells, axis=1)
        drawn.append(np.ascontiguousarray(full[:height, :width]))
    return Pictures(good=good[: max(least, _MOST_GOOD // _tiles(bundle))], drawn=drawn)


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
