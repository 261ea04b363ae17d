"""An archive judged on Ray: parts go to workers, each of which has one inspector.

The driver holds where parts begin and what of them is done, never a picture or a row: workers read
the listing and write results themselves. A part that was with a worker that died goes to another;
where workers die of the same picture again and again, that becomes a row with an error.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nfbmr.errors import FleetError
from nfbmr.fleet import cluster
from nfbmr.fleet.listing import Part, read_part
from nfbmr.fleet.results import Counts
from nfbmr.fleet.run import HEATMAPS, Run, Wanted, opened, sweep
from nfbmr.fleet.scorer import Job, Scorer, Task, at_file
from nfbmr.fleet.sources import folders_of, is_stored
from nfbmr.runtimes.choose import calibrated_for
from nfbmr.station.engine.pool import bundle_hash, calibration_hash
from nfbmr.system.progress import Progress, silent

_log = logging.getLogger(__name__)

_AHEAD = 2  # parts that are with a worker: one it judges, one that waits there
_CAREFUL = 2  # deaths over a part, until the pictures in it are noted one by one
_DEADLY = 2  # deaths over a picture, until it is passed over
_MOST_DEATHS = 10  # in a row without a part that was finished
_EVERY = 1.0  # seconds between two looks
_WAITING = 30.0  # seconds without any worker, until that is said


@dataclass(frozen=True, kw_only=True)
class Options:
    """How an archive is judged."""

    runtime: str = "auto"
    device: str = "auto"
    threads: int = 1
    """Of each worker, which reserves as many CPUs."""
    workers: int | None = None
    """None: one for each CPU of the cluster, or each GPU where the device is one."""
    per_part: int | None = None
    """Pictures of a part; None: by how many there are."""
    heatmaps: bool = False
    """Whether those of defects are drawn."""
    address: str | None = None
    """Of a cluster; None: this machine alone."""

    @property
    def on_gpu(self) -> bool:
        """Whether workers compute on a GPU each."""
        return self.device.startswith("cuda") or self.runtime.startswith("tensorrt")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An archive of which each picture has its row."""

    out: Path
    pictures: int
    counts: Counts
    """Of all rows, `good`, `look`, `defect` and `unreadable`."""


def judge_archive(
    model: Path,
    sources: list[str],
    out: Path,
    options: Options,
    progress: Progress = silent,
) -> Judged:
    """Judges all pictures of the sources into a folder of Parquet files, or goes on with that.

    Args:
        model: a model directory.
        sources: as for `pictures_of`.
        out: the folder.
        options: how.
        progress: hears `inspect`, in pictures.

    Raises:
        FleetError: the cluster cannot be used, or the folder is another run's.
        DataError: a source cannot be read.
        BundleError, SettingsError, MissingExtraError: as `load`.
        OSError: the folder cannot be written.
    """
    head = calibrated_for(model, options.runtime)
    wanted = Wanted(
        bundle=bundle_hash(head),
        calibration=calibration_hash(head.calibration),
        runtime=options.runtime,
        sources=tuple(w if is_stored(w) else str(Path(w).absolute()) for w in sources),
        heatmaps=options.heatmaps,
    )
    cpus = options.workers and options.workers * options.threads
    with cluster.connected(options.address, workers=cpus) as joined:
        workers = _how_many(options, joined)
        with opened(out.absolute(), wanted, workers, options.per_part) as run:
            counts: Counts = Counter()
            waiting = run.unfinished(counts)
            if waiting:
                _check(model, sources, run, options)
                sweep(run.out)
                progress("inspect", counts.total(), run.listing.pictures)
                job = _job(model, wanted, run, options)
                for done in _judged(job, run, waiting, workers, options):
                    counts.update(done)
                    progress("inspect", counts.total(), run.listing.pictures)
            run.finish(counts)
            return Judged(out=run.out, pictures=run.listing.pictures, counts=counts)


def _how_many(options: Options, joined: cluster.Cluster) -> int:
    if options.workers is not None:
        return options.workers
    if options.on_gpu:
        if not joined.gpus:
            raise FleetError(
                f"device {options.device}: no node of the cluster has a GPU; use --device cpu"
            )
        return joined.gpus
    return max(1, joined.cpus // options.threads)


def _check(model: Path, sources: list[str], run: Run, options: Options) -> None:
    """Refuses, before the work, nodes that cannot do it."""
    first = read_part(run.listing.file, Part(0, 0, 1))[0]
    lies_here = not is_stored(first) and Path(first).exists()
    seen = [run.listing.file, *folders_of(sources), *([Path(first)] if lies_here else [])]
    packages = cluster.packages_that_judge(options.runtime)
    cluster.check_nodes(models=[model], seen=seen, packages=packages)


def _job(model: Path, wanted: Wanted, run: Run, options: Options) -> Job:
    return Job(
        model=model.absolute(),
        said=str(model),
        bundle=wanted.bundle,
        calibration=wanted.calibration,
        runtime=options.runtime,
        device="cuda" if options.on_gpu else "cpu",  # Ray gives each worker a GPU of its own
        threads=options.threads,
        out=run.out,
        run=run.name,
        listing=run.listing.file,
        heatmaps=run.out / HEATMAPS if options.heatmaps else None,
    )


@dataclass(eq=False)
class _Worker:
    """An actor, and the parts that are with it."""

    actor: Any
    parts: dict[Any, int] = field(default_factory=dict)
    """What Ray calls each call's result -> the part."""
    ready: bool = False


class _Crew:
    """The workers, and the parts that wait for one."""

    def __init__(self, job: Job, run: Run, waiting: list[int], workers: int, gpus: float) -> None:
        import ray

        self._ray, self._job, self._run = ray, job, run
        self._waiting = deque(waiting)
        self._deaths: Counter[int] = Counter()  # by part
        self._at: Counter[tuple[int, int]] = Counter()  # deaths by part and picture
        self._in_a_row = 0
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
            NfbmrError, OSError: a worker cannot work, whatever the part.
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
            counts: Counts = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            raise cluster.of_the_work(error) from None
        except self._ray.exceptions.RayError as error:
            assert worker is not None
            self._died(worker, error)
            return
        del worker.parts[call]
        self._in_a_row = 0
        yield counts

    def _died(self, worker: _Worker, error: Exception) -> None:
        """Puts a worker's parts back, and another worker in its place."""
        self._ray.kill(worker.actor)  # it may only have been cut off
        self._workers.discard(worker)
        self._loading = {call: one for call, one in self._loading.items() if one is not worker}
        parts = list(worker.parts.values())
        if parts:  # the first of them is what it was at
            self._deaths[parts[0]] += 1
            self._note_picture(parts[0])
        self._waiting.extendleft(reversed(parts))
        self._in_a_row += 1
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if self._in_a_row > _MOST_DEATHS + len(self._workers):
            raise FleetError(
                f"workers die again and again, the last so: {reason}; what is finished stays. See "
                "'ray status' and the free memory, or take fewer --workers"
            )
        _log.warning("A worker died; its pictures go to another (%s)", reason)
        self._hire()

    def _note_picture(self, part: int) -> None:
        if self._deaths[part] <= _CAREFUL:
            return
        try:
            at = int(at_file(self._run.out, part).read_text("ascii"))
        except (OSError, ValueError):
            return
        self._at[part, at] += 1


def _judged(
    job: Job, run: Run, waiting: list[int], workers: int, options: Options
) -> Iterator[Counts]:
    fitting = min(workers, len(waiting))
    return _Crew(job, run, waiting, fitting, 1 if options.on_gpu else 0).finished()
