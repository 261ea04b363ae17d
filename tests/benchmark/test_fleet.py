"""What the fleet's measurements are made of: products cut from sets, plans, the commands' words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nfbmr.benchmark import fleet
from nfbmr.benchmark.fleet import cut, many, plan_text, together
from nfbmr.fleet.plan import read_plan


def test_a_product_is_the_same_quarter_of_each_picture(
    tmp_path: Path, mvtec_tree: Callable[..., Path]
) -> None:
    root = mvtec_tree(tmp_path / "sets")
    folders = cut([root / "bottle", root / "carpet"], tmp_path / "cut", products=5, pictures=3)
    assert [folder.name for folder in folders] == [
        "bottle-0",
        "carpet-0",
        "bottle-1",
        "carpet-1",
        "bottle-2",
    ]
    first = sorted((root / "bottle" / "train" / "good").iterdir())[0]
    whole = np.asarray(Image.open(first))
    parts = [np.asarray(Image.open(folders[number] / "0000.png")) for number in (0, 2, 4)]
    for part, expected in zip(
        parts, (whole[:40, :40], whole[:40, 40:], whole[40:, :40]), strict=True
    ):
        assert np.array_equal(part, expected)
    assert [len(list(folder.iterdir())) for folder in folders] == [3] * 5


def test_a_plan_is_one_that_the_fleet_reads(tmp_path: Path) -> None:
    changes = {"examples": 0, "flow": {"hidden": 32}, "stage_one": {"steps": 5}}
    path = tmp_path / "plan.toml"
    path.write_text("workers = 2\n" + plan_text({"a b": tmp_path / "x"}, changes), "utf-8")
    (product,) = read_plan(path).products
    assert (product.name, product.data) == ("a b", tmp_path / "x")
    assert product.resources.workers == 2
    settings = product.settings
    assert (settings.examples, settings.flow.hidden, settings.stage_one.steps) == (0, 32, 5)


@pytest.mark.parametrize(
    ("alone", "together"), [(set(), set()), ({1}, {1}), ({1}, {2}), ({0, 1, 2}, {0, 1, 2})]
)
def test_both_ways_learn_the_same_products_with_the_same_changes_or_there_is_no_row(
    tmp_path: Path,
    mvtec: Path,
    monkeypatch: pytest.MonkeyPatch,
    alone: set[int],
    together: set[int],
) -> None:
    ran: list[list[str]] = []

    def run(words: list[str], cache: Path) -> bool:
        ran.append(words)
        if words[0] == "fleet":
            for product in read_plan(Path(words[2])).products:
                assert product.settings.flow.hidden == 32
                folder = Path(words[4]) / ".fleet" / product.name
                folder.mkdir(parents=True)
                status = "failed" if int(product.name[-1]) in together else "done"
                state = {"product": product.name, "status": status, "peak_mb": 7}
                (folder / "state.json").write_text(json.dumps(state))
            return not together
        return int(words[1][-1]) not in alone

    monkeypatch.setattr(fleet, "_run", run)
    words = ([mvtec], tmp_path / "work", {"flow": {"hidden": 32}})
    if alone != together or len(alone) == 3:
        with pytest.raises(RuntimeError, match=r"refused one by one: \['widget"):
            many(*words, products=3, pictures=2)
        return
    row = many(*words, products=3, pictures=2)
    *fits, last = ran
    assert [Path(words[1]).name for words in fits] == ["widget-0", "widget-1", "widget-2"]
    assert all("--set=flow.hidden=32" in words for words in fits)
    assert last[:2] == ["fleet", "fit"]
    assert (row["products"], row["refused"], row["peak_mb"]) == (3, len(alone), 7)


def test_several_workers_are_compared_with_one_on_the_test(
    tmp_path: Path, mvtec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = []

    class Model:
        def __init__(self, path: Path) -> None:
            self.swapped = "2 workers" in str(path)

        def scores(self, paths: list[Path]) -> Any:
            scores = np.arange(len(paths), dtype=float)
            return scores[::-1] if self.swapped else scores

    def run(words: list[str], cache: Path) -> bool:
        assert words[-4:] == ["--engine", "ray", "--cores", "2"]
        plans.append(read_plan(Path(words[2])).products[0])
        return True

    monkeypatch.setattr(fleet, "_run", run)
    monkeypatch.setattr(fleet, "load", Model)
    row = together(mvtec, tmp_path / "work", {}, workers=2)
    assert [product.resources.workers for product in plans] == [1, 2]
    assert (row["test_pictures"], row["spearman"], row["largest_difference"]) == (8, -1.0, 7.0)
