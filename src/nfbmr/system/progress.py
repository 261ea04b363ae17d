"""How long work says how far it is; the terminal's bars and the plain log are made elsewhere."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears how far the work is."""

    def __call__(self, what: str, done: int, total: int, loss: float | None = None) -> None:
        """Says that `done` of `total` units of `what` are done, with the latest loss."""
        ...


def silent(what: str, done: int, total: int, loss: float | None = None) -> None:
    """Hears and says nothing."""
