"""JPEG files of which bytes in the middle are lost or changed: libjpeg fills the picture with gray.

It says nothing that Pillow hears of, so what a whole file keeps is looked at: its compressed data
end where the picture does, restart markers count on, and nowhere are more zeros than a block can
have. The first is seen as the picture is decoded: the data's end is given only when the decoder
asks for it, and then the decoder must be content. All this needs all colours in one scan, as
cameras write them; of a progressive file nothing is seen but what libjpeg refuses by itself.

A file passes whose damage is of a few bits, or ends within what two restart markers enclose, or
where what was written over by chance makes as much of the picture as what was there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

_SOF, _HUFFMAN, _SCAN, _RESTART, _RST = 0xC0, 0xC4, 0xDA, 0xDD, 0xD0
_FRAMES = frozenset(range(_SOF, _SOF + 16)) - {_HUFFMAN, 0xC8, 0xCC}
_SLACK = 16  # bytes: some encoders fill up behind the picture
_FILLED = 4096  # bytes behind it that may be filled up by zeros or ones
_AHEAD = bytes(16)  # that the decoder wants to see before it takes what it needs
_HOLE = bytes(64)  # more zeros than a block can have
_DAMAGED = "bytes in its middle are lost or changed"


class WholeJpeg(JpegImageFile):
    """A JPEG whose `load` raises OSError where its compressed data are seen to be damaged."""

    _given: Iterator[bytes] | None = None
    _asked_for_the_end = True

    def load_read(self, read_bytes: int) -> bytes:
        """Gives the decoder what follows; the last bytes of the picture by themselves.

        Raises:
            OSError: they are not enough, or others are seen to be wrong.
        """
        if self._given is None:
            assert self.fp is not None
            data = self.fp.read()
            end = _end_of_picture(data)
            if end is None:
                self._given = _pieces(data, len(data), read_bytes)
            else:
                self._given = self._in_two(data, *end, read_bytes)
        return next(self._given, b"")

    def load_end(self) -> None:
        """Looks at how far the decoder came.

        Raises:
            OSError: it had the whole picture before the data's end.
        """
        super().load_end()
        if not self._asked_for_the_end:
            raise OSError(_DAMAGED)

    def _in_two(self, data: bytes, first: int, last: int, most: int) -> Iterator[bytes]:
        self._asked_for_the_end = False
        yield from _pieces(data, first, most)
        self._asked_for_the_end = True
        yield data[first:last] + _AHEAD
        raise OSError(_DAMAGED)


@dataclass(kw_only=True)
class _Header:
    """What the segments before the first scan say."""

    data: int = 0
    """Where the compressed data begin."""
    frame: int = 0
    """The marker of the frame: 0xC0 and 0xC1 are sequential, by Huffman's code."""
    size: tuple[int, int] = (0, 0)
    """(H, W) in pixels."""
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Component -> its blocks in a unit, (down, across)."""
    interval: int = 0
    """Units between two restart markers; 0 without any."""
    first_symbols: dict[int, int] = field(default_factory=dict)
    """Class and number of a table -> what zeros alone mean in it."""
    scanned: tuple[int, ...] = ()
    """Components of the first scan."""
    table: int = 0
    """Of the first component's detail."""

    @property
    def is_one_scan(self) -> bool:
        """Whether the first scan is the whole picture."""
        return self.frame in {_SOF, _SOF + 1} and len(self.scanned) == len(self.sampling)

    @property
    def units(self) -> int:
        """Units of the scan, between which restart markers may stand."""
        down = across = 1
        if len(self.sampling) > 1:
            down = max(one for one, _ in self.sampling.values())
            across = max(one for _, one in self.sampling.values())
        return -(-self.size[0] // (8 * down)) * -(-self.size[1] // (8 * across))


def _end_of_picture(data: bytes) -> tuple[int, int] | None:
    """Finds where the last bytes of the compressed data begin, and where they end.

    Returns:
        None where the end cannot be looked at: there is none, or the file has several scans.

    Raises:
        OSError: markers or zeros show that bytes are lost or changed.
    """
    header = _header(data)
    if header is None or not header.is_one_scan:
        return None
    codes, places = _markers(data, header.data)
    is_restart = (codes & 0xF8) == _RST
    others = places[~is_restart]
    if not len(others) or data.find(b"\xff\xd9", last := int(others[0])) < 0:
        return None
    if header.interval and header.size[0]:
        _check_restarts(codes[is_restart & (places < last)], header)
    # Behind the picture some encoders fill up with either.
    near = max(header.data, last - _FILLED)
    end = near + len(data[near:last].rstrip(b"\0\xff"))
    if header.first_symbols.get(0x10 | header.table) and data.find(_HOLE, header.data, end) >= 0:
        raise OSError(_DAMAGED)
    return max(header.data, end - _SLACK), last


def _markers(data: bytes, start: int) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Finds what is no compressed data behind `start`: the codes (N,) and their places (N,)."""
    values = np.frombuffer(data, np.uint8)
    places = start + np.flatnonzero(values[start:-1] == 0xFF)
    codes = values[places + 1]
    are_markers = (codes != 0) & (codes != 0xFF)
    return codes[are_markers], places[are_markers]


def _check_restarts(codes: NDArray[np.uint8], header: _Header) -> None:
    expected = -(-header.units // header.interval) - 1
    in_order = (_RST + np.arange(len(codes)) % 8 == codes).all()
    if not in_order or len(codes) not in {expected, expected + 1}:  # some write one at the end
        raise OSError(_DAMAGED)


def _header(data: bytes) -> _Header | None:
    """Reads the segments before the first scan; None where they are not as they should be."""
    header, place = _Header(), 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        kind = data[place + 1]
        if kind == 0xFF:  # fills up
            place += 1
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        body, place = data[place + 4 : place + 2 + length], place + 2 + length
        try:
            if kind in _FRAMES:
                header.frame = kind
                header.size = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
                header.sampling = {
                    body[i]: (body[i + 1] & 15, body[i + 1] >> 4)
                    for i in range(6, 6 + 3 * body[5], 3)
                }
            elif kind == _HUFFMAN:
                _note_tables(body, header)
            elif kind == _RESTART:
                header.interval = int.from_bytes(body[:2], "big")
            elif kind == _SCAN:
                header.data, header.scanned = place, tuple(body[1 : 1 + 2 * body[0] : 2])
                header.table = body[2] & 15
                return header if header.sampling else None
        except IndexError:
            return None
    return None


def _note_tables(body: bytes, header: _Header) -> None:
    place = 0
    while place < len(body):
        header.first_symbols[body[place]] = body[place + 17]
        place += 17 + sum(body[place + 1 : place + 17])


def _pieces(data: bytes, end: int, most: int) -> Iterator[bytes]:
    for place in range(0, end, most):
        yield data[place : min(place + most, end)]
