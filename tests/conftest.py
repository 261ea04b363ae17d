"""Synthetic pictures, tiny settings, and one fitted model that tests may read but not write."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nfbmr.system.files import written_beside
from nfbmr.system.locks import lock

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nfbmr.inspection.inspector import Inspector
    from nfbmr.settings.schema import Settings

Draw = Callable[..., NDArray[np.uint8]]
BuiltOnce = Callable[[str, Callable[[Path], object]], Path]
Write = Callable[["nn.Module", "Tensor", tuple[str, str], Path], None]

collect_ignore = ["browser"]  # unless it is asked for: make test-browser

hypothesis_settings.register_profile("nfbmr", derandomize=True, database=None, deadline=None)
hypothesis_settings.load_profile("nfbmr")


def pytest_configure(config: pytest.Config) -> None:
    """Gives each process of the tests one thread, and each of several a core of its own.

    Processes that share cores and have as many threads as there are cores slow each other tenfold:
    their threads spin while they wait for one another. A process that only hands tests out to
    others does without torch, which takes seconds to import; so this file imports it where it is
    used.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of what the tests start
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if not worker and config.getoption("numprocesses", None):
        return
    import torch

    torch.set_num_threads(1)
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


def draw_turned(
    number: int, angle: float, *, defect: bool = False, size: tuple[int, int] = (96, 96)
) -> NDArray[np.uint8]:
    """A marked oval turned by `angle` (x to y), shifted a little, with noise, (H, W, 3).

    A defective one has a bright spot beside the mark.
    """
    rng = np.random.default_rng([number, 1])
    canvas = Image.new("L", (400, 400), 40)
    draw = ImageDraw.Draw(canvas)
    draw.ellipse((70, 130, 330, 270), fill=150)
    draw.ellipse((260, 170, 310, 220), fill=80)
    if defect:
        draw.ellipse((120, 190, 165, 235), fill=250)
    shift = tuple(rng.uniform(-20, 20, 2).tolist())
    bicubic = Image.Resampling.BICUBIC
    turned = canvas.rotate(-angle, bicubic, translate=shift, fillcolor=40)
    gray = np.asarray(turned.resize(size[::-1], Image.Resampling.BILINEAR), np.float64)
    noisy = gray + rng.normal(0, 2, size)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


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
    from nfbmr.settings.changes import with_changes
    from nfbmr.settings.presets import preset

    changes = {
        "size": [64, 64],
        "backbone": {
            "stages": [3],
            "scales": [0.5],
            "scale_stages": [[3, 2]],
            "detail": 2,
            "finest": 1,
        },
        "flow": {"hidden": 16, "blocks": 2},
        "mapping": {"kind": "bmr", "latent": 16, "inner": 8, "n": 1},
        "gaussian": {"rank": 48},
        "subspace": {"rank": 4},
        "local": {"rank": 6},
        "scoring": {"maps": ["source", "target", "likelihood", "norm", "distance", "fine"]},
        "stage_one": {"steps": 30, "batch": 64},
        "stage_two": {"steps": 15, "batch": 2},
        "calibration": {"false_alarm_rate": 0.2, "folded_below": 0},
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
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that all its processes see."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    (folder / "shared").mkdir(exist_ok=True)
    return folder / "shared"


@pytest.fixture(scope="session")
def once(shared: Path) -> BuiltOnce:
    """Builds a folder that tests only read, in the first process that asks for it.

    `once("name", build)` calls `build(folder)` and returns the folder; others wait for it.
    """

    def built(name: str, build: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with (shared / f"{name}.lock").open("w") as handle:
            while not lock(handle):
                time.sleep(0.05)
            if not done.exists():
                folder.mkdir()
                build(folder)
                done.touch()
        return folder

    return built


@pytest.fixture(scope="session")
def model(once: BuiltOnce, tiny: Settings) -> Path:
    """A fitted model directory; tests only read it."""
    from nfbmr.features.cache import FeatureCache
    from nfbmr.fitting import fit

    def build(root: Path) -> None:
        data = write_mvtec(root / "widget")
        cache = FeatureCache(root / "cache")
        fit(data, root / "fitted", settings=tiny, device="cpu", cache=cache, export=False)

    return once("model", build) / "fitted"


@pytest.fixture(scope="session")
def turned() -> Draw:
    """Draws a part that lies turned: `turned(number, angle, defect=False, size=(96, 96))`."""
    return draw_turned


@pytest.fixture(scope="session")
def turned_model(once: BuiltOnce, tiny: Settings) -> Path:
    """A model of parts that lie turned, beside `parts`, its pictures; tests only read both."""
    from nfbmr.features.cache import FeatureCache
    from nfbmr.fitting import fit

    def build(root: Path) -> None:
        (root / "parts").mkdir()
        for number, angle in enumerate(np.random.default_rng(0).uniform(0, 360, 28)):
            Image.fromarray(draw_turned(number, angle)).save(root / "parts" / f"{number:03d}.png")
        cache = FeatureCache(root / "cache")
        fit(root / "parts", root / "fitted", settings=tiny, device="cpu", cache=cache, export=False)

    return once("turned", build) / "fitted"


@pytest.fixture(scope="session")
def exported(model: Path, once: BuiltOnce) -> Path:
    """The fitted model with a graph for each runtime that is here; tests only read it."""
    from nfbmr.deployment.export import add_graphs, runtimes_here
    from nfbmr.model.bundle import read_bundle
    from nfbmr.runtimes.torch import TorchRuntime

    def build(root: Path) -> None:
        path = Path(shutil.copytree(model, root / "model"))
        bundle = read_bundle(path)
        add_graphs(path, bundle, TorchRuntime(bundle, "cpu"), runtimes_here(), [])

    return once("exported", build) / "model"


@pytest.fixture(autouse=True, scope="session")
def networks_built_once() -> Iterator[None]:
    """Most of a tiny fit is building the same network and reading the same weights: copies them."""
    from nfbmr.networks import cutting, source, weights
    from nfbmr.networks.folding import copied

    read = weights.read_tensors
    built: dict[str, nn.Module] = {}
    files: dict[tuple[Path, int, int], dict[str, Tensor]] = {}

    def copy_of(name: str) -> nn.Module:
        if name not in built:
            built[name] = cutting.build(name)
        return copied(built[name])

    def tensors_of(path: Path) -> dict[str, Tensor]:
        if not path.is_file():
            return read(path)
        key = (path, path.stat().st_mtime_ns, path.stat().st_size)
        if key not in files:
            files[key] = read(path)
        return dict(files[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "build", copy_of)
        patch.setattr(weights, "read_tensors", tensors_of)
        yield


@pytest.fixture(autouse=True, scope="session")
def exporter(shared: Path) -> Iterator[Write]:
    """A network that was written as ONNX in this run is copied: torch's exporter takes seconds.

    Gives what calls torch's exporter itself.
    """
    from nfbmr.deployment import graphs

    write = graphs._write

    def kept(module: nn.Module, example: Tensor, names: tuple[str, str], path: Path) -> None:
        file = shared / f"{_key_of(module, example, names)}.onnx"
        if not file.exists():
            with written_beside(file) as beside:
                write(module, example, names, beside)
        shutil.copyfile(file, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "_write", kept)
        yield write


@pytest.fixture(autouse=True)
def _exporter_itself(
    exporter: Write, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test of torch's exporter says so with its marker."""
    if "exporter" in request.keywords:
        monkeypatch.setattr("nfbmr.deployment.graphs._write", exporter)


def _key_of(module: nn.Module, example: Tensor, names: tuple[str, str]) -> str:
    """Names all that a graph depends on: layers, their plain attributes, and every tensor."""
    digest = hashlib.sha256(repr((names, tuple(example.shape), example.dtype)).encode())
    for path, part in module.named_modules():
        plain = {
            name: value
            for name, value in vars(part).items()
            if isinstance(value, int | float | str | tuple | None)
        }
        digest.update(repr((path, type(part), part.extra_repr(), sorted(plain.items()))).encode())
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        digest.update(repr((path, tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(autouse=True)
def fits_export_nothing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export takes longer than a tiny fit; a test that wants one says so with its marker."""
    if "exports" not in request.keywords:
        monkeypatch.setattr("nfbmr.fitting.runtimes_here", list)


@pytest.fixture(scope="session")
def inspector(model: Path) -> Inspector:
    """The fitted model, loaded; tests only read it."""
    from nfbmr.inspection.inspector import load

    return load(model, device="cpu")


@pytest.fixture
def model_copy(model: Path, tmp_path: Path) -> Path:
    """A copy of the fitted model that a test may change."""
    return Path(shutil.copytree(model, tmp_path / "model-copy"))


@pytest.fixture
def exported_copy(exported: Path, tmp_path: Path) -> Path:
    """A copy of the exported model that a test may change."""
    return Path(shutil.copytree(exported, tmp_path / "exported-copy"))
