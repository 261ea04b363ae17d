"""The command `nfbmr inspect`: its words, and one call."""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.arguments import (
    ENDINGS,
    Device,
    ModelPath,
    RuntimeName,
    Threads,
    refuse_swapped,
    where_to_write,
)
from nfbmr.errors import DataError, SettingsError
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)


_EXIT_CODES = (("unreadable", 3), ("defect", 1), ("look", 4))
"""The first that was found counts; 2 is for what cannot be done at all."""

_ROWS = frozenset(ENDINGS.values())
_MOST_NAMED = 10


class RowFormat(enum.StrEnum):
    """The forms of `inspect`'s rows."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


_Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures or folders.")]
_Out = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", help="A folder, or a file .jsonl, .csv, .parquet or .txt; - prints."
    ),
]
_Form = Annotated[
    RowFormat | None,
    typer.Option("--format", help="[default: table; with -o by the file's name, or jsonl]"),
]
_Drawn = Annotated[
    bool, typer.Option("--heatmaps", help="Also write each picture's heatmap (needs -o).")
]
_ExitCode = Annotated[
    bool,
    typer.Option(
        "--exit-code",
        help="End with the first that applies: 3 a picture is unreadable, 1 a defect was found, "
        "4 a person is to look, 0 all are good. (2: it could not be done at all.)",
    ),
]
_Tiles = Annotated[
    bool, typer.Option("--tiles", help="Insist on tiles; a model fitted so cuts them anyway.")
]


def inspect(
    model: ModelPath,
    paths: _Paths,
    out: _Out = None,
    form: _Form = None,
    heatmaps: _Drawn = False,
    exit_code: _ExitCode = False,
    tiles: _Tiles = False,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Judge pictures: good, look (for a person) or defect, how sure, and where."""
    from nfbmr.cli.console import StandardOutput
    from nfbmr.inspection.heatmaps import Heatmaps
    from nfbmr.inspection.inspector import load
    from nfbmr.inspection.result import Failure
    from nfbmr.inspection.rows import open_writer, to_row

    refuse_swapped("inspect", model, paths)
    chosen, rows_file, folder = where_to_write(form.value if form else None, out)
    if heatmaps and folder is None:
        raise SettingsError("--heatmaps needs a place: give a folder with -o")
    pictures = list(_pictures(paths))
    inspector = load(model, runtime=runtime, device=device, threads=threads)
    if tiles and inspector.facts.whole is None:
        raise SettingsError(
            f"{model} learnt whole pictures, and where on them a place lies: to a tile that means "
            "nothing. Learn tiles: nfbmr fit DATA -o MODEL --tiles"
        )
    drawn = (
        Heatmaps.of_one_run(folder, inspector.settings.data.white)
        if heatmaps and folder is not None
        else None
    )
    found: set[str] = set()
    terminal = StandardOutput()
    with open_writer(chosen, rows_file, terminal) as write, drawn or nullcontext():
        for done, result in enumerate(inspector.inspect_many(pictures)):
            write(to_row(result, str(model)))
            if terminal.unread and not exit_code:
                raise typer.Exit
            if isinstance(result, Failure):
                found.add("unreadable")
                continue
            found.add(result.verdict)
            if drawn is not None:
                # Short enough for a file system, whatever the letters.
                name = f"{done:06d}_{pictures[done].stem[:50]}"
                drawn.keep_soon(name, pictures[done], result)
    if rows_file is not None:
        beside = f"; heatmaps: {drawn.folder}" if drawn is not None else ""
        _log.info("%s: %s%s", counted(len(pictures), "picture"), rows_file, beside)
    if exit_code:
        raise typer.Exit(next((code for what, code in _EXIT_CODES if what in found), 0))


def _pictures(paths: list[Path]) -> Iterator[Path]:
    """Yields files as given, and the pictures of folders, ascending, but none drawn by nfbmr."""
    from nfbmr.data.folders import list_pictures

    for path in paths:
        if path.is_dir():
            found, others = list_pictures(path, deep=True)
            _say_left_out(path, others)
            if not found:
                raise DataError(f"{path} holds no pictures; give pictures, or a folder with some")
            yield from found
        elif not path.exists():
            raise DataError(f"{path} does not exist; give pictures, or a folder with some")
        else:
            yield path


def _say_left_out(folder: Path, others: list[Path]) -> None:
    """Names the files of a folder that are not inspected, but for rows that nfbmr wrote."""
    from nfbmr.data.images import IMAGE_SUFFIXES

    left = [path for path in others if path.suffix.lower() not in _ROWS]
    if not left:
        return
    named = ", ".join(str(path.relative_to(folder)) for path in left[:_MOST_NAMED])
    more = f" and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
    _log.warning(
        "%s not inspected: %d in %s that by their names are no pictures (%s): %s%s",
        "A file is" if len(left) == 1 else "Files are",
        len(left),
        folder,
        ", ".join(sorted(IMAGE_SUFFIXES)),
        named,
        more,
    )
