"""What judging an archive on Ray costs: `python -m nfbmr.benchmark.archive WHAT MODEL PICTURES`.

Each run is the command itself, in a process of its own, on a cluster of this machine that it
starts. `speed`: an archive made of real pictures by crops and light, by the plain command, by one
worker and by two, with the driver's peak memory; what a run of a few pictures takes is its
start-up. `kills`: workers, then the driver, killed at random moments, and every picture counted in
the results. `links`: many names of few small files, for what listing and results hold.

`nodes`: the same on a cluster of several nodes on this machine, through `--address`: an archive
undisturbed, with workers killed, with drivers killed, with a node killed; and the names. The first
`--count` is the archive's, the last the names'.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nfbmr.benchmark.archive_runs import Bench, Ran, Row, about, make_links, make_pictures
from nfbmr.benchmark.child import say_row
from nfbmr.benchmark.ray_nodes import Cluster, Node, networks, ray_variables, started

_FEW = 32  # pictures of a run that is all start-up


def speed(bench: Bench, source: Path, work: Path, counts: list[int], side: int) -> Iterator[Row]:
    """Yields a row for the plain command and for one worker and two, at each count.

    A worker computes with one thread and decodes with others: on a machine that is otherwise idle
    one takes more than a core, so there is a row of one that has no more, too.
    """
    few = make_pictures(source, work / "few", _FEW, side)
    ways: dict[str, Callable[[Path], Ran]] = {
        "plain": bench.plain,
        "1 worker on 1 core": lambda pictures: bench.on_ray(pictures, 1, one_core=True),
        "1 worker": lambda pictures: bench.on_ray(pictures, 1),
        "2 workers": lambda pictures: bench.on_ray(pictures, 2),
    }
    start_up = {name: way(few).seconds for name, way in ways.items()}
    for count in counts:
        pictures = make_pictures(source, work / f"archive-{count}", count, side)
        yield {"row": "archive_pictures"} | about(pictures, bench.model)
        for name, way in ways.items():
            done = way(pictures)
            yield {
                "row": "archive",
                "way": name,
                "pictures": count,
                "start_up": round(start_up[name], 1),
                "a_second": round((count - _FEW) / (done.seconds - start_up[name]), 2),
                "results_bytes": None if name == "plain" else bench.results_bytes(count),
            } | done.figures()


def kills(bench: Bench, pictures: Path, undisturbed: float, seed: int) -> Iterator[Row]:
    """Yields a row of a run with ten killed workers, and one with five killed drivers.

    Args:
        bench: of the runs.
        pictures: the archive.
        undisturbed: seconds of a run that nobody kills anything of.
        seed: of the moments.
    """
    moments = random.Random(seed)
    yield _killed_workers(bench, pictures, undisturbed, moments)
    yield _killed_drivers(bench, pictures, undisturbed, moments)


def _killed_workers(
    bench: Bench, pictures: Path, undisturbed: float, moments: random.Random
) -> Row:
    at = sorted(moments.uniform(0.2, 0.9) * undisturbed for _ in range(10))
    begun, killed = time.monotonic(), 0

    def kill_one(process: subprocess.Popen[bytes]) -> None:
        nonlocal killed
        if at and time.monotonic() - begun > at[0]:
            there = bench.workers(process.pid)
            if there:
                at.pop(0)
                os.kill(moments.choice(there), signal.SIGKILL)
                killed += 1

    bench.clear()
    done = bench.again(pictures, kill_one)
    return _of_kills("worker", killed, [done]) | bench.counted(pictures)


def _killed_drivers(
    bench: Bench, pictures: Path, undisturbed: float, moments: random.Random
) -> Row:
    runs = []
    bench.clear()
    for _ in range(5):
        # A run that was killed has less left than a whole one.
        moment, begun = moments.uniform(0.1, 0.5) * undisturbed, time.monotonic()

        def kill(
            process: subprocess.Popen[bytes], moment: float = moment, begun: float = begun
        ) -> None:
            if time.monotonic() - begun > moment:
                process.kill()

        runs.append(bench.again(pictures, kill))
    killed = sum(run.status == -signal.SIGKILL for run in runs)
    runs.append(bench.again(pictures))
    return _of_kills("driver", killed, runs) | bench.counted(pictures)


def _killed_node(bench: Bench, pictures: Path, undisturbed: float, seed: int, last: Node) -> Row:
    """Kills a node that is no head, once it judges and some time has gone."""
    moment, begun = random.Random(seed).uniform(0.2, 0.6) * undisturbed, time.monotonic()
    killed = 0

    def kill(_: subprocess.Popen[bytes]) -> None:
        nonlocal killed
        if not killed and time.monotonic() - begun > moment and last.workers():
            last.kill()
            killed = 1

    bench.clear()
    done = bench.again(pictures, kill)
    return _of_kills("node", killed, [done]) | bench.counted(pictures)


def _of_kills(what: str, killed: int, runs: list[Ran]) -> Row:
    return {
        "row": "archive_kills",
        "killed": what,
        "kills": killed,
        "seconds": round(sum(run.seconds for run in runs), 1),
        "driver_mb": round(max(run.peak_mb for run in runs)),
        "status": runs[-1].status,
    }


def links(bench: Bench, source: Path, work: Path, count: int) -> Iterator[Row]:
    """Yields the driver's memory over many names of a small picture, and what listing takes."""
    pictures = make_links(source, work / f"links-{count}", count, side=64)
    done = bench.on_ray(pictures)
    listing = (bench.results / "_nfbmr" / "listing.jsonl").stat().st_size
    listed = {
        "row": "archive_links",
        "listing_mb": round(listing / 1e6, 1),
        "listing_seconds": bench.listing_seconds(),
    }
    yield listed | done.figures() | bench.counted(pictures)


def on_nodes(
    bench: Bench,
    cluster: Cluster,
    source: Path,
    work: Path,
    counts: list[int],
    side: int,
    seed: int,
) -> Iterator[Row]:
    """Yields rows of a cluster's runs: an archive undisturbed, kills, names, a killed node.

    Args:
        bench: of runs on the cluster.
        cluster: of two nodes at least; the last is killed at the end.
        source: a folder of real pictures.
        work: where archives are made.
        counts: pictures of the archive first, names last.
        side: of the pictures.
        seed: of the moments.
    """
    of_all = {
        "nodes": len(cluster.nodes),
        "networks": len({node.place.ip for node in cluster.nodes}),
    }
    pictures = make_pictures(source, work / f"archive-{counts[0]}", counts[0], side)
    yield {"row": "archive_pictures"} | about(pictures, bench.model)
    done = bench.on_ray(pictures)
    size = {"results_bytes": bench.results_bytes(counts[0])}
    yield {"row": "archive_nodes"} | of_all | done.figures() | size | bench.counted(pictures)
    for row in kills(bench, pictures, done.seconds, seed):
        yield row | of_all
    for row in links(bench, source, work, counts[-1]):
        yield row | of_all
    yield _killed_node(bench, pictures, done.seconds, seed, cluster.nodes[-1]) | of_all


@contextmanager
def cluster_of(nodes: int) -> Iterator[Cluster]:
    """Starts so many nodes with a CPU each, in networks of their own where that works."""
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with networks(nodes) as places, started(1, env | ray_variables(), places[0]) as cluster:
        for place in places[1:]:
            cluster.add(1, place)
        yield cluster


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Yields the rows that the command line asks for."""
    source, side, counts = arguments.pictures, arguments.side, arguments.count
    work: Path = arguments.work
    words = (arguments.model, work / "runs", arguments.runtime)
    if arguments.what == "nodes":
        with cluster_of(arguments.nodes) as cluster:
            bench = Bench(*words, cluster)
            yield from on_nodes(bench, cluster, source, work, counts, side, arguments.seed)
        return
    bench = Bench(*words)
    if arguments.what == "speed":
        yield from speed(bench, source, work, counts, side)
    elif arguments.what == "kills":
        pictures = make_pictures(source, work / f"archive-{counts[0]}", counts[0], side)
        yield from kills(bench, pictures, bench.on_ray(pictures).seconds, arguments.seed)
    else:
        yield from links(bench, source, work, counts[-1])


def main() -> None:
    """Parses the command line, measures, and adds rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "kills", "links", "nodes"))
    parser.add_argument("model", type=Path, help="a model directory")
    parser.add_argument("pictures", type=Path, help="a folder of real pictures")
    parser.add_argument("--count", type=int, nargs="+", default=[2000, 20_000])
    parser.add_argument("--side", type=int, default=512, help="of a made picture, in pixels")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--nodes", type=int, default=3, help="of the cluster of `nodes`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("out/archive"))
    parser.add_argument("-o", "--out", type=Path, help="JSONL that rows are added to")
    arguments = parser.parse_args()
    if arguments.nodes < 2:
        parser.error(f"--nodes {arguments.nodes}: one is killed at the end; expected 2 or more")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # nodes end with us
    for row in measure(arguments):
        say_row(row | {"model": arguments.model.name, "side": arguments.side}, arguments.out)


if __name__ == "__main__":
    main()
