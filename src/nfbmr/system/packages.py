"""How to install what a command needs and this computer lacks."""

from __future__ import annotations

from importlib.util import find_spec

TO_LEARN = ("torch", "torchvision", "timm")
"""Packages without which a machine inspects, and does not learn."""


def how_to_install(extra: str) -> str:
    """Says how one of nfbmr's extras comes here, in words that every shell takes.

    Args:
        extra: of `pyproject.toml`, such as `train`.
    """
    return (
        f'run, in the folder of nfbmr\'s checkout: pip install -e ".[{extra}]" (without a network: '
        "README.md, Install)"
    )


def lacking(*packages: str) -> list[str]:
    """Returns the packages that are not installed; imports none of them."""
    return [package for package in packages if find_spec(package) is None]
