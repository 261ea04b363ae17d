"""A stream in order: what is ready comes out, what waits is computed together, nothing hangs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from nfbmr.inspection.stream import Stream


def total(group: list[int]) -> int:
    return sum(group)


def groups(source: Iterator[int] | list[int], **options: bool | int) -> list[list[int]]:
    given = {"most": 4, "full": True, "workers": 2} | options
    with closing(Stream(source, lambda x: 10 * x, total, **given)) as stream:  # type: ignore[arg-type]
        found = list(stream)
    assert all(computed == sum(group) for group, computed in found)
    return [group for group, _ in found]


def test_full_groups_are_the_same_each_time() -> None:
    wanted = [[0, 10, 20, 30], [40, 50, 60, 70], [80, 90]]
    assert groups(list(range(10))) == groups(iter(range(10))) == wanted
    assert groups([]) == []


def test_order_and_number_hold_for_what_waits() -> None:
    found = groups(iter(range(500)), full=False)
    assert [item for group in found for item in group] == [10 * x for x in range(500)]
    assert max(map(len, found)) <= 4


def test_a_source_may_wait_for_the_result_of_what_it_gave_before() -> None:
    asked: queue.Queue[int] = queue.Queue()

    def live() -> Iterator[int]:
        yield from iter(asked.get, -1)

    with closing(Stream(live(), lambda x: x, total, most=4, full=False, workers=2)) as stream:
        results = iter(stream)
        for number in range(20):
            asked.put(number)
            assert next(results) == ([number], number)
        asked.put(-1)
        assert next(results, None) is None


def test_what_waits_while_the_network_is_busy_is_computed_together() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def compute(group: list[int]) -> int:
        begun.set()
        assert go_on.wait(10)
        return len(group)

    def live() -> Iterator[int]:
        yield 0
        assert begun.wait(10)
        yield from range(1, 5)
        go_on.set()

    with closing(Stream(live(), lambda x: x, compute, most=8, full=False, workers=1)) as stream:
        found = list(stream)
    assert found[0] == ([0], 1)
    assert sum(size for _, size in found) == 5
    assert len(found) < 5


@pytest.mark.parametrize("full", [True, False])
def test_all_that_came_before_an_error_of_the_source_is_given(full: bool) -> None:
    def unplugged() -> Iterator[int]:
        yield from range(6)
        raise ConnectionError("unplugged")

    with closing(Stream(unplugged(), lambda x: x, total, most=4, full=full, workers=2)) as stream:
        results, found = iter(stream), list[int]()
        while len(found) < 6:
            found += next(results)[0]
        with pytest.raises(ConnectionError, match="unplugged"):
            next(results)
    assert found == list(range(6))


def test_an_error_of_either_stage_reaches_the_caller() -> None:
    def same(item: int) -> int:
        return item

    def fails(_: int) -> int:
        raise ZeroDivisionError

    def fails_too(_: list[int]) -> int:
        raise ZeroDivisionError

    first = Stream([1], fails, total, most=4, full=True, workers=2)
    second = Stream([1], same, fails_too, most=4, full=True, workers=2)
    for stream in (first, second):
        with closing(stream), pytest.raises(ZeroDivisionError):
            list(stream)


def test_closing_does_not_wait_for_a_source_that_gives_nothing() -> None:
    never = threading.Event()

    def silent() -> Iterator[int]:
        yield 1
        never.wait()
        yield 2

    stream = Stream(silent(), lambda x: x, total, most=4, full=False, workers=2)
    assert next(iter(stream)) == ([1], 1)
    stream.close()
    assert not stream._graph.is_alive()
    never.set()
    stream._reader.join(10)
    assert not stream._reader.is_alive(), "and it ends as soon as that gives something"


def test_it_is_read_a_bounded_way_ahead() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    with closing(Stream(endless(), lambda x: x, total, most=2, full=False, workers=2)) as stream:
        given = 0
        for group, _ in stream:
            given += len(group)
            assert taken <= given + 3 * 2
            if given > 50:
                break
