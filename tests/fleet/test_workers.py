"""Parts go to workers, and elsewhere where one fails; what stands for Ray here has no processes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nfbmr.errors import FleetError
from nfbmr.fleet import workers as workers_module
from nfbmr.fleet.listing import Listing, write_listing
from nfbmr.fleet.run import Run
from nfbmr.fleet.scorer import Job, Task, Unreached, at_file
from nfbmr.fleet.workers import Workers

Score = Callable[[int, Task], "Counter[str] | Unreached"]


class RayError(Exception):
    """What Ray raises of an actor that died."""


class RayTaskError(RayError):
    """What it raises around an error of the work."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(eq=False)
class Call:
    """A call whose answer is there once it is waited for."""

    answer: Callable[[], object]


@dataclass
class FakeRay:
    """Actors that answer in the order in which they are asked."""

    score: Score
    unfit: frozenset[int] = frozenset()
    """Actors that cannot load."""
    actors: int = 0
    killed: set[int] = field(default_factory=set)
    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
    )

    def remote(self, **_: object) -> Callable[[type], SimpleNamespace]:
        return lambda _made: SimpleNamespace(remote=self._actor)

    def _actor(self, _job: Job) -> SimpleNamespace:
        number, self.actors = self.actors, self.actors + 1

        def ready() -> str:
            if number in self.unfit:
                raise RayTaskError(FileNotFoundError(2, "No such file", "/models/part"))
            return "torch"

        def scored(task: Task) -> object:
            assert number not in self.killed
            return self.score(number, task)

        return SimpleNamespace(
            number=number,
            ready=SimpleNamespace(remote=lambda: Call(ready)),
            score=SimpleNamespace(remote=lambda task: Call(lambda: scored(task))),
        )

    def wait(self, calls: list[Call], **_: object) -> tuple[list[Call], list[Call]]:
        return calls[:1], calls[1:]

    def get(self, call: Call) -> object:
        return call.answer()

    def kill(self, actor: SimpleNamespace) -> None:
        self.killed.add(actor.number)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Twelve parts of five pictures each, all of them there."""
    out = tmp_path / "out"
    (out / "_nfbmr").mkdir(parents=True)
    (tmp_path / "archive").mkdir()
    names = [tmp_path / "archive" / f"{number:02d}.png" for number in range(60)]
    for name in names:
        name.touch()
    file = out / "_nfbmr" / "listing.jsonl"
    return Run(out=out, name="run", listing=Listing(file, write_listing(file, map(str, names)), 5))


@pytest.fixture
def finished(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Iterator[Counter[str]]]:
    """Judges all parts by so many workers that do so."""

    def judge(score: Score, workers: int, *unfit: int) -> Iterator[Counter[str]]:
        monkeypatch.setitem(sys.modules, "ray", FakeRay(score, frozenset(unfit)))
        archive = run.out.parent / "archive"
        job: Any = SimpleNamespace(threads=1, listing=run.listing.file, folders=(archive,))
        return Workers(job, run, list(range(len(run.listing))), workers, 0).finished()

    return judge


def test_a_worker_that_lost_its_storage_gets_no_more_and_the_others_do_all(
    run: Run,
    finished: Callable[..., Iterator[Counter[str]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: Counter[int] = Counter()

    def score(worker: int, task: Task) -> Counter[str] | Unreached:
        asked[worker] += 1
        if worker == 0:
            return Unreached("a.png: Stale file handle", "node-7")
        return Counter(good=task.part.pictures)

    found = sum(finished(score, 2), Counter())
    assert found == {"good": 60}
    assert asked == {0: 1, 1: 12}
    assert "A worker on node-7 cannot open pictures that this machine can" in caplog.text
    assert "Stale file handle" in caplog.text


def test_where_every_worker_lost_its_storage_the_run_ends_and_says_so(
    finished: Callable[..., Iterator[Counter[str]]],
) -> None:
    with pytest.raises(FleetError, match=r"no worker can open .*on node-[01]: x: gone.*goes on"):
        list(finished(lambda worker, _: Unreached("x: gone", f"node-{worker}"), 2))


def test_parts_that_nobody_can_open_are_said_once_all_others_are_judged(
    run: Run, finished: Callable[..., Iterator[Counter[str]]]
) -> None:
    archive = run.out.parent / "archive"
    for path in archive.iterdir():
        path.unlink()  # as of a mount that is lost here, too

    def score(_: int, task: Task) -> Counter[str] | Unreached:
        if task.part.number in (0, 5):
            return Unreached("00.png: no such file", "node-7")
        return Counter(good=task.part.pictures)

    found: list[Counter[str]] = []
    with pytest.raises(
        FleetError, match=r"10 pictures in 2 parts can be opened neither.*00\.png.*again"
    ):
        found.extend(finished(score, 2))
    assert sum(found, Counter()) == {"good": 50}


def test_a_worker_that_cannot_load_is_done_without_as_long_as_there_is_another(
    finished: Callable[..., Iterator[Counter[str]]], caplog: pytest.LogCaptureFixture
) -> None:
    def score(_: int, task: Task) -> Counter[str]:
        return Counter(good=task.part.pictures)

    assert sum(finished(score, 3, 0, 2), Counter()) == {"good": 60}
    assert caplog.text.count("A worker cannot begin") == 2
    assert "/models/part: No such file" in caplog.text
    with pytest.raises(FileNotFoundError, match="/models/part"):
        list(finished(score, 2, 0, 1))


@pytest.mark.parametrize(("lost", "judged"), [(range(4), 40), (range(12), 0)])
def test_behind_a_folder_that_is_lost_others_are_judged_and_where_all_is_lost_it_ends(
    run: Run,
    finished: Callable[..., Iterator[Counter[str]]],
    monkeypatch: pytest.MonkeyPatch,
    lost: range,
    judged: int,
) -> None:
    monkeypatch.setattr(workers_module, "_MOST_ASIDE", 3)
    for path in (run.out.parent / "archive").iterdir():
        path.unlink()
    asked: list[int] = []

    def score(_: int, task: Task) -> Counter[str] | Unreached:
        asked.append(task.part.number)
        if task.part.number in lost:
            return Unreached("x: no such file", "node-7")
        return Counter(good=task.part.pictures)

    found: list[Counter[str]] = []
    with pytest.raises(FleetError, match=r"neither by workers nor here.*remove the empty folders"):
        found.extend(finished(score, 1))
    assert sum(found, Counter()).total() == judged
    assert len(asked) == (12 if judged else 6)


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("every", [True, False])
def test_pictures_that_workers_die_of_do_not_end_the_run_however_many(
    run: Run,
    finished: Callable[..., Iterator[Counter[str]]],
    workers: int,
    *,
    every: bool,
) -> None:
    """All of one part, or one of each: neighbours in a folder are alike."""
    deaths: Counter[int] = Counter()

    def score(_: int, task: Task) -> Counter[str]:
        number = task.part.number
        for at in range(task.part.pictures):
            if (number == 3 if every else at == 2) and at not in task.deadly:
                if task.one_by_one:
                    at_file(run.out, number).write_text(str(at), "ascii")
                deaths[number] += 1
                raise RayError("killed: out of memory")
        return Counter(good=task.part.pictures - len(task.deadly), unreadable=len(task.deadly))

    found = sum(finished(score, workers), Counter())
    assert found == ({"good": 55, "unreadable": 5} if every else {"good": 48, "unreadable": 12})
    assert max(deaths.values()) == (12 if every else 4)


def test_workers_that_die_whatever_they_do_end_the_run(
    finished: Callable[..., Iterator[Counter[str]]],
) -> None:
    def score(*_: object) -> Counter[str]:
        raise RayError("killed: out of memory")

    with pytest.raises(FleetError, match=r"die again and again.*out of memory"):
        list(finished(score, 8))
