"""The table of the first pictures by name: which learn, which are judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.benchmark.first_pictures import write_table
from nfbmr.data.layouts import read_data
from nfbmr.errors import DataError


def make(root: Path, good: int) -> None:
    names = [f"train/good/{number:03d}.png" for number in range(good)]
    names += ["test/good/900.png", *(f"test/{kind}/{n}.png" for kind in "ab" for n in range(9))]
    names += [f"ground_truth/{kind}/{n}_mask.png" for kind in "ab" for n in range(9)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(root / name)


def test_the_first_learn_and_the_next_are_judged_with_the_first_defects(tmp_path: Path) -> None:
    make(tmp_path / "parts", good=101)
    found = read_data(write_table(tmp_path / "parts", tmp_path / "table.csv"))
    assert [sample.path.stem for sample in found.train_good] == [f"{n:03d}" for n in range(80)]
    good = [sample.path.stem for sample in found.test if not sample.is_defect]
    assert good == [f"{n:03d}" for n in range(80, 100)]
    defects = [(s.defect, s.path.stem, s.mask is not None) for s in found.test if s.is_defect]
    assert defects == [(kind, str(n), True) for kind in "ab" for n in range(8)]


def test_too_few_good_pictures_are_named(tmp_path: Path) -> None:
    make(tmp_path / "parts", good=99)
    with pytest.raises(DataError, match="found 99 good pictures, expected 100"):
        write_table(tmp_path / "parts", tmp_path / "table.csv")
    assert not (tmp_path / "table.csv").exists()
