"""A worker's share of a training, where torch.distributed joins the workers: gloo, or NCCL on GPUs.

Ray Train starts the workers and their process group; nothing here knows it.
"""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor, nn

from nfbmr.learning.share import Loss, Part
from nfbmr.networks.sums import Sums


class Group:
    """The share of this process in the process group that it belongs to."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.workers = dist.get_world_size()

    def together(self, sums: Sums) -> None:
        """Adds up the sums of all processes, in place; with none it waits for all."""
        for part in sums.parts.values():
            dist.all_reduce(part)
        if not sums.parts:
            dist.barrier()

    def averaged(self, network: nn.Module, loss: Loss) -> Loss:
        """Returns the loss by way of DistributedDataParallel, which averages the gradients."""
        device = next(network.parameters()).device
        numbers = [device.index or 0] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            _Losses(network, loss),
            device_ids=numbers,
            broadcast_buffers=False,  # they are permutations, which all have alike
        )


class _Losses(nn.Module):
    """A network whose output is its loss: what is averaged has to pass through `forward`."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.network = network
        self._loss = loss

    def forward(self, *batch: Tensor | Part | None) -> Tensor:
        return self._loss(*batch)
