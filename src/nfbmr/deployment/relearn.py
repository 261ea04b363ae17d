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

from nfbmr.data.images import ImageInput
from nfbmr.data.survey import Survey, Surveyed
from nfbmr.deployment import graphs
from nfbmr.deployment.roles import plan_again
from nfbmr.features.cache import FeatureCache
from nfbmr.inspection.decoding import decode
from nfbmr.learning.learn import Given, Job, learn
from nfbmr.model.bundle import Bundle
from nfbmr.model.exports import Precision, Target, graph_file
from nfbmr.networks.detector import Detector
from nfbmr.networks.protocol import FeatureSource
from nfbmr.runtimes.choose import open_graph
from nfbmr.runtimes.protocol import Runtime
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.settings.schema import Settings
from nfbmr.system.files import sha256_of
from nfbmr.system.progress import Progress, silent

_RANGES = 64  # pictures that set the ranges of 8-bit integers


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
        self.finest_channels, self.finest_factor = network.finest_channels, network.finest_factor
        self.grid = network.grid
        self._runtime, self._tag = runtime, tag

    def __call__(self, pixels: Tensor) -> Tensor:
        """Maps pixels, uint8 (B, H, W, 3) RGB, to y, detail and finest, float32 (B, C', H', W')."""
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
    compared: tuple[ImageInput, ...]
    """Good pictures that trained neither this nor the model: see `Roles.compared`."""


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
        good: the good pictures of the fit, and those that calibrate the model now, nine tenths of
            each at least, none twice; what each is for, `roles_of` says.
        to: the runtime; the result serves no other.
        precision: `bf16` or `int8`.
        work: an empty folder of its own; the graph stays in it.
        threads: of the runtime.
        progress: hears how far the work is.

    Raises:
        TrainingError: these are not the pictures of the fit, or not those that calibrate; or
            training broke down.
        ImageError: a picture cannot be read.
        ExportError, MissingExtraError: the graph cannot be made, or the runtime is absent.
    """
    roles, plan = plan_again(bundle, good, precision)
    pictures = roles.good.pictures
    trains = [pictures[number] for number in roles.trains]
    coarse = _coarse(bundle, detector, trains, to, precision, work)
    # A runtime joins and reorders what it computes, so features come from a graph that goes on as
    # the final one will: with what follows SNN, whose numbers are still those of the model.
    rest, probe = work / "rest.onnx", work / "features.onnx"
    graphs.write_rest(detector, plan.size, rest)
    graphs.join(coarse, rest, probe, features=True)
    runtime = open_graph(to, precision, probe, threads, output="y")
    source = GraphSource(detector.source, runtime, f"{to} {precision} {sha256_of(coarse)}")
    job = Job(
        settings=_settings_in_force(bundle),
        work=work / "fit",
        device=torch.device("cpu"),
        cache=FeatureCache(work / "cache"),
        progress=progress,
    )
    known = replace(roles.good, name=bundle.facts.name)
    given = Given(network=source, weights=bundle.facts.weights, pose=bundle.pose)
    again = learn(known, plan, job, given)
    reference = TorchRuntime(again, "cpu", threads, source=source)
    graph = work / graph_file(to, precision)
    graphs.write_rest(reference.detector, plan.size, rest)
    graphs.join(coarse, rest, graph)
    own = {name: value for name, value in bundle.tensors.items() if name.startswith("source.")}
    whole = replace(again, tensors=own | again.tensors)
    compared = tuple(pictures[number].picture for number in roles.compared)
    return Learnt(bundle=whole, reference=reference, graph=graph, compared=compared)


def _settings_in_force(bundle: Bundle) -> Settings:
    """Returns the settings of the fit with the rates that hold now."""
    now = bundle.calibration
    how = replace(
        bundle.settings.calibration,
        false_alarm_rate=now.false_alarm_rate,
        look_rate=now.look_rate,
    )
    return replace(bundle.settings, calibration=how)


def _coarse(
    bundle: Bundle,
    detector: Detector,
    trains: Sequence[Surveyed],
    to: Target,
    precision: Precision,
    work: Path,
) -> Path:
    """Writes SNN in this precision; bf16's graph is that of fp32, which OpenVINO rounds.

    The ranges of 8-bit integers are those of pictures that train: all others are to be as new to
    SNN as they are to the rest.
    """
    single = work / "source.onnx"
    graphs.write_source(detector, bundle.facts.size, single)
    if precision == "bf16":
        return single
    path = work / f"source.{to}.{precision}.onnx"
    chosen = trains[:: max(1, len(trains) // _RANGES)][:_RANGES]
    graphs.quantise(single, path, np.stack(list(_pixels(bundle, chosen))))
    return path


def _pixels(bundle: Bundle, good: Sequence[Surveyed]) -> Iterator[NDArray[np.uint8]]:
    """Yields what the graph takes: pictures in their pose or painted over, or a tile of each."""
    tiling = bundle.tiling
    for number, one in enumerate(good):
        picture = decode(one.picture, bundle).pixels
        if tiling is not None:
            picture = tiling.cut_one(picture, number % len(tiling.corners))
        yield picture
