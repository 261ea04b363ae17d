"""What text from outside may hold: one rule for part ids, notes, reasons and filters."""

from __future__ import annotations

import re

PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
"""No NUL, nothing that steers a terminal, breaks a line or turns the direction of writing."""


def is_plain(text: str) -> bool:
    """Whether a text keeps the rule."""
    return re.fullmatch(PLAIN, text) is not None
