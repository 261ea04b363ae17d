"""Where torch computes: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""

from __future__ import annotations

import torch

from nfbmr.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """Returns the device of this name; `auto` is a CUDA device where there is one, else the CPU.

    Raises:
        SettingsError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    # Which of these torch raises depends on the kind of device that it lacks.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"device '{name}' cannot be used here ({reason}); use 'auto' or 'cpu'"
        ) from None
    return device
