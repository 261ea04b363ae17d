"""Fitting from end to end on drawn pictures: learn, write, load, tell defects from good parts."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nfbmr import fitting
from nfbmr.data.same import fingerprint
from nfbmr.data.survey import Survey, survey
from nfbmr.errors import (
    BundleError,
    ImageError,
    LayoutError,
    SettingsError,
    TrainingError,
    WeightsError,
)
from nfbmr.evaluation.metrics import image_auroc
from nfbmr.features import compute
from nfbmr.features.cache import FeatureCache
from nfbmr.fitting import fit
from nfbmr.inspection.inspector import load
from nfbmr.learning import learn, stages
from nfbmr.learning.plan import FEWEST_IMAGES, plan_fit
from nfbmr.learning.pose import pose_of
from nfbmr.learning.work import work_folder
from nfbmr.model.bundle import add_exports, read_bundle
from nfbmr.model.exports import Export, Gate
from nfbmr.networks.gaussian import PositionGaussians
from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.subspace import Subspace
from nfbmr.networks.weights import embedded_file
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import Settings
from nfbmr.system.files import sha256_of

Draw = Callable[..., NDArray[np.uint8]]


def count_source_images(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Notes the images of every pass of SNN; shapes alone do not count."""
    passed: list[int] = []
    original = SourceNetwork.forward

    def forward(self: SourceNetwork, pixels: Tensor) -> Tensor:
        if pixels.device.type != "meta":
            passed.append(len(pixels))
        return original(self, pixels)

    monkeypatch.setattr(SourceNetwork, "forward", forward)
    return passed


def surveyed(folder: Path) -> Survey:
    return survey(folder.name, sorted(folder.iterdir()))


def test_defects_score_above_good_parts(
    good_folder: Path, tiny: Settings, draw: Draw, tmp_path: Path
) -> None:
    fitted = fit(good_folder, tmp_path / "model", settings=tiny, device="cpu")
    good = [draw(seed) for seed in range(300, 308)]
    bad = [draw(seed, defect=True) for seed in range(400, 408)]
    scores = np.array([fitted.inspect(picture).score for picture in good + bad])
    auroc = image_auroc(scores, np.arange(16) >= 8)
    assert auroc is not None
    assert auroc > 0.9
    assert all(fitted.inspect(picture).is_defect for picture in bad)
    loaded = load(tmp_path / "model", device="cpu")
    np.testing.assert_allclose([loaded.inspect(p).score for p in good + bad], scores)
    assert fitted.facts.name == "product"
    assert (fitted.facts.n_train, fitted.facts.n_held_out) == (7, 5)
    assert set(fitted.facts.losses) == {"flow", "mapping"}
    assert fitted.settings == tiny
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["model", "product"], "the work folder goes when the model stands"


def test_a_second_fit_takes_the_features_from_the_cache(
    good_folder: Path, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = count_source_images(monkeypatch)
    fit(good_folder, tmp_path / "one", settings=tiny, device="cpu")
    assert sum(passed) == 12
    fit(good_folder, tmp_path / "two", settings=tiny, device="cpu", seed=1)
    assert sum(passed) == 12
    one, two = read_bundle(tmp_path / "one"), read_bundle(tmp_path / "two")
    name = "flow.blocks.0.net1.weight1"
    assert not np.array_equal(one.tensors[name], two.tensors[name])
    fit(good_folder, tmp_path / "three", settings=tiny, device="cpu", size=[32, 32])
    assert sum(passed) == 24


def test_a_fit_with_a_picture_more_passes_that_one_and_with_one_fewer_none(
    good_folder: Path,
    tiny: Settings,
    draw: Draw,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed = count_source_images(monkeypatch)
    fit(good_folder, tmp_path / "first", settings=tiny, device="cpu")
    Image.fromarray(draw(100)).save(good_folder / "0035.png")  # between the others
    fit(good_folder, tmp_path / "more", settings=tiny, device="cpu")
    assert sum(passed) == 12 + 1
    (good_folder / "003.png").unlink()
    (good_folder / "004.png").rename(good_folder / "zzz.png")
    grown = fit(good_folder, tmp_path / "fewer", settings=tiny, device="cpu")
    assert sum(passed) == 12 + 1
    fit(good_folder, tmp_path / "anew", settings=tiny, device="cpu", cache=FeatureCache(tmp_path))
    assert sum(passed) == 12 + 1 + 12
    name = "model.safetensors"
    assert (tmp_path / "fewer" / name).read_bytes() == (tmp_path / "anew" / name).read_bytes()
    assert len(grown.facts.trained_on) + len(grown.facts.held_out) == 12


def test_files_are_opened_for_the_survey_the_features_and_to_know_how_bright_they_are(
    good_folder: Path, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Counter[Path] = Counter()
    exported: list[Path] = []

    def counting(original: Any) -> Any:
        def count(path: Any, *args: Any, **kwargs: Any) -> Any:
            one = Path(os.fsdecode(path))
            opened[one] += one.parent == good_folder
            return original(path, *args, **kwargs)

        return count

    def note(*args: Any, **kwargs: Any) -> tuple[()]:
        exported.extend(args[4])
        return ()

    for place, name in ((Path, "open"), (os, "open")):
        monkeypatch.setattr(place, name, counting(getattr(place, name)))
    monkeypatch.setattr("nfbmr.fitting.runtimes_here", lambda: [("onnx", "fp32")])
    monkeypatch.setattr("nfbmr.fitting.add_graphs", note)
    pictures = set(good_folder.iterdir())
    bare = with_changes(tiny, {"examples": 0})
    for times in (3, 5):  # the second fit takes its features from the cache
        facts = fit(good_folder, tmp_path / "model", settings=bare, device="cpu").facts
        assert {opened[path] for path in pictures} == {times}
        assert {fingerprint(path) for path in exported} == set(facts.held_out)
        opened.subtract(exported)  # by `fingerprint`, here
        assert len(exported) == 5
        exported.clear()
    few = with_changes(tiny, {"examples": 2})
    facts = fit(good_folder, tmp_path / "model", settings=few, device="cpu").facts
    again = {path for path in pictures if opened[path] == 8}
    assert {path for path in pictures if opened[path] == 7} == pictures - again
    assert len({fingerprint(path) for path in again} & set(facts.trained_on)) == 2 == len(again)


def test_same_seed_same_model(
    good_folder: Path, tiny: Settings, tmp_path: Path, plain: Path
) -> None:
    fit(good_folder, tmp_path / "again", settings=tiny, device="cpu")
    for part in ("model.safetensors", "calibration.json"):
        assert (tmp_path / "again" / part).read_bytes() == (plain / part).read_bytes()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny: Settings, draw: Draw) -> Path:
    """The model of `good_folder`, learnt without a break; tests only read it."""
    root = tmp_path_factory.mktemp("plain")
    (root / "product").mkdir()
    for seed in range(12):
        Image.fromarray(draw(seed)).save(root / "product" / f"{seed:03d}.png")
    cache = FeatureCache(root / "cache")
    fit(root / "product", root / "model", settings=tiny, device="cpu", cache=cache, export=False)
    return root / "model"


@pytest.mark.parametrize("fresh", [False, True])
def test_an_interrupted_fit_goes_on_unless_told_otherwise(
    fresh: bool, good_folder: Path, tiny: Settings, tmp_path: Path, plain: Path
) -> None:
    heard: list[tuple[str, int]] = []

    def stop(what: str, done: int, total: int, loss: float | None = None) -> None:
        if (what, done) == ("mapping", 5):
            raise KeyboardInterrupt

    def note(what: str, done: int, total: int, loss: float | None = None) -> None:
        heard.append((what, done))

    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        fit(good_folder, out, settings=tiny, device="cpu", progress=stop)
    assert not out.exists()
    assert work_folder(out).is_dir()
    fit(good_folder, out, settings=tiny, device="cpu", progress=note, fresh=fresh)
    steps = [item for item in heard if item[0] not in ("survey", "features")]
    assert steps[0] == (("flow", 1) if fresh else ("mapping", 6))
    assert not work_folder(out).exists()
    name = "model.safetensors"
    assert (out / name).read_bytes() == (plain / name).read_bytes()


STEPS = ("features", "flow", "mapping", "gaussians", "subspace", "calibration", "writing", "export")


class Steps:
    """Notes what a fit does, and ends it before one of its steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.end_before = ""
        self.patch = monkeypatch
        self._note(compute, "_run", "features")
        self._note(stages._Run, "flow_loss", "flow")
        self._note(stages._Run, "mapping_loss", "mapping")
        self._note(PositionGaussians, "learn", "gaussians")
        self._note(Subspace, "learn", "subspace")
        self._note(learn, "calibrate", "calibration")
        self._note(fitting, "write_bundle", "writing")
        self._note(fitting, "add_graphs", "export")
        monkeypatch.setattr(fitting, "runtimes_here", lambda: [("onnx", "fp32")])

    def _note(self, owner: Any, name: str, what: str) -> None:
        original = getattr(owner, name)

        def noting(*args: Any, **kwargs: Any) -> Any:
            if what == self.end_before:
                raise KeyboardInterrupt
            if what not in self.done:
                self.done.append(what)
            return () if what == "export" else original(*args, **kwargs)

        self.patch.setattr(owner, name, noting)

    def fit(self, *args: Any, end_before: str = "", **kwargs: Any) -> list[str]:
        self.done, self.end_before = [], end_before
        if end_before:
            with pytest.raises(KeyboardInterrupt):
                fit(*args, **kwargs)
        else:
            fit(*args, **kwargs)
        return self.done


def test_no_step_that_was_finished_is_done_again(
    good_folder: Path, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, out = Steps(monkeypatch), tmp_path / "model"
    given: dict[str, Any] = {"settings": tiny, "device": "cpu"}
    assert steps.fit(good_folder, tmp_path / "other", **given) == list(STEPS)
    given["cache"] = FeatureCache(tmp_path / "cache")
    for end_before, expected in [
        ("flow", ["features"]),
        ("mapping", ["flow"]),
        ("gaussians", ["mapping"]),
        ("calibration", ["gaussians", "subspace"]),
        ("writing", ["calibration"]),
        ("export", ["calibration", "writing"]),  # no model was written with the first calibration
        ("export", []),
        ("", ["export"]),
    ]:
        assert steps.fit(good_folder, out, end_before=end_before, **given) == expected, end_before
    assert not work_folder(out).exists()
    for part in ("model.safetensors", "calibration.json"):
        assert (out / part).read_bytes() == (tmp_path / "other" / part).read_bytes()


def test_a_model_is_taken_for_finished_where_it_is_this_fits(
    good_folder: Path, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, out = Steps(monkeypatch), tmp_path / "model"
    given: dict[str, Any] = {"settings": tiny, "device": "cpu", "end_before": "export"}
    steps.fit(good_folder, out, **given)
    inspector = load(out, device="cpu")
    inspector.recalibrated(0.4).save_calibration()  # meanwhile, by the user
    assert steps.fit(good_folder, out, **given) == []
    assert load(out, device="cpu").calibration.false_alarm_rate == 0.4
    shutil.rmtree(out)
    assert steps.fit(good_folder, out, **given) == ["calibration", "writing"]
    again = ["mapping", "calibration", "writing"]
    assert steps.fit(good_folder, out, mapping={"n": 2}, **given) == again
    assert steps.fit(good_folder, out, **given) == again
    all_but_features = [step for step in STEPS if step not in ("features", "export")]
    assert steps.fit(good_folder, out, fresh=True, **given) == all_but_features
    exported = add_a_graph(out)  # and killed before it was cleared up
    monkeypatch.setattr(fitting, "load", lambda *_, **__: inspector)
    assert steps.fit(good_folder, out, settings=tiny, device="cpu") == []
    assert read_bundle(out).exports == (exported,)
    given["end_before"] = "mapping"
    assert steps.fit(good_folder, out, **given) == ["flow"], "done is done: this is a new fit"


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_what_learnt_on_a_gpu_is_compared_with_what_the_cpu_gives(
    kind: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bundle = read_bundle(model)
    good = survey("widget", (model.parent / "widget" / "train" / "good").iterdir())
    given: dict[str, Any] = {}

    def add(*args: Any, **named: Any) -> tuple[()]:
        _, _, reference, _, pictures = args
        given.update(named, device=reference.device.type, pictures=pictures)
        return ()

    monkeypatch.setattr(fitting, "runtimes_here", lambda: [("onnx", "fp32")])
    monkeypatch.setattr(fitting, "add_graphs", add)
    job = learn.Job(
        settings=bundle.settings,
        work=tmp_path,
        device=torch.device(kind),
        cache=FeatureCache(tmp_path),
        progress=lambda *_: None,
    )
    with caplog.at_level(logging.INFO, "nfbmr"):
        fitting._export(model, good, job)
    held_out = [one for one in good.pictures if one.fingerprint in bundle.facts.held_out]
    assert given["device"] == "cpu"
    assert given["progress"] is job.progress
    assert given["calibrated"] == [one.pixel_hash for one in held_out]
    assert given["pictures"] == [one.picture for one in held_out]
    said = "Learnt on cuda; held-out pictures now pass the CPU, to compare" in caplog.messages
    assert said == (kind == "cuda")


def add_a_graph(model: Path) -> Export:
    graph = model.with_name("graph")
    graph.write_bytes(b"graph")
    values = {"maps": 0, "maps_allowed": 1, "scores": 0, "scores_allowed": 1, "p_values": 0}
    gate = Gate(good=1, drawn=1, milliseconds=1, versions={}, **values)
    export = Export(target="onnx", precision="fp32", graph=sha256_of(graph), gate=gate)
    add_exports(model, {export.file: graph}, (export,), read_bundle(model).identity)
    return export


def test_parts_that_lie_turned_are_learnt_in_one_pose(
    turned_model: Path,
    turned: Draw,
    tiny: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "nfbmr")
    bundle = read_bundle(turned_model)
    parts = turned_model.parent / "parts"
    cache = FeatureCache(tmp_path / "cache")
    again = fit(parts, tmp_path / "again", settings=tiny, device="cpu", cache=cache)
    pose = read_bundle(tmp_path / "again").pose
    assert pose is not None
    assert bundle.pose is not None
    assert pose.key == bundle.pose.key
    assert pose.describe() in caplog.text
    assert f"{pose.describe()}." in (tmp_path / "again" / "README.md").read_text("utf-8")
    assert again.calibration == bundle.calibration
    off = fit(parts, tmp_path / "off", settings=tiny, device="cpu", cache=cache, pose="off")
    assert read_bundle(tmp_path / "off").pose is None
    assert len({entry.shelf for entry in cache.entries()}) == 2
    bad = [turned(100 + n, 50.0 * n, defect=True) for n in range(7)]
    assert again.scores(bad).min() > again.threshold
    assert again.scores(bad).mean() > off.scores(bad).mean()


def test_a_mask_of_parts_that_lie_turned_is_refused(
    turned_model: Path, tiny: Settings, tmp_path: Path
) -> None:
    mask = np.eye(96, dtype=bool)
    parts = turned_model.parent / "parts"
    with pytest.raises(SettingsError, match=r"parts that lie turned.*--set pose=off"):
        fit(parts, tmp_path / "model", settings=tiny, device="cpu", ignore=mask)


def test_a_mask_does_not_go_with_tiles(good_folder: Path, tiny: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected a mask or tiles, not both"):
        fit(
            good_folder,
            tmp_path / "model",
            settings=tiny,
            device="cpu",
            tiles=True,
            ignore=np.eye(80, dtype=bool),
        )


def test_a_mask_of_nothing_is_said_and_the_whole_picture_counts(
    good_folder: Path, tiny: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mask = np.zeros((80, 80), np.uint8)
    fit(good_folder, tmp_path / "model", settings=tiny, device="cpu", ignore=mask)
    assert "is 0 everywhere: the whole picture counts" in caplog.text
    assert read_bundle(tmp_path / "model").ignore is None


def test_the_pose_is_that_of_the_pictures_that_train(turned_model: Path) -> None:
    bundle = read_bundle(turned_model)
    good = surveyed(turned_model.parent / "parts")
    trains = [one for one in good.pictures if one.fingerprint in bundle.facts.trained_on]
    pose = pose_of(trains, bundle.facts.size)
    assert len(trains) < len(good.pictures)
    assert pose is not None
    assert bundle.pose is not None
    assert bundle.pose.key == pose.key


def test_parts_that_are_cut_into_tiles_stay_as_they_lie(
    turned_model: Path, tiny: Settings, tmp_path: Path
) -> None:
    parts = turned_model.parent / "parts"
    fit(parts, tmp_path / "tiled", settings=tiny, device="cpu", tiles=True)
    assert read_bundle(tmp_path / "tiled").pose is None


def test_tiles_ask_for_a_grid_that_fits_them(
    good_folder: Path, tiny: Settings, tmp_path: Path
) -> None:
    how = {
        "backbone": {
            "name": "vit_small_patch14_dinov2",
            "weights": "random",
            "scales": [],
            "scale_stages": [],
            "stages": [1],
            "detail": None,
            "finest": None,
        },
        "scoring": {"maps": ["norm", "distance"]},
    }
    expected = r"vit_small_patch14_dinov2.* every 14 pixels.*divides 32"
    with pytest.raises(SettingsError, match=expected):
        fit(
            good_folder,
            tmp_path / "model",
            settings=with_changes(tiny, how),
            device="cpu",
            tiles=True,
        )


def test_two_fits_do_not_write_one_model(good_folder: Path, tiny: Settings, tmp_path: Path) -> None:
    refused = []

    def fit_again(what: str, done: int, total: int, loss: float | None = None) -> None:
        if (what, done) == ("flow", 3):
            with pytest.raises(BundleError, match="another fit is writing it") as error:
                fit(good_folder, tmp_path / "model", settings=tiny, device="cpu")
            refused.append(error)

    fit(good_folder, tmp_path / "model", settings=tiny, device="cpu", progress=fit_again)
    assert len(refused) == 1
    assert load(tmp_path / "model", device="cpu").facts.name == "product"


def test_a_model_comes_to_the_current_directory(
    good_folder: Path, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    inode = here.stat().st_ino
    fitted = fit("../product", ".", settings=tiny, device="cpu")
    (here / "notes.txt").write_text("mine")
    assert load(".", device="cpu").facts == fitted.facts
    fit(sorted(good_folder.iterdir()), ".", settings=tiny, device="cpu", seed=1)
    assert load(here, device="cpu").facts.name == "here"
    assert (Path("notes.txt").read_text(), here.stat().st_ino) == ("mine", inode)
    assert {path.name for path in tmp_path.iterdir()} == {"here", "product"}


def test_a_mount_point_is_refused_before_the_work(
    good_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "volume")
    with pytest.raises(BundleError, match=r"is a mount point, .* such as .*volume.part"):
        fit(good_folder, tmp_path / "volume")


def test_only_good_training_pictures_are_looked_at(
    mvtec: Path, tiny: Settings, tmp_path: Path
) -> None:
    fit(mvtec, tmp_path / "one", settings=tiny, device="cpu")
    for folder in ("test", "ground_truth"):
        shutil.rmtree(mvtec / folder)
    fit(mvtec, tmp_path / "two", settings=tiny, device="cpu")
    for part in ("model.safetensors", "calibration.json"):
        assert (tmp_path / "one" / part).read_bytes() == (tmp_path / "two" / part).read_bytes()


def test_copies_are_left_out_with_a_warning(
    good_folder: Path, tiny: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(good_folder / "003.png", good_folder / "x-copy.png")
    shutil.copy(good_folder / "003.png", good_folder / "y-copy.png")
    with caplog.at_level(logging.WARNING, "nfbmr"):
        fitted = fit(good_folder, tmp_path / "model", settings=tiny, device="cpu")
    assert "2 pictures are copies of others and left out: x-copy.png, y-copy.png" in caplog.text
    assert fitted.facts.n_train + fitted.facts.n_held_out == 12


def test_a_list_that_names_what_was_made_of_others_is_followed_and_it_is_said(
    good_folder: Path, tiny: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = sorted(good_folder.iterdir())[: FEWEST_IMAGES - 2]
    drawn = good_folder / f"{first.stem}_overlay.png"
    shutil.copy(first, drawn)
    with (
        caplog.at_level(logging.WARNING, "nfbmr"),
        pytest.raises(TrainingError, match="good pictures"),  # too few, so that nothing is learnt
    ):
        fit([first, *others, drawn], tmp_path / "model", settings=tiny, device="cpu")
    said = "1 of them by their names were made of others in the list, and are learnt: "
    assert f"{said}{drawn}" in caplog.messages


# ---- refused before any work


def test_too_few_pictures(good_folder: Path, tiny: Settings, tmp_path: Path) -> None:
    for path in sorted(good_folder.iterdir())[FEWEST_IMAGES - 1 :]:
        path.unlink()
    with pytest.raises(TrainingError, match=r"9 good pictures.*at least 10 are needed"):
        fit(good_folder, tmp_path / "model", settings=tiny, device="cpu")
    assert not (tmp_path / "model").exists()


def test_copies_do_not_make_enough_pictures(
    good_folder: Path, tiny: Settings, tmp_path: Path
) -> None:
    first, *others = sorted(good_folder.iterdir())
    for path in others:
        shutil.copy(first, path)
    with pytest.raises(TrainingError, match="1 good picture to learn from"):
        fit(good_folder, tmp_path / "model", settings=tiny, device="cpu")


def test_ten_pictures_are_enough(good_folder: Path, tiny: Settings, tmp_path: Path) -> None:
    for path in sorted(good_folder.iterdir())[FEWEST_IMAGES:]:
        path.unlink()
    rate = {"false_alarm_rate": 0.05}
    fitted = fit(good_folder, tmp_path / "model", settings=tiny, device="cpu", calibration=rate)
    assert (fitted.facts.n_train, fitted.facts.n_held_out) == (5, 5)
    assert len(fitted.calibration.scores) == 10
    assert fitted.calibration.extrapolated
    said = "needs 19 good images, each judged without itself, there are 10; fit with 9 more, or "
    assert f"{said}calibrate with 19 others." in fitted.calibration.describe()[0]


def test_the_model_knows_the_pictures_that_it_learnt_from(
    good_folder: Path, tiny: Settings, tmp_path: Path
) -> None:
    facts = fit(good_folder, tmp_path / "model", settings=tiny, device="cpu").facts
    assert (len(facts.trained_on), len(facts.held_out)) == (facts.n_train, facts.n_held_out)
    written = {fingerprint(path) for path in good_folder.iterdir()}
    assert {*facts.trained_on, *facts.held_out} == written
    assert len(written) == 12


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"data": "nowhere"}, LayoutError),
        ({"device": "cuda:99"}, SettingsError),
        ({"device": "toaster"}, SettingsError),
        ({"preset": "quick", "settings": None}, SettingsError),
        ({"flow": {"hiden": 3}}, SettingsError),
        ({"backbone": {"name": "no_such_network"}}, SettingsError),
        ({"backbone": {"weights": "no/such/file.pth"}}, WeightsError),
    ],
)
def test_what_the_user_got_wrong_is_said_and_nothing_is_written(
    change: dict[str, Any],
    error: type[Exception],
    good_folder: Path,
    tiny: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed = count_source_images(monkeypatch)
    given: dict[str, Any] = {"data": good_folder, "settings": tiny, "device": "cpu"}
    with pytest.raises(error):
        fit(**(given | change), out=tmp_path / "model")
    assert passed == []
    assert [path.name for path in tmp_path.iterdir()] == ["product"]


def test_a_foreign_folder_is_refused_before_any_work(
    good_folder: Path, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_work(*args: object) -> None:
        raise AssertionError("the data was looked at")

    monkeypatch.setattr("nfbmr.fitting.read_data", no_work)
    with pytest.raises(BundleError, match="holds other things"):
        fit(good_folder, good_folder, settings=tiny, device="cpu")
    assert len(list(good_folder.iterdir())) == 12


def test_an_unreadable_training_picture_is_named(
    good_folder: Path, tiny: Settings, tmp_path: Path
) -> None:
    (good_folder / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"1 of 13 pictures.*broken\.png"):
        fit(good_folder, tmp_path / "model", settings=tiny, device="cpu")


def test_a_fit_that_breaks_down_leaves_the_old_model(
    good_folder: Path, tiny: Settings, model_copy: Path
) -> None:
    before = (model_copy / "model.safetensors").read_bytes()
    stage = {"learning_rate": 1e30, "schedule": "constant"}
    with pytest.raises(TrainingError, match="no model was written"):
        fit(good_folder, model_copy, settings=tiny, device="cpu", stage_one=stage)
    assert (model_copy / "model.safetensors").read_bytes() == before
    assert load(model_copy, device="cpu").facts.name == "widget"


# ---- what is in the model


def test_the_path_of_a_weights_file_is_not_in_the_model(
    good_folder: Path, tiny: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "secret-place" / f"w{embedded_file('tf_efficientnet_lite0').suffix}"
    file.parent.mkdir()
    shutil.copy(embedded_file("tf_efficientnet_lite0"), file)
    backbone = {"weights": str(file)}
    fitted = fit(good_folder, tmp_path / "m", settings=tiny, device="cpu", backbone=backbone)
    assert fitted.settings.backbone.weights == "file"
    for part in (tmp_path / "m").iterdir():
        assert b"secret-place" not in part.read_bytes(), part
    embedded = fit(good_folder, tmp_path / "e", settings=tiny, device="cpu")
    picture = next(good_folder.iterdir())
    assert fitted.inspect(picture).score == embedded.inspect(picture).score


def test_a_size_is_chosen_that_has_the_pictures_shape(
    tiny: Settings, draw: Draw, tmp_path: Path
) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    for seed in range(FEWEST_IMAGES):
        picture = draw(seed, size=(50, 100))
        Image.fromarray(picture).save(folder / f"{seed}.png")
    settings = with_changes(tiny, {"size": None, "pixel_budget": 64 * 128})
    plan = plan_fit(surveyed(folder), settings)
    assert plan.chosen
    assert plan.size == (64, 128)
    fitted = fit(folder, tmp_path / "model", settings=settings, device="cpu")
    assert fitted.facts.size == (64, 128)
    result = fitted.inspect(folder / "0.png")
    assert result.maps.shape[1:] == (32, 64)
    assert result.heatmap.shape == (50, 100)


def test_the_plan_says_what_a_fit_will_do(good_folder: Path, tiny: Settings) -> None:
    plan = plan_fit(surveyed(good_folder), tiny)
    lines = [
        "Pictures are resized to 64 x 64 (H x W), as asked",
        "7 good pictures to train on, 5 held out; all 12 calibrate, each judged without itself",
    ]
    assert plan.describe() == lines
    strict = with_changes(tiny, {"calibration": {"false_alarm_rate": 0.05}})
    assert plan_fit(surveyed(good_folder), strict).describe() == [
        *lines,
        "A false-alarm rate of 0.05 needs 19 good pictures: the threshold will be "
        "extrapolated (attainable: 0.0769)",
    ]


def test_where_those_held_out_calibrate_alone_the_plan_counts_them(
    good_folder: Path, tiny: Settings
) -> None:
    how = {"calibration": {"everyone": False, "false_alarm_rate": 0.1}}
    assert plan_fit(surveyed(good_folder), with_changes(tiny, how)).describe()[1:] == [
        "7 good pictures to train on, 5 held out to calibrate",
        "A false-alarm rate of 0.1 needs 9 held-out pictures: the threshold will be "
        "extrapolated (attainable: 0.167)",
    ]


def test_a_model_of_the_comparison_family_loads_too(
    good_folder: Path, tiny: Settings, tmp_path: Path
) -> None:
    mapping = {"kind": "b-pfm"}
    fitted = fit(good_folder, tmp_path / "model", settings=tiny, device="cpu", mapping=mapping)
    picture = next(good_folder.iterdir())
    again = load(tmp_path / "model", device="cpu").inspect(picture)
    assert torch.equal(torch.from_numpy(again.maps), torch.from_numpy(fitted.inspect(picture).maps))


def test_a_model_carries_what_is_white(
    good_folder: Path,
    tiny: Settings,
    draw: Draw,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """12 bits in 16 with their white are the same pictures as 8 bits, in fit and inspection."""
    twelve = tmp_path / "twelve"
    twelve.mkdir()
    for path in sorted(good_folder.iterdir()):
        gray = np.asarray(Image.open(path).convert("L"))
        Image.fromarray(gray).save(good_folder / path.name)
        Image.fromarray(deepened(gray)).save(twelve / path.name)
    eight = fit(good_folder, tmp_path / "one", settings=tiny, device="cpu", export=False)
    caplog.clear()
    deep = fit(twelve, tmp_path / "two", settings=tiny, device="cpu", export=False, white=4095)
    assert not [r for r in caplog.records if "highest value" in r.getMessage()]
    found = load(tmp_path / "two", device="cpu")
    assert found.settings.data.white == 4095
    highest = max(int(np.asarray(Image.open(path)).max()) for path in twelve.iterdir())
    assert (found.facts.depth, found.facts.highest) == (16, highest)
    words = f"16 bits, highest value {highest}, of which 4095 is white (`data.white`)"
    assert words in (tmp_path / "two" / "README.md").read_text()
    new = np.asarray(draw(300, defect=True))[..., 0]
    Image.fromarray(deepened(new)).save(tmp_path / "new.png")
    expected = eight.inspect(new).score
    assert deep.inspect(deepened(new)).score == expected
    assert deep.inspect(tmp_path / "new.png").score == expected
    assert [r.score for r in deep.inspect_many([deepened(new)]) if hasattr(r, "score")] == [
        expected
    ]
    fit(twelve, settings=tiny, device="cpu")
    (said,) = (r.getMessage() for r in caplog.records if "highest value" in r.getMessage())
    assert said.startswith(f"the highest value of 12 pictures with 16 bits is {highest} of 65535")
    assert said.endswith("give data.white=4095")


def deepened(gray: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The same picture with 12 bits in 16."""
    return np.asarray(np.rint(gray * (4095 / 255)), np.uint16)


def test_a_table_without_good_rows_is_not_learnt(
    good_folder: Path, tiny: Settings, tmp_path: Path
) -> None:
    table = tmp_path / "parts.csv"
    rows = [f"product/{path.name},dobarx\n" for path in sorted(good_folder.iterdir())]
    table.write_text("path,label\n" + "".join(rows))
    with pytest.raises(LayoutError, match=r"no good pictures .*labels: dobarx 12, taken for types"):
        fit(table, settings=tiny, device="cpu")


def test_the_card_says_whether_anything_was_labelled(
    good_folder: Path, tiny: Settings, tmp_path: Path
) -> None:
    fit(good_folder, tmp_path / "one", settings=tiny, device="cpu", export=False)
    assert "that was taken on trust" in (tmp_path / "one" / "README.md").read_text()
    good_folder.rename(tmp_path / "good")
    (tmp_path / "parts").mkdir()
    (tmp_path / "good").rename(tmp_path / "parts" / "good")
    fit(tmp_path / "parts", tmp_path / "two", settings=tiny, device="cpu", export=False)
    card = (tmp_path / "two" / "README.md").read_text()
    assert "All of them are labelled good: no defect was seen." in card
