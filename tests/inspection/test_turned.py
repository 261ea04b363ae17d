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
