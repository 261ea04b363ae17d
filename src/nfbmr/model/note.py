"""What a person wrote into a model's card: it stops nothing, and stays where the card changes."""

from __future__ import annotations

import difflib

_HEADING = "## Notes"
_MARK = "<!-- This card holds notes of its reader. -->"


def with_note(found: str, before: str, after: str, *, as_written: bool = False) -> str:
    """Returns a new card with what somebody added to the one before.

    Args:
        found: the card as it lies there.
        before: as nfbmr wrote it.
        after: as nfbmr writes it now.
        as_written: whether nobody changed the card since it was written. Another version may have
            written it, in other words; notes that were kept then are marked.
    """
    if before in found:
        return _marked(found.replace(before, after, 1), after)
    if as_written and _MARK not in found and _HEADING not in found.splitlines():
        return after
    compared = difflib.ndiff(before.splitlines(), found.splitlines())
    added = [line[2:] for line in compared if line.startswith("+ ") and line[2:] != _MARK]
    if not any(line.strip() for line in added):
        return after
    return _marked("\n".join((after.rstrip("\n"), "", _HEADING, "", *added, "")), after)


def _marked(card: str, after: str) -> str:
    """Marks a card that is more than what nfbmr writes."""
    return card if card == after or _MARK in card else f"{card.rstrip(chr(10))}\n\n{_MARK}\n"
