"""Judges: who they are, how they are put on one scale, and that whoever sees a defect is heard."""

from __future__ import annotations

import numpy as np
import pytest

from nfbmr.scoring.judges import as_if_held_out, by_judge, heard, judges_of
from nfbmr.settings.schema import ScoringSettings

ANY = ScoringSettings(maps=("norm", "distance", "fine"), fusion="any")


def test_judges_are_the_grids_or_all_maps() -> None:
    assert judges_of(ANY) == (("norm", "distance"), ("fine",))
    assert judges_of(ScoringSettings(maps=("fine",), fusion="any")) == (("fine",),)
    mean = ScoringSettings(maps=("norm", "fine"))
    assert judges_of(mean) == (("norm", "fine"),)


def test_each_judge_says_the_mean_of_its_statistics() -> None:
    table = np.array([[1.0, 2, 3, 4, 5, 6, 70, 80, 90]])
    assert by_judge(table, ANY).tolist() == [[3.5, 80]]


def test_judges_are_heard_each_on_its_own_scale() -> None:
    said = np.array([[1.0, 10.0], [4.0, 10.0], [1.0, 90.0], [4.0, 90.0], [0.0, -10.0]])
    scale = np.array([1.0, 10.0]), np.array([1.0, 20.0])
    assert heard(said, *scale, "any").tolist() == [0, 3, 4, 4, -1]
    # sqrt((3^2 + 4^2) / 2) + 0.1 (3 + 4) / 2, and so on; below typical the average alone
    expected = [0, 4.5**0.5 + 0.15, 8**0.5 + 0.2, 12.5**0.5 + 0.35, -0.1]
    assert heard(said, *scale, "squares").tolist() == pytest.approx(expected)


def test_what_training_saw_is_brought_to_the_scale_of_what_it_did_not() -> None:
    rng = np.random.default_rng(0)
    trained = np.arange(60) < 40
    table = rng.normal(5, 2, (60, 3))
    table[trained] = table[trained] * 0.5 - 1  # calmer and closer together
    found = as_if_held_out(table, trained)
    assert (found[~trained] == table[~trained]).all()
    assert found[trained].mean(axis=0) == pytest.approx(table[~trained].mean(axis=0))
    assert found[trained].std(axis=0) == pytest.approx(
        table[~trained].std(axis=0, ddof=1) * np.sqrt(39 / 40)
    )
    assert (np.argsort(found[trained], axis=0) == np.argsort(table[trained], axis=0)).all()


def test_an_average_of_all_maps_has_no_judges_to_hear() -> None:
    with pytest.raises(AssertionError, match="no judges"):
        heard(np.zeros((2, 1)), np.zeros(1), np.ones(1), "mean")
