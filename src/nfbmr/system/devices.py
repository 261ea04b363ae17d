"""Where torch computes: `auto`, `cpu`, `cuda`, `cuda:1`; and that a GPU computes as a CPU does."""

from __future__ import annotations

import torch

from nfbmr.errors import SettingsError

_ABLE = ("cpu", "cuda")


def choose_device(name: str, *, small: bool = False) -> torch.device:
    """Returns the device of this name; `auto` is a CUDA device where there is one, else the CPU.

    A small network stays on the CPU: it takes milliseconds there, and the same bits come out on
    every machine of that kind, with a GPU or without.

    A CUDA device then computes float32 in float32, in this whole process: in TF32, torch's default
    for convolutions, ten bits of each factor are left, and features move by far more than those of
    good parts differ.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        small: whether the network is; `auto` alone looks at it.

    Raises:
        SettingsError: no such device here, or one that nfbmr cannot compute on.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() and not small else "cpu"
    try:
        device = torch.device(name)
        if device.type not in _ABLE:
            raise SettingsError(
                f"device '{name}': nfbmr computes on the CPU and on CUDA devices; others, such as "
                "Apple's mps, lack the float64 that statistics are taken in; use 'auto' or 'cpu'"
            )
        torch.empty(1, device=device)
    # Which of these torch raises depends on the kind of device that it lacks.
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"device '{name}' cannot be used here ({reason}); use 'auto' or 'cpu'"
        ) from None
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return device
