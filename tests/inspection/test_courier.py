"""What waits is tried again, the oldest first; what goes elsewhere meanwhile is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Callable

from nfbmr.inspection.courier import MOST_TRIES, Courier, Outcome


class Box:
    def __init__(self, *items: str) -> None:
        self.items = list(items)
        self.aside: list[tuple[str, str]] = []
        self.troubles: list[str] = []
        self.looks = 0

    def waiting(self) -> list[str]:
        self.looks += 1
        return self.items.copy()

    def take_away(self, item: str) -> None:
        self.items.remove(item)

    def set_aside(self, item: str, why: str) -> None:
        self.items.remove(item)
        self.aside.append((item, why))

    def in_trouble(self, why: str) -> None:
        self.troubles.append(why)


def until(true: Callable[[], object]) -> None:
    for _ in range(3000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come true")


def test_a_pause_ends_when_the_receiver_is_there_again() -> None:
    box, there = Box("a", "b"), threading.Event()
    tried: list[str] = []

    def deliver(item: str) -> tuple[Outcome, str]:
        tried.append(item)
        return ("delivered", "") if there.is_set() else ("nobody", "gone")

    courier = Courier("test", box, deliver, first_pause=3600)
    until(lambda: tried)
    there.set()
    courier.try_again()
    until(lambda: not box.items)
    assert tried == ["a", "a", "b"], "the oldest first, and it alone is tried while nobody is there"
    assert box.troubles == ["gone"]
    courier.close(1)


def test_what_is_refused_is_set_aside_and_counted() -> None:
    box = Box("a", "b")
    courier = Courier("test", box, lambda item: ("refused" if item == "a" else "delivered", "bad"))
    until(lambda: not box.items)
    courier.close(1)
    assert (box.aside, courier.refused) == ([("a", "bad")], 1)


def test_an_idle_courier_looks_again_and_forgets_what_others_took_away() -> None:
    box = Box("a")
    courier = Courier("test", box, lambda _: ("busy", "later"), first_pause=0.01, idle=0.01)
    until(lambda: box.troubles)
    box.items.clear()
    looks = box.looks
    until(lambda: box.looks > looks + 3)
    assert courier._later == {}
    courier.close(1)
    assert box.troubles == ["later"]


def test_what_is_not_taken_while_others_are_is_set_aside_after_so_many_tries() -> None:
    box, tried = Box("bad", "a", "b"), 0

    def deliver(item: str) -> tuple[Outcome, str]:
        nonlocal tried
        if item != "bad":
            return "delivered", ""
        tried += 1
        box.items.append(f"after try {tried}")
        return "busy", "answered 404"

    courier = Courier("test", box, deliver, first_pause=1e-5, idle=0.001)
    until(lambda: not box.items)
    courier.close(1)
    assert box.aside == [("bad", f"answered 404, {MOST_TRIES} times while it took others")]
    assert (tried, courier.refused) == (MOST_TRIES + 1, 1), "the first one has none before it"


def test_an_outage_sets_nothing_aside_and_the_order_is_kept_after_it() -> None:
    names = [f"{number:02d}" for number in range(20)]
    box, well = Box(*names), threading.Event()
    taken: list[str] = []
    tries = dict.fromkeys(names, 0)

    def deliver(item: str) -> tuple[Outcome, str]:
        tries[item] += 1
        if not well.is_set():
            return "busy", "answered 502"
        taken.append(item)
        return "delivered", ""

    courier = Courier("test", box, deliver, first_pause=1e-4)
    until(lambda: tries["00"] > MOST_TRIES + 1)
    assert box.aside == []
    well.set()
    until(lambda: not box.items)
    courier.close(1)
    assert sorted(taken) == names
    assert courier.refused == 0


def test_however_many_are_not_taken_the_next_one_passes() -> None:
    bad = [f"bad {number}" for number in range(50)]
    box = Box(*bad, "good")

    def deliver(item: str) -> tuple[Outcome, str]:
        return ("delivered", "") if item == "good" else ("busy", "answered 500")

    courier = Courier("test", box, deliver, first_pause=1e-5)
    until(lambda: "good" not in box.items)
    courier.close(1)
    assert box.items == bad


def test_one_over_which_the_connection_breaks_is_tried_again_first_then_others_pass() -> None:
    box = Box("a", "b", "c")
    tried: list[str] = []

    def deliver(item: str) -> tuple[Outcome, str]:
        tried.append(item)
        if item != "a":
            return "delivered", ""
        if len(tried) > 1:
            raise ValueError("too large")
        return "dropped", "connection reset"

    courier = Courier("test", box, deliver, first_pause=0.01)
    until(lambda: box.items == ["a"])
    courier.close(1)
    assert tried[:4] == ["a", "a", "b", "c"]
    assert box.troubles[0] == "connection reset"
