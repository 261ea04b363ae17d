"""The pictures of a run, written down once, and cut into parts: one JSON string a line."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nfbmr.system.files import flushed_beside

_FEWEST, _USUAL, _MOST = 16, 500, 10_000  # pictures of a part
_PARTS_EACH = 8  # of a worker, where there are few pictures
_PARTS = 10_000  # that are fine as files of one folder


@dataclass(frozen=True)
class Part:
    """Neighbouring lines of a listing."""

    number: int
    offset: int
    """Of its first line in the file, in bytes."""
    pictures: int


class Listing:
    """A listing on disk. Of each part it holds where that begins, 8 bytes."""

    def __init__(self, file: Path, pictures: int, per_part: int) -> None:
        """Finds where the parts begin.

        Raises:
            OSError: it cannot be read.
        """
        self.file, self.pictures, self.per_part = file, pictures, per_part
        self._offsets = array("Q")
        at = 0
        with file.open("rb") as lines:
            for number, line in enumerate(lines):
                if number % per_part == 0:
                    self._offsets.append(at)
                at += len(line)

    def __len__(self) -> int:
        """Returns how many parts there are."""
        return len(self._offsets)

    def part(self, number: int) -> Part:
        """Returns a part, counted from 0."""
        pictures = min(self.per_part, self.pictures - number * self.per_part)
        return Part(number, self._offsets[number], pictures)


def write_listing(file: Path, pictures: Iterable[str]) -> int:
    """Writes a listing, whole or not at all; returns how many pictures it has.

    Raises:
        OSError: it cannot be written.
    """
    count = 0
    with (
        flushed_beside(file) as beside,
        beside.open("w", encoding="ascii", newline="\n") as stream,
    ):
        for picture in pictures:
            stream.write(json.dumps(picture) + "\n")
            count += 1
    return count


def read_part(file: Path, part: Part) -> list[str]:
    """Reads the pictures of one part.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        stream.seek(part.offset)
        return [json.loads(stream.readline()) for _ in range(part.pictures)]


def per_part(pictures: int, workers: int) -> int:
    """Chooses how many pictures a part has: what a kill costs at most, and a file holds."""
    if pictures > _USUAL * _PARTS:
        return min(_MOST, -(-pictures // _PARTS))
    return max(_FEWEST, min(_USUAL, -(-pictures // (_PARTS_EACH * workers))))
