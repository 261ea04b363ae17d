"""Settings to and from JSON, and with single values changed; everything is checked again."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from nfbmr.errors import SettingsError
from nfbmr.settings.names import nearest, settings_in
from nfbmr.settings.schema import Settings, StageSettings

_ADAPTER: TypeAdapter[Settings] = TypeAdapter(Settings)
_STAGE: TypeAdapter[StageSettings] = TypeAdapter(StageSettings)

Part = TypeVar("Part", Settings, StageSettings)


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


def stage_with_changes(stage: StageSettings, changes: object, name: str) -> StageSettings:
    """Does what `with_changes` does to a stage that stands alone, under the name `name`.

    Args:
        stage: where to start.
        changes: a dict, unless the user is to blame.
        name: what it is called in errors.

    Raises:
        SettingsError: an unknown key or a value out of range.
    """
    values = _changed(stage, changes) if isinstance(changes, dict) else changes
    return _checked(_STAGE, StageSettings, values, f"{name}.")


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
    return _checked(_ADAPTER, Settings, values)


def _checked(
    adapter: TypeAdapter[Part], kind: type[Part], values: object, prefix: str = ""
) -> Part:
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        known = [setting.name for setting in settings_in(kind, prefix)]
        wrong = []
        for item in error.errors(include_url=False):
            where = prefix + ".".join(str(part) for part in item["loc"])
            if item["type"] == "unexpected_keyword_argument":
                wrong += [_unknown(key, known) for key in _keys(where, item["input"])]
            else:
                wrong.append(f"{where.rstrip('.') or 'settings'}: {_why(dict(item))}")
        raise SettingsError(f"settings refused: {'; '.join(wrong)}") from None


def _why(item: dict[str, Any]) -> str:
    """Says what was expected of a value, what was found, and the nearest word that there is."""
    said, value = str(item["msg"]), item["input"]
    if item["type"] in ("tuple_type", "list_type"):
        said = 'Input should be a list, such as [64, 64] or ["norm", "fine"]'
    if not isinstance(value, str | int | float) and value is not None:
        return said
    said += f", found {json.dumps(value)}"
    if item["type"] == "literal_error" and isinstance(value, str):
        words = re.findall(r"'([^']+)'", item["ctx"]["expected"])
        near = nearest(value, words)
        said += f"; did you mean {near}?" if near else ""
    return said


def _keys(name: str, value: object) -> list[str]:
    """Returns the dotted names of all values that were given under a name."""
    if not isinstance(value, dict) or not value:
        return [name]
    return [key for inner, one in value.items() for key in _keys(f"{name}.{inner}", one)]


def _unknown(key: str, known: list[str]) -> str:
    if found := nearest(key, known):
        return f"{key}: unknown; did you mean {found}?"
    outer = key[: key.rfind(".") + 1]
    beside = [name.removeprefix(outer) for name in known if name.startswith(outer)] or known
    names = dict.fromkeys(name.partition(".")[0] for name in beside)
    return f"{key}: unknown; expected one of {', '.join(names)}"


def settings_hash(settings: Settings) -> str:
    """Returns 12 hex digits that are equal for equal settings, the seed apart."""
    values = to_dict(settings)
    del values["seed"]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
