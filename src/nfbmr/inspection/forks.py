"""Torch in a forked child: its threads stay with the parent, and whoever waits for one hangs.

The threads of GNU OpenMP, which torch computes with, do not survive a fork (libgomp keeps a pool
that looks whole); with one thread there is no pool. A context of CUDA cannot be taken along at all.
"""

from __future__ import annotations

import os
import sys

from nfbmr.errors import SettingsError
from nfbmr.runtimes.protocol import Runtime

_INSTEAD = (
    "start processes with multiprocessing's method 'spawn' or 'forkserver', and load the model "
    "there or send it by pickle"
)


class _Process:
    """What is known of this process."""

    forked_with_torch = False


def _in_child() -> None:
    _Process.forked_with_torch = "torch" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def prepare_torch(runtime: str, threads: int | None) -> None:
    """Makes torch usable in a forked child before a model is loaded; elsewhere nothing happens.

    Args:
        runtime: that was asked for.
        threads: that were asked for.

    Raises:
        SettingsError: torch with several threads was asked for in a forked child.
    """
    if not _Process.forked_with_torch:
        return
    if runtime.partition(":")[0] == "torch" and threads is not None and threads > 1:
        raise SettingsError(
            f"threads {threads}: torch cannot have several in a forked child; use 1, or {_INSTEAD}"
        )
    sys.modules["torch"].set_num_threads(1)


def use_torch_here(runtime: Runtime) -> None:
    """Makes a runtime that the parent opened usable in a forked child.

    Raises:
        SettingsError: it computes on a GPU.
    """
    device = str(getattr(runtime, "device", "cpu"))
    if not device.startswith("cpu") or "CUDA" in runtime.name or "Tensorrt" in runtime.name:
        raise SettingsError(f"a model on a GPU does not survive a fork; {_INSTEAD}")
    if runtime.name == "torch":
        sys.modules["torch"].set_num_threads(1)
