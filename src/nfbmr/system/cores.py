"""How much this process may compute at once, and how images share it."""

from __future__ import annotations

import os

SMALL = 512 * 512
"""Pixels of an image up to which its layers are too small to be divided among cores: threads that
share one wait for one another, several images at once, a thread each, are done in less time."""

MOST_AT_ONCE = 16
"""Images that are computed at once, each of which holds its maps in memory."""


def cores() -> int:
    """Counts the processor cores that this process may use; `taskset` limits them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def at_once(size: tuple[int, int], threads: int) -> int:
    """Returns how many images (H, W) are best computed at once by so many threads, one each.

    1: all threads together compute one image after another.
    """
    return min(threads, MOST_AT_ONCE) if size[0] * size[1] <= SMALL else 1


TOGETHER = max(8, min(cores(), MOST_AT_ONCE))
"""Pictures of a stream that wait for one another, so that each core has one."""
