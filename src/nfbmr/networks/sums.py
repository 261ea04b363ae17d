"""Sums over images, which workers take of their own shares of them and bring together.

What is learnt in closed form is a few sums over images, and then algebra on them. So workers need
to exchange nothing but the sums, whatever the number of images.

Shapes: any; those of two shares are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from torch import Tensor


class Sums:
    """Named sums over some images, changed in place.

    Attributes:
        parts: by name, in the order in which they are exchanged.
    """

    def __init__(self, **parts: Tensor) -> None:
        self.parts = parts

    def merge(self, other: Sums) -> None:
        """Adds the sums over other images: then these are sums over both."""
        assert self.parts.keys() == other.parts.keys()
        for name, part in self.parts.items():
            part += other.parts[name]


Together: TypeAlias = Callable[[Sums], None]
"""Brings one worker's sums to those over the images of all workers, in place."""

Batches: TypeAlias = Callable[[], Iterator[Tensor]]
"""Each call gives images once, batch by batch."""


def alone(sums: Sums) -> None:
    """Leaves sums as they are: those of the one worker that has all images."""
