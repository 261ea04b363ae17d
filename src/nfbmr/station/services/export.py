"""The record as files: CSV, Parquet, and a zip with the pictures; made while they are sent.

However many rows and pictures there are, a few hundred rows or one picture are in memory at once.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nfbmr.errors import MissingExtraError
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.pictures import Pictures
from nfbmr.station.store.queries import Filter, Recorded
from nfbmr.system.files import spreadsheet_cell
from nfbmr.system.packages import how_to_install

if TYPE_CHECKING:
    import pyarrow

_AT_ONCE = 500  # rows
_GROUP = 5000  # rows of a Parquet file's group

CSV_COLUMNS = (
    *("id", "time", "model", "product", "part_id", "source", "actor", "name", "picture"),
    *("bundle", "calibration", "runtime", "threshold", "look_threshold", "score", "p_value"),
    *("verdict", "milliseconds", "label", "note", "labelled_by", "labelled_at"),
)
_NUMBERS = ("threshold", "look_threshold", "score", "p_value", "milliseconds")
_TIMES = ("time", "labelled_at")


def to_csv(store: Store, which: Filter, newest: int | None = None) -> Iterator[str]:
    """Yields a table of the rows that are wanted, the newest first, in pieces.

    Args:
        store: the record.
        which: the rows.
        newest: the highest number; by default whatever is there.

    Raises:
        StationError: the database does not answer.
    """
    yield _lines([CSV_COLUMNS])
    for rows in _groups(store, which, newest, _AT_ONCE):
        yield _lines([tuple(_cell(getattr(row, name)) for name in CSV_COLUMNS) for row in rows])


def to_zip(store: Store, pictures: Pictures, which: Filter) -> Iterator[bytes]:
    """Yields an archive of both tables and each kept picture, as `pictures/ID.ENDING`.

    The tables are `inspections.csv` and `inspections.parquet`; where pyarrow is not installed,
    `NO-PARQUET.txt` says so in the second one's place.

    Raises:
        StationError: the database does not answer.
    """
    sink, newest = _Sink(), store.read(queries.newest)
    with zipfile.ZipFile(sink, "w") as archive:
        with archive.open("inspections.csv", "w", force_zip64=True) as table:
            for lines in to_csv(store, which, newest):
                table.write(lines.encode())
                yield sink.taken()
        try:
            found = to_parquet(store, which, newest)
        except MissingExtraError as error:
            archive.writestr("NO-PARQUET.txt", f"{error}\n")
        else:
            with archive.open("inspections.parquet", "w", force_zip64=True) as table:
                for piece in found:
                    table.write(piece)
                    yield sink.taken()
        for rows in _groups(store, which, newest, _AT_ONCE):
            for row in rows:
                data = None if row.file is None else pictures.read(row.file)
                if data is not None:
                    archive.writestr(_entry(row), data)
                    yield sink.taken()
    yield sink.taken()


def to_parquet(store: Store, which: Filter, newest: int | None = None) -> Iterator[bytes]:
    """Yields a Parquet file of the rows that are wanted, the newest first: see `to_csv`.

    Raises:
        MissingExtraError: pyarrow is not installed; nothing is yielded before.
        StationError: the database does not answer.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise MissingExtraError(
            "pyarrow is not installed at the station, and Parquet needs it; "
            f"{how_to_install('parquet')}, or take CSV"
        ) from None
    groups = _groups(store, which, newest, _GROUP)
    return _parquet(groups, parquet, _schema(pyarrow))


def _parquet(
    groups: Iterator[list[Recorded]], parquet: Any, schema: pyarrow.Schema
) -> Iterator[bytes]:
    import pyarrow

    sink = _Sink()
    with parquet.ParquetWriter(pyarrow.PythonFile(sink, mode="w"), schema) as writer:
        for rows in groups:
            values = [_values(row) for row in rows]
            writer.write_table(pyarrow.Table.from_pylist(values, schema=schema))
            yield sink.taken()
    yield sink.taken()


def _schema(pyarrow: Any) -> pyarrow.Schema:
    kinds = dict.fromkeys((*CSV_COLUMNS, "regions"), pyarrow.string())
    kinds |= dict.fromkeys(_NUMBERS, pyarrow.float64())
    kinds |= dict.fromkeys(_TIMES, pyarrow.timestamp("us", tz="UTC"))
    return pyarrow.schema(list((kinds | {"id": pyarrow.int64()}).items()))


def _values(row: Recorded) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in CSV_COLUMNS}
    found |= {name: found[name] and datetime.fromisoformat(found[name]) for name in _TIMES}
    return found | {"regions": json.dumps(row.regions)}


def _groups(store: Store, which: Filter, newest: int | None, size: int) -> Iterator[list[Recorded]]:
    before = None if newest is None else newest + 1
    while rows := store.read(queries.page, which, before=before, limit=size):
        yield rows
        before = rows[-1].id


def _entry(row: Recorded) -> zipfile.ZipInfo:
    """Names a picture, which is compressed by itself; its time is that of the verdict, UTC."""
    ending = str(row.file).rpartition(".")[2]
    when = datetime.fromisoformat(row.time).timetuple()
    return zipfile.ZipInfo(f"pictures/{row.id}.{ending}", when[:6])


class _Sink(io.RawIOBase):
    """A file that is written from its beginning to its end, and taken away in pieces."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        """Returns what was written since the last time."""
        found = bytes(self._written)
        self._written.clear()
        return found


def _cell(value: object) -> object:
    return spreadsheet_cell(value) if isinstance(value, str) else value


def _lines(rows: list[tuple[object, ...]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()
