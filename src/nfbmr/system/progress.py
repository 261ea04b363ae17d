"""How work says how far it is, and what its stages are called; bars and logs are made elsewhere."""

from __future__ import annotations

from typing import Protocol

TITLES = {
    "survey": ("Looking at the pictures", ""),
    "pose": ("Finding how parts lie", "pose"),
    "features": ("Describing the pictures", "features of SNN"),
    "export": ("Preparing for other computers", "graphs"),
    "flow": ("Learning good parts", "stage one, TNF"),
    "folds": ("Setting the threshold by models of some of the parts", "stage one, TNF, of folds"),
    "mapping": ("Learning how they belong together", "stage two, BMR"),
    "inspect": ("Inspecting", ""),
    "fleet": ("Products", ""),
}
"""What is done -> in plain words, and in the paper's."""


class Progress(Protocol):
    """Hears how far the work is."""

    def __call__(self, what: str, done: int, total: int, loss: float | None = None) -> None:
        """Says that `done` of `total` units of `what` are done, with the latest loss."""
        ...


def silent(what: str, done: int, total: int, loss: float | None = None) -> None:
    """Hears and says nothing."""
