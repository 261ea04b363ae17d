"""How long a fit will take, from parts that are measured on this machine.

A picture through SNN, a step of TNF, a step of the mapping: the rest is multiplication.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nfbmr.features.compute import passed
from nfbmr.learning.folds import FOLDS
from nfbmr.learning.stage import autocast, total_steps
from nfbmr.networks.detector import Detector
from nfbmr.networks.flow import negative_log_likelihood
from nfbmr.networks.source import SourceNetwork
from nfbmr.settings.schema import Settings, StageSettings

_REPEATS = 2
_FEW = 2  # images that are measured; of a step its time grows as they do
_LONG = 3.0  # seconds of a step
_AROUND = 1.25  # reading batches and the optimiser, as far as they were seen to add


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What was measured, and on which grid."""

    image_seconds: float
    """One picture through SNN, decoding not included."""
    flow_step: float
    """Seconds."""
    mapping_step: float
    """Seconds; next to 0 where the flow judges alone."""
    grid: tuple[int, int]

    def fit_seconds(self, settings: Settings, n: int, n_train: int) -> float:
        """Returns the seconds of a fit of n pictures, n_train of which are trained on."""
        stages = ((settings.stage_one, self.flow_step), (settings.stage_two, self.mapping_step))
        calibration = settings.calibration
        few = calibration.everyone and n < calibration.folded_below
        trained = [n_train, *([n - n // FOLDS] * FOLDS if few else [])]
        steps = sum(
            step * total_steps(how, one, self.grid) for how, step in stages for one in trained
        )
        return self.image_seconds * n + steps


def measure_parts(network: SourceNetwork, settings: Settings, size: tuple[int, int]) -> Parts:
    """Times one picture and a few steps of each stage, on noise, where the network is.

    Args:
        network: SNN, with any weights.
        settings: of the fit.
        size: (H, W) of its pictures.
    """
    device = network.mean.device
    detector = Detector(network, settings, size).to(device)
    pixels, quick = noise((*size, 3)), network.ready(device)
    some = [lambda: pixels] * max(_FEW, torch.get_num_threads())
    image = seconds(lambda: deque(passed(quick, size, device, some), maxlen=0), device) / len(some)
    grid, channels = network.grid(size), network.channels

    def flow_step(batch: int) -> None:
        how = settings.stage_one
        shape = (batch,) if how.batch_of == "positions" else (batch, *grid)
        y = torch.randn(*shape, channels, device=device)
        where = None if not detector.waves else y.new_zeros(*shape, 4 * detector.waves)
        z, log_det = detector.flow(y, where)
        negative_log_likelihood(z, log_det).mean().backward()  # type: ignore[no-untyped-call]

    def mapping_step(batch: int) -> None:
        if detector.mapping is not None:
            y = torch.randn(batch, channels, *grid, device=device)
            z_mt, y_ms = detector.mapping(y, y)
            _square(z_mt, y_ms).backward()  # type: ignore[no-untyped-call]

    return Parts(
        image_seconds=image,
        flow_step=step_seconds(flow_step, settings.stage_one, device),
        mapping_step=step_seconds(mapping_step, settings.stage_two, device),
        grid=grid,
    )


def step_seconds(step: Callable[[int], None], how: StageSettings, device: torch.device) -> float:
    """Times a step that takes its batch; where it is long, a few images stand for the batch."""

    def timed(batch: int) -> float:
        def run() -> None:
            with autocast(how.precision, device):
                step(batch)

        return _AROUND * seconds(run, device, gradients=True) * how.batch / batch

    few = how.batch if how.batch_of == "positions" else min(_FEW, how.batch)
    found = timed(few)
    return found if few == how.batch or found > _LONG else timed(how.batch)


def seconds(run: Callable[[], object], device: torch.device, *, gradients: bool = False) -> float:
    """Returns the seconds that a call takes, the first one not counted."""
    with torch.set_grad_enabled(gradients):
        run()
        _wait(device)
        started = time.perf_counter()
        for _ in range(_REPEATS):
            run()
        _wait(device)
    return (time.perf_counter() - started) / _REPEATS


def noise(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Returns pixels that are no picture, but take as long as one."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _square(one: Tensor, other: Tensor) -> Tensor:
    return one.square().mean() + other.square().mean()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def duration(seconds: float) -> str:
    """Says a time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"
