"""Padding that was worked out once, for a design resolution, and stays whatever comes in.

Shapes: B = images, c h w = channels and grid of a map.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from nfbmr.errors import SettingsError


class _StaticConv2d(nn.Module):
    """A convolution behind a fixed zero padding; holds the weights of the one it replaces."""

    def __init__(self, conv: nn.Conv2d, sides: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.weight = conv.weight
        self.bias = conv.bias
        self.sides = sides  # left, right, top, bottom
        self.stride, self.dilation, self.groups = conv.stride, conv.dilation, conv.groups

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (B, c, h, w) to (B, c', h', w')."""
        x = F.pad(x, self.sides)
        return F.conv2d(
            x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )  # (B, c', h', w')


def make_padding_static(trunk: nn.Module, name: str, look: Callable[[], object]) -> None:
    """Gives every convolution that pads for the real size the padding it has at another one.

    efficientnet-pytorch works out its paddings once, for the design resolution, and keeps them.

    Args:
        trunk: the layers.
        name: of the network.
        look: passes an image of the design resolution through the layers.

    Raises:
        SettingsError: no convolution of the network pads for the real size.
    """
    convs = {p: m for p, m in trunk.named_modules() if isinstance(m, Conv2dSame)}
    if not convs:
        raise SettingsError(
            f"padding 'static': no layer of '{name}' pads for the real size, as those of "
            "tf_efficientnet_* do; use padding 'native'"
        )
    sides: dict[str, tuple[int, int, int, int]] = {}

    def note(path: str) -> Callable[[nn.Conv2d, tuple[Tensor]], None]:
        def hook(conv: nn.Conv2d, inputs: tuple[Tensor]) -> None:
            height, width = inputs[0].shape[-2:]
            sides[path] = (*_same(width, conv, 1), *_same(height, conv, 0))

        return hook

    handles = [conv.register_forward_pre_hook(note(path)) for path, conv in convs.items()]
    look()
    for handle in handles:
        handle.remove()
    for path, conv in convs.items():
        trunk.set_submodule(path, _StaticConv2d(conv, sides[path]))


def _same(length: int, conv: nn.Conv2d, axis: int) -> tuple[int, int]:
    """TF's SAME rule along one axis: (before, after), the odd one after."""
    stride = conv.stride[axis]
    reach = (conv.kernel_size[axis] - 1) * conv.dilation[axis] + 1
    total = max((-(-length // stride) - 1) * stride + reach - length, 0)
    return total // 2, total - total // 2
