"""Arguments that several commands share, and where rows go."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nfbmr.errors import SettingsError
from nfbmr.settings.text import parse_rate
from nfbmr.system.words import quoted

if TYPE_CHECKING:
    from nfbmr.inspection.rows import Format
    from nfbmr.model.facts import Facts

ENDINGS: dict[Format, str] = {
    "table": ".txt",
    "jsonl": ".jsonl",
    "csv": ".csv",
    "parquet": ".parquet",
}
"""Of files of rows."""

_OF_FILES = frozenset(
    {*ENDINGS.values(), ".tsv", ".json", ".html", ".pdf", ".png", ".jpg", ".zip", ".onnx"}
)
"""Endings that no folder is given unawares."""


def _false_alarm_rate(text: str) -> float:
    return parse_rate("--false-alarm-rate", text)


def _look_rate(text: str) -> float:
    return parse_rate("--look-rate", text)


FalseAlarmRate = Annotated[
    float | None,
    typer.Option(
        parser=_false_alarm_rate,
        metavar="RATE",
        help="Share of good pictures that may be called defects, such as 0.05 or 5%. "
        "[default: 0.01; of a model the rate now in force]",
    ),
]
LookRate = Annotated[
    float | None,
    typer.Option(
        parser=_look_rate,
        metavar="RATE",
        help="Share of good pictures that may be sent to a person, false alarms included. "
        "[default: 0.05; of a model the rate now in force]",
    ),
]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model directory.")]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:1, ... auto is CUDA where it is, but for the small networks "
        "that come with nfbmr."
    ),
]
DeviceOrRay = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:1, ... auto is CUDA where it is, but for the small networks "
        "that come with nfbmr; with --engine ray it is the CPU."
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
Secret = Annotated[
    str | None,
    typer.Option(
        envvar="NFBMR_WEBHOOK_SECRET",
        metavar="TEXT",
        help="Signs what is sent; better given by the environment, where other users cannot "
        "read it.",
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="For one picture. [default: all cores]")]


class Engine(enum.StrEnum):
    """Where pictures are judged."""

    local = "local"
    ray = "ray"


class Preset(enum.StrEnum):
    """The presets by name."""

    fast = "fast"
    accurate = "accurate"
    paper = "paper"


EngineName = Annotated[
    Engine,
    typer.Option("--engine", help="ray: on all cores, or on a cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Of a Ray cluster, or auto for the one that 'ray start' made here. [default: none]",
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes on Ray. [default: one a CPU, or a GPU]")
]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The words that say how a model is opened."""

    runtime: str
    device: str
    threads: int | None
    tiles: bool

    def check_tiles(self, model: Path, facts: Facts) -> None:
        """Refuses to cut tiles for a model that learnt none.

        Raises:
            SettingsError: tiles were insisted on, and it did.
        """
        if self.tiles and facts.whole is None:
            raise SettingsError(
                f"{model} learnt whole pictures, and where on them a place lies: to a tile that "
                "means nothing. Learn tiles: nfbmr fit DATA -o MODEL --tiles"
            )


def refuse_swapped(command: str, model: Path, others: Sequence[Path]) -> None:
    """Says that the model comes first, where one was given behind it or instead of pictures.

    Raises:
        SettingsError: it was.
    """
    from nfbmr.model.folder import is_bundle

    found = next((path for path in others if is_bundle(path)), None)
    if found is None:
        return
    if is_bundle(model):
        raise SettingsError(
            f"{found} is a model, as {model} is: one was expected, and behind it pictures or rows, "
            f"as 'nfbmr {command} --help' says; give those"
        )
    rest = [model, *(path for path in others if path != found)]
    words = " ".join(quoted(path) for path in (found, *rest))
    raise SettingsError(
        f"{found} is a model, and {model} is none: the model comes first. Did you mean: "
        f"nfbmr {command} {words}"
    )


def refuse_without_ray(engine: Engine, **words: object) -> None:
    """Says that options are for a cluster, where none was asked for.

    Raises:
        SettingsError: one of `words` was given, and the engine is another.
    """
    given = ", ".join(f"--{name}" for name, value in words.items() if value is not None)
    if given and engine is not Engine.ray:
        raise SettingsError(f"{given}: this is for --engine ray; name the engine, too")


def refuse_file(out: Path, what: str) -> None:
    """Says before the work that a folder is to be named, where a file was.

    Args:
        out: where the folder is, or is to be made.
        what: is written into it, such as "the report".

    Raises:
        SettingsError: there is a file at `out` or above it, or nothing, and its ending is a file's.
    """
    there = next((place for place in (out, *out.absolute().parents) if place.exists()), None)
    if there is not None and not there.is_dir():
        raise SettingsError(
            f"-o {out}: found a file at {there}; expected a folder for {what}; name another, or "
            "take the file away"
        )
    if not out.exists() and out.suffix.lower() in _OF_FILES:
        raise SettingsError(
            f"-o {out}: found the ending {out.suffix}, as of a file; expected a folder for {what}; "
            "leave the ending out, or make the folder first if it is to be called so"
        )


def refuse_folder(option: str, out: Path) -> None:
    """Says before the work that a file is to be named, where a folder was.

    Raises:
        SettingsError: it was.
    """
    if out.is_dir():
        raise SettingsError(
            f"{option} {out}: found a folder of that name; expected a file; name another"
        )


def where_to_write(
    form: Format | None, out: Path | None
) -> tuple[Format, Path | None, Path | None]:
    """Returns the rows' form, their file (None: standard output), and the heatmaps' folder.

    Raises:
        SettingsError: `out` has an ending that no form of rows has, or that of another form, and
            is no folder either; or a folder is where a file is to be, or a file where a folder is.
    """
    if out is None or str(out) == "-":
        return form or "table", None, None
    ending = out.suffix.lower()
    named = next((known for known, its in ENDINGS.items() if ending == its), None)
    if named is not None:
        refuse_folder("-o", out)
        if form is not None and form != named:
            raise SettingsError(
                f"-o {out}: found the ending {ending} and --format {form}; expected "
                f"{ENDINGS[form]} with that format; change one of them"
            )
        return form or named, out, out.with_name(f"{out.stem}_heatmaps")
    if not out.is_dir() and any(letter.isalpha() for letter in ending):
        raise SettingsError(
            f"-o {out}: rows go to a file that ends in {', '.join(ENDINGS.values())}, or to a "
            f"folder; {ending} is none of these endings, and there is no such folder (make it "
            "first, if a folder is meant)"
        )
    if out.exists() and not out.is_dir():
        raise SettingsError(
            f"-o {out}: found a file there; expected a folder, or a file that ends in "
            f"{', '.join(ENDINGS.values())}; name another"
        )
    chosen = form or "jsonl"
    refuse_folder("-o", out / f"results{ENDINGS[chosen]}")
    return chosen, out / f"results{ENDINGS[chosen]}", out / "heatmaps"


def refuse_lost_rows(form: Format, file: Path | None, inputs: Sequence[Path]) -> None:
    """Says before the work that rows would take the place of what is to be kept.

    Raises:
        SettingsError: as `refuse_to_overwrite`.
        OSError: likewise.
    """
    from nfbmr.inspection.places import refuse_to_overwrite
    from nfbmr.inspection.rows import wrote

    if file is not None:
        refuse_to_overwrite("-o", file, "rows", partial(wrote, form), inputs)
