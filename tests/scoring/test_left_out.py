"""Left out in closed form: against Gaussians that are learnt again without the picture."""

from __future__ import annotations

import numpy as np
import pytest

from nfbmr.scoring.left_out import left_out
from nfbmr.scoring.maps import MAPS, Floats

WEIGHT = 0.6


def distances(known: Floats, asked: Floats) -> Floats:
    """Mahalanobis distances of vectors to a Gaussian whose covariance leans on the unit one."""
    centred = known - known.mean(axis=0)
    covariance = WEIGHT * centred.T @ centred / len(known) + (1 - WEIGHT) * np.eye(known.shape[1])
    off = asked - known.mean(axis=0)
    return np.asarray(np.sqrt(np.einsum("nd,de,ne->n", off, np.linalg.inv(covariance), off)))


@pytest.mark.parametrize("n", [12, 40])
def test_it_is_near_what_learning_without_the_picture_gives(n: int) -> None:
    vectors = np.random.default_rng(n).standard_normal((n, 6)) * [3, 2, 1, 1, 0.5, 0.2]
    maps = np.zeros((n, len(MAPS), 1, 1), np.float32)
    place = MAPS.index("distance")
    maps[:, place, 0, 0] = distances(vectors, vectors)
    again = [distances(np.delete(vectors, i, axis=0), vectors[i : i + 1])[0] for i in range(n)]
    found = left_out(maps, n, {"distance": WEIGHT})[:, place, 0, 0]
    assert found == pytest.approx(again, rel=0.6 / n)
    # Without the correction every picture looks nearer than it is.
    assert (maps[:, place, 0, 0] < found).all()


def test_other_maps_and_the_given_ones_stay() -> None:
    maps = np.random.default_rng(0).random((5, len(MAPS), 2, 2), np.float32)
    before = maps.copy()
    found = left_out(maps, 5, {"fine": 0.5})
    others = [i for i, name in enumerate(MAPS) if name != "fine"]
    assert (found[:, others] == maps[:, others]).all()
    assert (found[:, MAPS.index("fine")] > maps[:, MAPS.index("fine")]).all()
    assert (maps == before).all()
