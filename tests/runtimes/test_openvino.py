"""OpenVINO beside other programs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from nfbmr.runtimes.choose import open_runtime
from nfbmr.system.cores import cores

pytest.importorskip("openvino", reason="OpenVINO is not installed")

TASKS = Path("/proc/self/task")


@pytest.mark.skipif(
    not TASKS.is_dir() or cores() < 2,
    reason="threads are looked at in Linux's /proc, and one core leaves no choice",
)
@pytest.mark.parametrize("threads", [1, 2])
def test_no_thread_is_bound_to_a_core_while_it_computes(exported: Path, threads: int) -> None:
    """Those of two programs beside each other were bound to the same one."""
    runtime = open_runtime(exported, "openvino", threads=threads)[1]
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    seen = set()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: [runtime.run(pixels) for _ in range(30)])
        while not running.done():
            for path in TASKS.iterdir():
                with suppress(ProcessLookupError):  # it has just ended
                    seen.add(frozenset(os.sched_getaffinity(int(path.name))))
        running.result()
    assert seen == {frozenset(os.sched_getaffinity(0))}
