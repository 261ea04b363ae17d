"""The public doors: their names, how light they are, and what comes in and out of them."""

from __future__ import annotations

import inspect
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import nfbmr
from nfbmr.errors import ImageError, SettingsError, TrainingError
from nfbmr.inspection.inspector import Inspector
from nfbmr.model.bundle import read_bundle
from nfbmr.settings.schema import Settings

Draw = Callable[..., NDArray[np.uint8]]

NAMES = [
    "Calibration",
    "Failure",
    "Inspection",
    "Inspector",
    "NfbmrError",
    "Region",
    "Settings",
    "Why",
    "__version__",
    "evaluate",
    "export",
    "fit",
    "frames",
    "heatmap_overlay",
    "load",
    "preset",
    "read_data",
]


# ---- names


def test_these_names_are_public_and_documented() -> None:
    assert dir(nfbmr) == sorted(nfbmr.__all__) == NAMES
    for name in NAMES:
        assert inspect.getdoc(getattr(nfbmr, name)), name
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        _ = nfbmr.fitt


def test_the_version_is_the_packages() -> None:
    assert nfbmr.__version__ == metadata.version("nfbmr")


def test_importing_it_loads_nothing() -> None:
    code = "import sys, nfbmr; dir(nfbmr); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("nfbmr")} == {"nfbmr", "nfbmr.errors"}
    others = {name.partition(".")[0] for name in loaded}
    assert not others & {"numpy", "PIL", "pydantic", "scipy", "torch", "typer", "rich"}


# ---- fit: what it learns from


@pytest.fixture
def pictures(draw: Draw) -> list[NDArray[np.uint8]]:
    return [draw(seed) for seed in range(12)]


def quiet(tiny: Settings) -> dict[str, Any]:
    return {"settings": tiny, "device": "cpu"}


def test_a_list_of_paths_is_learnt_as_its_folder_is(
    good_folder: Path, tiny: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = sorted(good_folder.iterdir())
    nfbmr.fit(good_folder, tmp_path / "folder", **quiet(tiny))
    with caplog.at_level(logging.INFO, "nfbmr"):
        fitted = nfbmr.fit([str(path) for path in paths], tmp_path / "list", **quiet(tiny))
    assert "list of pictures: 12 good to learn from" in caplog.text
    for part in ("model.safetensors", "calibration.json"):
        assert (tmp_path / "folder" / part).read_bytes() == (tmp_path / "list" / part).read_bytes()
    assert fitted.facts.name == "list"
    assert fitted.facts.held_out == read_bundle(tmp_path / "folder").facts.held_out


@pytest.fixture(scope="module")
def from_files(tmp_path_factory: pytest.TempPathFactory, draw: Draw, tiny: Settings) -> Inspector:
    """What is learnt from the files of `good_folder`, in memory."""
    folder = tmp_path_factory.mktemp("files")
    files = [folder / f"{seed:03d}.png" for seed in range(12)]
    for seed, path in enumerate(files):
        Image.fromarray(draw(seed)).save(path)
    return nfbmr.fit(files, **quiet(tiny))


@pytest.mark.parametrize("form", ["arrays", "images", "bytes", "one array"])
def test_pictures_without_files_make_the_model_that_files_make(
    form: str,
    pictures: list[NDArray[np.uint8]],
    good_folder: Path,
    tiny: Settings,
    from_files: Inspector,
) -> None:
    files = sorted(good_folder.iterdir())
    given: dict[str, Any] = {
        "arrays": pictures,
        "images": [Image.fromarray(picture) for picture in pictures],
        "bytes": [path.read_bytes() for path in files],
        "one array": np.stack(pictures),
    }
    one = nfbmr.fit(given[form], **quiet(tiny))
    other = from_files
    found, expected = (replace(model.calibration, names={}) for model in (one, other))
    assert found == expected
    np.testing.assert_array_equal(one.scores(pictures), other.scores(files))
    same = (one.facts.held_out, one.facts.trained_on) == (
        other.facts.held_out,
        other.facts.trained_on,
    )
    assert same == (form == "bytes"), "bytes are a file's content"
    assert one.facts.n_train + one.facts.n_held_out == 12


def test_tiles_of_pictures_without_files(draw: Draw, tiny: Settings) -> None:
    large = [draw(seed, size=(128, 96)) for seed in range(10)]
    fitted = nfbmr.fit(large, **quiet(tiny), tiles=True)
    assert (fitted.facts.size, fitted.facts.whole) == ((64, 64), (128, 96))
    assert np.isfinite(fitted.scores(large)).all()


def test_copies_and_trouble_among_pictures_without_files_are_named_by_their_places(
    pictures: list[NDArray[np.uint8]], tiny: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "nfbmr"):
        fitted = nfbmr.fit([*pictures, pictures[3] / 255], **quiet(tiny))
    assert "1 picture is a copy of others and left out: picture 13" in caplog.text
    assert fitted.facts.n_train + fitted.facts.n_held_out == 12
    with pytest.raises(ImageError, match=r"1 of 13 pictures .*: picture 13: found 1 axes"):
        nfbmr.fit([*pictures, np.zeros(3)], **quiet(tiny))
    with pytest.raises(TrainingError, match="0 good pictures"):
        nfbmr.fit([], **quiet(tiny))


# ---- fit: where the model goes


def test_a_model_in_memory_leaves_nothing_behind(
    pictures: list[NDArray[np.uint8]],
    tiny: Settings,
    tmp_path: Path,
    draw: Draw,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("there is no directory to export to")

    monkeypatch.setattr("nfbmr.fitting.runtimes_here", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    fitted = nfbmr.fit(pictures, **quiet(tiny))
    assert list(tmp_path.iterdir()) == []
    assert (fitted.path, fitted.facts.name, fitted.runtime.name) == (None, "pictures", "torch")
    assert fitted.inspect(draw(400, defect=True)).is_defect
    changed = fitted.recalibrated(0.5)
    assert changed.calibration.one is not None
    assert fitted.calibration.one is not None
    assert changed.calibration.one < fitted.calibration.one, "a lower raw score is shown as 1"
    with pytest.raises(SettingsError, match="'pictures' is a model in memory: there is no dir"):
        changed.save_calibration()
    assert repr(fitted).startswith("<Inspector of 'pictures' (in memory): 64 x 64 pixels, torch, ")


def test_a_model_in_memory_that_is_broken_off_leaves_nothing_either(
    pictures: list[NDArray[np.uint8]],
    tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(what: str, done: int, total: int, loss: float | None = None) -> None:
        if what == "mapping":
            assert len(list(tmp_path.iterdir())) == 1, "the checkpoints' folder"
            raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        nfbmr.fit(pictures, **quiet(tiny), progress=stop)
    assert list(tmp_path.iterdir()) == []


# ---- fit: its keywords


def test_settings_come_as_keywords_groups_and_changes(
    pictures: list[NDArray[np.uint8]], tiny: Settings
) -> None:
    fitted = nfbmr.fit(
        pictures,
        settings=tiny,
        device="cpu",
        seed=1,
        size=96,
        false_alarm_rate=0.3,
        weights="random",
        flow={"hidden": 8},
        mapping={"n": 1},
        changes={"seed": 7, "flow": {"hidden": 32, "blocks": 1}, "scoring": {"top_share": 0.1}},
    )
    found = fitted.settings
    assert (found.seed, found.size, found.backbone.weights) == (1, (96, 96), "random")
    assert found.calibration.false_alarm_rate == 0.3
    assert (found.flow.hidden, found.flow.blocks, found.mapping.n) == (8, 1, 1)
    assert found.scoring.top_share == 0.1
    assert found.backbone.stages == tiny.backbone.stages


def test_a_keyword_that_is_none_is_known_to_mypy_and_refused(tiny: Settings) -> None:
    with pytest.raises(SettingsError, match="sede"):
        nfbmr.fit([], settings=tiny, sede=1)  # type: ignore[call-arg]


# ---- what comes out


def test_scores_of_many_pictures(inspector: Inspector, draw: Draw, tmp_path: Path) -> None:
    pictures = [draw(seed, defect=seed % 2 == 1) for seed in range(10)]
    found = inspector.scores(iter(pictures))
    assert found.shape == (10,)
    assert found.dtype == np.float64
    expected = [inspector.inspect(picture).score for picture in pictures]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert inspector.scores([]).shape == (0,)
    with pytest.raises(ImageError, match=r"none\.png"):
        inspector.scores([draw(0), tmp_path / "none.png", draw(1)])


def test_an_inspection_as_a_dict_and_as_a_line(
    inspector: Inspector, draw: Draw, tmp_path: Path
) -> None:
    path = tmp_path / "part.png"
    Image.fromarray(draw(1, size=(60, 90))).save(path)
    result = inspector.inspect(path)
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert found == result.to_dict()
    assert list(found) == [
        *("path", "verdict", "score", "p_value", "is_defect"),
        *("threshold", "look_threshold", "size", "regions"),
        *("brightness", "sharpness", "feature_distance"),
    ]
    assert (found["path"], found["size"]) == (str(path), [60, 90])
    for name in ("score", "p_value", "is_defect", "threshold"):
        assert found[name] == getattr(result, name)
    text = repr(result)
    assert text.startswith(f"Inspection(path={str(path)!r}, score={result.score!r}, p_value=")
    assert text.endswith("size=(60, 90))")
    assert "array" not in text
    assert "Calibration" not in text
    assert inspector.inspect(draw(1)).to_dict()["path"] is None


def test_an_inspector_as_a_line(inspector: Inspector, model: Path) -> None:
    assert repr(inspector) == (
        f"<Inspector of 'widget' ({model}): 64 x 64 pixels, torch, "
        f"threshold {inspector.threshold:.3g}>"
    )
