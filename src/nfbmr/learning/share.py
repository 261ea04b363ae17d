"""A worker's share of a training that several do together on the same batches.

Each has all the weights and a part of the pictures: of every batch it takes its part, and the
gradients are then the mean over the workers, so that all take the same step. Sums over pictures
are joined. What joins them is the caller's; alone nothing needs to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nfbmr.errors import SettingsError, TrainingError
from nfbmr.networks.flow import Rows
from nfbmr.networks.sums import Sums
from nfbmr.settings.schema import Settings

Loss: TypeAlias = Callable[..., Tensor]


class Share(Protocol):
    """What a worker knows of the others; all of them make the same calls in the same order."""

    @property
    def rank(self) -> int:
        """Which worker this is, from 0; worker 0 alone writes and speaks."""
        ...

    @property
    def workers(self) -> int:
        """How many there are."""
        ...

    def together(self, sums: Sums) -> None:
        """Adds up the workers' sums, in place; returns once all have come so far."""
        ...

    def averaged(self, network: nn.Module, loss: Loss) -> Loss:
        """Returns the loss, whose gradients for a network are then the mean over the workers."""
        ...


class Alone:
    """The share of the one worker that does everything."""

    rank = 0
    workers = 1

    def together(self, sums: Sums) -> None:
        """Leaves the sums."""

    def averaged(self, network: nn.Module, loss: Loss) -> Loss:  # noqa: ARG002
        """Returns the loss itself."""
        return loss


ALONE = Alone()


def part_of(share: Share, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns a worker's part of indices: as many in a row as the others have, or one more."""
    return np.array_split(indices, share.workers)[share.rank]


@dataclass(frozen=True)
class Part:
    """Where a worker's part of a batch lies."""

    rows: Rows
    weight: float
    """Of its mean loss: with it the mean over the workers is that over the batch."""


def part_of_batch(
    share: Share, *drawn: NDArray[np.int64]
) -> tuple[tuple[NDArray[np.int64], ...], Part | None]:
    """Returns a worker's part of a batch, and where it lies.

    Args:
        share: the worker's.
        drawn: numbers (B,) that belong together, B at least 1.

    Returns:
        The parts, of one item without weight where the worker has none; and where they lie. Alone:
        all of it, and None.
    """
    if share.workers == 1:
        return drawn, None
    whole = len(drawn[0])
    places = part_of(share, np.arange(whole))
    weight = len(places) * share.workers / whole
    if not len(places):
        places = np.arange(1)
    return tuple(one[places] for one in drawn), Part((int(places[0]), whole), weight)


def refuse_strange_place(share: Share, step: int, device: torch.device) -> None:
    """Checks that all workers go on at the same step.

    Raises:
        TrainingError: they read different checkpoints.
    """
    steps = torch.zeros(share.workers, dtype=torch.int64, device=device)
    steps[share.rank] = step
    share.together(Sums(steps=steps))
    if (steps != step).any():
        raise TrainingError(
            f"the workers go on at steps {steps.tolist()}: expected one checkpoint for all; the "
            "work folder has to lie on storage that all of them see alike. Start the fit again"
        )


def refuse_to_share(settings: Settings, images: int, workers: int) -> None:
    """Checks that several workers learn what one would.

    Raises:
        TrainingError: there are more of them than images to train on.
        SettingsError: a layer looks at a whole batch.
    """
    if workers > images:
        raise TrainingError(
            f"{workers} workers for {images} pictures to train on; expected a picture for each at "
            "least: give fewer workers"
        )
    if workers > 1 and settings.mapping.kind == "b-pfm":
        raise SettingsError(
            f"mapping.kind b-pfm with {workers} workers: its batch-norm looks at a whole batch, of "
            "which each worker has a part; train it with workers = 1"
        )


def weighted(loss: Tensor, part: Part | None) -> Tensor:
    """Returns a part's mean loss, weighted as `part_of_batch` says."""
    return loss if part is None else loss * part.weight


def mean_over(share: Share, loss: Tensor) -> Tensor:
    """Returns the mean of a number over the workers, detached."""
    if share.workers == 1:
        return loss.detach()
    total = loss.detach().clone()
    share.together(Sums(loss=total))
    return total / share.workers
