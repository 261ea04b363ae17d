"""Names of settings, with dots where one is inside another; the nearest one to a wrong name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args, get_type_hints

_ALIKE = 0.7  # of two names' letters; below, a suggestion would be a guess


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of the schema."""

    name: str
    """E.g. `flow.hidden`."""
    part: type
    """The dataclass that it is a field of."""
    annotation: Any
    """Its type, with the bounds."""

    @property
    def field(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]


def settings_in(part: type, prefix: str = "") -> Iterator[Setting]:
    """Yields every setting of a dataclass of the schema, those inside its parts too, in order.

    Args:
        part: e.g. `Settings`.
        prefix: of the names, e.g. `flow.`.
    """
    annotations = get_type_hints(part, include_extras=True)
    for field in fields(part):
        annotation = annotations[field.name]
        inner = _part_in(annotation)
        if inner is None:
            yield Setting(name=f"{prefix}{field.name}", part=part, annotation=annotation)
        else:
            yield from settings_in(inner, f"{prefix}{field.name}.")


def _part_in(annotation: Any) -> type | None:
    """Returns the dataclass of `FlowSettings` or `TileSettings | None`; None of anything else."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)), None)


def nearest(key: str, names: Sequence[str]) -> str | None:
    """Returns the name that is most like `key`, wherever it stands; None where none is like it.

    Last parts are compared, so that `hiden` and `mapping.hiden` find `flow.hidden`; a key without
    a dot may also be a whole name with a wrong sign in it, such as `flow_hidden`.
    """

    def alike(name: str) -> tuple[float, float]:
        whole = difflib.SequenceMatcher(None, key, name).ratio()
        ends = key.rpartition(".")[2], name.rpartition(".")[2]
        last = difflib.SequenceMatcher(None, *ends).ratio()
        return (last if "." in key else max(whole, last)), whole

    best = max(names, key=alike, default=None)
    return best if best is not None and alike(best)[0] >= _ALIKE else None
