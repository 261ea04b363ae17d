"""Rows that wait on the disk until they are delivered: a folder with a file for each of them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from nfbmr.system.files import flushed_beside

Row = dict[str, Any]

_REFUSED = ".refused"


class Outbox:
    """A folder of rows; what is put into it is there after a kill or a power loss, too."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is absent.

        Raises:
            OSError: it cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def put(self, row: Row) -> None:
        """Keeps a row, which has an `id`.

        Raises:
            OSError: it cannot be written.
            ValueError: it holds a number that JSON has not.
        """
        file = self.folder / f"{time.time_ns():020d}-{row['id']}.json"
        with flushed_beside(file) as beside:
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

    def take_away(self, file: Path) -> None:
        """Forgets what was delivered."""
        file.unlink(missing_ok=True)

    def set_aside(self, file: Path) -> None:
        """Keeps what was refused, and sends it no more."""
        file.rename(file.with_name(f"{file.name}{_REFUSED}"))
