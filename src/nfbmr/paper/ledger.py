"""`results.jsonl`: a row per data set, category, system and seed, written as each finishes.

A row that is there is never computed again while its mark is the same: the mark names settings,
weights and pictures. Of several rows with the same four keys the last one counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from nfbmr.data.layouts import DataSet
from nfbmr.errors import DataError
from nfbmr.system.locks import locked_file

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


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps a second run out of a results folder; a killed run leaves no lock behind.

    Raises:
        DataError: another run is using it.
    """
    with locked_file(folder / ".lock") as free:
        if not free:
            raise DataError(
                f"{folder}: another run is writing there; wait for it, or choose another folder "
                "with -o"
            )
        yield


class Ledger:
    """The rows of one results folder; each is on disk before the next one is computed."""

    def __init__(self, path: Path) -> None:
        """Reads the rows that earlier runs left, and changes nothing.

        A last line that a kill cut short is mended once a row is added: dropped where it is no
        row, and ended where only its end is missing.

        Raises:
            DataError: a line in the middle is no row: somebody else's file, or a damaged one.
        """
        self.path = path
        self._rows: dict[Key, Row] = {}
        self._cut_off = 0  # bytes of a last line that is no row
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                self._rows[key_of(row)] = row
            except (ValueError, KeyError, TypeError, RecursionError):
                if number == len(lines) and not line.endswith(b"\n"):
                    self._cut_off = len(line)
                    break
                raise DataError(
                    f"{path}: line {number} is no row of results; expected JSON with dataset, "
                    "category, system and seed. Choose another folder with -o, or move the file"
                ) from None
        self._lacks_end = bool(lines) and not lines[-1].endswith(b"\n") and not self._cut_off

    def has(self, key: Key, mark: str) -> bool:
        """Whether there is a row of these keys and this mark."""
        row = self._rows.get(key)
        return row is not None and row.get("mark") == mark

    def rows(self, wanted: Iterable[Key]) -> list[Row]:
        """Returns the rows of these keys that are there, in the order asked for."""
        return [self._rows[key] for key in wanted if key in self._rows]

    def add(self, row: Row) -> None:
        """Appends a row and flushes it to disk."""
        line = json.dumps(row, allow_nan=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._cut_off:
            os.truncate(self.path, self.path.stat().st_size - self._cut_off)
        start = "\n" if self._lacks_end else ""
        self._cut_off, self._lacks_end = 0, False
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(start + line)
            stream.flush()
            os.fsync(stream.fileno())
        self._rows[key_of(row)] = row


def data_mark(found: DataSet) -> str:
    """Names the pictures: paths below the root, lengths, labels and which side of the split."""
    digest = hashlib.sha256()
    for sample in found.samples:
        digest.update(f"{sample.split} {sample.defect}\n".encode("utf-8", "surrogateescape"))
        for path in (sample.path, *sample.masks):
            inside = path.is_relative_to(found.root)
            name = path.relative_to(found.root).as_posix() if inside else path.as_posix()
            digest.update(f"{name} {path.stat().st_size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
