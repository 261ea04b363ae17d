"""How much AUPRO owes to heatmaps that follow the verdict: one model, both kinds of maps.

    python -m nfbmr.benchmark.shown NAME MODEL DATA

prints a row: pixel AUROC and AUPRO of the heatmaps that a user sees, and of the same maps before
they are brought to what is said of their pictures, as peers' maps are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfbmr.benchmark.child import Row
from nfbmr.benchmark.tables import markdown
from nfbmr.data.layouts import read_data
from nfbmr.data.masks import read_masks
from nfbmr.errors import NfbmrError
from nfbmr.evaluation.pixel_metrics import PixelMetrics
from nfbmr.inspection.inspector import load
from nfbmr.inspection.result import Inspection

KINDS: dict[str, Callable[[Inspection], NDArray[np.float32]]] = {
    "shown": lambda result: result.heatmap,
    "plain": lambda result: result.levels_at(result.size),
}


def measure(model: Path, data: Path) -> Row:
    """Returns pixel AUROC and AUPRO of each of `KINDS`, over a data set's test pictures.

    Raises:
        NfbmrError: model, data or a picture cannot be read.
    """
    inspector = load(model)
    pixels = {kind: PixelMetrics() for kind in KINDS}
    for sample in read_data(data).test:
        if sample.is_defect and sample.mask is None:
            continue
        mask = None if sample.mask is None else read_masks(sample.masks)
        result = inspector.inspect(sample.path)
        for kind, of in KINDS.items():
            pixels[kind].update(of(result), mask)
    found = {kind: asdict(one.compute()) for kind, one in pixels.items()}
    facts = inspector.facts
    return {"seed": inspector.settings.seed, "commit": facts.commit, **found}


def table(rows: Sequence[Row]) -> str:
    """Returns AUPRO and pixel AUROC of both kinds as Markdown, in percent."""
    heads = [f"{name}, %: {kind}" for name in ("AUPRO", "pixel AUROC") for kind in KINDS]
    lines = [
        [row["set"]]
        + [f"{100 * row[kind][key]:.1f}" for key in ("aupro", "pixel_auroc") for kind in KINDS]
        for row in rows
    ]
    return markdown(["", *heads], lines)


def main() -> None:
    """Parses the command line, measures, and prints the row."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("name", help="of the set")
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    try:
        print(json.dumps({"set": arguments.name, **measure(arguments.model, arguments.data)}))
    except NfbmrError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
