"""Arguments that several commands share, and where rows go."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from nfbmr.inspection.rows import FORMATS, Format

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
    """Returns the rows' form, their file (None: standard output), and the heatmaps' folder."""
    if out is None:
        return form or "table", None, None
    named: Format | None = next((f for f in FORMATS if out.suffix.lower() == f".{f}"), None)
    if named is not None:
        return form or named, out, out.with_name(f"{out.stem}_heatmaps")
    chosen = form or "jsonl"
    suffix = "txt" if chosen == "table" else chosen
    return chosen, out / f"results.{suffix}", out / "heatmaps"
