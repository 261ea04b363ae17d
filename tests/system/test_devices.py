"""Where torch computes: what is refused, and that a GPU may not round to TF32."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nfbmr.errors import SettingsError
from nfbmr.system.devices import choose_device


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("name", ["mps", "mps:0", "meta", "xpu"])
def test_a_device_that_cannot_compute_it_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match=f"device '{name}': nfbmr computes on the CPU and on"):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x"])
def test_what_is_no_device_is_refused_with_what_to_use(name: str) -> None:
    with pytest.raises(SettingsError, match="use 'auto' or 'cpu'"):
        choose_device(name)


def test_cuda_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)  # no GPU is here
    of: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [one.allow_tf32 for one in of]
    try:
        for one in of:
            one.allow_tf32 = True
        assert choose_device("auto").type == "cuda"
        assert choose_device("auto", small=True).type == "cpu"
        assert choose_device("cuda", small=True).type == "cuda"
        assert not any(one.allow_tf32 for one in of)
    finally:
        for one, was in zip(of, before, strict=True):
            one.allow_tf32 = was
