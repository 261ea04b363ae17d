"""The command `nfbmr inspect`: its words, and one call."""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nfbmr.cli.arguments import Device, ModelPath, RuntimeName, Threads, where_to_write
from nfbmr.errors import DataError, SettingsError

if TYPE_CHECKING:
    from nfbmr.inspection.result import Inspection

_log = logging.getLogger(__name__)


_EXIT_CODES = (("unreadable", 3), ("defect", 1), ("look", 4))
"""The first that was found counts; 2 is for what cannot be done at all."""


class RowFormat(enum.StrEnum):
    """The forms of `inspect`'s rows."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


def inspect(
    model: ModelPath,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures or folders.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A folder, or a file .jsonl, .csv or .parquet."),
    ] = None,
    form: Annotated[
        RowFormat | None,
        typer.Option("--format", help="[default: table; with -o by the file's name, or jsonl]"),
    ] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Also write each picture's heatmap (needs -o).")
    ] = False,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="End with the first that applies: 3 a picture is unreadable, 1 a defect was "
            "found, 4 a person is to look, 0 all are good. (2: it could not be done at all.)",
        ),
    ] = False,
    tiles: Annotated[
        bool, typer.Option("--tiles", help="Insist on tiles; a model fitted so cuts them anyway.")
    ] = False,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Judge pictures: good, look (for a person) or defect, how sure, and where."""
    from nfbmr.inspection.inspector import load
    from nfbmr.inspection.result import Failure
    from nfbmr.inspection.rows import open_writer, to_row

    if heatmaps and out is None:
        raise SettingsError("--heatmaps needs a place: give a folder with -o")
    chosen, rows_file, folder = where_to_write(form.value if form else None, out)
    pictures = list(_pictures(paths))
    inspector = load(model, runtime=runtime, device=device, threads=threads)
    if tiles and inspector.facts.whole is None:
        raise SettingsError(
            f"{model} learnt whole pictures, and where on them a place lies: to a tile that means "
            "nothing. Learn tiles: nfbmr fit DATA -o MODEL --tiles"
        )
    found: set[str] = set()
    with open_writer(chosen, rows_file) as write:
        for done, result in enumerate(inspector.inspect_many(pictures)):
            write(to_row(result, str(model)))
            if isinstance(result, Failure):
                found.add("unreadable")
                continue
            found.add(result.verdict)
            if heatmaps and folder is not None:
                _write_heatmap(folder, done, pictures[done], result)
    if rows_file is not None:
        beside = f"; heatmaps: {folder}" if heatmaps else ""
        _log.info("%d pictures: %s%s", len(pictures), rows_file, beside)
    if exit_code:
        raise typer.Exit(next((code for what, code in _EXIT_CODES if what in found), 0))


def _pictures(paths: list[Path]) -> Iterator[Path]:
    """Yields files as given, and the pictures of folders, ascending."""
    from nfbmr.data.folders import list_pictures

    for path in paths:
        if path.is_dir():
            found, _ = list_pictures(path, deep=True)
            if not found:
                raise DataError(f"{path} holds no pictures; give pictures, or a folder with some")
            yield from found
        elif not path.exists():
            raise DataError(f"{path} does not exist; give pictures, or a folder with some")
        else:
            yield path


def _write_heatmap(folder: Path, number: int, path: Path, result: Inspection) -> None:
    from nfbmr.data.images import read_image
    from nfbmr.inspection.pictures import write_heatmap

    folder.mkdir(parents=True, exist_ok=True)
    # Short enough for a file system, whatever the letters.
    write_heatmap(folder / f"{number:06d}_{path.stem[:50]}.png", read_image(path), result)
