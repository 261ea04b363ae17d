"""Rows that wait on the disk until they are delivered: a folder with a file for each of them.

Whoever may write into the folder may have rows sent, so it is its owner's alone, as far as the file
system has owners. What lies there and is no row that was put there by its name is never sent.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from pathlib import Path
from typing import Any

from nfbmr.errors import DataError
from nfbmr.system.files import NOT_PLAIN, flushed_beside, plain_file, printable, reason_of

_log = logging.getLogger(__name__)

Row = dict[str, Any]

_REFUSED = ".refused"
_MOST_BYTES = 16 * 10**6  # of a row


class Outbox:
    """A folder of rows; what is put into it is there after a kill or a power loss, too."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is absent, and its owner's alone.

        Raises:
            DataError: a link is in its place.
            OSError: it cannot be made.
        """
        if folder.is_symlink():
            raise DataError(
                f"{folder}: found a link; expected a folder of its own for rows that wait; take "
                "the link away, or name another log"
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        if os.name != "nt":
            _keep_others_out(folder)

    def put(self, row: Row) -> None:
        """Keeps a row, which has an `id`.

        Raises:
            OSError: it cannot be written.
            ValueError: it holds a number that JSON has not.
        """
        file = self.folder / f"{time.time_ns():020d}-{row['id']}.json"
        with flushed_beside(file, 0o600) as beside:
            beside.write_text(json.dumps(row, allow_nan=False), encoding="utf-8")

    def waiting(self) -> list[Path]:
        """Returns the files that wait, the oldest first."""
        return sorted(self.folder.glob("[0-9]*-*.json"))

    def refused(self) -> list[Path]:
        """Returns the files that a receiver refused: a person may look at them."""
        return sorted(self.folder.glob(f"*{_REFUSED}"))

    def id_of(self, file: Path) -> str:
        """Returns the `id` of the row in a file."""
        return file.stem.partition("-")[2]

    def read(self, file: Path) -> bytes:
        """Returns what waits in a file.

        Raises:
            DataError: it is no row that was put here.
            OSError: it cannot be read now.
        """
        expected = "expected a row that was put here, with the id of its name"
        try:
            with plain_file(file, follow=False) as stream:
                body = stream.read(_MOST_BYTES + 1)
        except OSError as error:
            if error.errno in NOT_PLAIN:
                raise DataError(f"found no plain file; {expected}") from None
            raise
        if len(body) > _MOST_BYTES:
            raise DataError(f"found more than {_MOST_BYTES // 10**6} megabytes; {expected}")
        name = self.id_of(file)
        try:
            row = json.loads(body)
        except (ValueError, RecursionError):
            row = None
        sent = name.isascii() and name.isprintable()  # it goes into a header
        if not sent or not isinstance(row, dict) or str(row.get("id")) != name:
            raise DataError(f"found something else; {expected}")
        return body

    def take_away(self, file: Path) -> None:
        """Forgets what was delivered."""
        file.unlink(missing_ok=True)

    def set_aside(self, file: Path) -> None:
        """Keeps what was refused, and sends it no more."""
        file.rename(file.with_name(f"{file.name}{_REFUSED}"))


def _keep_others_out(folder: Path) -> None:
    """Makes a folder its owner's alone; says where that cannot be, as on some network drives."""
    why = ""
    try:
        if stat.S_IMODE(folder.stat().st_mode) & 0o077:
            folder.chmod(0o700)
        others = folder.stat().st_mode & 0o022
    except OSError as error:
        others, why = 0o022, f" ({reason_of(error)})"
    if others:
        text = (
            f"{folder}: others may write into it{why}, and what they put there is sent; name a log "
            "in a folder that only this program may write"
        )
        _log.warning("%s", printable(text))
