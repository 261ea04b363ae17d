"""Good pictures that were not trained on, against those that calibrate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nfbmr.fleet.fitness import FEWEST, misfits
from nfbmr.inspection.inspector import Inspector


@pytest.fixture
def known(inspector: Inspector) -> Inspector:
    assert inspector.calibration.pictures
    return inspector


def calibrated(known: Inspector, n: int, held_out: list[int]) -> list[str]:
    """What is said where pictures of these ranks, of n, were held out."""
    names = tuple(f"{number:064d}" for number in range(n))
    peaks = tuple(tuple(np.linspace(1, 2, n)) for _ in known.calibration.judge_peaks)
    calibration = replace(
        known.calibration,
        scores=tuple(np.linspace(-1, 1.2, n)),
        table=(),
        seen=(),
        pictures=names,
        judge_peaks=peaks,
        watched={},
        places=(),
        rank=n,
        learnt=n if known.calibration.learnt else 0,
    )
    facts = known.facts.model_copy(update={"held_out_pixels": tuple(names[i] for i in held_out)})
    return misfits(calibration, facts)


def test_held_out_pictures_among_the_others_fit(known: Inspector) -> None:
    assert calibrated(known, 60, list(range(0, 60, 5))) == []


@pytest.mark.parametrize(("ranks", "where"), [(range(48, 60), "higher"), (range(12), "lower")])
def test_held_out_pictures_beside_the_others_are_named(
    known: Inspector, ranks: range, where: str
) -> None:
    (said,) = calibrated(known, 60, list(ranks))
    assert said.startswith(f"12 held-out good pictures score {where} than those that calibrate")


def test_of_few_pictures_nothing_is_said(known: Inspector) -> None:
    assert calibrated(known, 60, list(range(60 - FEWEST + 1, 60))) == []


def test_good_pictures_of_the_test_are_looked_at_too(known: Inspector) -> None:
    scores = np.array(known.calibration.scores)
    facts = known.facts.model_copy(update={"held_out_pixels": ()})
    assert misfits(known.calibration, facts, scores.tolist()) == []
    (said,) = misfits(known.calibration, facts, (np.tile(scores, 4) + 100).tolist())
    assert "good pictures of the test score higher" in said
    assert "100% of pairs" in said
