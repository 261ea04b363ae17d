"""Networks that compute several images at once, each on a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def alone_on_a_thread(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Gives workers in which torch does not divide its sums among threads.

    For the time of the context alone, as torch has one number of threads for some of its libraries;
    afterwards the caller's is as before.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        workers, "nfbmr-network", initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
