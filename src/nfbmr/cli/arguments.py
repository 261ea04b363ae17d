"""Arguments that several commands share, and where rows go."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nfbmr.errors import SettingsError

if TYPE_CHECKING:
    from nfbmr.inspection.rows import Format

ENDINGS: dict[Format, str] = {
    "table": ".txt",
    "jsonl": ".jsonl",
    "csv": ".csv",
    "parquet": ".parquet",
}
"""Of files of rows."""

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model directory.")]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:1, ... auto is CUDA where it is, but for the small networks "
        "that come with nfbmr."
    ),
]
RuntimeName = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="NAME",
        help="auto, torch, onnx, openvino or tensorrt; auto takes the fastest fp32 that is here. "
        "With another precision: openvino:int8.",
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="For one picture. [default: all cores]")]


class Preset(enum.StrEnum):
    """The presets by name."""

    fast = "fast"
    accurate = "accurate"
    paper = "paper"


def where_to_write(
    form: Format | None, out: Path | None
) -> tuple[Format, Path | None, Path | None]:
    """Returns the rows' form, their file (None: standard output), and the heatmaps' folder.

    Raises:
        SettingsError: `out` has an ending that no form of rows has, and is no folder either.
    """
    if out is None or str(out) == "-":
        return form or "table", None, None
    ending = out.suffix.lower()
    named = next((known for known, its in ENDINGS.items() if ending == its), None)
    if named is not None and not out.is_dir():
        return form or named, out, out.with_name(f"{out.stem}_heatmaps")
    if not out.is_dir() and any(letter.isalpha() for letter in ending):
        raise SettingsError(
            f"-o {out}: rows go to a file that ends in {', '.join(ENDINGS.values())}, or to a "
            f"folder; {ending} is none of these endings, and there is no such folder (make it "
            "first, if a folder is meant)"
        )
    chosen = form or "jsonl"
    return chosen, out / f"results{ENDINGS[chosen]}", out / "heatmaps"
