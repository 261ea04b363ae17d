"""The solar cells of the ELPV set as a table that nfbmr reads: the pictures of the demo.

`python -m nfbmr.benchmark.solar_cells mono out/solar_mono.csv` writes the table; the pictures
stay where the package `elpv-dataset` has them (CC BY-NC-SA 4.0).

Good = defect probability 0, defective = probability 1; the cells that the annotators were unsure
of are left out. Three quarters of the good cells, drawn from a fixed seed, are for training.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np

from nfbmr.errors import MissingExtraError
from nfbmr.system.packages import how_to_install

TRAIN_SHARE = 0.75
SPLIT_SEED = 0


def write_table(kind: Literal["mono", "poly"], path: Path) -> Path:
    """Writes a CSV of path, label, mask, split for monocrystalline or polycrystalline cells.

    Raises:
        MissingExtraError: the package with the pictures is not installed.
    """
    # Found, not imported: importing the package would read every picture's pixels.
    found = importlib.util.find_spec("elpv_dataset")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(f"the solar cells are not installed; {how_to_install('demo')}")
    root = Path(found.submodule_search_locations[0]) / "data"
    rows = [line.split() for line in (root / "labels.csv").read_text().splitlines() if line]
    cells = [(root / name, float(p)) for name, p, cell_kind in rows if cell_kind == kind]
    good = [picture for picture, p in cells if p == 0]
    defective = [picture for picture, p in cells if p == 1]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(good))
    in_train = set(order[: round(TRAIN_SHARE * len(good))].tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "mask", "split"])
        for i, picture in enumerate(good):
            writer.writerow([picture, "good", "", "train" if i in in_train else "test"])
        writer.writerows([picture, "defect", "", "test"] for picture in defective)
    return path


def main() -> None:
    """Parses the command line and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["mono", "poly"])
    parser.add_argument("table", type=Path, help="the CSV to write")
    arguments = parser.parse_args()
    print(write_table(arguments.kind, arguments.table))


if __name__ == "__main__":
    main()
