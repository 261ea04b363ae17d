"""Learning: features -> stage one (TNF) -> stage two (BMR) -> calibration -> a model directory.

Shapes: n = training images, B = images of a batch, P = positions of a batch, G = positions of
the grid, C = channels, H W = grid.

SNN is frozen and nothing augments the images, so y is computed once per image, and z once per
training image after stage one; both lie in files. Training is a function of its checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nfbmr.checkpoint import Position, load_checkpoint, save_checkpoint
from nfbmr.config import Precision, Settings, StageSettings, settings_hash
from nfbmr.errors import TrainingError
from nfbmr.feature_store import FeatureStore, write_store
from nfbmr.networks.detector import Detector
from nfbmr.networks.flow import negative_log_likelihood
from nfbmr.progress import Progress, silent

_log = logging.getLogger(__name__)

CHUNK = 16
"""Images at a time wherever all of them pass a network once."""

STAGES = {1: "flow", 2: "mapping"}


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Features y of the good images, and which of them train."""

    store: FeatureStore
    """(N, H, W, C) float32 of every good image."""
    train: NDArray[np.int64]
    """Indices (n,) that are trained on."""
    held_out: NDArray[np.int64]
    """Indices that calibrate."""


def split_held_out(n: int, held_out: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the ascending indices that train and that are held out, drawn from `seed`."""
    order = np.random.default_rng([seed, 0]).permutation(n)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def training_key(settings: Settings, store: FeatureStore, device: torch.device) -> str:
    """Returns what a checkpoint must agree with: settings, seed, features, and what computes.

    The threads are in because sums over them differ in the last bit.
    """
    parts = [settings_hash(settings), settings.seed, store.key]
    computes = [device.type, computes_in_bfloat16(device), torch.get_num_threads()]
    versions = [torch.__version__, metadata.version("nfbmr")]
    return hashlib.sha256(json.dumps(parts + computes + versions).encode()).hexdigest()


def train(
    detector: Detector,
    data: TrainingData,
    settings: Settings,
    *,
    work: Path,
    device: torch.device,
    progress: Progress = silent,
    checkpoint_seconds: float = 10.0,
) -> Position:
    """Trains TNF, then BMR, in place; goes on from the checkpoint in `work` where one fits.

    Args:
        detector: its statistics, flow and mapping are set; the source network is not touched.
        data: features, and which of them train.
        settings: of the fit.
        work: a folder of this fit's own for the checkpoint and z.
        device: where to compute.
        progress: hears each step.
        checkpoint_seconds: at most this much work is lost to a kill.

    Raises:
        TrainingError: a loss that is not finite, or no room for a checkpoint; the last good
            checkpoint stays.
    """
    key = training_key(settings, data.store, device)
    run = _Run(detector, data, settings, work, device, progress, checkpoint_seconds, key)
    run.restore()
    if run.position.stage == 1:
        run.stage(settings.stage_one, detector.flow, run.flow_batch, run.flow_loss)
    run.write_z()
    run.stage(settings.stage_two, detector.mapping, run.mapping_batch, run.mapping_loss)
    return run.position


class _Run:
    """One fit's state and the two stages' batches and losses."""

    def __init__(
        self,
        detector: Detector,
        data: TrainingData,
        settings: Settings,
        work: Path,
        device: torch.device,
        progress: Progress,
        checkpoint_seconds: float,
        key: str,
    ) -> None:
        self.detector = detector.to(device)
        self.data = data
        self.settings = settings
        self.work = work
        self.device = device
        self.progress = progress
        self.checkpoint_seconds = checkpoint_seconds
        self.position = Position(key=key, stage=1, step=0, seconds=0.0, losses={})
        self.adam: dict[str, Tensor] = {}
        self.z: FeatureStore | None = None
        self.started = time.monotonic()
        self.before = 0.0  # seconds of earlier, interrupted runs

    # ---- state

    def restore(self) -> None:
        """Loads the checkpoint of this very fit, or learns the statistics and starts."""
        found = load_checkpoint(self.work / "checkpoint.safetensors", self.position.key)
        if found is None:
            chunks = _chunks(self.data.train)
            rows = (torch.from_numpy(self.data.store.read(i)) for i in chunks)
            self.detector.standardisation.learn(row.to(self.device) for row in rows)
            return
        tensors, self.position = found
        self.before = self.position.seconds
        prefix = "model."
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        _learnt(self.detector).load_state_dict(state)
        self.adam = {k: v for k, v in tensors.items() if not k.startswith(prefix)}
        _log.info("going on at step %d of stage %d", self.position.step, self.position.stage)

    def save(self, optimiser: torch.optim.Adam | None, names: list[str]) -> None:
        tensors = {f"model.{k}": v for k, v in _learnt(self.detector).state_dict().items()}
        if optimiser is not None:
            for name, parameter in zip(names, optimiser.param_groups[0]["params"], strict=True):
                for part, value in optimiser.state[parameter].items():
                    tensors[f"adam.{part}.{name}"] = value
        try:
            save_checkpoint(self.work / "checkpoint.safetensors", tensors, self.position)
        except OSError as error:
            raise TrainingError(
                f"{self.work}: a checkpoint cannot be written there ({error}); make room or give "
                "permission, then start the same fit again: it goes on from the last one"
            ) from None

    # ---- one stage, whichever

    def stage(
        self,
        how: StageSettings,
        network: nn.Module,
        batch: Callable[[int], tuple[Tensor, ...]],
        loss_of: Callable[..., Tensor],
    ) -> None:
        stage, name = self.position.stage, STAGES[self.position.stage]
        steps = total_steps(how, len(self.data.train), self.data.store.grid)
        names = [n for n, _ in network.named_parameters()]
        optimiser = self._optimiser(how, network, names)
        losses = dict(self.position.losses)
        saved = time.monotonic()
        network.train()
        whole = True
        try:
            for step in range(self.position.step, steps):
                whole = False
                optimiser.param_groups[0]["lr"] = learning_rate(how, step, steps)
                with autocast(how.precision, self.device):
                    loss = loss_of(*batch(step))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                losses[name] = self._finite(loss, step, how)
                if how.clip_norm is not None:
                    nn.utils.clip_grad_norm_(network.parameters(), how.clip_norm)
                optimiser.step()
                now = time.monotonic()
                self.position = Position(
                    key=self.position.key,
                    stage=stage,
                    step=step + 1,
                    seconds=self.before + now - self.started,
                    losses=dict(losses),
                )
                whole = True
                self.progress(name, step + 1, steps, losses[name])
                if now - saved >= self.checkpoint_seconds:
                    self.save(optimiser, names)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            # In the middle of a step, weights or batch-norm's statistics may be ahead of the
            # position: then the last checkpoint is the one to go on from.
            if whole:
                self.save(optimiser, names)
            raise
        network.eval()
        self._finish_stage(stage)

    def _finish_stage(self, stage: int) -> None:
        """Moves to the next stage and saves; after the last one only the weights are needed."""
        done = self.position
        at = (2, 0) if stage == 1 else (2, done.step)
        self.position = Position(
            key=done.key, stage=at[0], step=at[1], seconds=done.seconds, losses=done.losses
        )
        self.adam = {}
        self.save(None, [])

    def _optimiser(
        self, how: StageSettings, network: nn.Module, names: list[str]
    ) -> torch.optim.Adam:
        optimiser = torch.optim.Adam(
            network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
        )
        if self.adam:
            for name, parameter in zip(names, optimiser.param_groups[0]["params"], strict=True):
                for part in ("step", "exp_avg", "exp_avg_sq"):
                    value = self.adam[f"adam.{part}.{name}"]
                    optimiser.state[parameter][part] = value.to(self.device)
            self.adam = {}
        return optimiser

    def _finite(self, loss: Tensor, step: int, how: StageSettings) -> float:
        value = float(loss.detach())
        if math.isfinite(value):
            return value
        stage = self.position.stage
        raise TrainingError(
            f"the loss of the {STAGES[stage]} became {value} at step {step + 1}: no model was "
            f"written. The learning rate {how.learning_rate:g} may be too high for these images, "
            f"or {how.precision} too coarse: fit again with --fresh and a lower "
            f"stage_{'one' if stage == 1 else 'two'}.learning_rate, or precision float32"
        )

    # ---- stage one: TNF, eq. 8

    def flow_batch(self, step: int) -> tuple[Tensor]:
        """Draws standardised features: (P, C) of positions, or (B, H, W, C) of images."""
        how, train, store = self.settings.stage_one, self.data.train, self.data.store
        if how.batch_of == "positions":
            rng = _rng(self.settings.seed, 1, step)
            images = train[rng.integers(len(train), size=how.batch)]
            height, width = store.grid
            positions = rng.integers(height * width, size=how.batch)
            rows = store.read_positions(images, positions)
        else:
            rows = store.read(train[self._batch_of_images(how, 1, step)])
        return (self.detector.standardisation(torch.from_numpy(rows).to(self.device)),)

    def flow_loss(self, y: Tensor) -> Tensor:
        """Eq. 8, per channel so that rates and clipping do not depend on the backbone."""
        z, log_det = self.detector.flow(y)
        return negative_log_likelihood(z, log_det).mean() / y.shape[-1]

    # ---- stage two: BMR, eq. 11-13

    def write_z(self) -> None:
        """Passes every training image through TNF once, into a file."""

        @torch.no_grad()
        def batches() -> Iterator[NDArray[np.float32]]:
            for indices in _chunks(self.data.train):
                y = torch.from_numpy(self.data.store.read(indices)).to(self.device)
                z, _ = self.detector.flow(self.detector.standardisation(y))
                yield z.cpu().numpy()

        shape = (len(self.data.train), *self.data.store.grid, self.data.store.channels)
        self.work.mkdir(parents=True, exist_ok=True)
        self.z = write_store(self.work / "z.f32", shape, batches())

    def mapping_batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Draws y and z of images, each (B, C, H, W) in channels-last memory."""
        assert self.z is not None, "write_z comes first"
        chosen = self._batch_of_images(self.settings.stage_two, 2, step)
        y = torch.from_numpy(self.data.store.read(self.data.train[chosen])).to(self.device)
        z = torch.from_numpy(self.z.read(chosen)).to(self.device)
        return self.detector.standardisation(y).permute(0, 3, 1, 2), z.permute(0, 3, 1, 2)

    def mapping_loss(self, y: Tensor, z: Tensor) -> Tensor:
        """loss_S + loss_T, each a mean square over positions and channels."""
        z_mt, y_ms = self.detector.mapping(y, z)
        return nn.functional.mse_loss(y_ms.float(), y) + nn.functional.mse_loss(z_mt.float(), z)

    def _batch_of_images(self, how: StageSettings, stage: int, step: int) -> NDArray[np.int64]:
        """Draws positions in `data.train`: any B of them, or the next B of this epoch's order."""
        n, seed = len(self.data.train), self.settings.seed
        if how.epochs is None:
            return _rng(seed, stage, step).choice(n, size=min(how.batch, n), replace=False)
        per_epoch = math.ceil(n / how.batch)
        order = _rng(seed, stage, step // per_epoch).permutation(n)
        start = step % per_epoch * how.batch
        return order[start : start + how.batch]


def calibration_maps(
    detector: Detector, data: TrainingData, device: torch.device
) -> NDArray[np.float32]:
    """Returns the raw maps (n, K, H, W) of the held-out images."""
    with torch.inference_mode():
        return np.concatenate(
            [
                detector.maps(torch.from_numpy(data.store.read(i)).to(device)).cpu().numpy()
                for i in _chunks(data.held_out)
            ]
        )


def total_steps(how: StageSettings, n: int, grid: tuple[int, int]) -> int:
    """Returns the optimiser steps of a stage over n training images with this grid (H, W)."""
    if how.steps is not None:
        return how.steps
    assert how.epochs is not None, "settings give one of the two"
    units = n if how.batch_of == "images" else n * grid[0] * grid[1]
    steps = max(how.epochs * math.ceil(units / how.batch), how.least_steps)
    return steps if how.most_steps is None else min(steps, how.most_steps)


def learning_rate(how: StageSettings, step: int, steps: int) -> float:
    """Returns the rate of a step (0-based): constant, or one cycle (Smith and Topin 2018).

    One cycle: from rate / 25 up to the rate over 30 % of the steps, down to rate / 250,000.
    """
    if how.schedule == "constant":
        return how.learning_rate
    peak = max(1.0, 0.3 * steps - 1)
    first, last = how.learning_rate / 25, how.learning_rate / 250_000
    if step <= peak:
        return _cosine(first, how.learning_rate, step / peak)
    return _cosine(how.learning_rate, last, (step - peak) / max(1.0, steps - 1 - peak))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Returns the context in which matrix products run in `precision`."""
    if precision == "float32" or (precision == "auto" and not computes_in_bfloat16(device)):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is computed in hardware there, and not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = torch.backends.cpu.get_cpu_capability()
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return (
        device.type == "cpu" and "AVX512" in flags and supported is not None and bool(supported())
    )


def _learnt(detector: Detector) -> nn.Module:
    """Returns what training sets, as one module: everything but the source network."""
    return nn.ModuleDict(
        {
            "standardisation": detector.standardisation,
            "flow": detector.flow,
            "mapping": detector.mapping,
        }
    )


def _rng(seed: int, stage: int, step: int) -> np.random.Generator:
    return np.random.default_rng([seed, stage, step])


def _chunks(indices: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(indices), CHUNK):
        yield indices[start : start + CHUNK]


def forget(work: Path) -> None:
    """Deletes a fit's work folder."""
    shutil.rmtree(work, ignore_errors=True)
