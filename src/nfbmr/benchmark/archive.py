"""What judging an archive on Ray costs: `python -m nfbmr.benchmark.archive WHAT MODEL PICTURES`.

Each run is the command itself, in a process of its own, on a cluster of this machine that it
starts. `speed`: an archive made of real pictures by crops and light, by the plain command, by one
worker and by two, with the driver's peak memory; what a run of a few pictures takes is its
start-up. `kills`: workers, then the driver, killed at random moments, and every picture counted in
the results. `links`: many names of few small files, for what listing and results hold.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nfbmr.benchmark.child import say_row
from nfbmr.data.folders import list_pictures
from nfbmr.data.images import read_image

Row = dict[str, Any]
Watch = Callable[[subprocess.Popen[bytes]], object]

_FEW = 32  # pictures of a run that is all start-up
_LOOK = 0.05  # seconds between two looks at a process
_SMALLEST = 0.85  # of a side that a crop keeps
_LIGHT = 0.1  # more or less, at most
_OF_A_FOLDER = 1000  # files
_QUALITY = 92


def make_pictures(source: Path, out: Path, count: int, side: int) -> Path:
    """Writes `count` JPEGs, cut from real pictures, each in a light of its own.

    Args:
        source: a folder of pictures.
        out: where they go, in folders; what is there already stays.
        count: of them.
        side: the longer one, in pixels.
    """
    originals = [Image.fromarray(read_image(path)) for path in list_pictures(source, deep=True)[0]]
    for number in range(count):
        file = out / f"{number // _OF_A_FOLDER:04d}" / f"{number:07d}.jpg"
        if file.exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        image = originals[number % len(originals)]
        width, height = (round(s * rng.uniform(_SMALLEST, 1)) for s in image.size)
        left, top = (
            int(rng.integers(0, whole - part + 1))
            for whole, part in zip(image.size, (width, height), strict=True)
        )
        cut = image.crop((left, top, left + width, top + height))
        cut.thumbnail((side, side))
        light = 1 + rng.uniform(-_LIGHT, _LIGHT)
        values = np.clip(np.asarray(cut, np.float32) * light, 0, 255).astype(np.uint8)
        Image.fromarray(values).save(file, quality=_QUALITY)
    return out


def make_links(source: Path, out: Path, count: int, side: int) -> Path:
    """Writes `count` names of one small JPEG a folder, by hard links."""
    for first in range(0, count, _OF_A_FOLDER):
        folder = make_pictures(source, out / f"{first:09d}", 1, side) / "0000"
        one = folder / "0000000.jpg"
        for number in range(1, min(_OF_A_FOLDER, count - first)):
            link = folder / f"{number:07d}.jpg"
            if not link.exists():
                os.link(one, link)
    return out


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command's end."""

    seconds: float
    peak_mb: float
    """Of the driver's own memory."""
    status: int


def run(words: list[str], watch: Watch = lambda _: None) -> Ran:
    """Runs `nfbmr inspect` with these words.

    Args:
        words: behind the command's name.
        watch: is called every few milliseconds, and may kill what it likes.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "nfbmr", "inspect", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peak = 0.0
    try:
        while process.poll() is None:
            peak = max(peak, _peak_mb(process.pid))
            watch(process)
            time.sleep(_LOOK)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return Ran(seconds=time.monotonic() - started, peak_mb=peak, status=process.returncode)


def workers_of(driver: int) -> list[int]:
    """Returns the process ids of the workers that judge for a driver's own cluster."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text, words = (entry / "stat").read_text(), (entry / "cmdline").read_bytes()
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
            names[int(entry.name)] = words
    return [
        pid
        for pid, words in names.items()
        if words.startswith(b"ray::Scorer") and parents.get(parents[pid]) == driver
    ]


class Bench:
    """Runs of one model over one archive, in a folder of their own."""

    def __init__(self, model: Path, out: Path, runtime: str) -> None:
        """Names them; the folder is made anew."""
        self._model, self._out, self._runtime = model, out, runtime
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)

    def plain(self, pictures: Path) -> Ran:
        """Judges by the plain command."""
        rows = str(self._out / "plain.parquet")
        done = run([*self._words(pictures), "-o", rows])
        assert done.status == 0, f"nfbmr inspect ended with {done.status}"
        return done

    def on_ray(self, pictures: Path, workers: int, watch: Watch = lambda _: None) -> Ran:
        """Judges on Ray into an empty folder."""
        shutil.rmtree(self.results, ignore_errors=True)
        return self.again(pictures, workers, watch)

    def again(self, pictures: Path, workers: int, watch: Watch = lambda _: None) -> Ran:
        """Goes on with what was begun."""
        where = ["-o", str(self.results), "--engine", "ray", "--workers", str(workers)]
        return run([*self._words(pictures), *where], watch)

    @property
    def results(self) -> Path:
        """The folder of a run's results."""
        return self._out / "results"

    def counted(self, pictures: Path) -> Row:
        """Compares the results with the archive: how many lack a row, or have several."""
        from pyarrow import parquet

        there = {str(path.absolute()) for path in list_pictures(pictures, deep=True)[0]}
        rows = Counter(parquet.read_table(self.results, columns=["path"]).column(0).to_pylist())
        return {
            "pictures": len(there),
            "missing": len(there - set(rows)),
            "twice": sum(number > 1 for number in rows.values()),
            "unknown": len(set(rows) - there),
        }

    def _words(self, pictures: Path) -> list[str]:
        return [str(self._model), str(pictures), "--runtime", self._runtime]


def speed(bench: Bench, source: Path, work: Path, counts: list[int], side: int) -> Iterator[Row]:
    """Yields a row for the plain command and for one worker and two, at each count."""
    few = make_pictures(source, work / "few", _FEW, side)
    ways: dict[str, Callable[[Path], Ran]] = {
        "plain": bench.plain,
        "1 worker": lambda pictures: bench.on_ray(pictures, 1),
        "2 workers": lambda pictures: bench.on_ray(pictures, 2),
    }
    start_up = {name: way(few).seconds for name, way in ways.items()}
    for count in counts:
        pictures = make_pictures(source, work / f"archive-{count}", count, side)
        for name, way in ways.items():
            done = way(pictures)
            yield {
                "row": "archive",
                "way": name,
                "pictures": count,
                "seconds": round(done.seconds, 1),
                "start_up": round(start_up[name], 1),
                "a_second": round((count - _FEW) / (done.seconds - start_up[name]), 2),
                "driver_mb": round(done.peak_mb),
            }


def kills(
    bench: Bench, source: Path, work: Path, count: int, side: int, seed: int
) -> Iterator[Row]:
    """Yields a row of a run with ten killed workers, and one with five killed drivers."""
    pictures = make_pictures(source, work / f"archive-{count}", count, side)
    undisturbed = bench.on_ray(pictures, 2).seconds
    moments = random.Random(seed)
    at = sorted(moments.uniform(0.2, 0.9) * undisturbed for _ in range(10))
    started, killed = time.monotonic(), 0

    def kill_one(process: subprocess.Popen[bytes]) -> None:
        nonlocal killed
        if at and time.monotonic() - started > at[0]:
            there = workers_of(process.pid)
            if there:
                at.pop(0)
                os.kill(moments.choice(there), signal.SIGKILL)
                killed += 1

    bench.on_ray(pictures, 2, kill_one)
    yield {"row": "archive_kills", "killed": "worker", "kills": killed} | bench.counted(pictures)
    shutil.rmtree(bench.results)
    killed = 0
    for _ in range(5):
        # A run that was killed has less left than a whole one.
        moment, begun = moments.uniform(0.1, 0.5) * undisturbed, time.monotonic()

        def kill(
            process: subprocess.Popen[bytes], moment: float = moment, begun: float = begun
        ) -> None:
            if time.monotonic() - begun > moment:
                process.kill()

        killed += bench.again(pictures, 2, kill).status == -signal.SIGKILL
    bench.again(pictures, 2)
    yield {"row": "archive_kills", "killed": "driver", "kills": killed} | bench.counted(pictures)


def links(bench: Bench, source: Path, work: Path, count: int) -> Iterator[Row]:
    """Yields the driver's memory over many names of a small picture."""
    pictures = make_links(source, work / f"links-{count}", count, side=64)
    done = bench.on_ray(pictures, 2)
    listing = (bench.results / "_nfbmr" / "listing.jsonl").stat().st_size
    yield {
        "row": "archive_links",
        "seconds": round(done.seconds, 1),
        "driver_mb": round(done.peak_mb),
        "listing_mb": round(listing / 1e6, 1),
    } | bench.counted(pictures)


def _peak_mb(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    lines = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0]) / 1024 if lines else 0.0


def main() -> None:
    """Parses the command line, measures, and adds rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "kills", "links"))
    parser.add_argument("model", type=Path, help="a model directory")
    parser.add_argument("pictures", type=Path, help="a folder of real pictures")
    parser.add_argument("--count", type=int, nargs="+", default=[2000, 20_000])
    parser.add_argument("--side", type=int, default=512, help="of a made picture, in pixels")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("out/archive"))
    parser.add_argument("-o", "--out", type=Path, help="JSONL that rows are added to")
    arguments = parser.parse_args()
    work: Path = arguments.work
    bench = Bench(arguments.model, work / "runs", arguments.runtime)
    if arguments.what == "speed":
        rows = speed(bench, arguments.pictures, work, arguments.count, arguments.side)
    elif arguments.what == "kills":
        count = arguments.count[0]
        rows = kills(bench, arguments.pictures, work, count, arguments.side, arguments.seed)
    else:
        rows = links(bench, arguments.pictures, work, arguments.count[-1])
    for row in rows:
        say_row(row | {"model": arguments.model.name, "side": arguments.side}, arguments.out)


if __name__ == "__main__":
    main()
