"""What waits is tried again, the oldest first; what goes elsewhere meanwhile is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Callable

from nfbmr.inspection.courier import Courier, Outcome


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
