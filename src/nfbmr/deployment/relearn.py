"""For coarse precisions: SNN made coarser first, then all that follows it learnt again.

The flow knows how little the features of good pictures move. Eight bits or bfloat16 move them by a
tenth to a third of their standard deviation, so to a flow that has learnt from fine features every
picture looks defective. One that learns from the coarse features themselves takes that for what
good pictures do, and finds defects as well (docs/research.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nfbmr.data.images import load_image
from nfbmr.data.survey import Survey, Surveyed
from nfbmr.deployment import graphs
from nfbmr.errors import TrainingError
from nfbmr.features.cache import FeatureCache
from nfbmr.learning.learn import Job, learn
from nfbmr.learning.plan import Plan
from nfbmr.model.bundle import Bundle
from nfbmr.model.exports import Precision, Target, graph_file
from nfbmr.networks.detector import Detector
from nfbmr.networks.protocol import FeatureSource
from nfbmr.runtimes.choose import open_graph
from nfbmr.runtimes.protocol import Runtime
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.calibration import LEAST_HELD_OUT, held_out_count
from nfbmr.system.files import sha256_of
from nfbmr.system.progress import Progress, silent

_SAME = 0.9  # of the fit's pictures have to be there
_RANGES = 64  # good pictures that set the ranges of 8-bit integers


class GraphSource:
    """SNN as a runtime computes it, so that what follows learns from what it will be given."""

    def __init__(self, network: FeatureSource, runtime: Runtime, tag: str) -> None:
        """Leaves the computation to a graph.

        Args:
            network: SNN in torch, which knows the shapes.
            runtime: of the graph, from `pixels` to `y`, on the CPU.
            tag: names graph and runtime.
        """
        self.label = network.label
        self.channels, self.outputs = network.channels, network.outputs
        self.detail_channels, self.detail_factor = network.detail_channels, network.detail_factor
        self.grid = network.grid
        self._runtime, self._tag = runtime, tag

    def __call__(self, pixels: Tensor) -> Tensor:
        """Maps pixels, uint8 (B, H, W, 3) RGB, to y and detail, float32 (B, C', H', W')."""
        return torch.from_numpy(self._runtime.run(pixels.cpu().numpy()))  # (B, C', H', W')

    def fingerprint(self) -> str:
        """Names what y depends on, the graph and its runtime."""
        return hashlib.sha256(self._tag.encode()).hexdigest()

    def ready(self, device: torch.device) -> GraphSource:
        """Returns itself: the runtime is."""
        assert device.type == "cpu", device
        return self


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What was learnt again."""

    bundle: Bundle
    """With its own calibration and tensors; those of SNN are the model's."""
    reference: TorchRuntime
    """The coarse SNN and, behind it, what was learnt, in torch: what the graph must agree with."""
    graph: Path
    """Both in one."""


def relearn(
    bundle: Bundle,
    detector: Detector,
    good: Survey,
    to: Target,
    precision: Precision,
    work: Path,
    *,
    threads: int | None = None,
    progress: Progress = silent,
) -> Learnt:
    """Makes SNN coarse and learns the rest again, as the fit did.

    Args:
        bundle: of the model, with its tensors.
        detector: its network; left as it is.
        good: the good pictures of the fit, nine tenths of them at least, none twice.
        to: the runtime; the result serves no other.
        precision: `bf16` or `int8`.
        work: an empty folder of its own; the graph stays in it.
        threads: of the runtime.
        progress: hears how far the work is.

    Raises:
        TrainingError: these are not the pictures of the fit, or training broke down.
        ImageError: a picture cannot be read.
        ExportError, MissingExtraError: the graph cannot be made, or the runtime is absent.
    """
    plan = _plan(bundle, good.pictures, precision)
    coarse = _coarse(bundle, detector, good.pictures, to, precision, work)
    # A runtime joins and reorders what it computes, so features come from a graph that goes on as
    # the final one will: with what follows SNN, whose numbers are still those of the model.
    rest, probe = work / "rest.onnx", work / "features.onnx"
    graphs.write_rest(detector, plan.size, rest)
    graphs.join(coarse, rest, probe, features=True)
    runtime = open_graph(to, precision, probe, threads, output="y")
    source = GraphSource(detector.source, runtime, f"{to} {precision} {sha256_of(coarse)}")
    now = bundle.calibration  # its rates are those in force
    how = replace(
        bundle.settings.calibration,
        false_alarm_rate=now.false_alarm_rate,
        look_rate=now.look_rate,
    )
    job = Job(
        settings=replace(bundle.settings, calibration=how),
        work=work / "fit",
        device=torch.device("cpu"),
        cache=FeatureCache(work / "cache"),
        progress=progress,
    )
    good = replace(good, name=bundle.facts.name)
    again = learn(good, plan, job, (source, bundle.facts.weights))
    reference = TorchRuntime(again, "cpu", threads, source=source)
    graph = work / graph_file(to, precision)
    graphs.write_rest(reference.detector, plan.size, rest)
    graphs.join(coarse, rest, graph)
    own = {name: value for name, value in bundle.tensors.items() if name.startswith("source.")}
    whole = replace(again, tensors=own | again.tensors)
    return Learnt(bundle=whole, reference=reference, graph=graph)


def _plan(bundle: Bundle, good: Sequence[Surveyed], precision: Precision) -> Plan:
    """Says how the pictures are looked at and split: as the fit did, where they are the same."""
    facts, n = bundle.facts, len(good)
    known = {*facts.trained_on, *facts.held_out}
    there = len(known & {one.fingerprint for one in good})
    if there < _SAME * len(known) or n < 2 * LEAST_HELD_OUT:
        raise TrainingError(
            f"{there} of the {len(known)} good pictures that the model learnt from are among the "
            f"{n} given; {precision} is learnt again from them, so give them all, or fit anew"
        )
    how = bundle.settings.calibration
    held_out = held_out_count(n, how)
    return Plan(
        size=facts.size,
        tiling=bundle.tiling,
        chosen=False,
        n_train=n - held_out,
        n_held_out=held_out,
        rate=bundle.calibration.false_alarm_rate,
    )


def _coarse(
    bundle: Bundle,
    detector: Detector,
    good: Sequence[Surveyed],
    to: Target,
    precision: Precision,
    work: Path,
) -> Path:
    """Writes SNN in this precision; bf16's graph is that of fp32, which OpenVINO rounds."""
    single = work / "source.onnx"
    graphs.write_source(detector, bundle.facts.size, single)
    if precision == "bf16":
        return single
    path = work / f"source.{to}.{precision}.onnx"
    chosen = good[:: max(1, len(good) // _RANGES)][:_RANGES]
    graphs.quantise(single, path, np.stack(list(_pixels(bundle, chosen))))
    return path


def _pixels(bundle: Bundle, good: Sequence[Surveyed]) -> Iterator[NDArray[np.uint8]]:
    """Yields what the graph takes: pictures, or one tile of each, another one each time."""
    tiling = bundle.tiling
    for number, one in enumerate(good):
        picture = load_image(one.picture, bundle.facts.whole or bundle.facts.size)
        if tiling is not None:
            picture = tiling.cut_one(picture, number % len(tiling.corners))
        yield picture
