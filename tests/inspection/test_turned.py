"""Parts that lie turned: judged as they would lie in one pose, heatmaps where the parts lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.data.images import load_image
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.inspection.result import Inspection
from nfbmr.model.bundle import read_bundle
from nfbmr.model.examples import decoded
from nfbmr.runtimes.torch import TorchRuntime

Draw = Callable[..., NDArray[np.uint8]]
ANGLES = np.random.default_rng(5).uniform(0, 360, 8)


@pytest.fixture(scope="module")
def inspector(turned_model: Path) -> Inspector:
    return load(turned_model, device="cpu")


def test_the_network_sees_the_aligned_picture(inspector: Inspector, turned: Draw) -> None:
    pose = read_bundle(Path(str(inspector.path))).pose
    assert pose is not None
    for number, angle in enumerate(ANGLES[:3]):
        picture = turned(100 + number, angle)
        found = inspector.inspect(picture)
        aligned, turn = pose.align(load_image(picture, inspector.size))
        assert found.turn == turn
        np.testing.assert_array_equal(found.maps, inspector.runtime.run(aligned[None])[0])
        (many,) = inspector.inspect_many([picture])
        assert isinstance(many, Inspection)
        assert (many.score, many.turn) == (found.score, turn)


def test_defects_are_found_in_any_pose_where_they_are(inspector: Inspector, turned: Draw) -> None:
    for number, angle in enumerate(ANGLES):
        good, bad = (turned(200 + number, angle, defect=defect) for defect in (False, True))
        found = inspector.inspect(bad)
        assert found.score > inspector.inspect(good).score
        assert found.is_defect
        assert found.heatmap.shape == bad.shape[:2]
        spot = np.abs(bad.astype(float) - good)[..., 0] > 60
        y, x = np.unravel_index(found.heatmap.argmax(), found.heatmap.shape)
        centre = np.argwhere(spot).mean(axis=0)
        assert np.hypot(y - centre[0], x - centre[1]) < 14, (number, angle)


def test_a_heatmap_has_the_asked_size(inspector: Inspector, turned: Draw) -> None:
    found = inspector.inspect(turned(300, 40.0, size=(72, 120)))
    assert found.size == found.heatmap.shape == (72, 120)
    assert found.heatmap_at((30, 50)).shape == (30, 50)
    assert found.heatmap.dtype == np.float32


def test_a_good_part_stands_beside_a_defect_in_its_pose(inspector: Inspector, turned: Draw) -> None:
    for number, angle in enumerate(ANGLES):
        good, bad = (turned(500 + number, angle, defect=defect) for defect in (False, True))
        found = inspector.inspect(bad)
        why = inspector.why(bad, found)
        assert [one.region for one in why] == list(found.regions) != []
        first = why[0]
        left, top, right, bottom = first.box
        np.testing.assert_array_equal(first.here, bad[top:bottom, left:right])
        expected = good[top:bottom, left:right].astype(float)
        there = first.there.astype(float)
        spot = np.abs(first.here - expected)[..., 0] > 60
        assert spot.any()
        assert np.abs(there - expected)[spot].mean() < 15, (number, angle)
        assert np.abs(there - expected).mean() < 15, "the part lies there as it does here"
        other = np.abs(np.roll(there, len(there) // 3, axis=0) - expected).mean()
        assert np.abs(there - expected).mean() < other


def test_examples_lie_in_the_pose_as_the_network_sees_them(turned_model: Path) -> None:
    bundle = read_bundle(turned_model, tensors=False)
    pose = bundle.pose
    assert pose is not None
    assert len(bundle.examples) == bundle.facts.n_train
    parts = turned_model.parent / "parts"
    seen = [pose.align(load_image(path, bundle.facts.size))[0] for path in sorted(parts.iterdir())]
    for example in decoded(bundle.examples):
        assert min(np.abs(example.astype(float) - one).mean() for one in seen) < 3


def test_a_model_without_a_pose_turns_nothing(model: Path, turned: Draw) -> None:
    bundle = read_bundle(model)
    assert bundle.pose is None
    assert Inspector(bundle, TorchRuntime(bundle, "cpu")).inspect(turned(1, 30.0)).turn is None


def test_nothing_is_found_where_good_pictures_show_nothing(
    inspector: Inspector, turned: Draw
) -> None:
    found = inspector.inspect(turned(400, 45.0, defect=True))
    assert found.turn is not None
    counts = found.turn.counts()
    assert counts is not None
    assert 0.25 < counts.mean() < 0.95
    assert found.heatmap[0, 0] == found.heatmap[-1, -1] == 0
    # What the corner shows does not matter.
    dirty = turned(400, 45.0, defect=True)
    dirty[:4, :4] = 255
    assert inspector.inspect(dirty).score == pytest.approx(found.score, rel=0.02)
