"""Words for people: how many of what."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Returns `1 picture`, `2 pictures`; `many` where it is not `one` with an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
