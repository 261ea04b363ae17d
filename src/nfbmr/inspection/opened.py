"""How a model was opened, to open it so again elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Opened:
    """The words that a model was loaded with."""

    runtime: str
    device: str = "auto"
    threads: int | None = None
