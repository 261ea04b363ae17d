"""Threads of torch: one for each image in the context, as before after it."""

from __future__ import annotations

import pytest
import torch

from nfbmr.system.threads import alone_on_a_thread


def test_workers_have_one_thread_each_and_the_caller_has_its_own_again() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with alone_on_a_thread(2) as pool:
            found = list(pool.map(lambda _: torch.get_num_threads(), range(8)))
        assert found == [1] * 8
        assert torch.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError), alone_on_a_thread(2) as pool:
            pool.submit(lambda: 1 // 0).result()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
