"""One stage of training: a loop over optimiser steps that can be killed anywhere and goes on.

What is trained, from which batches and by which loss is the caller's. A batch and a learning rate
are functions of the step, so a stage is a function of its checkpoint.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nfbmr.errors import TrainingError
from nfbmr.learning.checkpoint import Position, Saver, load_checkpoint
from nfbmr.learning.share import (
    ALONE,
    Loss,
    Part,
    Share,
    mean_over,
    refuse_strange_place,
)
from nfbmr.settings.schema import Precision, StageSettings
from nfbmr.system.progress import Progress, silent

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage trains, and from what."""

    name: str
    """Of the progress and of the checkpoint's file."""
    key: str
    """Of all that the result depends on; a checkpoint of another key is not used."""
    how: StageSettings
    setting: Literal["stage_one", "stage_two", "pair"]
    """Where `how` stands in the settings, for advice."""
    steps: int
    seed: int
    """Of what the network itself draws in a step: which channels it drops."""
    network: nn.Module
    """What the optimiser changes."""
    state: nn.Module
    """What a checkpoint holds: the network, and what else belongs to it."""
    batch: Callable[[int], tuple[Tensor | Part | None, ...]]
    """Step -> what `loss` is called with."""
    loss: Loss


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """Runs stages: where their checkpoints lie, what computes, who hears of it."""

    work: Path
    """A folder of this training's own."""
    device: torch.device
    progress: Progress = silent
    checkpoint_seconds: float = 10.0
    """Pause between two checkpoints, at least; what a kill loses. See `Saver`."""
    share: Share = ALONE
    """Of this worker, where several run the same stages; the first writes the checkpoints."""

    def restore(self, stage: Stage) -> tuple[Position, dict[str, Tensor]] | None:
        """Loads the state of a stage's checkpoint; returns its position and Adam's tensors.

        None where there is no checkpoint of this key; then nothing is changed.
        """
        found = load_checkpoint(self._file(stage), stage.key)
        if found is None:
            return None
        tensors, position = found
        model = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        stage.state.load_state_dict(model)
        if 0 < position.step < stage.steps:
            _log.info("going on at step %d of the %s", position.step, stage.name)
        return position, {k: v for k, v in tensors.items() if not k.startswith("model.")}

    def run(self, stage: Stage, at: tuple[Position, dict[str, Tensor]] | None = None) -> Position:
        """Takes the steps that are left, from what `restore` returned, and saves the result.

        Raises:
            TrainingError: a loss that is not finite, or no room for a checkpoint; the last good
                checkpoint stays.
        """
        position, adam = at or (Position(key=stage.key, step=0, seconds=0.0, loss=None), {})
        refuse_strange_place(self.share, position.step, self.device)
        if position.step == stage.steps and not adam:  # an earlier run saved the result
            stage.network.eval()
            return position
        optimiser = self._adam(stage, adam)
        started = time.monotonic() - position.seconds
        weights, loss_of = _Weights(), self.share.averaged(stage.network, stage.loss)
        writes = self.share.rank == 0
        stage.network.train()
        with Saver(self._file(stage), self.checkpoint_seconds) as saver:
            try:
                for step in range(position.step, stage.steps):
                    with weights.changing():
                        loss = self._step(stage, loss_of, optimiser, step)
                        seconds = time.monotonic() - started
                        position = replace(position, step=step + 1, seconds=seconds, loss=loss)
                    self.progress(stage.name, step + 1, stage.steps, loss)
                    if writes and saver.is_due():
                        saver.save(_state(stage, optimiser), position)
            except (KeyboardInterrupt, SystemExit):
                # Else the last checkpoint is the one to go on from.
                if writes and weights.are_of_position:
                    saver.save(_state(stage, optimiser), position)
                raise
            stage.network.eval()
            if writes:
                saver.save(_state(stage, None), position)  # finished, it needs no moments of Adam
        return position

    def _step(self, stage: Stage, loss_of: Loss, optimiser: torch.optim.Adam, step: int) -> float:
        how = stage.how
        optimiser.param_groups[0]["lr"] = learning_rate(how, step, stage.steps)
        with autocast(how.precision, self.device), self._draws_of(stage, step):
            loss = loss_of(*stage.batch(step))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        value = _finite(mean_over(self.share, loss), stage, step)
        if how.clip_norm is not None:
            nn.utils.clip_grad_norm_(stage.network.parameters(), how.clip_norm)
        optimiser.step()
        return value

    @contextmanager
    def _draws_of(self, stage: Stage, step: int) -> Iterator[None]:
        """Makes torch's own draws a function of the step; the caller's generators stay.

        Workers that share a batch draw the same: each for the whole batch.
        """
        seed = int(rng(stage.seed, 4, step).integers(2**63))
        # The latter seeds every kind of device, also those that are not there.
        on_cpu = self.device.type == "cpu"
        seeded = torch.default_generator.manual_seed if on_cpu else torch.manual_seed
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            seeded(seed)
            yield

    def _file(self, stage: Stage) -> Path:
        return self.work / f"{stage.name}.safetensors"

    def _adam(self, stage: Stage, state: dict[str, Tensor]) -> torch.optim.Adam:
        how = stage.how
        parameters = stage.network.parameters()
        optimiser = torch.optim.Adam(
            parameters, lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
        )
        if state:
            for name, parameter in stage.network.named_parameters():
                for part in ("step", "exp_avg", "exp_avg_sq"):
                    value = state[f"adam.{part}.{name}"]
                    optimiser.state[parameter][part] = value.to(self.device)
        return optimiser


def _state(stage: Stage, optimiser: torch.optim.Adam | None) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint, as they are now and not copied."""
    tensors = {f"model.{k}": v for k, v in stage.state.state_dict().items()}
    if optimiser is not None:
        for name, parameter in stage.network.named_parameters():
            for part, value in optimiser.state[parameter].items():
                tensors[f"adam.{part}.{name}"] = value
    return tensors


class _Weights:
    """Whether the weights are those of the position that is known.

    In the middle of a step, or after one that was broken off, weights or batch-norm's statistics
    may be ahead of it.
    """

    are_of_position = True

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Encloses a step and the position after it."""
        self.are_of_position = False
        yield
        self.are_of_position = True


def _finite(loss: Tensor, stage: Stage, step: int) -> float:
    value = float(loss)
    if math.isfinite(value):
        return value
    raise TrainingError(
        f"the loss of the {stage.name} became {value} at step {step + 1}: no model was "
        f"written. The learning rate {stage.how.learning_rate:g} may be too high for these images, "
        f"or {stage.how.precision} too coarse: fit again with --fresh and a lower "
        f"{stage.setting}.learning_rate, or precision float32"
    )


def batch_of_images(
    how: StageSettings, n: int, seed: tuple[int, int], step: int
) -> NDArray[np.int64]:
    """Draws places in 0..n-1: any B of them, or the next B of this epoch's order.

    Args:
        how: gives B, and whether epochs are counted.
        n: images to draw from.
        seed: of the fit, and of the stage.
        step: 0-based.
    """
    if how.epochs is None:
        return rng(*seed, step).choice(n, size=min(how.batch, n), replace=False)
    per_epoch = math.ceil(n / how.batch)
    order = rng(*seed, step // per_epoch).permutation(n)
    start = step % per_epoch * how.batch
    return order[start : start + how.batch]


def rng(seed: int, stage: int, step: int) -> np.random.Generator:
    """Returns the generator of one step: the same whatever ran before."""
    return np.random.default_rng([seed, stage, step])


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


def computation() -> list[object]:
    """Returns what the bits of a sum depend on besides its terms: threads and torch's version."""
    return [torch.get_num_threads(), torch.__version__]
