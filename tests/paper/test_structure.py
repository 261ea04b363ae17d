"""Figs. 3 and 4: they say what the modules are, and nobody's words stand in another's way."""

from __future__ import annotations

import functools
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import nn

from nfbmr.errors import MissingExtraError, SettingsError
from nfbmr.evaluation.report.plots import load_matplotlib
from nfbmr.networks.detector import Detector
from nfbmr.networks.source import SourceNetwork
from nfbmr.paper import structure
from nfbmr.paper.anatomy import Anatomy, anatomy, convolution, parameters, times
from nfbmr.paper.boxes import Canvas
from nfbmr.paper.details import DETAILS_SIZE, paint_details
from nfbmr.paper.structure import draw_structure, paint_whole
from nfbmr.paper.systems import make_system
from nfbmr.settings.changes import with_changes
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import Settings

TINY: dict[str, Any] = {
    "size": [96, 64],
    "backbone": {"stages": [3], "neighbours": False},
    "flow": {"hidden": 14, "blocks": 3},
    "mapping": {"latent": 20, "inner": 6},
}
IMAGES: dict[str, Any] = {"stage_one": {"batch_of": "images"}}
SIZES = {"whole": structure._SIZE, "details": DETAILS_SIZE}
PAINT = {"whole": paint_whole, "details": paint_details}


def tiny(**changes: Any) -> Settings:
    return with_changes(with_changes(make_system("nf-bmr-2", "fast", 0).settings, TINY), changes)


@functools.cache
def known(settings: Settings) -> Anatomy:
    return anatomy(settings)


def painted(which: str, settings: Settings) -> Canvas:
    canvas = Canvas(load_matplotlib()[1](figsize=SIZES[which]))
    PAINT[which](canvas, known(settings))
    return canvas


def texts(which: str, settings: Settings) -> list[str]:
    """Every line, in the order of its place from left to right."""
    found = painted(which, settings).axes.texts
    by_place = sorted(found, key=lambda text: text.get_position()[0])
    return [line for text in by_place for line in text.get_text().splitlines() if line.strip()]


@pytest.fixture(scope="module")
def detector() -> Detector:
    settings = tiny()
    assert settings.size
    return Detector(SourceNetwork.of(settings.backbone), settings, settings.size)


# ---- what is said


def test_the_whole_says_what_the_tensors_are(detector: Detector) -> None:
    found = texts("whole", tiny())
    assert detector.mapping is not None
    source = detector.source
    assert isinstance(source, SourceNetwork)
    assert source.grid((96, 64)) == (12, 8)
    kinds = ("DepthwiseSeparableConv", "InvertedResidual")
    n = sum(type(module).__name__ in kinds for module in source.modules())
    for said in ("3 × 96 × 64", "efficientnet_lite0", "to stage 3", f"{n} blocks, stride 8"):
        assert said in found
    shape = f"{detector.source.channels} × 12 × 8"
    assert found.count(shape) == 2, "y and z"
    assert found.count("12 × 8") == 1, "the map"
    assert f"{len(detector.flow.blocks)} coupling blocks" in found
    for part in (source, detector.flow):
        assert f"{parameters(part)} parameters" in found
    for own in (detector.mapping.tmnn, detector.mapping.smnn):
        assert f"{parameters(own)} + {parameters(detector.mapping.shared)} shared" in found
    assert "2 + 1 + 2 residual blocks" in found
    assert {"half the", "sum", "eq. 14", "target error", "source error"} <= set(found)


def test_the_details_say_what_the_tensors_are(detector: Detector) -> None:
    found = texts("details", tiny())
    channels = detector.source.channels
    half = channels // 2
    assert found.count(f"{channels} × 12 × 8") == 4
    assert found.count(f"{channels} → 20") == found.count(f"20 → {channels}") == 2
    assert found.count("20 → 6") == found.count("6 → 6") == found.count("6 → 20") == 1
    assert found.count("residual block") == 8
    assert found.count("shared residual block") == 1, "drawn once, for both"
    assert found.count(f"conv 1 × 1, {half} → 14") == 2
    assert found.count(f"ReLU, conv 1 × 1, 14 → {channels}") == 2
    assert sum(line.endswith("< 3$") for line in found) == 2
    assert any("One of the 3 coupling blocks" in line for line in found)


def test_a_setting_changed_is_a_drawing_changed() -> None:
    before = texts("details", tiny())
    three = texts("details", tiny(mapping={"n": 3}))
    assert (before.count("residual block"), three.count("residual block")) == (8, 12)
    assert "3 + 1 + 3 residual blocks" in texts("whole", tiny(mapping={"n": 3}))
    many = texts("details", tiny(mapping={"n": 9}))
    assert many.count("9 residual blocks") == 4
    assert (before.count("conv 3 × 3"), before.count("conv 1 × 1")) == (1, 6)
    wide = texts("details", tiny(mapping={"ends": 3}))
    assert (wide.count("conv 3 × 3"), wide.count("conv 1 × 1")) == (5, 2)
    seen = texts("details", tiny(**IMAGES, flow={"position": 2, "kernel": 3, "clamp": 1.9}))
    assert sum(line.startswith("conv 3 × 3, 20 + 8 of place → 14") for line in seen) == 2
    assert sum(line.endswith("< 1.9$") for line in seen) == 2


@pytest.mark.parametrize(("relu", "last"), [("branch", ["ReLU", "+"]), ("after", ["+", "ReLU"])])
def test_the_third_relu_stands_where_it_runs(relu: str, last: list[str]) -> None:
    found = [line for line in texts("details", tiny(mapping={"relu": relu})) if line in "ReLU+"]
    assert found == ["ReLU", "ReLU", *last]


def test_all_that_makes_y_is_said() -> None:
    several = {"stages": [3, 2], "neighbours": True, "scales": [0.5]}
    found = texts("whole", tiny(backbone=several))
    assert {"to stages 3 and 2", "and 3 × 3 means", "at 2 sizes"} <= set(found)
    assert "and 3 × 3 means" not in texts("whole", tiny())
    assert "standardised" in texts("whole", tiny())
    assert "standardised" not in texts("whole", tiny(standardise="none"))
    resnet = {"name": "resnet18", "stages": ["layer1"]}
    assert {"to layer1", "stride 4"} <= set(texts("whole", tiny(backbone=resnet)))


def test_the_score_is_the_one_that_is_taken() -> None:
    assert "maximum" in texts("whole", tiny(scoring={"statistics": ["max"]}))
    three = texts("whole", tiny(scoring={"statistics": ["max", "top", "mean"], "top_share": 0.1}))
    assert {"maximum", "mean of", "highest 10 %", "mean"} <= set(three)


def test_shapes_and_counts_in_words() -> None:
    assert times((3, 4)) == "3 × 4"
    assert times((5,)) == "5"
    small, large = (
        anatomy(tiny(mapping={"latent": width, "inner": width})).mapping.shared
        for width in (20, 320)
    )
    assert parameters(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)) == "21"
    assert parameters(small) == f"{(11 * 20**2 + 3 * 20) / 1e3:.1f} k" == "4.5 k"
    assert parameters(large) == f"{(11 * 320**2 + 3 * 320) / 1e6:.1f} M" == "1.1 M"


def test_convolutions_in_words() -> None:
    assert convolution(nn.Conv2d(2, 5, 3)) == ("conv 3 × 3", "2 → 5")
    assert convolution(nn.Conv2d(2, 5, 1, stride=2)) == ("conv 1 × 1, stride 2 × 2", "2 → 5")


def test_nothing_is_computed_with_values() -> None:
    assert all(tensor.is_meta for tensor in anatomy(tiny()).detector.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        preset("fast"),
        with_changes(preset("paper"), {"scoring": {"maps": ["likelihood"]}}),
        make_system("nf-b-pfm", "fast", 0).settings,
    ],
)
def test_what_is_not_nf_bmr_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"the drawing is of NF-BMR: found .*expected bmr"):
        anatomy(settings)


# ---- how it looks


@pytest.mark.parametrize("which", ["whole", "details"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mapping": {"n": 4, "ends": 3, "relu": "after", "latent": 1024, "inner": 1024}},
        {**IMAGES, "mapping": {"n": 9}, "flow": {"position": 6, "hidden": 1024, "kernel": 3}},
        {
            **IMAGES,
            "size": [1024, 1024],
            "backbone": {"stages": [6, 5], "neighbours": True, "scales": [0.7, 0.5]},
            "flow": {"position": 6, "hidden": 1024, "kernel": 3},
            "scoring": {"statistics": ["max", "top", "mean"]},
        },
    ],
)
def test_no_word_leaves_its_box_or_meets_another(which: str, changes: dict[str, Any]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = painted(which, tiny(**changes))
    drawn: Any = FigureCanvasAgg(canvas.figure)
    renderer = drawn.get_renderer()
    page = canvas.figure.bbox
    words = [text for text in canvas.axes.texts if text.get_text().strip()]
    places = {text: text.get_window_extent(renderer) for text in words}
    for text, patch in canvas.boxed:
        if text in places:
            box = patch.get_window_extent(renderer)
            assert box.contains(*places[text].min), text.get_text()
            assert box.contains(*places[text].max), text.get_text()
    boxes = {patch: patch.get_window_extent(renderer) for _, patch in canvas.boxed}
    for one, other in itertools.combinations(boxes, 2):
        assert not boxes[one].overlaps(boxes[other])
    own = dict(canvas.boxed)
    for text, place in places.items():
        assert page.contains(*place.min), text.get_text()
        assert page.contains(*place.max), text.get_text()
        assert not [p for p in boxes if p is not own.get(text) and boxes[p].overlaps(place)]
        assert float(text.get_fontsize()) >= 7.5
    for first, second in itertools.combinations(words, 2):
        if own.get(first) is not own.get(second) or first not in own:
            met = first.get_text(), second.get_text()
            assert not places[first].overlaps(places[second]), met


# ---- files


def test_files_are_written_as_asked_for(tmp_path: Path) -> None:
    files = {"3": [tmp_path / "new" / "a.png", tmp_path / "new" / "a.svg"]}
    (drawn,) = draw_structure(tiny(), files)
    assert (drawn.number, drawn.files) == ("3", tuple(files["3"]))
    assert "half the sum" in drawn.caption
    with Image.open(files["3"][0]) as picture:
        assert picture.size[0] >= 800
    before = files["3"][1].read_bytes()
    draw_structure(tiny(), files)
    assert files["3"][1].read_bytes() == before


def test_matplotlib_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install -e .\.\[report\]"):
        draw_structure(tiny(), {"4": [tmp_path / "a.png"]})


def test_it_runs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--preset=fast", "--set=backbone.stages=[2]", "-o", str(tmp_path / "images")]
    monkeypatch.setattr(sys, "argv", ["structure", *words])
    structure.main()
    found = {path.name for path in (tmp_path / "images").iterdir()}
    assert found == {"structure.png", "mapping.png"}
