"""A model beside another: both see the same damage, and what is worse is refused and told why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.deployment.beside import EACH, at_fitting_strength, beside
from nfbmr.deployment.damage import STRENGTHS
from nfbmr.deployment.gate import Pictures
from nfbmr.deployment.separation import ASKED, Scores
from nfbmr.errors import ExportError
from nfbmr.inspection.inspector import Inspector
from nfbmr.model.bundle import read_bundle
from nfbmr.runtimes.protocol import Runtime
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.maps import Maps

Draw = Callable[..., NDArray[np.uint8]]


class Dull:
    """A runtime that tells all pictures less: a share of each map is that of a plain one."""

    name = "dull"

    def __init__(self, runtime: Runtime, share: float) -> None:
        self.runtime, self.share = runtime, share
        self.seen: list[NDArray[np.uint8]] = []

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        self.seen.extend(pixels)
        maps = self.runtime.run(pixels)
        return (1 - self.share) * maps + self.share * np.full_like(maps, 1.0)


@pytest.fixture
def pictures(draw: Draw) -> Pictures:
    """Good ones that the model does not know, and drawn ones."""
    plain = np.full((64, 64, 3), 128, np.uint8)
    return Pictures(good=[draw(seed) for seed in range(800, 820)], drawn=[plain])


@pytest.fixture
def single(model: Path) -> Inspector:
    """The fitted model in single precision."""
    bundle = read_bundle(model)
    return Inspector(bundle, TorchRuntime(bundle, "cpu"))


def test_the_same_model_is_as_good_at_a_strength_that_tests_it(
    single: Inspector, model: Path, pictures: Pictures
) -> None:
    runtime = Dull(single.runtime, 0.0)
    found = beside(single, Inspector(read_bundle(model), runtime), pictures, "onnx int8")
    assert found.compared.certified
    assert found.p_values == 0.0
    assert STRENGTHS[-1] < found.strength < STRENGTHS[0]
    assert ASKED[0] <= found.compared.separated <= ASKED[1]
    assert (found.compared.good, found.compared.each) == (20, EACH)
    assert len(runtime.seen) == 20 + 1 + 20 * EACH  # it is not asked which strength it likes


def test_what_tells_nothing_is_refused_with_all_that_was_found(
    single: Inspector, model: Path, pictures: Pictures
) -> None:
    flat = Inspector(read_bundle(model), Dull(single.runtime, 1.0))
    with pytest.raises(ExportError) as refused:
        beside(single, flat, pictures, "openvino int8")
    for said in (
        "openvino int8, learnt again, is not shown to find as much as single precision does",
        "of 20 held-out good pictures and 8 copies of each",
        "it tells 50.0 % of pairs apart, single precision 8",
        "where 1 is allowed",
        "rank correlation of the scores is 0.000, at least 0.9 is asked",
        "nothing was kept. Export with more precision (fp16 or fp32), or fit with more",
    ):
        assert said in str(refused.value)


def test_another_verdict_on_drawn_pictures_is_refused(
    single: Inspector, model: Path, pictures: Pictures
) -> None:
    bundle = read_bundle(model)
    (drawn,) = pictures.drawn
    few = replace(pictures, good=pictures.good[:5])
    otherwise = -1e9 if not single.inspect(drawn).is_defect else 1e9
    calibration = replace(bundle.calibration, threshold=otherwise)
    again = Inspector(replace(bundle, calibration=calibration), single.runtime)
    with pytest.raises(ExportError, match="onnx int8, learnt again, judges drawn pictures otherw"):
        beside(single, again, few, "onnx int8")


def test_a_picture_that_cannot_be_judged_is_named(
    single: Inspector, model: Path, pictures: Pictures
) -> None:
    broken = Inspector(read_bundle(model), Dull(single.runtime, float("nan")))
    with pytest.raises(ExportError, match=r"dull: good picture 1 cannot be judged: .*not finite"):
        beside(single, broken, pictures, "onnx int8")


def test_both_are_asked_at_the_strength_that_single_precision_chose() -> None:
    rng = np.random.default_rng(0)
    good, rise = rng.normal(size=40), rng.gamma(2, 20, (40, EACH))
    asked: dict[str, list[float]] = {"search": [], "single": [], "again": []}

    def model(name: str, sees: float) -> Callable[[float], Scores]:
        def ask(strength: float) -> Scores:
            asked[name].append(strength)
            return Scores(good=good, copies=good[:, None] + sees * strength * rise)

        return ask

    strength, found = at_fitting_strength(
        model("search", 1.0), model("single", 1.0), model("again", 0.5)
    )
    assert asked["single"] == asked["again"] == [strength]
    assert strength in asked["search"]
    assert ASKED[0] <= found.separated <= ASKED[1]
    assert found.worse
    for sees in (0.5, 2.0):  # the search saw other pictures, which are told less or more
        strength, found = at_fitting_strength(
            model("search", sees), model("single", 1.0), model("again", 1.0)
        )
        assert ASKED[0] <= found.separated <= ASKED[1]
        assert strength == asked["single"][-1] == asked["again"][-1]
        assert found.certified
