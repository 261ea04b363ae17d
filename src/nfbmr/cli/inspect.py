"""The command `nfbmr inspect`: its words, and one call."""

from __future__ import annotations

import enum
import logging
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nfbmr.cli.arguments import (
    Address,
    DeviceOrRay,
    Engine,
    EngineName,
    ModelPath,
    Opened,
    RuntimeName,
    Threads,
    Workers,
    refuse_lost_rows,
    refuse_swapped,
    refuse_without_ray,
    where_to_write,
)
from nfbmr.cli.left_out import names, say_left_out
from nfbmr.errors import DataError, SettingsError
from nfbmr.system.words import counted, listed_counts

if TYPE_CHECKING:
    from nfbmr.inspection.rows import Format

_log = logging.getLogger(__name__)


_EXIT_CODES = (("unreadable", 3), ("defect", 1), ("look", 4))
"""The first that was found counts; 2 is for what cannot be done at all, 70 for our own faults."""


class RowFormat(enum.StrEnum):
    """The forms of `inspect`'s rows."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


_Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...",
        help="Pictures or folders; with --engine ray also globs, lists of paths (.txt, .csv, "
        ".parquet), s3:// and gs://.",
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        help="A folder, or a file .jsonl, .csv, .parquet or .txt; - prints. Over earlier rows of "
        "nfbmr alone, and into no model.",
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
        help="End with the first that applies: 3 a picture is unreadable, or left out of a folder "
        "as nfbmr does not read its format, 1 a defect was found, 4 a person is to look, 0 all are "
        "good. (2: it could not be done at all; 70: nfbmr itself failed.)",
    ),
]
_Tiles = Annotated[
    bool, typer.Option("--tiles", help="Insist on tiles; a model fitted so cuts them anyway.")
]
_PerPart = Annotated[
    int | None,
    typer.Option("--part", min=1, metavar="N", help="Pictures of a Parquet file on Ray."),
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
    device: DeviceOrRay = "auto",
    threads: Threads = None,
    engine: EngineName = Engine.local,
    address: Address = None,
    workers: Workers = None,
    part: _PerPart = None,
) -> None:
    """Judge pictures: good, look (for a person) or defect, how sure, and where."""
    refuse_swapped("inspect", model, [Path(path) for path in paths])
    refuse_without_ray(engine, address=address, workers=workers, part=part)
    opened = Opened(runtime=runtime, device=device, threads=threads, tiles=tiles)
    written: Format | None = form.value if form else None
    if engine is Engine.ray:
        from nfbmr.cli.archive import OnRay, holds_unread, inspect_on_ray

        where = OnRay(address=address, workers=workers, per_part=part, heatmaps=heatmaps)
        found = inspect_on_ray(model, paths, out, written, opened, where)
        found |= {"unreadable"} if exit_code and holds_unread(paths) else set()
    else:
        to = where_to_write(written, out)
        refuse_lost_rows(to[0], to[1], [Path(path) for path in paths])
        found = _inspect_here(model, paths, to, opened, heatmaps, exit_code)
    if exit_code:
        raise typer.Exit(next((code for what, code in _EXIT_CODES if what in found), 0))


def _inspect_here(
    model: Path,
    paths: list[str],
    where: tuple[Format, Path | None, Path | None],
    opened: Opened,
    heatmaps: bool,
    all_counts: bool,
) -> set[str]:
    """Inspects in this process; returns which verdicts there were, `unreadable` among them.

    Args:
        model: its directory.
        paths: pictures and folders.
        where: as of `where_to_write`.
        opened: how the model is opened.
        heatmaps: whether they are drawn.
        all_counts: whether it goes on though nobody reads its rows.
    """
    from nfbmr.cli.console import is_unread
    from nfbmr.inspection.heatmaps import Heatmaps
    from nfbmr.inspection.inspector import load
    from nfbmr.inspection.result import Failure
    from nfbmr.inspection.rows import open_writer, to_row

    chosen, rows_file, folder = where
    if heatmaps and folder is None:
        raise SettingsError("--heatmaps needs a place: give a folder with -o")
    pictures, is_one_unread = _pictures(paths)
    inspector = load(model, runtime=opened.runtime, device=opened.device, threads=opened.threads)
    opened.check_tiles(model, inspector.facts)
    drawn = (
        Heatmaps.of_one_run(folder, inspector.settings.data.white)
        if heatmaps and folder is not None
        else None
    )
    found: Counter[str] = Counter()
    with open_writer(chosen, rows_file) as write, drawn or nullcontext():
        for done, result in enumerate(inspector.inspect_many(pictures)):
            write(to_row(result, str(model)))
            if rows_file is None and is_unread() and not all_counts:
                raise typer.Exit
            if isinstance(result, Failure):
                found["unreadable"] += 1
                continue
            found[result.verdict] += 1
            if drawn is not None:
                # Short enough for a file system, whatever the letters.
                name = f"{done:06d}_{pictures[done].stem[:50]}"
                drawn.keep_soon(name, pictures[done], result)
    if rows_file is not None:
        beside = f"; heatmaps: {drawn.folder}" if drawn is not None else ""
        said = f" ({listed_counts(found)})" if found else ""
        _log.info("%s%s: %s%s", counted(len(pictures), "picture"), said, rows_file, beside)
    return {*found, "unreadable"} if is_one_unread else {*found}


def _pictures(paths: list[str]) -> tuple[list[Path], bool]:
    """Lists files as given, and the pictures of folders, ascending, but none made of others.

    Returns:
        Them, and whether a folder holds others that nfbmr does not read.
    """
    from nfbmr.data.derived import derived_of_others
    from nfbmr.data.folders import list_pictures

    pictures: list[Path] = []
    is_one_unread = False
    for word in paths:
        path = Path(word)
        if "://" in word:
            raise DataError(f"{word}: pictures in a store are read by --engine ray; name it, too")
        if path.is_dir():
            found, others = list_pictures(path, deep=True)
            is_one_unread |= say_left_out(path, others)
            if derived := derived_of_others(found):
                _say_derived(path, sorted(derived))
                found = [one for one in found if one not in derived]
            if not found:
                raise DataError(f"{path} holds no pictures; give pictures, or a folder with some")
            pictures += found
        elif not path.exists():
            raise DataError(f"{path} does not exist; give pictures, or a folder with some")
        else:
            pictures.append(path)
    return pictures, is_one_unread


def _say_derived(folder: Path, derived: list[Path]) -> None:
    _log.warning(
        "%s not inspected: %d in %s that by their names were made of others beside them: %s",
        "A picture is" if len(derived) == 1 else "Pictures are",
        len(derived),
        folder,
        names(derived, folder),
    )
