"""One machine's cores, GPUs and memory are never promised twice."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest

from nfbmr.errors import FleetError
from nfbmr.fleet import machine as machines
from nfbmr.fleet.machine import Machine, memory_left_gb
from nfbmr.fleet.plan import Resources

WAIT = 30  # seconds at most, for what comes at once
MOMENT = 0.2  # seconds in which what must not come would have come


class Taker:
    """Takes resources in a thread, and holds them until told."""

    def __init__(self, machine: Machine, wanted: Resources) -> None:
        self.has, self.let_go = Event(), Event()
        self.variables: dict[str, str] = {}
        self._thread = Thread(target=self._run, args=(machine, wanted), daemon=True)
        self._thread.start()

    def _run(self, machine: Machine, wanted: Resources) -> None:
        with machine.taken(wanted) as variables:
            self.variables = variables
            self.has.set()
            self.let_go.wait(WAIT)

    def end(self) -> None:
        self.let_go.set()
        self._thread.join(WAIT)


@pytest.fixture(autouse=True)
def _much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "memory_left_gb", lambda: 100.0)


def test_cores_are_waited_for_and_threads_are_as_many() -> None:
    machine = Machine(3)
    first, second = Taker(machine, Resources(cpus=2)), Taker(machine, Resources(cpus=1))
    assert first.has.wait(WAIT)
    assert second.has.wait(WAIT)
    assert {first.variables["OMP_NUM_THREADS"], second.variables["OMP_NUM_THREADS"]} == {"2", "1"}
    assert first.variables["CUDA_VISIBLE_DEVICES"] == "", "a product on the CPU sees no GPU"
    third = Taker(machine, Resources(cpus=2))
    second.end()
    assert not third.has.wait(MOMENT), "one core is free, it wants two"
    first.end()
    assert third.has.wait(WAIT)
    third.end()


def test_shares_of_gpus_fill_one_and_then_the_next() -> None:
    machine = Machine(8, gpus=2)
    half = Resources(gpus=0.5)
    takers = []
    for _ in range(4):
        takers.append(Taker(machine, half))
        assert takers[-1].has.wait(WAIT)
    seen = [taker.variables["CUDA_VISIBLE_DEVICES"] for taker in takers]
    assert seen == ["0", "0", "1", "1"]
    fifth = Taker(machine, half)
    assert not fifth.has.wait(MOMENT)
    takers[2].end()
    assert fifth.has.wait(WAIT)
    assert fifth.variables["CUDA_VISIBLE_DEVICES"] == "1"
    for taker in (*takers, fifth):
        taker.end()


def test_memory_that_is_promised_is_not_promised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "memory_left_gb", lambda: 5.0)
    machine = Machine(8)
    first, second = (Taker(machine, Resources(memory_gb=2)) for _ in range(2))
    assert first.has.wait(WAIT)
    assert second.has.wait(WAIT)
    third = Taker(machine, Resources(memory_gb=2))
    assert not third.has.wait(MOMENT)
    first.end()
    assert third.has.wait(WAIT)
    second.end()
    third.end()


def test_alone_it_is_tried_with_less_memory_than_it_is_expected_to_take() -> None:
    taker = Taker(Machine(1), Resources(memory_gb=1000))
    assert taker.has.wait(WAIT)
    taker.end()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Resources(cpus=3), "cpus = 3: this machine has 2"),
        (Resources(gpus=1), "gpus = 1: this machine has 0"),
        (Resources(workers=2), "--engine ray"),
    ],
)
def test_what_can_never_be_had_is_refused(wanted: Resources, said: str) -> None:
    with pytest.raises(FleetError, match=said):
        Machine(2).refuse(wanted)


def test_memory_is_the_least_of_machine_and_group(tmp_path: Path) -> None:
    assert memory_left_gb(tmp_path) == float("inf")
    (tmp_path / "proc").mkdir()
    text = "MemTotal: 9 kB\nMemAvailable:    4000000 kB\n"
    (tmp_path / "proc/meminfo").write_text(text)
    assert memory_left_gb(tmp_path) == pytest.approx(4.096)
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("2000000000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 500000000\n")
    assert memory_left_gb(tmp_path) == pytest.approx(4.096)
    (group / "memory.max").write_text("3000000000\n")
    assert memory_left_gb(tmp_path) == pytest.approx(1.5)
