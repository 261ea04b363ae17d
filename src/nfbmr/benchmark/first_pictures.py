"""The first good pictures by name, as a new user takes them, to learn from.

    python -m nfbmr.benchmark.first_pictures DATA TABLE.csv

writes a table of the first 80 good pictures to learn from, and of the next 20 and the first 8
defects of each type to be judged, for data sets whose names say when a picture was taken.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from nfbmr.data.layouts import Sample, read_data
from nfbmr.errors import DataError

LEARN, GOOD, EACH = 80, 20, 8
"""Good pictures to learn from and to judge, and defects of each type."""


def write_table(data: Path, table: Path) -> Path:
    """Writes the table of path, label, mask and split.

    Raises:
        DataError: there are not so many good pictures to learn from.
    """
    found = read_data(data)
    good = sorted(found.train_good, key=lambda sample: sample.path.name)
    if len(good) < LEARN + GOOD:
        raise DataError(f"{data}: found {len(good)} good pictures, expected {LEARN + GOOD} or more")
    judged = good[LEARN : LEARN + GOOD]
    for kind in sorted({sample.defect for sample in found.test if sample.is_defect}):
        of_kind = [sample for sample in found.test if sample.defect == kind]
        judged += sorted(of_kind, key=lambda sample: sample.path.name)[:EACH]
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "mask", "split"])
        writer.writerows(_row(sample, "train") for sample in good[:LEARN])
        writer.writerows(_row(sample, "test") for sample in judged)
    return table


def _row(sample: Sample, split: str) -> tuple[str, str, str, str]:
    mask = str(sample.mask.resolve()) if sample.mask else ""
    return str(sample.path.resolve()), sample.defect, mask, split


def main() -> None:
    """Parses the command line and writes the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("table", type=Path, help="the CSV to write")
    arguments = parser.parse_args()
    try:
        print(write_table(arguments.data, arguments.table))
    except DataError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
