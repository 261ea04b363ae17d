"""Plots are valid inline SVG, whatever the scores look like."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.errors import MissingExtraError
from nfbmr.evaluation.report import plots

Scores = NDArray[np.float64]


def parse(svg: str) -> ElementTree.Element:
    """The element, as an HTML parser would read it (which knows the xlink prefix by itself)."""
    assert svg.startswith("<svg")
    return ElementTree.fromstring(svg.replace("xlink:href", "href"))


def texts(svg: str) -> str:
    return " ".join(text for text in parse(svg).itertext() if text.strip())


def classes(n: int, seed: int = 0) -> tuple[Scores, NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2 == 1
    return rng.normal(size=n) + 2 * labels, labels


def test_roc_plot_names_its_area_and_its_operating_point() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    labels = np.array([False, False, True, True])
    svg = plots.roc_plot(scores, labels, scores > 0.5)
    assert "AUROC 0.7500" in texts(svg)
    assert "50.0% found, 0.0% false alarms" in texts(svg)
    assert "0.7500" in parse(svg).attrib["aria-label"]


@pytest.mark.parametrize("n", [2, 10, 1000])
def test_score_plot_counts_its_classes_and_names_its_threshold(n: int) -> None:
    scores, labels = classes(n)
    shown = texts(plots.score_plot(scores, labels, 1.25))
    assert f"good ({n // 2})" in shown
    assert f"defective ({n // 2})" in shown
    assert "threshold 1.25" in shown


@pytest.mark.parametrize(
    "scores",
    [
        np.ones(6),
        np.array([1.0]),
        np.array([0, 0, 0, 0, 0, 1e9]),
        np.array([1, 2, 3, 4, 1e30, 1e-30]),
        np.array([-1e12, 0, 1, 2, 3, 1e12]),
        1e6 + np.arange(6) * 1e-3,
    ],
)
def test_score_plot_bears_any_scores(scores: Scores) -> None:
    labels = np.arange(len(scores)) >= len(scores) // 2
    for chosen in (labels, np.zeros_like(labels), np.ones_like(labels)):
        svg = plots.score_plot(scores, chosen, None)
        assert "nan" not in svg.lower()
        parse(svg)


def test_heavy_tails_squeeze_the_axis_and_light_ones_do_not() -> None:
    scores, labels = classes(100)
    assert "squeezed" not in plots.score_plot(scores, labels, 1.0)
    scores[1] = 1e5
    assert "squeezed" in plots.score_plot(scores, labels, 1.0)


def test_squeezed_axis_keeps_the_order_and_inverts() -> None:
    scores, labels = classes(100)
    scale = plots._display_scale(scores * np.where(labels, 1e4, 1), labels)
    assert scale is not None
    forward, inverse = scale
    x = np.linspace(-100, 1e5, 999)
    assert (np.diff(forward(x)) > 0).all()
    np.testing.assert_allclose(inverse(forward(x)), x, rtol=1e-9, atol=1e-9)


def test_p_value_plot_counts_its_pictures() -> None:
    assert "good (3)" in texts(plots.p_value_plot(np.array([0.2, 0.5, 1.0])))
    assert "good (1)" in texts(plots.p_value_plot(np.array([0.01])))


def test_thousands_of_pictures_do_not_swell_the_drawing() -> None:
    assert len(plots.score_plot(*classes(50_000), 1.0)) < 250_000


def test_plots_take_the_pages_colour_and_name_no_address() -> None:
    scores, labels = classes(20)
    for svg in (
        plots.roc_plot(scores, labels, scores > 1),
        plots.score_plot(scores, labels, 1.0),
        plots.p_value_plot(np.array([0.2, 0.5])),
    ):
        assert "currentColor" in svg
        assert plots._INK not in svg
        assert not re.search(r"https?:|//", svg)
        assert parse(svg).attrib["role"] == "img"


def test_same_scores_draw_the_same_bytes() -> None:
    assert plots.score_plot(*classes(30), 1.0) == plots.score_plot(*classes(30), 1.0)


def test_plots_leave_pyplot_alone_and_the_module_starts_without_matplotlib() -> None:
    code = (
        "import sys, numpy as np; from nfbmr.evaluation.report import plots;"
        "assert 'matplotlib' not in sys.modules;"
        "plots.p_value_plot(np.array([0.5])); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r'pip install -e "\.\[report\]"'):
        plots.p_value_plot(np.array([0.5]))
