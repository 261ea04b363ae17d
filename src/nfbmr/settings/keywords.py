"""Single settings as keywords of a call, with short words for what a user changes most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from nfbmr.errors import SettingsError


class Keywords(TypedDict, total=False):
    """Settings that are to differ from the preset's; each as in `Settings`, or shorter."""

    seed: int
    size: int | Sequence[int] | None
    """(H, W), or one number for both."""
    pixel_budget: int
    pose: str
    """`auto` or `off`."""
    tiles: bool | Mapping[str, object] | None
    """True: as the settings have them by default."""
    mm_per_pixel: float | None
    examples: int
    false_alarm_rate: float
    """`calibration.false_alarm_rate`."""
    look_rate: float
    """`calibration.look_rate`."""
    white: int | None
    """`data.white`."""
    backbone: str | Mapping[str, object]
    """A word is `backbone.name`."""
    weights: str
    """`backbone.weights`."""
    standardise: str
    flow: Mapping[str, object]
    mapping: Mapping[str, object]
    gaussian: Mapping[str, object]
    local: Mapping[str, object]
    subspace: Mapping[str, object]
    stage_one: Mapping[str, object]
    stage_two: Mapping[str, object]
    scoring: Mapping[str, object]
    calibration: Mapping[str, object]


def nested(keywords: Keywords, changes: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Returns changes nested as the JSON form is; keywords win over `changes`.

    Names are passed on as they are: `with_changes` says which are unknown.

    Raises:
        SettingsError: one inside a group, where the group has a value of its own; or the preset,
            which is where settings start from.
    """
    merged: dict[str, Any] = {}
    _merge(merged, changes or {})
    for key, value in keywords.items():
        _merge(merged, _spelt_out(key, value))
    if "preset" in merged:
        raise SettingsError(
            f"preset {merged['preset']}: found among single settings; choose it as preset= or "
            "--preset, and change settings from there"
        )
    return merged


def _spelt_out(key: str, value: object) -> dict[str, object]:
    if key in ("false_alarm_rate", "look_rate"):
        return {"calibration": {key: value}}
    if key == "white":
        return {"data": {key: value}}
    if key == "weights":
        return {"backbone": {key: value}}
    if key == "backbone" and isinstance(value, str):
        return {"backbone": {"name": value}}
    if key == "size" and isinstance(value, int):
        return {key: (value, value)}
    if key == "tiles" and isinstance(value, bool):
        return {key: {} if value else None}
    return {key: value}


def _merge(into: dict[str, Any], new: Mapping[str, object]) -> None:
    for key, value in new.items():
        if not isinstance(value, Mapping):
            into[key] = value
            continue
        inside = into.setdefault(key, {})
        if not isinstance(inside, dict):
            name = ".".join([key, *map(str, list(value)[:1])])
            raise SettingsError(f"{name}: {key} was given a value of its own before")
        _merge(inside, value)
