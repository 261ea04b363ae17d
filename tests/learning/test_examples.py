"""Which good pictures a model keeps: evenly drawn, small enough, and none where none are wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.fitting import fit
from nfbmr.learning.examples import examples_of
from nfbmr.model.bundle import read_bundle
from nfbmr.model.examples import MOST_BYTES, decoded
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import Settings

Draw = Callable[..., NDArray[np.uint8]]


def flat(level: int) -> NDArray[np.uint8]:
    return np.full((16, 24, 3), level, np.uint8)


@pytest.mark.parametrize(("count", "expected"), [(3, [0, 20, 40]), (9, [0, 10, 20, 30, 40])])
def test_they_are_drawn_evenly(count: int, expected: list[int]) -> None:
    found = decoded(examples_of([flat(10 * i) for i in range(5)], count, (16, 24)))
    assert [int(one.mean().round()) for one in found] == expected
    assert {one.shape for one in found} == {(16, 24, 3)}


def test_none_are_kept_where_none_are_wanted() -> None:
    assert examples_of([flat(0)], 0, (16, 24)) == ()
    assert examples_of([], 5, (16, 24)) == ()


def test_together_they_stay_small_whatever_is_in_them() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 600, 3), np.uint8)
    found = examples_of([noise] * 8, 8, (900, 600))
    assert MOST_BYTES / 2 < sum(map(len, found)) <= MOST_BYTES
    height, width = decoded(found)[0].shape[:2]
    assert height / width == pytest.approx(1.5, abs=0.02)
    (large,) = decoded(examples_of([flat(9)], 1, (8192, 4096)))
    assert 0.9e6 < large.shape[0] * large.shape[1] <= 2**20


def test_a_fit_keeps_training_pictures_alone_and_none_if_asked(
    model: Path, tiny: Settings, draw: Draw
) -> None:
    bundle = read_bundle(model, tensors=False)
    found = decoded(bundle.examples)
    assert len(found) == bundle.facts.n_train
    assert {one.shape for one in found} == {(64, 64, 3)}
    assert f"small copies of {len(found)} of the good pictures" in bundle.card()
    assert "--set examples=0" in bundle.card()
    bare = fit(
        [draw(i) for i in range(12)], settings=with_changes(tiny, {"examples": 0}), device="cpu"
    )
    assert bare.inspect(draw(50, defect=True)).regions
    assert bare.why(draw(50, defect=True), bare.inspect(draw(50, defect=True))) == ()
