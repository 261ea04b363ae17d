"""Figures: what is drawn from which files, what is missing and why, names that are not ours."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.errors import MissingExtraError
from nfbmr.evaluation.report.plots import load_matplotlib
from nfbmr.paper import charts, figures, grids, readings
from nfbmr.paper.aggregates import Category
from nfbmr.paper.drawing import Drawn, label
from nfbmr.paper.figures import draw_figures
from nfbmr.paper.systems import make_system

Row = dict[str, Any]
SETTINGS = make_system("nf-bmr-2", "fast", 0, changes={"size": [64, 64]}).settings
STRANGE = "$x$ _\\frac{<b>&"


def row(category: str, system: str, dataset: str = "mvtec", **given: Any) -> Row:
    auroc = {"nf-bmr-2": 0.97, "nf": 0.9}.get(system, 0.95)
    about = {"dataset": dataset, "category": category, "system": system, "seed": 0}
    return about | {"weights": "hub", "image_auroc": auroc} | given


def write_scores(results: Path, one: Row, n: int = 30) -> None:
    path = results / "scores" / one["dataset"] / one["category"] / f"{one['system']}-0.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "score", "p_value", "max", "top", "mean"])
        for number in range(n):
            score = rng.normal() + (number % 2)
            kind = "scratch" if number % 2 else "good"
            writer.writerow([f"{number}.png", kind, score, "", score, score, 10 * score])


def exhibits(m: int = 16, other: int = 5) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    is_defect = np.array([True, True, False])
    masks = np.zeros((3, 20, 30), np.bool_)
    masks[0, 5:9, 5:9] = True
    return {
        "images": rng.integers(0, 255, (3, 20, 30, 3), np.uint8),
        "masks": masks,
        "has_mask": np.array([True, False, False]),
        "is_defect": is_defect,
        "names": np.array(["0.png", "1.png", "2.png"]),
        "defects": np.array(["scratch", STRANGE, "good"]),
        "heatmaps": masks.astype(np.float32) * 1.5,
        "other": rng.random((3, 2, 3)).astype(np.float32),
        "tnf": rng.random((3, 4, 6)).astype(np.float32),
        "vectors_source": rng.normal(size=(m, 6)),
        "vectors_other": rng.normal(size=(m, other)),
        "vectors_target": rng.normal(size=(m, 6)),
        "vectors_is_defect": np.arange(m) % 2 == 1,
        "other_name": np.array("tf_another_b3.in1k"),
        "areas_good": rng.normal(-20, 3, 400).astype(np.float32),
        "areas_defective": rng.normal(-60, 20, 50).astype(np.float32),
    }


def write_exhibits(
    results: Path, dataset: str, category: str, without: tuple[str, ...] = (), **given: Any
) -> Path:
    path = results / "exhibits" / dataset / f"{category}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = exhibits() | given
    np.savez(path, **{name: array for name, array in arrays.items() if name not in without})
    return path


def matplotlib_figure() -> Any:
    return load_matplotlib()[1]()


def by_name(drawn: list[Drawn]) -> dict[str, Drawn]:
    return {one.files[0].stem.removeprefix("figure_"): one for one in drawn if one.files}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def drawn(results: Path) -> list[Drawn]:
    """Everything there is, of two categories of MVTec AD, one class of DAGM and a strange name."""
    systems = ("nf-bmr-2", "nf", "mb-pfm")
    rows = [row(name, key) for name in ("bottle", "grid") for key in systems]
    rows += [row("Class1", "nf-bmr-2", "dagm"), row(STRANGE, "nf-bmr-2", "other")]
    rows.append(row(STRANGE, "nf", "other"))
    for one in rows:
        write_scores(results, one)
    for dataset, name in (("mvtec", "bottle"), ("dagm", "Class1"), ("other", STRANGE)):
        write_exhibits(results, dataset, name)
    return draw_figures(rows, SETTINGS, results, results / "figures")


def test_every_figure_is_drawn_for_each_set_that_has_its_inputs(drawn: list[Drawn]) -> None:
    expected = {"3", "4", "6_mvtec", "6_dagm", "6_further", "9_dagm"}
    expected |= {
        f"{n}_{key}" for n in ("2a", "2b", "5", "7") for key in ("mvtec", "dagm", "further")
    }
    expected |= {f"{n}_{key}" for n in ("8", "10") for key in ("mvtec", "further")}
    assert set(by_name(drawn)) == expected
    numbers = list(dict.fromkeys(one.number for one in drawn))
    assert numbers == ["2a", "2b", "3", "4", "5", "6", "7", "8", "9", "10"]


def figure(number: str, rows: list[Row], results: Path) -> Drawn:
    """One figure of one set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "draw_structure", lambda *_: [])
        patch.setattr(figures, "_PLANS", [one for one in figures._PLANS if one.number == number])
        every = draw_figures(rows, SETTINGS, results, results / "f")
    (found,) = every
    return found


def test_what_could_not_be_drawn_says_why(drawn: list[Drawn], tmp_path: Path) -> None:
    assert [one for one in drawn if not one.files] == []
    missing = figure("2a", [row("Class1", "nf", "dagm")], tmp_path)
    assert (missing.files, missing.title) == ((), "Log-likelihoods of TNF, DAGM 2007")
    assert missing.reason == "there are no exhibits of NF-BMR, n = 2 in the results folder yet"


def test_likelihoods_are_of_areas_and_need_no_scores(tmp_path: Path) -> None:
    write_exhibits(tmp_path, "dagm", "Class1")
    found = figure("2a", [row("Class1", "nf-bmr-2", "dagm")], tmp_path)
    assert len(found.files) == 2
    assert "covers by 25 % or more" in found.caption
    assert "edge are left out" in found.caption
    assert "Not shown" not in found.caption
    drawing = found.files[1].read_text("utf-8")
    assert "defective areas -->" in drawing
    assert "log-likelihood of an area" in drawing


def test_each_kind_of_area_fills_its_histogram() -> None:
    good, defective = np.full(300, -20.0), np.repeat([-20.0, -1e6], [30, 70])
    good[:150] = -22.0
    axes = matplotlib_figure().subplots()
    charts._histogram(axes, good, defective)
    of_good, of_defective = (patch.get_data() for patch in axes.patches[::2])
    assert [patch.get_label() for patch in axes.patches[::2]] == ["good areas", "defective areas"]
    assert of_good.values.sum() == pytest.approx(100)
    assert of_good.values[-1] == pytest.approx(50)
    assert of_defective.values[[0, -1]] == pytest.approx([70, 30]), "far ones in the last bar"
    assert of_good.edges[0] > -100


@pytest.mark.parametrize("seed", range(8))
def test_no_area_is_lost_at_the_ends_of_the_axis(seed: int) -> None:
    rng = np.random.default_rng(seed)
    good = -np.exp(rng.normal(4, 2, 500)).astype(np.float32)
    axes = matplotlib_figure().subplots()
    charts._histogram(axes, good, 30 * good)
    for patch in axes.patches[::2]:
        assert patch.get_data().values.sum() == pytest.approx(100)


def test_categories_without_areas_are_named_with_the_reason(tmp_path: Path) -> None:
    none = np.zeros(0, np.float32)
    rows = [row(name, "nf-bmr-2") for name in ("bottle", "cable", "grid")]
    write_exhibits(tmp_path, "mvtec", "bottle", areas_defective=none)
    found = figure("2a", rows[:1], tmp_path)
    assert found.files == ()
    assert "no area is known to be defective" in found.reason
    write_exhibits(tmp_path, "mvtec", "cable", without=("areas_good", "areas_defective"))
    found = figure("2a", rows[1:2], tmp_path)
    assert found.files == ()
    assert "run again" in found.reason
    others = {
        one.number for one in draw_figures(rows[1:2], SETTINGS, tmp_path, tmp_path) if one.files
    }
    assert {"7", "8"} <= others, "what an older file holds is shown"
    write_exhibits(tmp_path, "mvtec", "grid")
    found = figure("2a", rows, tmp_path)
    assert found.files
    assert "Not shown: bottle, for no area is known to be defective" in found.caption
    assert "Not shown: cable, for an earlier version kept the exhibits" in found.caption
    assert "bottle -->" not in found.files[1].read_text("utf-8")


def test_files_are_a_png_and_a_valid_svg_of_the_same_shape(drawn: list[Drawn]) -> None:
    for one in drawn:
        for png, svg in [one.files] if one.files else []:
            with Image.open(png) as picture:
                width, height = picture.size
            root = ElementTree.parse(svg).getroot()
            box = [float(number) for number in root.attrib["viewBox"].split()]
            assert width / height == pytest.approx(box[2] / box[3], rel=0.01)
            assert width > 400


def test_names_of_folders_are_written_as_they_are(drawn: list[Drawn]) -> None:
    """Not read as mathematics, not dropped from a legend for an underscore, and cut when long."""
    drawing = by_name(drawn)["5_further"].files[1].read_text("utf-8")
    assert "$x$ _\\frac{&lt;b&gt;&amp; -->" in drawing  # matplotlib names what it draws as paths
    assert label(STRANGE) == STRANGE
    assert label("a\nb\x1b\udc80") == "a b??"
    assert label("x" * 30, 10) == "x" * 9 + "…"
    assert label("") == "?"


def test_captions_say_what_is_published_and_which_mean(drawn: list[Drawn]) -> None:
    caption = by_name(drawn)["6_mvtec"].caption
    assert "published" in caption
    assert "2 of 15" in caption
    assert "RANDOM" not in by_name(drawn)["6_mvtec"].title
    for name in ("8_mvtec", "9_dagm"):
        assert "eq. 14: of each position half the sum of source and target error" in (
            by_name(drawn)[name].caption
        )


def test_random_weights_are_stamped(tmp_path: Path) -> None:
    rows = [row("bottle", key, weights="random") for key in ("nf-bmr-2", "nf")]
    found = by_name(draw_figures(rows, SETTINGS, tmp_path, tmp_path))
    assert set(found) == {"3", "4", "6_mvtec", "10_mvtec"}
    for one in (found["6_mvtec"], found["10_mvtec"]):
        assert "RANDOM WEIGHTS" in one.title
        assert one.caption.startswith("Random weights")


def test_without_any_rows_there_is_the_structure_and_else_only_reasons(tmp_path: Path) -> None:
    made = draw_figures([], SETTINGS, tmp_path, tmp_path / "figures")
    assert [one.number for one in made] == ["2a", "2b", "3", "4", "5", "6", "7", "8", "9", "10"]
    assert [one.number for one in made if one.files] == ["3", "4"]
    assert all(one.reason for one in made if not one.files)


def test_the_structure_is_that_of_the_settings(drawn: list[Drawn], tmp_path: Path) -> None:
    more = replace(SETTINGS, mapping=replace(SETTINGS.mapping, n=3))
    found = by_name(draw_figures([], more, tmp_path, tmp_path))
    for blocks, made in (("2 + 1 + 2", by_name(drawn)), ("3 + 1 + 3", found)):
        assert f"{blocks} residual blocks -->" in made["3"].files[1].read_text("utf-8")
        assert made["4"].files[0].name == "figure_4.png"


def test_damaged_inputs_are_passed_over(tmp_path: Path) -> None:
    one = row("bottle", "nf-bmr-2")
    write_scores(tmp_path, one)
    scores = tmp_path / "scores/mvtec/bottle/nf-bmr-2-0.csv"
    category = Category("mvtec", "bottle")
    good = readings.read_scores(tmp_path, [one], "nf-bmr-2", category)
    assert good is not None
    assert good.has_both
    for text in (
        "path,label,score\na,good,high\n",
        "path,label\na,good\n",
        "",
        "path,score\n1,2\n",
    ):
        scores.write_text(text, encoding="utf-8")
        assert readings.read_scores(tmp_path, [one], "nf-bmr-2", category) is None
    path = write_exhibits(tmp_path, "mvtec", "bottle")
    assert readings.read_exhibits(tmp_path, category) is not None
    path.write_bytes(path.read_bytes()[:200])
    assert readings.read_exhibits(tmp_path, category) is None
    np.savez(path, images=np.zeros(3))
    assert readings.read_exhibits(tmp_path, category) is None


def test_vectors_that_cannot_be_embedded_leave_a_word(tmp_path: Path) -> None:
    vectors = np.zeros((16, 6))
    write_exhibits(
        tmp_path, "dagm", "Class1", vectors_other=np.zeros((16, 0)), vectors_target=vectors
    )
    made = by_name(
        draw_figures([row("Class1", "nf-bmr-2", "dagm")], SETTINGS, tmp_path, tmp_path / "out")
    )
    assert made["7_dagm"].files[0].is_file()


def test_responses_are_of_the_other_network_and_of_tnf(tmp_path: Path) -> None:
    rows = [row("Class1", "nf-bmr-2", "dagm")]
    write_exhibits(tmp_path, "dagm", "Class1")
    found = figure("2b", rows, tmp_path)
    drawing = found.files[1].read_text("utf-8")
    heads = [drawing.index(f"{head} -->") for head in ("picture", "mask", "another_b3", "TNF")]
    assert heads == sorted(heads)
    assert "SNN" not in drawing + found.title + found.caption
    assert "of the features f of tf_another_b3.in1k" in found.caption
    assert "not available -->" not in drawing


def test_without_the_other_network_its_column_says_so(tmp_path: Path) -> None:
    rows = [row(name, "nf-bmr-2", "dagm") for name in ("Class1", "Class2")]
    write_exhibits(tmp_path, "dagm", "Class1", other=np.zeros((3, 0, 0), np.float32))
    write_exhibits(tmp_path, "dagm", "Class2", without=("other",))
    found = figure("2b", rows, tmp_path)
    assert found.files[1].read_text("utf-8").count("not available -->") == 1
    assert "Not shown: Class2, for an earlier version kept the exhibits" in found.caption
    found = figure("2b", rows[1:], tmp_path)
    assert found.files == ()
    assert "run again" in found.reason


def test_each_response_has_a_scale_of_its_own() -> None:
    found = exhibits()
    found["tnf"] = 1000 * found["tnf"]
    before = grids._response_cells(exhibits(), 0)
    for cell, same in zip(grids._response_cells(found, 0), before, strict=True):
        np.testing.assert_array_equal(cell, same)
    assert np.abs(before[2].astype(int) - before[3]).max() > 50


def test_a_defect_without_a_mask_is_gray_and_a_good_picture_black() -> None:
    found = exhibits()
    assert grids._mask(found, 0).max() == 255
    assert set(np.unique(grids._mask(found, 1))) == {225}
    assert grids._mask(found, 2).max() == 0


def test_pictures_keep_their_ratio_of_sides() -> None:
    cell = grids._fitted(np.zeros((20, 40, 3), np.uint8))
    assert cell.shape == (180, 180, 3)
    dark = cell[..., 0] < 128
    assert dark.any(axis=1).sum() == 90
    assert dark.any(axis=0).sum() == 180


def test_matplotlib_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install -e .\.\[report\]"):
        draw_figures([row("bottle", "nf-bmr-2")], SETTINGS, tmp_path, tmp_path / "figures")
