"""Two models' scores compared: counted by hand, and simulated where a wrong gate would show."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.deployment.separation import ASKED, FEWEST, LOSS, Scores, compare

Floats = NDArray[np.float64]


def scores(good: list[float], copies: list[list[float]]) -> Scores:
    return Scores(good=np.array(good), copies=np.array(copies))


def drawn(seed: int, n: int = 80, each: int = 8, shift: float = 1.9) -> Scores:
    """Single precision: pictures differ, and damage adds to what each of them has."""
    rng = np.random.default_rng([seed, 0])
    own = rng.normal(size=n)
    return Scores(good=own, copies=own[:, None] + shift * rng.gamma(2, 0.5, (n, each)))


def otherwise(
    of: Scores, seed: int, *, common: float = 0.0, own: float = 0.0, dull: float = 0.0
) -> Scores:
    """Another model: pictures shift with their copies, each score by itself, damage counts less."""
    rng = np.random.default_rng([seed, 1])
    n, each = of.copies.shape
    shift = np.asarray(common * rng.normal(size=n))
    copies = of.copies - dull * (of.copies - of.good[:, None])
    return Scores(
        good=of.good + shift + own * rng.normal(size=n),
        copies=copies + shift[:, None] + own * rng.normal(size=(n, each)),
    )


def test_separation_counts_pairs_of_other_pictures_and_ties_as_halves() -> None:
    one = scores([0.0, 2.0, 1.0], [[3.0, 1.0], [9.0, 9.0], [1.0, 2.0]])
    pairs = [
        1.0 if worse > one.good[i] else 0.5 if worse == one.good[i] else 0.0
        for i, k in product(range(3), range(3))
        if i != k
        for worse in one.copies[k]
    ]
    assert one.separation == pytest.approx(np.mean(pairs))
    assert scores([1.0, 1.0], [[1.0], [1.0]]).separation == 0.5
    assert scores([5.0, 0.0], [[6.0], [1.0]]).separation == 0.5  # not with its own picture


def test_the_same_model_loses_nothing() -> None:
    found = compare(drawn(0), drawn(0))
    assert found.separates == found.separated
    assert (found.least_loss, found.most_loss) == (0.0, 0.0)
    assert found.ranks == pytest.approx(1.0)
    assert found.certified
    assert not found.worse


def test_scores_in_another_unit_are_the_same_model() -> None:
    single = drawn(0)
    again = Scores(good=np.exp(single.good), copies=np.exp(single.copies))
    found = compare(single, again)
    assert found.most_loss == 0.0
    assert found.ranks == pytest.approx(1.0)


def test_the_limit_is_exceeded_as_seldom_as_it_says() -> None:
    """The true loss, of very many pictures, lies above the 95 % limit in some 5 of 100 draws."""
    many = drawn(999, n=800)
    lost = many.separation - otherwise(many, 999, common=0.1, own=0.1, dull=0.1).separation
    missed = 0
    for seed in range(100):
        single = drawn(seed)
        again = otherwise(single, seed, common=0.1, own=0.1, dull=0.1)
        missed += compare(single, again, seed).most_loss < lost
    assert missed <= 14  # of a fair limit 1 in 1,000 has more


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"common": 0.1, "own": 0.03}, (0, 3)),  # as good
        ({"dull": 0.2}, (57, 60)),  # damage counts a fifth less
        ({"own": 0.6}, (57, 60)),  # scores are noisy
    ],
)
def test_as_good_a_model_passes_and_a_worse_one_does_not(
    changes: dict[str, float], refused: tuple[int, int]
) -> None:
    found = [
        compare(drawn(seed), otherwise(drawn(seed), seed, **changes), seed) for seed in range(60)
    ]
    assert refused[0] <= sum(one.worse for one in found) <= refused[1]
    tested = [one for one in found if ASKED[0] <= one.separated <= ASKED[1]]
    assert len(tested) >= 55
    assert all(one.certified != one.worse for one in tested)


def test_another_order_is_refused_even_where_as_much_is_told() -> None:
    single, other = drawn(0, n=400), drawn(1, n=400)
    found = compare(single, other)
    assert found.ranks < 0.9
    assert found.worse
    assert found.most_loss < 0.1


def test_one_point_may_be_lost_and_no_more() -> None:
    single = drawn(0)
    less, more = (compare(single, otherwise(single, 0, dull=dull)) for dull in (0.04, 0.06))
    assert 0.007 < less.most_loss < 0.01 < more.most_loss < 0.013
    assert less.certified
    assert more.worse


def test_what_may_be_lost_counts_and_not_what_was_lost() -> None:
    """24 pictures of which the other model tells more pairs do not show that it loses none."""
    single = drawn(0, n=24)
    found = compare(single, otherwise(single, 0, common=0.3), 0)
    assert found.separates > found.separated
    assert found.most_loss > 0.02
    assert found.worse


def test_twenty_pictures_are_the_fewest() -> None:
    assert not compare(drawn(0, n=19), drawn(0, n=19)).certified
    assert compare(drawn(0, n=20), drawn(0, n=20)).certified


def test_equal_scores_for_all_rank_nothing() -> None:
    single = drawn(0)
    flat = Scores(good=np.zeros_like(single.good), copies=np.zeros_like(single.copies))
    found = compare(single, flat)
    assert (found.separates, found.ranks) == (0.5, 0.0)
    assert found.worse


def test_with_few_pictures_nothing_is_certified_and_what_is_plainly_worse_is_refused() -> None:
    single = drawn(0, n=FEWEST - 1)
    same, dull = compare(single, single), compare(single, otherwise(single, 0, dull=0.8))
    assert not same.certified
    assert not same.worse
    assert same.why_not.startswith(f"{FEWEST - 1} good pictures are held out, {FEWEST} are needed")
    assert dull.least_loss > LOSS
    assert dull.worse


@pytest.mark.parametrize(("shift", "told"), [(8.0, "9[0-9]"), (0.3, "[56][0-9]")])
def test_damage_that_is_too_plain_or_not_seen_certifies_nothing(shift: float, told: str) -> None:
    single = drawn(0, shift=shift)
    found = compare(single, single)
    assert not found.certified
    assert not found.worse
    pattern = rf"single precision tells {told}\.\d % of pairs, 80 to 90 % are needed"
    assert re.search(pattern, found.why_not)


def test_the_same_seed_gives_the_same_limits() -> None:
    single, again = drawn(0), otherwise(drawn(0), 0, own=0.1)
    assert compare(single, again, 3) == compare(single, again, 3)
    assert compare(single, again, 3) != compare(single, again, 4)
