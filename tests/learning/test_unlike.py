"""The good pictures least like the rest: by name, those that do not calibrate, too."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.survey import survey
from nfbmr.features.cache import FeatureCache
from nfbmr.fitting import fit
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.learning import unlike
from nfbmr.learning.plan import Plan
from nfbmr.model.bundle import read_bundle
from nfbmr.scoring.odd import name_of, oddest, oddest_trained
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import Settings

Draw = Callable[..., NDArray[np.uint8]]

CHANGES: dict[str, dict[str, Any]] = {
    "held out alone": {"calibration": {"everyone": False}},
    "tiles": {"tiles": {"overlap": 0.25}},
}


def parts(folder: Path, draw: Draw, size: tuple[int, int]) -> Path:
    """Writes good pictures."""
    folder.mkdir()
    for number in range(14):
        Image.fromarray(draw(number, size=size)).save(folder / f"part {number}.png")
    return folder


@pytest.mark.parametrize("what", CHANGES)
def test_what_trained_and_does_not_calibrate_is_named_with_its_score(
    what: str, tmp_path: Path, tiny: Settings, draw: Draw
) -> None:
    good = parts(tmp_path / "parts", draw, (150, 200) if what == "tiles" else (80, 80))
    few = {"mapping": {"kind": "none"}, "scoring": {"maps": ["norm", "distance"]}}
    settings = with_changes(tiny, few | CHANGES[what])
    cache = FeatureCache(tmp_path / "cache")
    model = tmp_path / "model"
    inspector = fit(good, model, settings=settings, device="cpu", cache=cache, export=False)
    calibration, facts = inspector.calibration, inspector.facts
    assert set(calibration.trained) == set(facts.trained_pixels)
    files = {one.pixel_hash: good / one.name for one in survey("all", good.iterdir()).pictures}
    found = oddest_trained(calibration, 99)
    assert [files[one.picture].name for one in found] == [one.name for one in found]
    expected = inspector.scores(files[one.picture] for one in found)
    np.testing.assert_allclose([one.score for one in found], expected, rtol=1e-3, atol=1e-3)
    card = (model / "README.md").read_text(encoding="utf-8")
    assert f"- `{found[0].name}`: score {found[0].score:.3f}\n" in card
    assert "learnt from and do not calibrate" in card
    assert read_bundle(model).calibration == calibration


def test_of_many_that_do_not_calibrate_some_are_looked_at(
    tmp_path: Path, tiny: Settings, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlike, "_MOST_SCORED", 4)
    monkeypatch.setattr(unlike, "_AT_A_TIME", 3)
    monkeypatch.setattr(unlike, "MOST_TRAINED", 2)
    few = {"mapping": {"kind": "none"}, "scoring": {"maps": ["norm", "distance"]}}
    settings = with_changes(tiny, few | CHANGES["held out alone"])
    good = parts(tmp_path / "parts", draw, (80, 80))
    cache = FeatureCache(tmp_path / "cache")
    inspector = fit(good, None, settings=settings, device="cpu", cache=cache, export=False)
    assert len(inspector.calibration.trained) == 2
    assert inspector.calibration.trained.keys() <= set(inspector.facts.trained_pixels)


def test_of_more_pictures_than_calibrate_the_others_are_named_too(
    tmp_path: Path, tiny: Settings, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plan, "most_calibrating", property(lambda _: 10))
    few = {"mapping": {"kind": "none"}, "scoring": {"maps": ["norm", "distance"]}}
    good = parts(tmp_path / "parts", draw, (80, 80))
    cache = FeatureCache(tmp_path / "cache")
    settings = with_changes(tiny, few)
    inspector = fit(good, None, settings=settings, device="cpu", cache=cache, export=False)
    calibration, facts = inspector.calibration, inspector.facts
    assert len(calibration.pictures) == 10
    assert not set(calibration.pictures) & calibration.trained.keys()
    every = {*facts.trained_pixels, *facts.held_out_pixels}
    assert {*calibration.pictures, *calibration.trained} == every == calibration.names.keys()


def test_where_all_calibrate_no_others_are_left(model: Path) -> None:
    calibration = read_bundle(model, tensors=False).calibration
    assert calibration.trained == {}
    assert set(calibration.names) == set(calibration.pictures)


def test_a_fit_names_them(
    tmp_path: Path, tiny: Settings, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    good = parts(tmp_path / "parts", draw, (80, 80))
    rotten = draw(99)
    rotten[20:50, 20:50] += 25
    Image.fromarray(rotten).save(good / "rotten.png")
    with caplog.at_level(logging.INFO, "nfbmr"):
        inspector = fit(good, None, settings=tiny, device="cpu", cache=FeatureCache(tmp_path / "c"))
    first = oddest(inspector.calibration, inspector.settings.scoring)[0]
    assert first.name == "rotten.png"
    assert f"- rotten.png: score {first.score:.3f}; ODD; without it" in caplog.text
    assert "unlike the others; look whether good: rotten.png (score" in caplog.text


def test_names_are_those_of_the_pictures_that_calibrate_now(
    inspector: Inspector, tmp_path: Path, draw: Draw
) -> None:
    files = [tmp_path / f"later {number}.png" for number in range(8)]
    for number, file in enumerate(files):
        Image.fromarray(draw(700 + number)).save(file)
    now = inspector.recalibrated(0.2, files)
    named = called(now, files)
    assert {one.name for one in oddest(now.calibration, now.settings.scoring)} <= {
        file.name for file in files
    }
    assert now.calibration.trained == {}
    highest = now.calibration.pictures[-1]
    fewer = now.recalibrated(without=[tmp_path / named[highest]])
    assert highest not in fewer.calibration.names
    for one in oddest(fewer.calibration, fewer.settings.scoring):
        assert one.name == named[one.picture]


def called(inspector: Inspector, files: Iterable[Path]) -> dict[str, str]:
    known = {one.pixel_hash: one.name for one in survey("all", files).pictures}
    for picture, name in known.items():
        assert name_of(inspector.calibration, picture) == name
    return known


def test_a_calibration_that_is_kept_keeps_names(model: Path, tmp_path: Path, draw: Draw) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    files = [tmp_path / f"later {number}.png" for number in range(8)]
    for number, file in enumerate(files):
        Image.fromarray(draw(700 + number)).save(file)
    load(copy, device="cpu").recalibrated(0.2, files).save_calibration()
    card = (copy / "README.md").read_text(encoding="utf-8")
    assert "- `later " in card
