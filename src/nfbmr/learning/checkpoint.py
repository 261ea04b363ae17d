"""Checkpoints: the whole state of a stage of training in one file, written beside and renamed.

A state is tensors and a position. Batches and learning rates are functions of the seed and the
position, so no generator state is needed: the same checkpoint gives the same model.
"""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nfbmr.errors import TrainingError
from nfbmr.system.files import flush_file, flush_folder, reason_of

_SHARE = 20
"""A pause is at least this many times as long as the save before it."""


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

    One at a time for each path; what a kill leaves beside it goes at the next save.

    Raises:
        OSError: the disk is full or the folder is not writable; the old checkpoint stays.
    """
    beside = path.with_name(f".{path.name}.part")  # a folder: safetensors makes files of its own
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        metadata = {"position": json.dumps(asdict(position))}
        file = beside / path.name
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, file, metadata)
        flush_file(file)
        file.replace(path)
        flush_folder(path.parent)
    except SafetensorError as error:  # what it makes of a full disk
        raise OSError(f"{path}: {error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


class Saver:
    """Saves the state of a stage from copies, in a thread: meanwhile the training goes on.

    One save is under way at most; the next one waits for it, and so does the end of the block.
    What goes wrong in the thread is raised by whichever of them comes first.
    """

    def __init__(self, path: Path, pause: float) -> None:
        """Starts the first pause.

        Args:
            path: of the checkpoint.
            pause: seconds between two saves, at least; 0: none at all, as for tests.
        """
        self._path = path
        self._pause = pause
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nfbmr-checkpoint")
        self._writing: Future[None] | None = None
        self._took = 0.0
        self._ended = time.monotonic()

    def __enter__(self) -> Saver:
        """Begins the block whose end waits for the last save."""
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for the save that is under way.

        Raises:
            TrainingError: it failed.
        """
        try:
            self._wait()
        finally:
            self._thread.shutdown()

    def is_due(self) -> bool:
        """Whether the pause is over: `_SHARE` times as long as the last save took, at least."""
        if self._pause == 0:
            return True
        if self._writing is not None and not self._writing.done():
            return False
        return time.monotonic() - self._ended >= max(self._pause, _SHARE * self._took)

    def save(self, tensors: dict[str, Tensor], position: Position) -> None:
        """Copies a state as it is now, and has the copy written.

        Raises:
            TrainingError: the save before this one failed; the last good checkpoint stays.
        """
        self._wait()
        started = time.monotonic()
        copies = {
            name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, value in tensors.items()
        }
        self._writing = self._thread.submit(self._write, copies, position, started)

    def _write(self, tensors: dict[str, Tensor], position: Position, started: float) -> None:
        try:
            save_checkpoint(self._path, tensors, position)
        finally:
            self._ended = time.monotonic()
            self._took = self._ended - started

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except OSError as error:
            raise TrainingError(
                f"{self._path.parent}: a checkpoint cannot be written there ({reason_of(error)}); "
                "make room or give permission, then start the same fit again: it goes on from the "
                "last one"
            ) from None


def load_checkpoint(path: Path, key: str) -> tuple[dict[str, Tensor], Position] | None:
    """Reads a checkpoint back; None where there is none, it is damaged, or it is of another key."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as stream:
            position = Position(**json.loads((stream.metadata() or {})["position"]))
            if position.key != key:
                return None
            return {name: stream.get_tensor(name).clone() for name in stream.keys()}, position  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None
