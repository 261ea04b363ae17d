"""Settings to and from JSON, and with single values changed; everything is checked again."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nfbmr.errors import SettingsError
from nfbmr.settings.schema import Settings

_ADAPTER: TypeAdapter[Settings] = TypeAdapter(Settings)


def with_changes(settings: Settings, changes: dict[str, Any]) -> Settings:
    """Returns settings with some values replaced and everything checked again.

    Args:
        settings: where to start.
        changes: nested as the JSON form is, e.g. `{"flow": {"hidden": 256}}`.

    Raises:
        SettingsError: an unknown key or a value out of range.
    """
    merged = _merged(to_dict(settings), changes)
    for stage in ("stage_one", "stage_two"):
        change = changes.get(stage)
        if isinstance(change, dict):  # to give one of the two is to drop the other
            for given, other in (("steps", "epochs"), ("epochs", "steps")):
                if change.get(given) is not None and other not in change:
                    merged[stage][other] = None
    return from_dict(merged)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    out = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merged(out[key], value) if both else value
    return out


def to_dict(settings: Settings) -> dict[str, Any]:
    """Returns the JSON form: plain dicts, lists, numbers and strings."""
    return dict(_ADAPTER.dump_python(settings, mode="json"))


def from_dict(values: object) -> Settings:
    """Reads the JSON form back.

    Raises:
        SettingsError: an unknown key, a missing or misshapen value; each one is named.
    """
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg']}"
            for item in error.errors(include_url=False)
        )
        raise SettingsError(f"settings refused: {wrong}") from None


def settings_hash(settings: Settings) -> str:
    """Returns 12 hex digits that are equal for equal settings, the seed apart."""
    values = to_dict(settings)
    del values["seed"]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
