"""`results.jsonl`: a row per data set, category, system and seed, written as each finishes.

A row that is there is never computed again while its mark is the same: the mark names settings,
weights and pictures. Of several rows with the same four keys the last one counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from nfbmr.data.layouts import DataSet
from nfbmr.errors import DataError

Row = dict[str, Any]


class Key(NamedTuple):
    """What a row is about."""

    dataset: str
    """`mvtec`, `dagm` or `other`."""
    category: str
    system: str
    seed: int


def key_of(row: Row) -> Key:
    """Returns the four keys of a row."""
    return Key(row["dataset"], row["category"], row["system"], row["seed"])


class Ledger:
    """The rows of one results folder; each is on disk before the next one is computed."""

    def __init__(self, path: Path) -> None:
        """Reads the rows that earlier runs left; a last line cut short by a kill is mended.

        It is dropped where it is no row, and ended where only its end is missing.

        Raises:
            DataError: a line in the middle is no row: somebody else's file, or a damaged one.
        """
        self.path = path
        self._rows: dict[Key, Row] = {}
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                self._rows[key_of(row)] = row
            except (ValueError, KeyError, TypeError):
                if number == len(lines) and not line.endswith(b"\n"):
                    os.truncate(path, path.stat().st_size - len(line))
                    break
                raise DataError(
                    f"{path}: line {number} is no row of results; expected JSON with dataset, "
                    "category, system and seed. Choose another folder with -o, or move the file"
                ) from None
        else:
            if lines and not lines[-1].endswith(b"\n"):
                with path.open("ab") as stream:
                    stream.write(b"\n")

    def has(self, key: Key, mark: str) -> bool:
        """Whether there is a row of these keys and this mark."""
        row = self._rows.get(key)
        return row is not None and row.get("mark") == mark

    def rows(self, wanted: Iterable[Key]) -> list[Row]:
        """Returns the rows of these keys that are there, in the order asked for."""
        return [self._rows[key] for key in wanted if key in self._rows]

    def add(self, row: Row) -> None:
        """Appends a row and flushes it to disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, allow_nan=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._rows[key_of(row)] = row


def data_mark(found: DataSet) -> str:
    """Names the pictures by their paths below the root, and their lengths."""
    digest = hashlib.sha256()
    for sample in found.samples:
        for path in filter(None, (sample.path, sample.mask)):
            inside = path.is_relative_to(found.root)
            name = path.relative_to(found.root).as_posix() if inside else path.as_posix()
            digest.update(f"{name} {path.stat().st_size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
