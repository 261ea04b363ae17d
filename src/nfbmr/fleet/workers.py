"""Who judges an archive: workers that parts go to, each of which has one inspector.

The driver holds where parts begin and what of them is done, never a picture or a row: workers read
the listing and write results themselves. A part that was with a worker that died goes to another;
where workers die of the same picture again and again, that becomes a row with an error. A worker
that cannot open what this machine can gets no more.
"""

from __future__ import annotations

import logging
import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nfbmr.errors import FleetError
from nfbmr.fleet import cluster
from nfbmr.fleet.listing import read_part
from nfbmr.fleet.reach import why_unreached
from nfbmr.fleet.results import Counts
from nfbmr.fleet.run import Run
from nfbmr.fleet.scorer import Job, Scorer, Task, Unreached, at_file
from nfbmr.system.files import in_words
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

_AHEAD = 2  # parts that are with a worker: one it judges, one that waits there
_CAREFUL = 2  # deaths over a part, until the pictures in it are noted one by one
_DEADLY = 2  # deaths over a picture, until it is passed over
_MOST_DEATHS = 10  # in a row that told nothing: no part was finished, no picture found deadly
_MOST_ASIDE = 20  # parts in a row of which nobody can open a picture, until others are tried
_EVERY = 1.0  # seconds between two looks
_WAITING = 30.0  # seconds without any worker, until that is said


@dataclass(eq=False)
class _Worker:
    """An actor, and the parts that are with it."""

    actor: Any
    parts: dict[Any, int] = field(default_factory=dict)
    """What Ray calls each call's result -> the part."""
    ready: bool = False


class Workers:
    """The workers, and the parts that wait for one."""

    def __init__(self, job: Job, run: Run, waiting: list[int], workers: int, gpus: float) -> None:
        import ray

        self._ray, self._job, self._run = ray, job, run
        self._waiting = deque(waiting)
        self._deaths: Counter[int] = Counter()  # by part
        self._at: Counter[tuple[int, int]] = Counter()  # deaths by part and picture
        self._in_a_row = 0
        self._aside: dict[int, Unreached] = {}  # parts that nobody can open
        self._aside_in_a_row = 0
        self._mixed = False  # whether parts are tried from all over the listing
        # An actor that dies is made anew here, not by Ray: its parts go elsewhere at once.
        self._made = ray.remote(
            num_cpus=job.threads, num_gpus=gpus, max_restarts=0, max_task_retries=0
        )(Scorer)
        self._loading: dict[Any, _Worker] = {}
        self._workers: set[_Worker] = set()
        for _ in range(workers):
            self._hire()

    def finished(self) -> Iterator[Counts]:
        """Yields what each part counts, as soon as its results are there.

        Raises:
            NfbmrError, OSError: workers cannot work, whatever the part.
            FleetError: no worker is left, or of parts nobody could open any picture; all others
                are finished, but where this held for so many in a row, and then for as many from
                all over the listing.
        """
        idle = 0.0
        while self._waiting or any(worker.parts for worker in self._workers):
            self._hand_out()
            calls = [*self._loading, *(call for w in self._workers for call in w.parts)]
            done, _ = self._ray.wait(calls, num_returns=1, timeout=_EVERY)
            working = done or any(worker.ready for worker in self._workers)
            idle = 0.0 if working else idle + _EVERY
            if idle >= _WAITING:
                _log.warning("No worker has begun yet; see 'ray status' for free CPUs or GPUs")
                idle = 0.0
            for call in done:
                yield from self._ended(call)
        if self._aside:
            raise self._nobody_opens()

    def _hire(self) -> None:
        worker = _Worker(self._made.remote(self._job))
        self._loading[worker.actor.ready.remote()] = worker
        self._workers.add(worker)

    def _hand_out(self) -> None:
        for ahead in range(_AHEAD):  # all have one before any has two
            for worker in self._workers:
                if self._waiting and worker.ready and len(worker.parts) == ahead:
                    number = self._waiting.popleft()
                    worker.parts[worker.actor.score.remote(self._task(number))] = number

    def _task(self, number: int) -> Task:
        deadly = (at for (part, at), deaths in self._at.items() if part == number)
        return Task(
            self._run.listing.part(number),
            one_by_one=self._deaths[number] >= _CAREFUL,
            deadly=frozenset(at for at in deadly if self._at[number, at] >= _DEADLY),
        )

    def _ended(self, call: Any) -> Iterator[Counts]:
        worker = self._loading.pop(call, None)
        try:
            if worker is not None:
                _log.debug("A worker computes by %s", self._ray.get(call))
                worker.ready = True
                return
            worker = next((one for one in self._workers if call in one.parts), None)
            if worker is None:
                return  # of one that died: its parts are with others
            found: Counts | Unreached = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            if worker is None or worker.ready:
                raise cluster.of_the_work(error) from None
            self._cannot_begin(worker, cluster.of_the_work(error))
            return
        except self._ray.exceptions.RayError as error:
            assert worker is not None
            self._died(worker, error)
            return
        if isinstance(found, Unreached):
            self._not_opened(worker, call, found)
            return
        del worker.parts[call]
        self._in_a_row = self._aside_in_a_row = 0
        yield found

    def _died(self, worker: _Worker, error: Exception) -> None:
        """Puts a worker's parts back, and another worker in its place."""
        parts = self._let_go(worker)
        if parts:  # the first of them is what it was at
            self._deaths[parts[0]] += 1
            self._note_picture(parts[0])
        self._in_a_row += 1
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        # Each part that is with a worker may take as many until the first picture is found deadly.
        at_work = _AHEAD * (1 + len(self._workers))
        if self._in_a_row > _MOST_DEATHS + (_CAREFUL + _DEADLY) * at_work:
            raise FleetError(
                f"workers die again and again, the last so: {reason}; what is finished stays. See "
                "'ray status' and the free memory, or take fewer --workers"
            )
        _log.warning("A worker died; its pictures go to another (%s)", reason)
        self._hire()

    def _cannot_begin(self, worker: _Worker, error: Exception) -> None:
        """Does without a worker that cannot load: a node came back without its mounts, perhaps.

        Raises:
            Exception: the same, where no other worker is left.
        """
        self._let_go(worker)
        if not self._workers:
            raise error from None
        said = in_words(error) if isinstance(error, OSError) else str(error)
        _log.warning("A worker cannot begin, and there is none in its place: %s", said)

    def _let_go(self, worker: _Worker) -> list[int]:
        """Ends a worker, puts its parts back, and returns them."""
        self._ray.kill(worker.actor)  # where it died it may only have been cut off
        self._workers.discard(worker)
        self._loading = {call: one for call, one in self._loading.items() if one is not worker}
        parts = list(worker.parts.values())
        self._waiting.extendleft(reversed(parts))
        return parts

    def _not_opened(self, worker: _Worker, call: Any, said: Unreached) -> None:
        """Decides whose fault it is that no picture of a part can be opened: we try, too."""
        number = worker.parts[call]
        pictures = read_part(self._job.listing, self._run.listing.part(number))
        if why_unreached(pictures, self._job.folders) is not None:
            del worker.parts[call]
            self._aside[number] = said
            self._aside_in_a_row += 1
            if self._aside_in_a_row >= _MOST_ASIDE:
                self._try_elsewhere()
            return
        self._let_go(worker)
        if not self._workers:
            raise FleetError(
                f"no worker can open pictures that this machine can, the last on {said.where}: "
                f"{said.why}; see to the mounts and credentials of the nodes. What is judged "
                "stays, and the same command goes on"
            )
        _log.warning(
            "A worker on %s cannot open pictures that this machine can, and gets no more (%s)",
            said.where,
            said.why,
        )

    def _try_elsewhere(self) -> None:
        """Goes on from all over the listing: what is lost may be one folder of several.

        Raises:
            FleetError: that was so before.
        """
        if self._mixed:
            raise self._nobody_opens()
        self._mixed, self._aside_in_a_row = True, 0
        random.Random(0).shuffle(self._waiting)

    def _nobody_opens(self) -> FleetError:
        pictures = sum(self._run.listing.part(number).pictures for number in self._aside)
        first = next(iter(self._aside.values()))
        return FleetError(
            f"{counted(pictures, 'picture')} in {counted(len(self._aside), 'part')} can be opened "
            f"neither by workers nor here, the first on {first.where}: {first.why}; see to the "
            "storage they lie on, its credentials and the right to read; of pictures that were "
            "deleted remove the empty folders, too. What is judged stays, and the same command "
            "tries these again"
        )

    def _note_picture(self, part: int) -> None:
        if self._deaths[part] <= _CAREFUL:
            return
        try:
            at = int(at_file(self._run.out, part).read_text("ascii"))
        except (OSError, ValueError):
            return
        self._at[part, at] += 1
        if self._at[part, at] == _DEADLY:
            self._in_a_row = 0
