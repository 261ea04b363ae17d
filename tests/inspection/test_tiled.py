"""Large pictures: learnt, judged and exported in tiles, one verdict for the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from nfbmr.cli.app import app
from nfbmr.data.layouts import read_data
from nfbmr.data.survey import survey
from nfbmr.data.tiles import Tiling
from nfbmr.deployment.export import export
from nfbmr.errors import BundleTamperedError, SettingsError
from nfbmr.features.compute import FeatureCache
from nfbmr.fitting import fit
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.inspection.result import Inspection
from nfbmr.learning.plan import plan_fit
from nfbmr.model.bundle import read_bundle
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import Settings

Draw = Callable[..., NDArray[np.uint8]]
SIZE = (150, 200)  # of the pictures; in whole cells 160 x 192


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Path:
    folder = tmp_path_factory.mktemp("large") / "product"
    folder.mkdir()
    for number in range(12):
        Image.fromarray(draw(number, size=SIZE)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def tiled(large: Path, tiny: Settings) -> Inspector:
    few = {
        "flow": {"blocks": 1},
        "mapping": {"kind": "none"},
        "scoring": {"maps": ["norm", "distance", "fine"]},
    }
    settings = with_changes(tiny, {**few, "tiles": {"overlap": 0.25}})
    cache = FeatureCache(large.parent / "cache")
    return fit(
        large, large.parent / "model", settings=settings, device="cpu", cache=cache, export=False
    )


def test_pictures_keep_their_size_and_are_cut(tiled: Inspector, large: Path, draw: Draw) -> None:
    assert (tiled.facts.size, tiled.facts.whole, tiled.size) == ((64, 64), (160, 192), (160, 192))
    assert (tiled.facts.n_train, tiled.facts.n_held_out) == (7, 5)
    plan = plan_fit(survey("large", read_data(large).train_good), tiled.settings)
    assert plan.tiling == Tiling((160, 192), (64, 64), 0.25)
    assert "160 x 192 (H x W), their median, and cut into 12 tiles of 64 x 64" in plan.describe()[0]
    found = tiled.inspect(draw(3, size=SIZE))
    assert found.size == SIZE
    assert found.maps.shape[1:] == (80, 96)
    assert found.heatmap.shape == SIZE


def test_one_verdict_and_the_place(tiled: Inspector, draw: Draw) -> None:
    good = [tiled.inspect(draw(number, size=SIZE)) for number in range(20, 26)]
    defects = [tiled.inspect(draw(number, defect=True, size=SIZE)) for number in range(20, 26)]
    assert min(d.score for d in defects) > max(g.score for g in good)
    assert all(d.is_defect for d in defects)
    heat = defects[0].heatmap
    assert heat[37:94, 50:125].mean() > 3 * heat[120:, 150:].mean()


def test_calibration_is_of_whole_pictures(tiled: Inspector, draw: Draw) -> None:
    assert len(tiled.calibration.scores) == 5
    again = tiled.recalibrated(0.2, [draw(seed, size=SIZE) for seed in range(60, 69)])
    assert len(again.calibration.scores) == 9


def test_a_stream_gives_what_one_by_one_gives(tiled: Inspector, draw: Draw) -> None:
    pictures = [draw(number, size=SIZE) for number in range(30, 35)]
    stream = list(tiled.inspect_many(pictures))
    assert all(isinstance(found, Inspection) for found in stream)
    expected = [tiled.inspect(picture).score for picture in pictures]
    found = [result.score for result in stream if isinstance(result, Inspection)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_fit_is_the_same_from_kept_features(tiled: Inspector, large: Path) -> None:
    cache = FeatureCache(large.parent / "cache")
    again = fit(
        large,
        large.parent / "again",
        settings=tiled.settings,
        device="cpu",
        cache=cache,
        export=False,
    )
    assert again.calibration == tiled.calibration


@pytest.mark.slow
def test_a_tiled_model_is_exported(tiled: Inspector, large: Path, draw: Draw) -> None:
    pytest.importorskip("onnxscript", reason="torch's exporter is not installed")
    assert tiled.path is not None
    export(tiled.path, calibrate_on=large)
    onnx = load(tiled.path, runtime="onnx")
    for defect in (False, True):
        picture = draw(40, defect=defect, size=SIZE)
        expected = tiled.inspect(picture)
        assert onnx.inspect(picture).score == pytest.approx(expected.score, rel=1e-4, abs=1e-4)


@pytest.mark.slow
def test_integers_are_learnt_from_tiles_too(tiled: Inspector, large: Path, draw: Draw) -> None:
    pytest.importorskip("onnxscript", reason="torch's exporter is not installed")
    assert tiled.path is not None
    export(tiled.path, precision="int8", calibrate_on=large)
    coarse = load(tiled.path, runtime="onnx:int8")
    for defect in (False, True):
        assert coarse.inspect(draw(41, defect=defect, size=SIZE)).is_defect == defect


def test_who_insists_on_tiles_needs_a_model_that_learnt_them(
    tiled: Inspector, model: Path, good_folder: Path
) -> None:
    words = ["inspect", str(model), str(good_folder), "--tiles"]
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, SettingsError)
    assert "nfbmr fit DATA -o MODEL --tiles" in str(error)
    words[1] = str(tiled.path)
    assert CliRunner().invoke(app, words).exit_code == 0


def test_tiles_that_do_not_fit_are_refused(large: Path, tiny: Settings, tmp_path: Path) -> None:
    settings = with_changes(tiny, {"tiles": {"overlap": 0.25}, "size": [70, 64]})
    with pytest.raises(SettingsError, match="sides of a tile are multiples of 32"):
        fit(large, tmp_path / "model", settings=settings, device="cpu")


def test_a_model_whose_tiles_do_not_fit_is_refused(tiled: Inspector) -> None:
    assert tiled.path is not None
    bundle = read_bundle(tiled.path)
    assert bundle.tiling == Tiling((160, 192), (64, 64), 0.25)
    from nfbmr.model.bundle import _check_tiles

    for whole in (None, (160, 190), (32, 192)):
        facts = bundle.facts.model_copy(update={"whole": whole})
        with pytest.raises(BundleTamperedError, match="do not fit"):
            _check_tiles(tiled.path, bundle.settings, facts)


def test_of_a_large_picture_the_heatmap_follows_a_smaller_copy(
    tiled: Inspector, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = draw(3, defect=True, size=SIZE)
    whole = tiled.inspect(picture)
    assert whole.guide is not None
    assert whole.guide.shape == (160, 192)
    monkeypatch.setattr("nfbmr.inspection.decoding.WORK", 80 * 96)
    half = tiled.inspect(picture)
    assert half.guide is not None
    assert half.guide.shape == (80, 96)
    assert half.score == whole.score
    assert [one.shape for one in (half.heatmap, whole.heatmap)] == [SIZE, SIZE]
    assert np.corrcoef(half.heatmap.ravel(), whole.heatmap.ravel())[0, 1] > 0.95
    assert half.regions
