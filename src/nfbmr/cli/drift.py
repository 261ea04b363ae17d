"""The command `nfbmr drift`: its words, and one call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.arguments import ModelPath, RuntimeName, refuse_folder, refuse_swapped

_Results = Annotated[
    list[Path],
    typer.Argument(
        metavar="RESULTS...",
        help="Rows of 'nfbmr inspect' or 'nfbmr watch', .jsonl or .csv, the earliest first.",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")]
_Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        metavar="FILE",
        help="Also write the JSON to a file; over earlier findings alone, and into no model.",
    ),
]
_ExitCode = Annotated[
    bool,
    typer.Option(
        "--exit-code",
        help="End with 1 where the line has changed, or the share of defects went up; else 0. "
        "(2: it could not be done at all; 70: nfbmr itself failed.)",
    ),
]
_Seed = Annotated[
    int,
    typer.Option(min=0, help="Breaks ties by chance; the same rows and seed give the same answer."),
]


def drift(
    model: ModelPath,
    results: _Results,
    as_json: _Json = False,
    out: _Out = None,
    exit_code: _ExitCode = False,
    seed: _Seed = 0,
    runtime: RuntimeName = "auto",
) -> None:
    """Ask whether the line has changed, from rows of inspected parts in the order of time."""
    from nfbmr.inspection.drift import FOUND, in_words, read_rows, watch_rows
    from nfbmr.inspection.places import is_json_with, refuse_to_overwrite
    from nfbmr.model.folder import to_json
    from nfbmr.runtimes.choose import calibrated_for
    from nfbmr.system.files import printable, written_beside

    refuse_swapped("drift", model, results)
    if out is not None:
        refuse_folder("-o", out)
        refuse_to_overwrite("-o", out, "findings of drift", is_json_with(*FOUND), results)
    calibration = calibrated_for(model, runtime).calibration
    found = watch_rows(read_rows(results), calibration, seed)
    said = found.to_dict()
    if out is not None:
        with written_beside(out) as beside:
            beside.write_text(to_json(said), encoding="utf-8")
    if as_json:
        print(to_json(said))
    else:
        for name in ("alarm", "defects_alarm"):
            if said[name] is not None:
                print(printable(f"Part {said[name]['part']} is {said[name]['path']}."))
        for sentence in in_words(found.monitor):
            print(sentence)
    if exit_code and said["changed"]:
        raise typer.Exit(1)
