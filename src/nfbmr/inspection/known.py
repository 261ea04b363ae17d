"""Which picture of a hot folder is which, and what the log says of those that are done."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, NamedTuple

from nfbmr.inspection.arrivals import Mark
from nfbmr.inspection.journal import folder_of

Row = dict[str, Any]


class Done(NamedTuple):
    """A file that was inspected and lies where it came in."""

    mark: Mark
    sha256: str
    """Empty in rows of older versions."""
    verdict: str
    """One of `FOLDERS`."""
    stuck: bool = False
    """It could not be moved."""


def identity_of(name: str, mark: Mark, sha256: str) -> Row:
    """Returns `id`, `file` and `sha256` of a picture, the same whenever it is looked at.

    Another content under its name, or the same put in anew, is another picture.
    """
    key = "\n".join([name, sha256, str(mark.changed), str(mark.inode)])
    return {
        "id": hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16],
        "file": [name, *mark],
        "sha256": sha256,
    }


def known_of(row: Row, there: Mark) -> Done:
    """Returns what a row says of a file that is there."""
    numbers = row["file"][1:]
    if len(numbers) == len(Mark._fields):
        return Done(Mark(*numbers), row.get("sha256", ""), folder_of(row))
    # A row of an older version: the same file if that has not been touched since the row's second.
    seconds = datetime.fromisoformat(row["time"]).timestamp() + 1 if "time" in row else 0.0
    same = tuple(numbers) == there[:2] and there.status / 1e9 <= seconds
    return Done(there if same else Mark(-1, -1, -1, -1), "", folder_of(row))


def is_same(known: Done, mark: Mark, sha256: str) -> bool:
    """Tells whether a file is still the picture that was inspected."""
    return known.sha256 == sha256 if known.sha256 else known.mark == mark
