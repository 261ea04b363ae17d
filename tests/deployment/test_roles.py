"""What is learnt again is calibrated as the model is now, and learns from what the model did."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.images import ImageInput
from nfbmr.data.survey import Survey, survey
from nfbmr.deployment.export import export
from nfbmr.deployment.relearn import Learnt, relearn
from nfbmr.deployment.roles import plan_again, roles_of
from nfbmr.errors import TrainingError
from nfbmr.inspection.inspector import load
from nfbmr.model.bundle import Bundle, read_bundle, replace_calibration
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.chosen import Chosen
from nfbmr.settings.changes import with_changes

Draw = Callable[..., NDArray[np.uint8]]

AREA = (0.0, 0.0, 0.25, 0.5)


@pytest.fixture
def bundle(model: Path) -> Bundle:
    return read_bundle(model)


@pytest.fixture
def new(tmp_path: Path, draw: Draw) -> Path:
    """A folder of six good pictures that the model does not know."""
    folder = tmp_path / "new"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(draw(500 + number)).save(folder / f"new{number}.png")
    return folder


@pytest.fixture
def both(tmp_path: Path, mvtec: Path, new: Path) -> Path:
    """A folder of the pictures of the fit and, behind them, the new ones."""
    folder = Path(shutil.copytree(mvtec / "train" / "good", tmp_path / "both"))
    shutil.copytree(new, folder, dirs_exist_ok=True)
    return folder


def of_fit(mvtec: Path) -> Survey:
    return survey("product", sorted((mvtec / "train" / "good").iterdir()))


def mixed(mvtec: Path, draw: Draw) -> Survey:
    """The pictures of the fit, backwards, with three new ones among them."""
    known: list[ImageInput] = [*sorted((mvtec / "train" / "good").iterdir(), reverse=True)]
    return survey("mixed", [draw(500), *known[:7], draw(501), *known[7:], draw(502)])


def prints(good: Survey, numbers: tuple[int, ...] | None) -> set[str]:
    assert numbers is not None
    assert list(numbers) == sorted(set(numbers))
    return {good.pictures[number].fingerprint for number in numbers}


def calibrated_with(bundle: Bundle, names: tuple[str, ...], **changes: Any) -> Bundle:
    """The model, calibrated now by pictures of these names, as far as they go."""
    now, n = bundle.calibration, len(names)
    calibration = replace(
        now,
        scores=now.scores[:n],
        table=now.table[:n],
        seen=now.seen[:n],
        pictures=names,
        rank=1,
        judge_peaks=tuple(peaks[:n] for peaks in now.judge_peaks),
        watched={},
        places=(),
        **changes,
    )
    return replace(bundle, calibration=calibration)


def each_by_itself(bundle: Bundle) -> Bundle:
    """The same model, were it calibrated by what is held out alone."""
    settings = with_changes(bundle.settings, {"calibration": {"everyone": False}})
    own = calibrated_with(bundle, bundle.facts.held_out_pixels, learnt=0, own={})
    return replace(own, settings=settings)


def learnt_again(bundle: Bundle, good: Survey, work: Path) -> Learnt:
    work.mkdir()
    return relearn(bundle, TorchRuntime(bundle, "cpu").detector, good, "onnx", "int8", work)


# ---- who is what


def test_what_trained_trains_and_what_was_held_out_is_held_out(
    bundle: Bundle, mvtec: Path, draw: Draw
) -> None:
    roles, facts = roles_of(bundle, mixed(mvtec, draw)), bundle.facts
    assert prints(roles.good, roles.trains) == set(facts.trained_on)
    assert prints(roles.good, roles.held_out) == set(facts.held_out)
    assert roles.new == ()
    assert roles.calibrating == tuple(range(16)), "everyone"
    assert roles.compared == roles.held_out
    alone = roles_of(each_by_itself(bundle), mixed(mvtec, draw))
    assert alone.calibrating == alone.compared == alone.held_out == roles.held_out


@pytest.mark.parametrize("everyone", [True, False])
def test_what_was_taken_out_calibrates_and_is_compared_no_more(
    bundle: Bundle, mvtec: Path, everyone: bool
) -> None:
    model = bundle if everyone else each_by_itself(bundle)
    good = of_fit(mvtec)
    all_of_them, numbers = roles_of(model, good), range(len(good.pictures))
    one, *others = all_of_them.held_out
    names = tuple(
        picture.pixel_hash
        for number, picture in enumerate(good.pictures)
        if number in others or (everyone and number != one)
    )
    roles = roles_of(calibrated_with(model, names), good)
    assert roles.held_out == all_of_them.held_out, "the Gaussians of both models know it"
    expected = [n for n in numbers if n != one] if everyone else others
    assert roles.calibrating == tuple(expected)
    assert roles.compared == tuple(others)


@pytest.mark.parametrize("everyone", [True, False])
def test_what_calibrates_since_the_fit_calibrates_alone_and_nothing_learns_from_it(
    bundle: Bundle, mvtec: Path, draw: Draw, everyone: bool
) -> None:
    model = bundle if everyone else each_by_itself(bundle)
    good = mixed(mvtec, draw)
    new = [0, 8, 18]
    # What is learnt from never calibrates beside what is not, even where a calibration said so.
    trained = next(one for one in good.pictures if one.fingerprint in model.facts.trained_on)
    names = (*(good.pictures[number].pixel_hash for number in new), trained.pixel_hash)
    roles = roles_of(calibrated_with(model, names, learnt=0, own={}), good)
    assert len(roles.good.pictures) == 19
    assert roles.new == roles.calibrating == tuple(new)
    assert prints(roles.good, roles.trains) == set(model.facts.trained_on)
    assert prints(roles.good, roles.held_out) == set(model.facts.held_out)
    assert roles.compared == tuple(sorted((*roles.held_out, *new))), "neither model trained on them"


def test_pictures_that_trained_are_not_enough(bundle: Bundle, mvtec: Path) -> None:
    facts = bundle.facts.model_copy(
        update={"held_out": bundle.facts.held_out[:4], "held_out_pixels": ()}
    )
    calibration = replace(bundle.calibration, pictures=())
    other = replace(bundle, facts=facts, calibration=calibration)
    with pytest.raises(TrainingError, match=r"15 of the 15 .* and 4 that may calibrate"):
        plan_again(other, of_fit(mvtec), "int8")


def test_without_the_pictures_that_calibrate_now_nothing_is_learnt_again(
    bundle: Bundle, mvtec: Path, new: Path, both: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = tuple(one.pixel_hash for one in survey("new", sorted(new.iterdir())).pictures)
    since = calibrated_with(bundle, names, learnt=0, own={})
    with pytest.raises(
        TrainingError, match=r"0 of the 6 good pictures that calibrate .* among the 16 given; int8"
    ):
        plan_again(since, of_fit(mvtec), "int8")
    good = survey("both", sorted(both.iterdir()))
    plan_again(since, good, "int8")
    assert "calibrate" not in caplog.text
    trained = roles_of(bundle, good).trains[0]
    fewer = tuple(one for number, one in enumerate(good.pictures) if number != trained)
    plan_again(bundle, replace(good, pictures=fewer), "int8")
    assert "1 of the 16 good pictures that calibrate the model now are not among" in caplog.text


def test_how_training_changes_what_it_saw_is_not_guessed_from_one_picture(
    bundle: Bundle, mvtec: Path
) -> None:
    known = set(bundle.facts.held_out_pixels[1:])
    names = tuple(one for one in bundle.calibration.pictures if one not in known)
    with pytest.raises(TrainingError, match="1 still calibrates the model; int8 needs 2"):
        plan_again(calibrated_with(bundle, names), of_fit(mvtec), "int8")


def test_a_model_that_does_not_say_what_calibrates_it_is_calibrated_as_by_its_fit(
    bundle: Bundle, mvtec: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibration = replace(bundle.calibration, pictures=())
    roles, plan = plan_again(replace(bundle, calibration=calibration), of_fit(mvtec), "int8")
    assert plan.in_force is not None
    assert roles.calibrating is plan.in_force.calibrating is None
    assert roles.compared == roles.held_out
    assert "does not say which pictures calibrate it: int8 is calibrated with those" in caplog.text


# ---- what is learnt again


@pytest.mark.slow
def test_a_picture_that_was_taken_out_of_the_threshold_stays_out(
    model_copy: Path, mvtec: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnxscript", reason="torch's exporter is not installed")
    good = sorted((mvtec / "train" / "good").iterdir())
    (out,) = survey("out", good[3:4]).pictures
    load(model_copy).recalibrated(without=[good[3]]).save_calibration()
    export(model_copy, precision="int8", calibrate_on=mvtec)
    single, coarse = (load(model_copy, runtime=name).calibration for name in ("torch", "onnx:int8"))
    assert len(coarse.pictures) == 15
    assert out.pixel_hash not in coarse.pictures
    assert set(coarse.pictures) == set(single.pictures)
    assert coarse.learnt == single.learnt == 16


@pytest.mark.slow
def test_pictures_of_a_calibration_since_the_fit_calibrate_and_nothing_learns_from_them(
    model: Path, mvtec: Path, new: Path, both: Path, tmp_path: Path
) -> None:
    """So both models of the gate have learnt from the same: what is learnt again is as without."""
    bundle = read_bundle(model)
    now = load(model).recalibrated(good_images=sorted(new.iterdir())).calibration
    first = learnt_again(bundle, of_fit(mvtec), tmp_path / "first")
    since = replace(bundle, calibration=now)
    again = learnt_again(since, survey("both", sorted(both.iterdir())), tmp_path / "again")
    assert again.bundle.tensors.keys() == first.bundle.tensors.keys()
    for name, value in first.bundle.tensors.items():
        np.testing.assert_array_equal(again.bundle.tensors[name], value, err_msg=name)
    assert again.bundle.facts.trained_on == first.bundle.facts.trained_on
    assert again.bundle.facts.held_out == first.bundle.facts.held_out
    assert set(again.bundle.calibration.pictures) == set(now.pictures)
    assert len(now.pictures) == 6
    assert (first.bundle.calibration.learnt, again.bundle.calibration.learnt) == (16, 0)
    assert (len(first.compared), len(again.compared)) == (5, 5 + 6)


@pytest.mark.slow
def test_ignored_areas_and_how_pictures_were_chosen_are_carried_over(
    model_copy: Path, mvtec: Path, draw: Draw
) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnxscript", reason="torch's exporter is not installed")
    bundle = read_bundle(model_copy)
    chosen = Chosen(odd=1, of=16, odd_of_all=2, of_all=40)
    now = replace(bundle.calibration, ignored=(AREA,), chosen=chosen)
    replace_calibration(model_copy, replace(bundle, calibration=now))
    export(model_copy, precision="int8", calibrate_on=mvtec)
    coarse = load(model_copy, runtime="onnx:int8")
    assert coarse.calibration.ignored == (AREA,)
    assert coarse.calibration.chosen == chosen
    picture = draw(700)
    picture[4:12, 4:12] = 250  # within the area
    bare = coarse.with_calibration(replace(coarse.calibration, ignored=()))
    assert coarse.inspect(picture).score < bare.inspect(picture).score
