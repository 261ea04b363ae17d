"""Inspecting: the same answer for a path, a picture and an array; streams that go on."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.images import ImageInput
from nfbmr.data.survey import survey
from nfbmr.errors import (
    BundleError,
    BundleNotFoundError,
    BundleTamperedError,
    CalibrationError,
    ImageError,
    SettingsError,
)
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.inspection.result import Failure, Inspection
from nfbmr.model.bundle import Bundle, read_bundle, write_bundle
from nfbmr.runtimes.protocol import Runtime
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.calibrate import calibrate
from nfbmr.scoring.calibration import calibration_scores, image_scores
from nfbmr.scoring.conformal import p_values
from nfbmr.scoring.maps import MAPS, Maps

Draw = Callable[..., NDArray[np.uint8]]


def scores(results: Any) -> list[float]:
    found = list(results)
    assert all(isinstance(result, Inspection) for result in found)
    return [result.score for result in found]


def test_path_picture_and_array_get_the_same_answer(
    inspector: Inspector, draw: Draw, tmp_path: Path
) -> None:
    array = draw(1, defect=True)
    path = tmp_path / "part.png"
    Image.fromarray(array).save(path)
    forms: list[ImageInput] = [
        path,
        str(path),
        Image.fromarray(array),
        array,
        array.astype(np.float64) / 255,
    ]
    results = [inspector.inspect(form) for form in forms]
    assert len({result.score for result in results}) == 1
    assert [result.path for result in results] == [str(path), str(path), None, None, None]
    for result in results:
        np.testing.assert_array_equal(result.maps, results[0].maps)


def test_an_answer_is_what_scoring_makes_of_the_maps(inspector: Inspector, draw: Draw) -> None:
    for defect in (False, True):
        result = inspector.inspect(draw(2, defect=defect))
        again = image_scores(result.maps[None], inspector.settings.scoring, inspector.calibration)
        assert result.score == again[0]
        assert result.p_value == p_values(again, inspector.calibration.scores)[0]
        assert result.threshold == inspector.threshold == inspector.calibration.threshold
        assert result.is_defect == (result.score > result.threshold) == defect
        assert result.maps.dtype == np.float32
        assert result.maps.shape == (len(MAPS), 32, 32)


def test_heatmap_has_the_pictures_size_and_shows_the_place(
    inspector: Inspector, draw: Draw
) -> None:
    result = inspector.inspect(draw(3, defect=True, size=(96, 120)))
    heat = result.heatmap
    assert heat.shape == result.size == (96, 120)
    assert heat.dtype == np.float32
    assert result.heatmap_at((10, 12)).shape == (10, 12)
    inside = heat[24:60, 30:75].mean()
    assert inside > 1
    assert inside > 3 * heat[80:, 100:].mean()
    assert inspector.inspect(draw(3, size=(96, 120))).heatmap.max() < inside


def test_the_heatmap_points_at_a_thin_scratch_itself_at_any_size(
    inspector: Inspector, draw: Draw
) -> None:
    for seed in range(4):
        picture = draw(seed, size=(64, 64))
        scratched = picture.copy()
        scratched[12:52, 38:40] = 0
        result = inspector.inspect(scratched)
        assert result.is_defect
        assert result.guide is not None
        assert result.guide.shape == picture.shape[:2] == (64, 64)
        for times in (1, 3):
            heat = result.heatmap_at((64 * times, 64 * times))
            row, column = np.unravel_index(heat.argmax(), heat.shape)
            assert column // times in (38, 39)
            assert 10 <= row // times < 54
        result.heatmap_at((64, 64))[:] = 0  # whoever asked may change it
        np.testing.assert_array_equal(result.heatmap_at((192, 192)), heat)
        assert result.heatmap_at((64, 64)).any()
        cells = replace(result, guide=None).heatmap_at((64, 64))
        assert cells.argmax() % 64 not in (38, 39), "the network alone points beside it"


def test_what_is_known_of_a_picture_is_what_was_inspected(
    inspector: Inspector, draw: Draw, tmp_path: Path
) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(draw(1)[..., 0].astype(np.uint16) * 257).save(path)
    first = inspector.inspect(path)
    assert (first.about.path, first.about.size, first.about.bits) == (str(path), (80, 80), 16)
    (again,) = inspector.judge(first.maps[None], [pickle.loads(pickle.dumps(first.about))])
    assert isinstance(again, Inspection)
    assert (again.score, again.bits, again.looks) == (first.score, 16, first.looks)
    np.testing.assert_array_equal(again.heatmap, first.heatmap)


def test_gray_and_turned_pictures_are_read_upright(inspector: Inspector, tmp_path: Path) -> None:
    gray = np.linspace(0, 255, 60 * 80).reshape(60, 80).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gray).save(tmp_path / "turned.png", exif=exif)
    turned = inspector.inspect(tmp_path / "turned.png")
    assert turned.size == (80, 60)
    assert turned.score == inspector.inspect(np.rot90(gray, -1)).score


def test_an_unreadable_picture_is_our_own_error(inspector: Inspector, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nothing\.png"):
        inspector.inspect(tmp_path / "nothing.png")
    with pytest.raises(ImageError):
        inspector.inspect(np.zeros((4, 4, 7), np.uint8))


# ---- streams


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_stream_keeps_its_order(inspector: Inspector, draw: Draw, batch: int) -> None:
    pictures = [draw(seed, defect=seed % 2 == 1) for seed in range(10)]
    expected = [inspector.inspect(picture).score for picture in pictures]
    found = scores(inspector.inspect_many(pictures, batch=batch))
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert list(inspector.inspect_many([])) == []


def test_bad_pictures_are_reported_and_the_stream_goes_on(
    inspector: Inspector, draw: Draw, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    stream: list[Any] = [broken, draw(0), tmp_path / "none.png", draw(1), np.zeros(3)]
    results = list(inspector.inspect_many(stream, batch=2))
    kinds = [type(result) for result in results]
    assert kinds == [Failure, Inspection, Failure, Inspection, Failure]
    assert [r.path for r in results] == [str(broken), None, str(tmp_path / "none.png"), None, None]
    failures = [result for result in results if isinstance(result, Failure)]
    assert "broken.png" in failures[0].error
    only_bad = list(inspector.inspect_many([broken] * 5, batch=2))
    assert [type(result) for result in only_bad] == [Failure] * 5


class BreaksDown:
    """A runtime whose maps of a white picture hold a value that is not finite."""

    name = "breaks down"

    def __init__(self, runtime: Runtime, value: float) -> None:
        self.runtime = runtime
        self.value = value

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        maps = self.runtime.run(pixels)
        maps[(pixels == 255).all(axis=(1, 2, 3)), 1, 0, 0] = self.value
        return maps


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_no_verdict(
    inspector: Inspector, model: Path, draw: Draw, tmp_path: Path, value: float
) -> None:
    broken = Inspector(read_bundle(model), BreaksDown(inspector.runtime, value))
    white = np.full((80, 80, 3), 255, np.uint8)
    Image.fromarray(white).save(tmp_path / "white.png")
    results = list(broken.inspect_many([draw(0), tmp_path / "white.png", draw(1), white]))
    kinds = [type(result) for result in results]
    assert kinds == [Inspection, Failure, Inspection, Failure]
    assert [result.path for result in results] == [None, str(tmp_path / "white.png"), None, None]
    assert all("not finite" in r.error for r in results if isinstance(r, Failure))
    with pytest.raises(ImageError, match="not finite"):
        broken.inspect(white)
    assert not broken.inspect(draw(0)).is_defect


def test_an_endless_stream_is_read_a_bounded_way_ahead(inspector: Inspector, draw: Draw) -> None:
    picture = draw(0)
    taken = closed = 0

    def camera() -> Generator[NDArray[np.uint8]]:
        nonlocal taken, closed
        try:
            while True:
                taken += 1
                yield picture
        finally:
            closed += 1

    batch = 2
    source = camera()
    stream = inspector.inspect_many(source, batch=batch)
    assert taken == 0
    for number, _ in enumerate(itertools.islice(stream, 9), start=1):
        assert taken <= number + 4 * batch
    stream.close()  # type: ignore[attr-defined]
    source.close()
    assert closed == 1


def test_each_result_of_a_live_source_is_given_before_the_next_picture_is_there(
    inspector: Inspector, draw: Draw
) -> None:
    pictures = [draw(seed, defect=seed % 2 == 1) for seed in range(6)]
    given: queue.Queue[NDArray[np.uint8] | None] = queue.Queue()

    def camera() -> Iterator[NDArray[np.uint8]]:
        while (picture := given.get()) is not None:
            yield picture

    results = inspector.inspect_many(camera(), batch=4)
    for picture in pictures:
        given.put(picture)
        found = next(results)
        assert isinstance(found, Inspection)
        assert found.score == inspector.inspect(picture).score
    given.put(None)
    assert next(results, None) is None


def test_a_list_is_computed_in_the_same_batches_each_time(
    inspector: Inspector, model: Path, draw: Draw
) -> None:
    sizes: list[int] = []

    class Counts:
        name = "counts"

        def run(self, pixels: NDArray[np.uint8]) -> Maps:
            sizes.append(len(pixels))
            return inspector.runtime.run(pixels)

    counting = Inspector(read_bundle(model), Counts())
    pictures = [draw(seed) for seed in range(10)]
    for _ in range(2):
        assert len(list(counting.inspect_many(pictures, batch=4))) == 10
    counting.scores(iter(pictures))
    assert sizes == [4, 4, 2, 4, 4, 2, 8, 2]


# ---- other processes


def test_a_pickled_inspector_is_loaded_anew_with_its_calibration(
    model: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(model.parent)
    sent = load(model.name, runtime="torch", device="cpu").recalibrated(0.5)
    data = pickle.dumps(sent)
    assert len(data) < 20_000, "the directory's name, not its tensors"
    monkeypatch.chdir(tmp_path)
    found = pickle.loads(data)
    assert found.calibration == sent.calibration
    assert found.inspect(draw(1)).score == sent.inspect(draw(1)).score


def test_a_pickled_inspector_is_refused_where_another_model_is_by_now(
    model_copy: Path, inspector: Inspector
) -> None:
    data = pickle.dumps(load(model_copy, device="cpu"))
    other = read_bundle(model_copy)
    tensors = {name: value.copy() for name, value in other.tensors.items()}
    next(iter(tensors.values())).flat[0] += 1
    write_bundle(model_copy, replace(other, tensors=tensors, exports=()))
    with pytest.raises(BundleError, match="holds another model than the one that was sent"):
        pickle.loads(data)


def test_a_model_in_memory_is_not_sent(inspector: Inspector, model: Path) -> None:
    with pytest.raises(SettingsError, match="is a model in memory"):
        pickle.dumps(Inspector(read_bundle(model), inspector.runtime))


FORKED = """
import os, signal, sys, numpy as np, nfbmr
from nfbmr.errors import SettingsError
picture = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
inspector = nfbmr.load(sys.argv[1], runtime="torch", device="cpu", threads=2)
score = inspector.inspect(picture).score
child = os.fork()
if child == 0:
    signal.alarm(60)  # one that hangs is killed
    again = nfbmr.load(sys.argv[1], runtime="torch", device="cpu")
    found = [inspector.inspect(picture).score, again.inspect(picture).score]
    found += [one.score for one in inspector.inspect_many([picture])]
    try:
        nfbmr.load(sys.argv[1], runtime="torch", device="cpu", threads=2)
    except SettingsError as error:
        assert "forked child" in str(error)
    else:
        raise AssertionError
    os._exit(0 if np.allclose(found, score, rtol=1e-4) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_torch_with_threads_goes_on_in_a_forked_child(model: Path) -> None:
    threads = os.environ | {"OMP_NUM_THREADS": "2"}
    words = [sys.executable, "-W", "ignore", "-c", FORKED, str(model)]
    assert subprocess.run(words, env=threads, check=False).returncode == 0


def test_a_model_on_a_gpu_is_refused_in_a_forked_child(
    inspector: Inspector, model: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnGpu:
        name, device = "torch", "cuda:0"

        def run(self, pixels: NDArray[np.uint8]) -> Maps:
            raise AssertionError

    forked = Inspector(read_bundle(model), OnGpu())
    monkeypatch.setattr(forked, "_process", -1)
    with pytest.raises(SettingsError, match="does not survive a fork"):
        forked.inspect(draw(0))


def test_an_error_of_the_stream_itself_reaches_the_caller(inspector: Inspector, draw: Draw) -> None:
    def camera() -> Iterator[NDArray[np.uint8]]:
        yield draw(0)
        raise ConnectionError("unplugged")

    with pytest.raises(ConnectionError, match="unplugged"):
        list(inspector.inspect_many(camera()))


def test_threads_may_share_an_inspector(inspector: Inspector, draw: Draw) -> None:
    pictures = [draw(seed, defect=seed % 3 == 0) for seed in range(12)]
    expected = [inspector.inspect(picture).score for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda picture: inspector.inspect(picture).score, pictures))
    assert found == expected


# ---- calibration


def test_another_rate_moves_only_the_end_of_the_scale(inspector: Inspector, draw: Draw) -> None:
    before = inspector.calibration
    strict, lax = inspector.recalibrated(0.25), inspector.recalibrated(0.75)
    assert lax.threshold == strict.threshold == 1
    assert inspector.calibration is before
    picture = draw(5)
    scores = [one.inspect(picture).score for one in (strict, lax)]
    raw = [one.calibration.raw(np.array(s)) for one, s in zip((strict, lax), scores, strict=True)]
    assert raw[0] == pytest.approx(raw[1])
    assert strict.calibration.one > lax.calibration.one  # type: ignore[operator]
    assert lax.calibration.false_alarm_rate == 0.75


def test_new_good_pictures_replace_the_scores(inspector: Inspector, draw: Draw) -> None:
    pictures = [draw(seed) for seed in range(500, 509)]
    changed = inspector.recalibrated(0.1, iter(pictures))
    assert len(changed.calibration.scores) == 9
    assert not changed.calibration.extrapolated
    names = [one.pixel_hash for one in survey("good", pictures).pictures]
    expected = calibrate(inspector.maps(pictures), inspector.settings.scoring, 0.1, names)
    bright = changed.calibration.watched
    assert len(bright["brightness"]) == len(bright["sharpness"]) == 9
    watched = {name: bright[name] for name in expected.watched}
    assert replace(changed.calibration, watched=watched, names={}) == expected
    scores = calibration_scores(inspector.maps(pictures), inspector.settings.scoring, expected)
    np.testing.assert_allclose(sorted(scores), expected.scores, rtol=1e-4, atol=1e-6)
    by_score = sorted(zip(scores, names, strict=True))
    assert changed.calibration.pictures == tuple(name for _, name in by_score)


def test_known_pictures_are_refused_and_copies_left_out(
    inspector: Inspector, draw: Draw, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new = [draw(seed) for seed in range(500, 506)]
    trained = [draw(seed) for seed in range(16)]  # as `write_mvtec` draws them; five were held out
    with pytest.raises(CalibrationError, match=r"16 of 22 pictures were learnt from \(picture"):
        inspector.recalibrated(0.2, [*new, *trained])
    again = tmp_path / "again.bmp"
    Image.fromarray(new[0]).save(again)
    changed = inspector.recalibrated(0.2, [*new, again, new[3]])
    assert "2 pictures are copies of others and left out: again.bmp, picture 8" in caplog.text
    assert len(changed.calibration.scores) == 6


def test_calibration_says_what_it_cannot_do(
    inspector: Inspector, draw: Draw, tmp_path: Path
) -> None:
    with pytest.raises(CalibrationError, match="0 good images"):
        inspector.recalibrated(0.1, [])
    with pytest.raises(CalibrationError, match="1 good image to calibrate"):
        inspector.recalibrated(0.1, [draw(500)])
    with pytest.raises(CalibrationError, match=r"4 good images.*at least 5"):
        inspector.recalibrated(0.1, [draw(seed) for seed in range(500, 504)])
    with pytest.raises(ImageError, match=r"none\.png"):
        inspector.recalibrated(0.1, [draw(0), tmp_path / "none.png", draw(1)])


@pytest.mark.parametrize("rate", [0, 1, -0.5, 2, float("nan")])
def test_a_rate_that_is_none_is_refused(inspector: Inspector, draw: Draw, rate: float) -> None:
    with pytest.raises(SettingsError, match="between 0 and 1"):
        inspector.recalibrated(rate)
    with pytest.raises(SettingsError, match="between 0 and 1"):
        inspector.recalibrated(rate, [draw(0), draw(1)])


def test_a_saved_calibration_is_there_after_loading(model_copy: Path) -> None:
    one = load(model_copy, device="cpu")
    changed = one.recalibrated(0.5)
    assert load(model_copy, device="cpu").calibration == one.calibration
    changed.save_calibration()
    assert load(model_copy, device="cpu").calibration == changed.calibration != one.calibration


# ---- loading


def test_loading_says_what_is_wrong(model_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError):
        load(tmp_path / "nothing")
    with pytest.raises(SettingsError, match="toaster"):
        load(model_copy, device="toaster")
    (model_copy / "model.safetensors").unlink()
    with pytest.raises(BundleTamperedError, match="missing"):
        load(model_copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("absent", "found no tensor 'flow.blocks.0.net1.bias2'"),
        ("shape", r"found 'flow.blocks.0.net1.bias2' of shape \(\d*,\), \(\d*,\) was expected"),
        ("surplus", "found a tensor 'more', none of this name was expected"),
    ],
)
def test_tensors_of_another_network_are_refused(model_copy: Path, change: str, said: str) -> None:
    bundle = read_bundle(model_copy)
    tensors = dict(bundle.tensors)
    name = "flow.blocks.0.net1.bias2"
    if change == "absent":
        del tensors[name]
    elif change == "shape":
        tensors[name] = tensors[name][:-1]
    else:
        tensors["more"] = tensors[name]
    changed = Bundle(
        settings=bundle.settings,
        facts=bundle.facts,
        calibration=bundle.calibration,
        tensors=tensors,
    )
    write_bundle(model_copy, changed)
    with pytest.raises(BundleTamperedError, match=rf"do not fit its settings \({said}\)"):
        load(model_copy, device="cpu")


def test_loading_needs_no_weights_and_no_network(
    model_copy: Path, monkeypatch: pytest.MonkeyPatch, draw: Draw
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("weights were asked for")

    monkeypatch.setattr("nfbmr.networks.weights.load_weights", refuse)
    monkeypatch.setattr("nfbmr.networks.weights.embedded_file", refuse)
    loaded = load(model_copy, device="cpu")
    assert isinstance(loaded.runtime, TorchRuntime)
    assert loaded.inspect(draw(0, defect=True)).is_defect
    config = json.loads((model_copy / "config.json").read_text())
    assert config["facts"]["name"] == "widget"
