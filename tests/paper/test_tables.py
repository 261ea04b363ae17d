"""Tables: means by hand, marks where something is missing, nothing published passed as measured."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from nfbmr.data.collections import TEXTURES
from nfbmr.paper import aggregates, published
from nfbmr.paper.aggregates import Category
from nfbmr.paper.systems import ABLATION
from nfbmr.paper.table import NOTHING, Table
from nfbmr.paper.tables import DIFFERENCE, ORACLE, PAPERS, build_tables

Row = dict[str, Any]


def row(category: str = "bottle", system: str = "nf-bmr-2", seed: int = 0, **given: Any) -> Row:
    values: Row = {
        "dataset": "mvtec",
        "category": category,
        "system": system,
        "seed": seed,
        "backbone": "paper",
        "weights": "hub",
        **dict.fromkeys(("image_auroc", "auroc_max", "auroc_top", "auroc_mean"), 0.9),
        **dict.fromkeys(("precision", "recall", "f1"), 0.8),
        **dict.fromkeys(("precision_at_f1_max", "recall_at_f1_max", "f1_max"), 0.95),
        "pixel_auroc": 0.97,
        "aupro": None,
        "false_alarm_rate_asked": 0.01,
        "false_alarm_rate_observed": 0.03,
        "fit_seconds": 60.0,
        "inspect_ms": 12.0,
    }
    return values | given


def official(dataset: str = "mvtec", **given: Any) -> list[Row]:
    return [row(name, dataset=dataset, **given) for name in published.CATEGORIES[dataset]]


def table(rows: list[Row], number: str) -> Table:
    (found,) = (one for one in build_tables(rows) if one.number == number)
    assert all(len(line) == len(found.header) for line in found.rows)
    return found


def line(found: Table, first: str, nth: int = 0) -> tuple[str, ...]:
    return [cells for cells in found.rows if cells[0] == first][nth]


def test_mean_and_spread_over_seeds_by_hand() -> None:
    rows = [row(seed=seed, image_auroc=value) for seed, value in enumerate((0.97, 0.98, 0.99))]
    found = table(rows, "1")
    assert line(found, "bottle")[1] == "98.0 ± 1.00"
    assert any("seeds 0, 1, 2" in note for note in found.notes)


def test_one_seed_has_no_spread() -> None:
    found = table([row(image_auroc=0.975)], "1")
    assert line(found, "bottle")[1] == "97.5"
    assert any("one seed (0)" in note for note in found.notes)


def test_means_over_all_categories_stand_beside_the_papers() -> None:
    textures = [row(name, image_auroc=1.0) for name in TEXTURES]
    objects = [row(name, image_auroc=0.97) for name in published.OBJECTS]
    found = table(textures + objects, "1")
    assert line(found, "Mean of 5 textures")[1] == "100.0"
    assert line(found, "Mean of 10 objects")[1] == "97.0"
    assert line(found, "Mean of all 15")[1] == "98.0"
    assert [line(found, PAPERS, nth)[1] for nth in range(3)] == ["99.4", "98.3", "98.7"]
    assert [line(found, DIFFERENCE, nth)[1] for nth in range(3)] == ["+0.6", "−1.3", "−0.7"]
    assert "published" in PAPERS


def test_a_part_of_the_categories_is_marked_and_not_compared() -> None:
    found = table([row("bottle"), row("screw"), row("grid")], "1")
    assert line(found, "Mean of all 15")[1] == "90.0 (3 of 15)"
    assert line(found, "Mean of 5 textures")[1] == "90.0 (1 of 5)"
    assert line(found, DIFFERENCE)[1] == NOTHING
    assert any("does not compare" in note for note in found.notes)


def test_further_sets_never_enter_the_papers_means() -> None:
    rows = [*official(image_auroc=0.98), row("mine", image_auroc=0.1)]
    rows.append(row("carpet", dataset="other", image_auroc=0.2))
    found = table(rows, "1")
    assert line(found, "Mean of all 15")[1] == "98.0"
    assert line(found, "Mean of these 2")[1] == "15.0"
    assert line(found, "carpet", 0)[1] == "98.0"
    assert line(found, "carpet", 1)[1] == "20.0"


def test_seeds_that_lack_a_category_are_left_out_of_means() -> None:
    rows = [row("bottle", seed=0), row("screw", seed=0, image_auroc=0.7)]
    rows.append(row("bottle", seed=1, image_auroc=1.0))
    mean = aggregates.over_categories(
        rows, "nf-bmr-2", aggregates.categories_of(rows), 15, "image_auroc"
    )
    assert mean is not None
    assert mean.value == pytest.approx(80)
    assert (mean.seeds, mean.spread, mean.n) == (1, None, 2)
    assert "(1 seed)" in line(table(rows, "1"), "Mean of all 15")[1]


def test_without_a_common_seed_the_mean_says_so() -> None:
    rows = [row("bottle", seed=0), row("screw", seed=1, image_auroc=0.7)]
    assert "no seed in common" in line(table(rows, "1"), "Mean of all 15")[1]


def test_of_equal_rows_the_last_one_counts_and_none_is_nothing() -> None:
    rows = [row(image_auroc=0.5), row(image_auroc=0.75), row(seed=1, image_auroc=None)]
    found = aggregates.by_seed(rows, "nf-bmr-2", Category("mvtec", "bottle"), "image_auroc")
    assert found == {0: 0.75}
    assert line(table([row(precision=None)], "2"), "bottle")[1] == NOTHING


def test_verdicts_and_the_oracle_stand_apart() -> None:
    found = table(official(), "2")
    assert line(found, "bottle")[1:] == ("80.0", "80.0", "80.0", "3.0", "95.0", "95.0", "95.0")
    assert all(name.startswith(f"{ORACLE}: ") for name in found.header[5:])
    assert line(found, PAPERS)[1:] == ("97.5", "97.0", "97.2", NOTHING, "97.5", "97.0", "97.2")
    assert line(found, DIFFERENCE)[1] == "−17.5"
    assert any("false-alarm rate of 1 %" in note for note in found.notes)


def test_dagm_has_tables_of_its_own() -> None:
    rows = official("dagm", image_auroc=0.98) + official("dagm", system="mb-pfm")
    made = build_tables(rows)
    assert [one.number for one in made] == ["3", "3b", "4"]
    assert [cells[0] for cells in made[0].rows[1:11]] == list(published.CATEGORIES["dagm"])
    assert line(made[0], PAPERS)[1:] == ("98.5", "97.3 (derived)", "100.0")
    assert line(made[0], DIFFERENCE)[1] == "−0.5"
    assert any("98.7" in note and "abstract" in note for note in made[0].notes)


def test_supervised_methods_stand_on_dagm_as_published_and_nowhere_as_measured() -> None:
    found = table(official("dagm"), "3")
    (place,) = [n for n, name in enumerate(found.header) if "Supervised" in name]
    assert "published" in found.header[place]
    assert line(found, PAPERS)[place] == "100.0"
    assert {cells[place] for cells in found.rows if cells[0] != PAPERS} == {NOTHING, ""}
    assert any("learn from pictures of defects" in note for note in found.notes)
    assert not [name for name in table(official(), "1").header if "Supervised" in name]


def test_the_ablation_has_the_papers_lines_in_its_order() -> None:
    rows = [one for key in (*reversed(ABLATION), "nfbmr") for one in official(system=key)]
    found = table([*rows, row("mine")], "5")
    assert [cells[0] for cells in found.rows] == [
        aggregates.TITLES[key] for key in (*ABLATION, "nfbmr")
    ]
    papers = [cells[4] for cells in found.rows]
    assert papers == ["97.4 (derived)", "98.7", "98.5 (derived)", "96.2", "94.2", NOTHING]
    assert line(found, "NF alone")[5] == "−4.2"
    assert line(found, "NF-BMR, n = 2")[6] == "90.0"
    assert found.rows[0][-2:] == ("60.0", "12.0")
    assert line(found, "NF alone")[-3] == NOTHING  # AUPRO: no masks


def test_the_ablation_of_further_sets_alone_names_no_paper() -> None:
    found = table([row("mine", dataset="other")], "5")
    assert found.rows == (("NF-BMR, n = 2", "90.0", "97.0", NOTHING, "60.0", "12.0"),)


def test_reductions_are_compared_per_set() -> None:
    rows = official(auroc_max=0.6, auroc_top=0.7, auroc_mean=0.8)
    rows += [row("mine", auroc_max=None), row("mine", system="nfbmr", auroc_max=None)]
    found = table(rows, "5b")
    ours = [cells for cells in found.rows if cells[0] == "NF-BMR, n = 2"]
    assert ours == [
        ("NF-BMR, n = 2", "90.0", "60.0", "70.0", "80.0"),
        ("NF-BMR, n = 2", "90.0", NOTHING, "90.0", "90.0"),
    ]


def test_other_methods_are_marked_as_published() -> None:
    found = table([*official(), row("magnetic_tile", dataset="other")], "1c")
    names = {one.method for one in published.OTHER_METHODS}
    assert {f"{name} (published)" for name in names} <= {cells[0] for cells in found.rows}
    assert line(found, "NF-BMR, n = 2")[-1] == "measured"
    assert any("DifferNet 97.7" in note for note in found.notes)
    assert not [one for one in build_tables([row("mine")]) if one.number == "1c"]


def test_random_weights_are_said_loudly_and_not_compared() -> None:
    made = build_tables(official(weights="random") + official("dagm", weights="random weights"))
    for one in made:
        assert "RANDOM WEIGHTS" in one.title
        assert one.notes[0].startswith(aggregates.RANDOM_WARNING)
    differences = [cells for one in made for cells in one.rows if cells[0] == DIFFERENCE]
    assert differences
    assert all(set(cells[1:]) == {NOTHING} for cells in differences)


def test_the_fast_backbone_is_named_where_the_papers_figures_stand() -> None:
    assert any("fast" in note for note in table(official(backbone="fast"), "1").notes)
    assert not any("fast" in note for note in table(official(), "1").notes)


def test_tables_without_rows_say_so_unless_their_data_were_not_asked_for() -> None:
    made = build_tables([row(system="nf-bmr-3")])
    assert [one.number for one in made] == ["1", "1b", "1c", "2", "5", "5a", "5b"]
    assert made[0].rows == ()
    assert made[0].notes == ("No row of this table has been measured yet.",)
    assert [one.number for one in build_tables([])] == ["1", "2", "3", "4", "5"]
    assert [one.number for one in build_tables([row()], (2,))] == ["2"]
    assert all("No row" in one.notes[0] for one in build_tables([]))


def test_names_cannot_break_markdown_or_spreadsheets() -> None:
    found = table([row("=1+1|<b>\n# x", dataset="other")], "1")
    lines = found.to_markdown().splitlines()
    (shown,) = [text for text in lines if "1+1" in text]
    assert shown.count("|") - shown.count("\\|") == len(found.header) + 1
    assert "<b>" not in shown
    cells = [cells[0] for cells in csv.reader(io.StringIO(found.to_csv()))]
    assert any(cell.startswith("'=1+1") for cell in cells)


def test_csv_keeps_differences_as_numbers() -> None:
    found = table(official(image_auroc=0.98), "1")
    lines = [line for line in csv.reader(io.StringIO(found.to_csv())) if line[0] == DIFFERENCE]
    assert float(lines[-1][1]) == pytest.approx(-0.7)


def test_classes_sort_by_their_number() -> None:
    rows = [row(f"Class{number}", dataset="dagm") for number in (10, 2, 1)]
    names = [category.name for category in aggregates.categories_of(rows)]
    assert names == ["Class1", "Class2", "Class10"]
