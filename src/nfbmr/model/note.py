"""What a person wrote into a model's card: it stops nothing, and stays where the card changes."""

from __future__ import annotations

import difflib


def with_note(found: str, before: str, after: str) -> str:
    """Returns a new card with what somebody added to the one before.

    Args:
        found: the card as it lies there.
        before: as nfbmr wrote it.
        after: as nfbmr writes it now.
    """
    if before in found:
        return found.replace(before, after, 1)
    compared = difflib.ndiff(before.splitlines(), found.splitlines())
    added = [line[2:] for line in compared if line.startswith("+ ")]
    if not any(line.strip() for line in added):
        return after
    return "\n".join((after.rstrip("\n"), "", "## Notes", "", *added, ""))
