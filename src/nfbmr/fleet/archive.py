"""An archive judged on Ray: what is asked for, what is done already, and who does the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nfbmr.errors import FleetError
from nfbmr.fleet import cluster
from nfbmr.fleet.results import Counts
from nfbmr.fleet.run import HEATMAPS, Run, Wanted, opened, sweep
from nfbmr.fleet.scorer import Job
from nfbmr.fleet.sources import folders_of
from nfbmr.fleet.words import is_stored
from nfbmr.fleet.workers import Workers
from nfbmr.model.calibrations import calibration_hash
from nfbmr.runtimes.choose import calibrated_for
from nfbmr.station.engine.pool import bundle_hash
from nfbmr.system.progress import Progress, silent


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
                fitting = min(workers, len(waiting))
                crew = Workers(job, run, waiting, fitting, 1 if options.on_gpu else 0)
                for done in crew.finished():
                    counts.update(done)
                    progress("inspect", counts.total(), run.listing.pictures)
                run.refuse_unseen(waiting)
            run.finish(counts)
            return Judged(out=run.out, pictures=run.listing.pictures, counts=counts)


def _how_many(options: Options, joined: cluster.Cluster) -> int:
    """Returns how many workers there are to be.

    Raises:
        FleetError: no node has what one takes.
    """
    _refuse_more_than_a_node(options, [node["Resources"] for node in joined.nodes()])
    if options.workers is not None:
        return options.workers
    if options.on_gpu:
        return joined.gpus
    return max(1, joined.cpus // options.threads)


def _refuse_more_than_a_node(options: Options, nodes: Sequence[Mapping[str, float]]) -> None:
    """Refuses what Ray would wait for without end; `nodes` is what each has."""
    if options.on_gpu:
        nodes = [node for node in nodes if node.get("GPU", 0) >= 1]
        if not nodes:
            raise FleetError(
                f"device {options.device}: no node of the cluster has a GPU; use --device cpu"
            )
    most = int(max((node.get("CPU", 0) for node in nodes), default=0))
    if most < options.threads:
        which = "node with a GPU" if options.on_gpu else "node of the cluster"
        raise FleetError(
            f"--threads {options.threads}: no {which} has as many CPUs for a worker, the most are "
            f"{most}; give --threads {most or 1} or fewer"
            + ("" if most else ", and start a node with CPUs")
        )


def _check(model: Path, sources: list[str], run: Run, options: Options) -> None:
    """Refuses, before the work, nodes that cannot do it."""
    here = [Path(one) for one in run.firsts if not is_stored(one) and Path(one).exists()]
    stores = {"/".join(one.split("/", 3)[:3]): one for one in run.firsts if is_stored(one)}
    with cluster.fresh_file(run.listing.file.parent) as fresh:
        cluster.check_nodes(
            models=[model],
            seen=[fresh, *folders_of(sources), *here],
            written=[run.out],
            read=list(stores.values()),
            packages=cluster.packages_that_judge(options.runtime),
        )


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
        folders=tuple(folders_of(list(wanted.sources))),
        heatmaps=run.out / HEATMAPS if options.heatmaps else None,
    )
