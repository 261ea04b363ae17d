"""Learnings in the database, of each kind: states that follow one another, pictures once each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nfbmr.station.audit import verify
from nfbmr.station.store import learnings, queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.learnings import Brought, GoodPicture, NoSuchLearningError, NotNowError

ONE = Brought(
    file="a.png",
    name="one",
    picture="a" * 64,
    pixels="b" * 64,
    bytes=10,
    height=8,
    width=9,
    actor="ann",
)


@pytest.fixture
def number(store: Store) -> int:
    """A product that is collected."""
    return store.write(learnings.create, "f" * 32, "bottle", "fast", "ann").result().id


def test_a_picture_is_kept_once_and_within_its_limit(store: Store, number: int) -> None:
    kept = store.write(learnings.add_picture, number, ONE, 2).result()
    assert isinstance(kept, GoodPicture)
    assert store.read(learnings.pictures, number) == [kept]
    copy = replace(ONE, file="b.png", name="two", picture="c" * 64)
    assert store.write(learnings.add_picture, number, copy, 2).result() == "one"
    other = replace(copy, pixels="d" * 64)
    second = store.write(learnings.add_picture, number, other, 2).result()
    assert isinstance(second, GoodPicture)
    third = store.write(learnings.add_picture, number, replace(other, pixels="e" * 64), 2)
    with pytest.raises(NotNowError, match="has 2 pictures, as many as may be"):
        third.result()
    store.write(learnings.drop_picture, number, kept.id).result()
    assert store.read(learnings.pictures, number) == [second]
    assert store.read(learnings.everything)[0][1] == 1


def test_what_is_learnt_is_written_with_its_heatmaps_and_event(store: Store, number: int) -> None:
    kept = store.write(learnings.add_picture, number, ONE, 2).result()
    assert isinstance(kept, GoodPicture)
    store.write(
        learnings.move, number, ("collecting",), "waiting", asked="2026-01-01", starts=0
    ).result()
    assert [one.id for one in store.read(learnings.waiting)] == [number]
    assert store.read(learnings.at_work) is None
    found = store.write(learnings.move, number, ("waiting",), "learning", starts=1).result()
    assert store.read(learnings.at_work) == found
    store.write(learnings.note_progress, number, {"share": 0.5}).result()
    assert store.read(learnings.learning, number).progress == {"share": 0.5}
    for refused in (
        store.write(learnings.move, number, ("waiting",), "learning"),
        store.write(learnings.add_picture, number, replace(ONE, pixels="z" * 64), 9),
        store.write(learnings.drop_picture, number, kept.id),
        store.write(learnings.remove, number, "ann"),
    ):
        with pytest.raises(NotNowError, match="'bottle' is being learnt"):
            refused.result()
    change = learnings.change_of(found, "learnt", "station")
    done = store.write(learnings.finish, number, {"n": 1}, {ONE.pixels: b"png"}, change).result()
    assert (done.state, done.result) == ("learnt", {"n": 1})
    assert store.read(learnings.heat, number, kept.id) == b"png"
    assert store.read(learnings.pictures, number) == [kept]
    assert verify(store.read(lambda c: list(queries.whole_chain(c)))).events == 2


def test_what_is_to_be_stopped_gets_no_progress_and_is_not_learnt(
    store: Store, number: int
) -> None:
    found = store.write(learnings.move, number, ("collecting",), "stopping").result()
    store.write(learnings.note_progress, number, {"share": 0.5}).result()
    assert store.read(learnings.learning, number).progress is None
    change = learnings.change_of(found, "learnt", "station")
    with pytest.raises(NotNowError):
        store.write(learnings.finish, number, {}, {}, change).result()


def test_what_is_removed_is_gone_with_its_pictures(store: Store, number: int) -> None:
    store.write(learnings.add_picture, number, ONE, 2).result()
    store.write(learnings.remove, number, "ann").result()
    assert store.read(learnings.everything) == []
    assert store.read(learnings.pictures, number) == []
    with pytest.raises(NoSuchLearningError):
        store.read(learnings.learning, number)
    again = store.write(learnings.create, "e" * 32, "bottle", "fast", "ann").result()
    assert again.id > number
