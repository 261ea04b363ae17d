"""Learnings in the database, of each kind: states that follow one another, pictures once each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nfbmr.station.audit import now, verify
from nfbmr.station.store import learnings, queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.learnings import (
    Brought,
    GoodPicture,
    NoRoomError,
    NoSuchLearningError,
    NotNowError,
)

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
ROOM = 10**9


@pytest.fixture
def number(store: Store) -> int:
    """A product that is collected."""
    return store.write(learnings.create, "f" * 32, "bottle", "fast", "ann").result().id


def test_a_picture_is_kept_once_and_within_its_limit(store: Store, number: int) -> None:
    kept = store.write(learnings.add_picture, number, ONE, 2, ROOM).result()
    assert isinstance(kept, GoodPicture)
    assert store.read(learnings.pictures, number) == [kept]
    copy = replace(ONE, file="b.png", name="two", picture="c" * 64)
    assert store.write(learnings.add_picture, number, copy, 2, ROOM).result() == "one"
    other = replace(copy, pixels="d" * 64)
    second = store.write(learnings.add_picture, number, other, 2, ROOM).result()
    assert isinstance(second, GoodPicture)
    third = store.write(learnings.add_picture, number, replace(other, pixels="e" * 64), 2, ROOM)
    with pytest.raises(NotNowError, match="has 2 pictures, as many as may be"):
        third.result()
    store.write(learnings.drop_picture, number, kept.id, "eve").result()
    assert store.read(learnings.pictures, number) == [second]
    told = store.read(queries.events, kinds=(learnings.PICTURE_EVENT,))
    said = [(one.actor, one.old is None, one.new is None) for one in told]
    assert said == [("eve", False, True), ("ann", True, False), ("ann", True, False)]
    assert store.read(learnings.everything)[0][1] == 1


def test_what_is_learnt_is_written_with_its_heatmaps_and_event(store: Store, number: int) -> None:
    kept = store.write(learnings.add_picture, number, ONE, 2, ROOM).result()
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
        store.write(learnings.add_picture, number, replace(ONE, pixels="z" * 64), 9, ROOM),
        store.write(learnings.drop_picture, number, kept.id, "eve"),
        store.write(learnings.remove, number, "ann"),
    ):
        with pytest.raises(NotNowError, match="'bottle' is being learnt"):
            refused.result()
    change = learnings.change_of(found, "learnt", "station")
    done = store.write(learnings.finish, number, {"n": 1}, {ONE.pixels: b"png"}, change).result()
    assert (done.state, done.result) == ("learnt", {"n": 1})
    assert store.read(learnings.heat, number, kept.id) == b"png"
    assert store.read(learnings.pictures, number) == [kept]
    assert verify(store.read(lambda c: list(queries.whole_chain(c)))).events == 3


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
    store.write(learnings.add_picture, number, ONE, 2, ROOM).result()
    store.write(learnings.remove, number, "ann").result()
    assert store.read(learnings.everything) == []
    assert store.read(learnings.pictures, number) == []
    with pytest.raises(NoSuchLearningError):
        store.read(learnings.learning, number)
    again = store.write(learnings.create, "e" * 32, "bottle", "fast", "ann").result()
    assert again.id > number


def test_the_pictures_of_all_products_share_one_limit(store: Store, number: int) -> None:
    other = store.write(learnings.create, "e" * 32, "can", "fast", "ann").result().id
    room = int(2.5 * ONE.bytes)
    for each in (number, other):
        kept = store.write(learnings.add_picture, each, ONE, 9, room).result()
        assert isinstance(kept, GoodPicture)
    more = replace(ONE, pixels="d" * 64)
    with pytest.raises(NoRoomError, match=r"found 2e-08 GB .* expected 2.5e-08 GB at most; delete"):
        store.write(learnings.add_picture, number, more, 9, room).result()
    store.write(learnings.remove, other, "ann").result()
    assert isinstance(
        store.write(learnings.add_picture, number, more, 9, room).result(), GoodPicture
    )


def test_untouched_is_what_is_not_learnt_and_had_no_picture_since(
    store: Store, number: int
) -> None:
    learnt = store.write(learnings.create, "e" * 32, "can", "fast", "ann").result().id
    store.write(learnings.move, learnt, ("collecting",), "learnt").result()
    old = store.read(learnings.learning, number)
    assert store.read(learnings.untouched, old.created) == []
    created = now()
    assert store.read(learnings.untouched, created) == [old]
    store.write(learnings.add_picture, number, ONE, 2, ROOM).result()
    assert store.read(learnings.untouched, created) == []
    assert store.read(learnings.untouched, now()) == [old]
    assert store.read(learnings.folders) == {"e" * 32, "f" * 32}
