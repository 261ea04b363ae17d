"""`docs/settings.md`, written from the schema: every setting, what it means, may be, and is.

python -m nfbmr.settings.document > docs/settings.md
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from itertools import groupby
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from nfbmr.settings.changes import to_dict
from nfbmr.settings.names import Setting, settings_in
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import PresetName, Settings

_HEAD = """\
# Settings

All that a fit depends on besides the pictures and the backbone's weights. `--preset` chooses one
of the last three columns, and `--set NAME=VALUE` changes single settings from there:

```sh
nfbmr fit parts/good -o models/part --set flow.hidden=256 --set 'scoring.maps=["norm"]'
```

In Python that is `nfbmr.fit(..., flow={"hidden": 256}, scoring={"maps": ["norm"]})`. A value is
JSON, or text as it is; `null` is none. In a preset's column **·** stands for the default. An
unknown name or a value out of range is refused before anything is learnt.

*Written from `nfbmr.settings.schema`: `python -m nfbmr.settings.document > docs/settings.md`.*
"""
_KINDS = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}
_PRESETS: tuple[str, ...] = get_args(PresetName)
_ABSENT = object()


def document() -> str:
    """Returns the whole document, Markdown."""
    sections = [_HEAD]
    for group, settings in groupby(settings_in(Settings), lambda one: one.name.rpartition(".")[0]):
        found = list(settings)
        title = f"## `{group}`\n\n{_about(group, found[0].part)}" if group else "## The whole fit"
        sections.append(f"{title}\n\n" + "\n".join(_table(found)) + "\n")
    return "\n".join(sections)


def _about(group: str, part: type) -> str:
    """Says what a group of settings is for, and whether it is there without being asked for."""
    said = [inspect.getdoc(part), _meanings(Settings).get(group)]
    if to_dict(Settings())[group] is None:
        said.append(f"Not there (`{group}` is `null`) until one of its settings is given.")
    return " ".join(filter(None, said))


def _table(settings: list[Setting]) -> Iterator[str]:
    yield f"| setting | meaning | value | default | {' | '.join(_PRESETS)} |"
    yield "|---" * (4 + len(_PRESETS)) + "|"
    columns = [to_dict(preset(name)) for name in _PRESETS]
    for one in settings:
        default = _default(one)
        cells = [f"`{one.name}`", _meanings(one.part)[one.field], allowed(one.annotation)]
        cells.append(_shown(default))
        for values in columns:
            value = _value(values, one.name)
            cells.append("·" if value in (default, _ABSENT) else _shown(value))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(setting: Setting) -> object:
    value = _value(to_dict(Settings()), setting.name)
    if value is _ABSENT:
        value = next(one.default for one in fields(setting.part) if one.name == setting.field)
    assert value is not MISSING, setting.name
    return value


def _value(values: Any, name: str) -> object:
    for key in name.split("."):
        if values is None:
            return _ABSENT
        values = values[key]
    return values


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"`{_number(value)}`"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _number(value: float) -> str:
    """Returns 400,000 and 0.5 and 1e-6."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}".replace("e-0", "e-")


def _meanings(part: type) -> dict[str, str]:
    """Returns field -> the string under it in the source, in one line."""
    (found,) = ast.parse(inspect.getsource(part)).body
    assert isinstance(found, ast.ClassDef), part
    meanings = {}
    for field, below in zip(found.body, found.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(below, ast.Expr):
            continue
        if isinstance(field.target, ast.Name) and isinstance(below.value, ast.Constant):
            meanings[field.target.id] = " ".join(str(below.value.value).split())
    return meanings


def allowed(annotation: Any) -> str:
    """Returns in words what values a setting takes, e.g. `whole number, 1 to 64`."""
    *words, last = _alternatives(annotation)
    comma = "," if any("," in word for word in words) else ""
    return f"{', '.join(words)}{comma} or {last}" if words else last


def _alternatives(annotation: Any, plural: str = "") -> list[str]:
    """Returns words for each kind of value that an annotation lets through."""
    bounds: dict[str, Any] = {}
    if get_origin(annotation) is Annotated:
        annotation, *limits = get_args(annotation)
        for one in (one for limit in limits for one in limit.metadata):
            bounds |= {name: getattr(one, name) for name in _BOUNDS if hasattr(one, name)}
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return [_shown(value) for value in inner]
    if get_origin(annotation) is tuple:
        return [f"list{plural} of {_items(inner, bounds)}"]
    if inner:  # a union
        return [word for one in inner for word in _alternatives(one, plural)]
    return ["`null`" if annotation is NoneType else _words(annotation, bounds, plural)]


def _items(inner: tuple[Any, ...], bounds: dict[str, Any]) -> str:
    count = f"up to {bounds['max_length']} " if bounds else ""
    if inner[-1] is not Ellipsis:
        count = f"{len(inner)} "
    words = _alternatives(inner[0], "s")
    if get_origin(inner[0]) is Literal:
        return f"some of {', '.join(words)}"
    each = " each" if count and "," in words[0] else ""
    return f"{count}{' or '.join(words)}{each}"


_BOUNDS = ("ge", "gt", "le", "lt", "max_length")


def _words(kind: type, bounds: dict[str, Any], plural: str) -> str:
    if kind is int and "lt" in bounds:
        bounds["le"] = bounds.pop("lt") - 1
    at = {name: _number(value) for name, value in bounds.items()}
    found = []
    if "ge" in at and "le" in at:
        found.append(f"{at['ge']} to {at['le']}")
    elif "ge" in at:
        found.append(f"{at['ge']} or more")
    elif "gt" in at:
        found.append(f"above {at['gt']}")
    if "lt" in at:
        found.append(f"below {at['lt']}")
    return f"{_KINDS[kind]}{plural}{', ' if found else ''}{' and '.join(found)}"


if __name__ == "__main__":
    sys.stdout.write(document())
