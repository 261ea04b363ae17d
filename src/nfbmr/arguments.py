"""What the command line's words mean: sizes, settings, and where rows go."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from nfbmr.errors import SettingsError
from nfbmr.results import FORMATS, Format


def parse_size(text: str) -> tuple[int, int]:
    """Reads `320` or `320x448` as (H, W).

    Raises:
        SettingsError: it is neither.
    """
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(re.fullmatch(r"[0-9]{1,5}", part.strip()) for part in parts):
        raise SettingsError(f"--size {text}: expected a number or HEIGHTxWIDTH, such as 320x448")
    numbers = [int(part) for part in parts]
    return numbers[0], numbers[-1]


def parse_changes(pairs: list[str]) -> dict[str, Any]:
    """Reads `KEY=VALUE` pairs with dots in the keys as nested changes; values are JSON or text.

    Raises:
        SettingsError: a pair has no key, or one key is inside another's value.
    """
    changes: dict[str, Any] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found or not key:
            raise SettingsError(f"--set {pair}: expected KEY=VALUE, such as flow.hidden=256")
        try:
            put(changes, key, json.loads(value))
        except (ValueError, RecursionError):
            put(changes, key, value)
    return changes


def put(changes: dict[str, Any], key: str, value: object) -> None:
    """Sets a key such as `flow.hidden` in nested changes.

    Raises:
        SettingsError: a part of the key was given a value of its own before.
    """
    inside = changes
    *outer, last = key.split(".")
    for name in outer:
        inside = inside.setdefault(name, {})
        if not isinstance(inside, dict):
            raise SettingsError(f"{key}: {name} was given a value of its own before")
    inside[last] = value


def where_to_write(
    form: Format | None, out: Path | None
) -> tuple[Format, Path | None, Path | None]:
    """Returns the rows' form, their file (None: standard output), and the heatmaps' folder."""
    if out is None:
        return form or "table", None, None
    named: Format | None = next((f for f in FORMATS if out.suffix.lower() == f".{f}"), None)
    if named is not None:
        return form or named, out, out.with_name(f"{out.stem}_heatmaps")
    chosen = form or "jsonl"
    suffix = "txt" if chosen == "table" else chosen
    return chosen, out / f"results.{suffix}", out / "heatmaps"
