"""Rows of `inspect`: as a table to read, JSONL, CSV or Parquet, to standard output or a file."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

from nfbmr.errors import MissingExtraError, SettingsError
from nfbmr.inspection.places import header_of
from nfbmr.inspection.regions import in_words
from nfbmr.inspection.result import Failure, Inspection
from nfbmr.scoring.looks import LOOKS
from nfbmr.system.files import escaped, one_line, spreadsheet_cell, written_beside
from nfbmr.system.packages import how_to_install
from nfbmr.system.words import without_path

Format = Literal["table", "jsonl", "csv", "parquet"]
COLUMNS = (
    *("path", "verdict", "score", "p_value", "is_defect", "threshold", "look_threshold"),
    *(*LOOKS, "regions", "model", "error"),
)
_NUMBERS = ("score", "p_value", "threshold", "look_threshold", *LOOKS)
_PARQUET_ROWS = 1024
_MOST_LETTERS = 2**24  # of a first line

Row = dict[str, Any]


class Writer(Protocol):
    """Takes rows as they come."""

    def __call__(self, row: Row) -> object:
        """Writes one row."""
        ...


def to_row(result: Inspection | Failure, model: str) -> Row:
    """Returns the `COLUMNS` of a verdict, or `path, error`."""
    if isinstance(result, Failure):
        path = None if result.path is None else escaped(result.path)
        return {"path": path, "error": escaped(result.error)}
    row = result.to_dict() | {"model": escaped(model)}
    if result.path is not None:
        row["path"] = escaped(result.path)
    return {column: row[column] for column in COLUMNS if column in row}


@contextmanager
def open_writer(form: Format, path: Path | None) -> Iterator[Writer]:
    """Opens a writer; a file is written beside and renamed at the end, so it is whole or absent.

    Args:
        form: of the rows.
        path: a file, or None for what is printed.

    Raises:
        SettingsError: Parquet to standard output.
        MissingExtraError: pyarrow is not installed.
    """
    if path is None:
        if form == "parquet":
            raise SettingsError("Parquet cannot go to standard output; give a file with -o")
        yield _text_writer(form, sys.stdout)
        return
    with written_beside(path) as beside:
        if form == "parquet":
            with _parquet_writer(beside) as write:
                yield write
        else:
            with beside.open("w", encoding="utf-8", newline="") as stream:
                yield _text_writer(form, stream)


def _text_writer(form: Format, stream: TextIO) -> Writer:
    if form == "jsonl":
        return lambda row: print(json.dumps(row, allow_nan=False), file=stream, flush=True)
    if form == "csv":
        table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        table.writeheader()
        return lambda row: table.writerow(
            {k: spreadsheet_cell(v) if isinstance(v, str) else v for k, v in flat(row).items()}
        )
    print(f"{'verdict':<8} {'score':>8} {'p-value':>8}  path", file=stream, flush=True)
    return lambda row: print(_table_line(row), file=stream, flush=True)


def _table_line(row: Row) -> str:
    path = one_line(str(row["path"]))
    if "error" in row:
        why = without_path(one_line(row["error"]), path)
        return f"{'ERROR':<8} {'':>8} {'':>8}  {path}: {why}"
    verdict = "DEFECT" if row["is_defect"] else row["verdict"]
    places = in_words([region["box"] for region in row.get("regions", ())])
    where = f"{path}: {places}" if places else path
    return f"{verdict:<8} {row['score']:>z8.2f} {row['p_value']:>8.3f}  {where}"


def wrote(form: Format, path: Path) -> bool:
    """Whether a file's first line, or its schema, is that of rows as `open_writer` writes them.

    Rows of older versions have fewer columns. Without pyarrow every file passes for Parquet.

    Raises:
        OSError: the file cannot be read.
    """
    if form == "parquet":
        return _wrote_parquet(path)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        line = stream.readline(_MOST_LETTERS)
    if form == "table":
        return line.split()[-3:] == ["score", "p-value", "path"]
    if form == "csv":
        return _are_ours(header_of(line))
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and _are_ours(list(row))


def _wrote_parquet(path: Path) -> bool:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:  # and so none can be written, which is said then
        return True
    try:
        return _are_ours(pq.read_schema(path).names)
    except pa.ArrowException:
        return False
    except OSError as error:
        if error.errno is not None:
            raise
        return False  # a damaged head, as Arrow says it


def _are_ours(names: list[str]) -> bool:
    return "path" in names and ("score" in names or "error" in names) and set(names) <= {*COLUMNS}


def flat(row: Row) -> Row:
    """Returns a row for a table of cells: its regions as JSON, short enough for a spreadsheet's."""
    if "regions" not in row:
        return row
    return row | {"regions": json.dumps(row["regions"], separators=(",", ":"))}


def parquet_schema(*more: str) -> Any:
    """Returns the types of the `COLUMNS` in Parquet, and of more columns of text; needs pyarrow."""
    import pyarrow as pa

    kinds = {"is_defect": pa.bool_()} | dict.fromkeys(_NUMBERS, pa.float64())
    return pa.schema([(name, kinds.get(name, pa.string())) for name in (*COLUMNS, *more)])


@contextmanager
def _parquet_writer(path: Path) -> Iterator[Writer]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise MissingExtraError(
            f"pyarrow is not installed; {how_to_install('parquet')}; or use --format csv"
        ) from None
    schema = parquet_schema()
    rows: list[Row] = []
    with pq.ParquetWriter(path, schema) as table:

        def flush() -> None:
            table.write_table(pa.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def write(row: Row) -> None:
            rows.append(flat(row))
            if len(rows) >= _PARQUET_ROWS:
                flush()

        yield write
        flush()
