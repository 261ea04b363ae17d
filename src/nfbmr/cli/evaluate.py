"""The command `nfbmr evaluate`: its words, and one call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.arguments import (
    Device,
    ModelPath,
    RuntimeName,
    Threads,
    refuse_file,
    refuse_swapped,
)


def evaluate(
    model: ModelPath,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data set with test pictures.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="REPORT", help="A folder.")],
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Compare a model's verdicts with labels: metrics.json, scores.csv, report.html."""
    from nfbmr.cli.console import shown_progress
    from nfbmr.evaluation import evaluate as evaluation
    from nfbmr.evaluation.headline import headline
    from nfbmr.inspection.inspector import load

    refuse_swapped("evaluate", model, [data])
    refuse_file(out, "the report")
    evaluation.refuse_early(data, out)
    inspector = load(model, runtime=runtime, device=device, threads=threads)
    with shown_progress() as progress:
        done = evaluation.evaluate(inspector, data, out, progress=progress)
    for line in headline(done.metrics):
        print(line)
    print(f"report: {out / evaluation.REPORT}")
