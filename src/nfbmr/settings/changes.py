"""Settings to and from JSON, and with single values changed; everything is checked again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nfbmr.errors import SettingsError
from nfbmr.settings.schema import Settings

_ADAPTER: TypeAdapter[Settings] = TypeAdapter(Settings)


def with_changes(settings: Settings, changes: dict[str, Any]) -> Settings:
    """Returns settings with some values replaced and everything checked again.

    Of settings that exclude each other, such as `steps` and `epochs`, the one that is given drops
    the other.

    Args:
        settings: where to start.
        changes: nested as the JSON form is, e.g. `{"flow": {"hidden": 256}}`.

    Raises:
        SettingsError: an unknown key or a value out of range.
    """
    return from_dict(_changed(settings, changes))


def _changed(part: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a part of the settings with changes, not checked yet."""
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    for name, value in changes.items():
        inner = values.get(name)
        both = is_dataclass(inner) and isinstance(value, dict)
        values[name] = _changed(inner, value) if both else value
    one_of: tuple[str, ...] = getattr(part, "ONE_OF", ())
    if any(changes.get(name) is not None for name in one_of):
        values |= {name: None for name in one_of if name not in changes}
    return values


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
