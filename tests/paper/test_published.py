"""Published figures are those of the text, and say where they come from."""

from __future__ import annotations

import pytest

from nfbmr.data.collections import DAGM_2007, MVTEC_AD, TEXTURES
from nfbmr.paper import published


@pytest.mark.parametrize(
    ("system", "dataset", "group", "figure", "percent"),
    [
        ("nf-bmr-2", "mvtec", "all", "image_auroc", 98.7),
        ("nf-bmr-2", "mvtec", "textures", "image_auroc", 99.4),
        ("nf-bmr-2", "mvtec", "objects", "image_auroc", 98.3),
        ("nf-bmr-2", "mvtec", "all", "precision", 97.5),
        ("nf-bmr-2", "mvtec", "all", "recall", 97.0),
        ("nf-bmr-2", "mvtec", "all", "f1", 97.2),
        ("nf-bmr-2", "dagm", "all", "image_auroc", 98.5),
        ("nf-bmr-2", "dagm", "all", "precision", 91.5),
        ("nf-bmr-2", "dagm", "all", "recall", 92.0),
        ("nf-bmr-2", "dagm", "all", "f1", 91.4),
        ("nf-b-pfm", "mvtec", "all", "image_auroc", 96.2),
        ("nf", "mvtec", "all", "image_auroc", 94.2),
        ("", "dagm", "all", "image_auroc", 100.0),
    ],
)
def test_what_the_text_states(
    system: str, dataset: str, group: str, figure: str, percent: float
) -> None:
    found = published.paper_figure(system, dataset, group, figure)
    assert found is not None
    assert found.percent == percent
    assert not found.derived
    assert found.source.startswith("the paper")


def percent(system: str, dataset: str, group: str = "all") -> float:
    found = published.paper_figure(system, dataset, group, "image_auroc")
    assert found is not None
    return found.percent


def test_derived_figures_follow_from_the_stated_ones_and_say_so() -> None:
    ours = "nf-bmr-2"
    assert percent("mb-pfm", "mvtec") == pytest.approx(percent(ours, "mvtec") - 1.2)
    assert percent("mb-pfm", "mvtec", "objects") == pytest.approx(
        percent(ours, "mvtec", "objects") - 1.8
    )
    assert percent("mb-pfm", "dagm") == pytest.approx(percent(ours, "dagm") - 1.2)
    assert percent("nf-bmr-3", "mvtec") == pytest.approx(percent(ours, "mvtec") - 0.2)
    assert percent("nf-bmr-1", "mvtec") == pytest.approx(percent("nf-b-pfm", "mvtec") + 1.2)
    derived = {(one.system, one.text()) for one in published.PAPER_FIGURES if one.derived}
    assert {system for system, _ in derived} == {"mb-pfm", "nf-bmr-1", "nf-bmr-3"}
    assert all(text.endswith("(derived)") for _, text in derived)


def test_the_paper_states_nothing_else() -> None:
    assert published.paper_figure("pfm", "mvtec", "all", "image_auroc") is None
    assert published.paper_figure("mb-pfm", "mvtec", "textures", "image_auroc") is None
    assert published.paper_figure("nf-bmr-2", "mvtec", "all", "f1_max") is None
    assert published.paper_figure("nf-bmr-2", "further", "all", "image_auroc") is None
    assert published.paper_figure("", "mvtec", "all", "image_auroc") is None


def test_no_figure_is_stated_twice_and_all_are_shares() -> None:
    keys = [(p.system, p.dataset, p.group, p.figure) for p in published.PAPER_FIGURES]
    assert len(keys) == len(set(keys))
    methods = [(p.method, p.group, p.figure) for p in published.OTHER_METHODS]
    assert len(methods) == len(set(methods))
    everything = (*published.PAPER_FIGURES, *published.OTHER_METHODS, *published.MAGNETIC_TILES)
    assert all(80 < one.percent <= 100 and one.source for one in everything)


def test_a_range_shows_both_ends() -> None:
    texts = {(p.method, p.group, p.figure): p.text() for p in published.OTHER_METHODS}
    assert texts["PatchCore", "all", "image_auroc"] == "99.1 to 99.2"
    assert texts["PatchCore", "screw", "image_auroc"] == "98.1"


def test_the_means_are_taken_over_the_official_categories() -> None:
    assert sorted(published.CATEGORIES["mvtec"]) == sorted(MVTEC_AD.counts)
    assert sorted(published.CATEGORIES["dagm"]) == sorted(DAGM_2007.counts)
    assert (len(TEXTURES), len(published.OBJECTS)) == (5, 10)
