"""Synthetic pictures, tiny settings, and one fitted model that tests may read but not write."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings as hypothesis_settings
from numpy.typing import NDArray
from PIL import Image

from nfbmr.deployment.export import add_graphs, runtimes_here
from nfbmr.features.compute import FeatureCache
from nfbmr.fitting import fit
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.model.bundle import read_bundle
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.settings.changes import with_changes
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import Settings

Draw = Callable[..., NDArray[np.uint8]]

hypothesis_settings.register_profile("nfbmr", derandomize=True, database=None, deadline=None)
hypothesis_settings.load_profile("nfbmr")


def pytest_configure() -> None:
    """Gives each process of the tests one thread, and each of several a core of its own.

    Processes that share cores and have as many threads as there are cores slow each other tenfold:
    their threads spin while they wait for one another.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of what the tests start
    torch.set_num_threads(1)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker) % len(cores)]})


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("NFBMR_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True, scope="module")
def _logger_of_module() -> Iterator[None]:
    with _logger_given_back():
        yield


@pytest.fixture(autouse=True)
def _logger_of_test() -> Iterator[None]:
    with _logger_given_back():
        yield


@contextmanager
def _logger_given_back() -> Iterator[None]:
    """The command line takes the package's logger over; a fixture of a module may call it, too."""
    logger = logging.getLogger("nfbmr")
    kept = logger.handlers, logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = kept[:2]
    logger.setLevel(kept[2])


def draw_picture(
    seed: int, *, defect: bool = False, size: tuple[int, int] = (80, 80)
) -> NDArray[np.uint8]:
    """A noisy gray ramp, uint8 (H, W, 3); a defective one has a bright square."""
    height, width = size
    ramp = np.linspace(90, 150, width)[None, :, None]
    image = ramp + np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    if defect:
        image[blob_mask(size)] = 240
    return np.clip(image, 0, 255).astype(np.uint8)


def blob_mask(size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the defect is, (H, W)."""
    height, width = size
    mask = np.zeros(size, dtype=bool)
    mask[height // 4 : height * 5 // 8, width // 4 : width * 5 // 8] = True
    return mask


def write_pictures(folder: Path, seeds: range, *, defect: bool = False) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.png" for number in range(len(seeds))]
    for path, seed in zip(paths, seeds, strict=True):
        Image.fromarray(draw_picture(seed, defect=defect)).save(path)
    return paths


def write_mvtec(root: Path, first: int = 0) -> Path:
    """One MVTec AD category: 16 good to learn from; test 4 good, 4 with a blob and masks.

    The seeds of the pictures count from `first`; 300 apart, two categories share no picture.
    """
    write_pictures(root / "train" / "good", range(first, first + 16))
    write_pictures(root / "test" / "good", range(first + 100, first + 104))
    masks = root / "ground_truth" / "blob"
    masks.mkdir(parents=True)
    seeds = range(first + 200, first + 204)
    for path in write_pictures(root / "test" / "blob", seeds, defect=True):
        mask = blob_mask((80, 80)).astype(np.uint8) * 255
        Image.fromarray(mask).save(masks / f"{path.stem}_mask.png")
    return root


def write_mvtec_tree(root: Path, categories: tuple[str, ...] = ("bottle", "carpet")) -> Path:
    """Several categories, each as `write_mvtec` writes one; returns `root`."""
    for number, name in enumerate(categories):
        write_mvtec(root / name, first=300 * number)
    return root


@pytest.fixture(scope="session")
def mvtec_tree() -> Callable[..., Path]:
    """Writes several categories: `mvtec_tree(root, categories=("bottle", "carpet"))`."""
    return write_mvtec_tree


@pytest.fixture(scope="session")
def draw() -> Draw:
    """Draws one picture: `draw(seed, defect=False, size=(80, 80))`."""
    return draw_picture


@pytest.fixture(scope="session")
def tiny() -> Settings:
    """Settings that learn in half a second; y on a grid of 8 x 8, the detail on 16 x 16."""
    changes = {
        "size": [64, 64],
        "backbone": {"stages": [3], "scales": [0.5], "scale_stages": [[3, 2]], "detail": 2},
        "flow": {"hidden": 16, "blocks": 2},
        "mapping": {"kind": "bmr", "latent": 16, "inner": 8, "n": 1},
        "subspace": {"rank": 4},
        "scoring": {"maps": ["source", "target", "likelihood", "norm", "distance", "residual"]},
        "stage_one": {"steps": 30, "batch": 64},
        "stage_two": {"steps": 15, "batch": 2},
        "calibration": {"false_alarm_rate": 0.2},
    }
    return with_changes(preset("fast"), changes)


@pytest.fixture
def good_folder(tmp_path: Path) -> Path:
    """A folder of 12 good pictures."""
    write_pictures(tmp_path / "product", range(12))
    return tmp_path / "product"


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    """An MVTec AD category of its own for a test."""
    return write_mvtec(tmp_path / "widget")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, tiny: Settings) -> Path:
    """A fitted model directory; tests only read it."""
    root = tmp_path_factory.mktemp("model")
    data = write_mvtec(root / "widget")
    cache = FeatureCache(root / "cache")
    fit(data, root / "fitted", settings=tiny, device="cpu", cache=cache, export=False)
    return root / "fitted"


@pytest.fixture(scope="session")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fitted model with a graph for each runtime that is here; tests only read it."""
    path = Path(shutil.copytree(model, tmp_path_factory.mktemp("exported") / "model"))
    bundle = read_bundle(path)
    add_graphs(path, bundle, TorchRuntime(bundle, "cpu"), runtimes_here(), [])
    return path


@pytest.fixture(autouse=True)
def fits_export_nothing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export takes longer than a tiny fit; a test that wants one says so with its marker."""
    if "exports" not in request.keywords:
        monkeypatch.setattr("nfbmr.fitting.runtimes_here", list)


@pytest.fixture(scope="session")
def inspector(model: Path) -> Inspector:
    """The fitted model, loaded; tests only read it."""
    return load(model, device="cpu")


@pytest.fixture
def model_copy(model: Path, tmp_path: Path) -> Path:
    """A copy of the fitted model that a test may change."""
    return Path(shutil.copytree(model, tmp_path / "model-copy"))


@pytest.fixture
def exported_copy(exported: Path, tmp_path: Path) -> Path:
    """A copy of the exported model that a test may change."""
    return Path(shutil.copytree(exported, tmp_path / "exported-copy"))
