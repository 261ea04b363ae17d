"""Checkpoints: the whole state of a stage of training in one file, written beside and renamed.

A state is tensors and a position. Batches and learning rates are functions of the seed and the
position, so no generator state is needed: the same checkpoint gives the same model.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where training stands."""

    key: str
    """Of all that the stage depends on; a checkpoint of another key is not used."""
    step: int
    """Optimiser steps done."""
    seconds: float
    """Wall-clock time spent in the stage so far, over all runs."""
    loss: float | None
    """Of the last step; None before the first."""


def save_checkpoint(path: Path, tensors: dict[str, Tensor], position: Position) -> None:
    """Writes beside `path`, flushes to disk and renames: a kill leaves the old one or the new one.

    Raises:
        OSError: the disk is full or the folder is not writable; the old checkpoint stays.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"position": json.dumps(asdict(position))}
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, beside, metadata)
        with beside.open("rb") as stream:
            os.fsync(stream.fileno())
        beside.replace(path)
    except SafetensorError as error:  # what it makes of a full disk
        raise OSError(f"{path}: {error}") from None
    finally:
        beside.unlink(missing_ok=True)


def load_checkpoint(path: Path, key: str) -> tuple[dict[str, Tensor], Position] | None:
    """Reads a checkpoint back; None where there is none, it is damaged, or it is of another key."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as stream:
            position = Position(**json.loads((stream.metadata() or {})["position"]))
            if position.key != key:
                return None
            return {name: stream.get_tensor(name) for name in stream.keys()}, position  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None
