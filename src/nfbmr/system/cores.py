"""How much this process may compute at once."""

from __future__ import annotations

import os


def cores() -> int:
    """Counts the processor cores that this process may use; `taskset` limits them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
