"""What text from outside may hold: one rule for part ids, notes, reasons and filters; and times."""

from __future__ import annotations

import re
from datetime import UTC, datetime

PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
"""No NUL, nothing that steers a terminal, breaks a line or turns the direction of writing."""

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+(Z|[+-][0-9:]+)?)?")


def is_plain(text: str) -> bool:
    """Whether a text keeps the rule."""
    return re.fullmatch(PLAIN, text) is not None


def utc(said: str) -> str:
    """Returns a time as the record writes times: UTC, ISO 8601, to the microsecond.

    Args:
        said: ISO 8601, with or without an offset, UTC without; a day is its beginning. Empty is
            no time, and stays so.

    Raises:
        ValueError: it is none.
    """
    if not said:
        return ""
    try:
        if not _TIME.fullmatch(said):  # of what Python knows besides, some could be read otherwise
            raise ValueError
        found = datetime.fromisoformat(said)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"found {said!r}; a day such as 2026-11-27 or a time such as 2026-11-27T04:27:16Z was "
            "expected, in an address with %2B for +"
        ) from None
    return found.isoformat(timespec="microseconds")
