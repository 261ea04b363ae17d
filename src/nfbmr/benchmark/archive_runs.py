"""Archives that are made for a measurement, and the command that judges them, watched.

Each run is the command itself in a process of its own, on a cluster that it starts on this machine
or on one that runs there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nfbmr.benchmark.ray_nodes import Cluster, workers_under
from nfbmr.data.folders import list_pictures
from nfbmr.data.images import read_image
from nfbmr.inspection.decoding import decode
from nfbmr.model.bundle import read_bundle

Row = dict[str, Any]
Watch = Callable[["subprocess.Popen[bytes]"], object]

_LOOK = 0.05  # seconds between two looks at a process
_SMALLEST = 0.85  # of a side that a crop keeps
_LIGHT = 0.1  # more or less, at most
_OF_A_FOLDER = 1000  # files
_OF_A_FILE = 1000  # names; no file system knows fewer
_QUALITY = 92
_DECODED = 200  # pictures whose decoding is timed


def make_pictures(source: Path, out: Path, count: int, side: int) -> Path:
    """Writes `count` JPEGs, cut from real pictures, each in a light of its own.

    Args:
        source: a folder of pictures.
        out: where they go, in folders; what is there already stays.
        count: of them.
        side: the longer one, in pixels.
    """
    paths = list_pictures(source, deep=True)[0][:count]
    originals = [Image.fromarray(read_image(path)) for path in paths]
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
    """Writes `count` names of few small JPEGs into one folder, by hard links.

    One folder is the worst case of a listing: its names are sorted, so they are held at once.
    """
    files = make_pictures(source, out / "made", -(-count // _OF_A_FILE), side)
    made = list_pictures(files, deep=True)[0]
    folder = out / "names"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        link = folder / f"{number:07d}.jpg"
        if not link.exists():
            os.link(made[number // _OF_A_FILE], link)
    return folder


def about(pictures: Path, model: Path) -> Row:
    """Returns what a picture of an archive is: bytes of its file, and its decoding for a model."""
    paths = list_pictures(pictures, deep=True)[0]
    bundle, times = read_bundle(model, tensors=False, unopened=False), []
    for path in paths[:_DECODED]:
        data = path.read_bytes()
        started = time.perf_counter()
        decode(data, bundle)
        times.append(time.perf_counter() - started)
    return {
        "pictures": len(paths),
        "picture_bytes": round(sum(path.stat().st_size for path in paths) / len(paths)),
        "decode_ms": round(1000 * float(np.median(times)), 2),
    }


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command's end."""

    seconds: float
    peak_mb: float
    """Of the driver's own memory."""
    status: int

    def figures(self) -> Row:
        """Returns what a row says of it."""
        return {
            "seconds": round(self.seconds, 1),
            "driver_mb": round(self.peak_mb),
            "status": self.status,
        }


class Bench:
    """Runs of one model over one archive, in a folder of their own."""

    def __init__(
        self, model: Path, out: Path, runtime: str, cluster: Cluster | None = None
    ) -> None:
        """Names them; the folder is made anew.

        Args:
            model: a model directory.
            out: the folder.
            runtime: as for `load`.
            cluster: that runs here; None: each run starts one.
        """
        self.model, self._out, self._runtime, self._cluster = model, out, runtime, cluster
        self._runs = 0
        self._workers = 2 if cluster is None else len(cluster.nodes)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)

    def plain(self, pictures: Path) -> Ran:
        """Judges by the plain command."""
        return self._whole(self._run(pictures, ["-o", str(self._out / "plain.parquet")]))

    def on_ray(self, pictures: Path, workers: int | None = None, *, one_core: bool = False) -> Ran:
        """Judges on Ray into an empty folder, undisturbed; all of it on one core where asked."""
        self.clear()
        return self._whole(self.again(pictures, workers=workers, one_core=one_core))

    def again(
        self,
        pictures: Path,
        watch: Watch = lambda _: None,
        workers: int | None = None,
        *,
        one_core: bool = False,
    ) -> Ran:
        """Judges on Ray what is not judged yet.

        Args:
            pictures: the archive.
            watch: hears of the driver every few milliseconds, and may kill what it likes.
            workers: how many; None: two, or one for each node of the cluster.
            one_core: whether a cluster that the run starts has one core, as one worker counts on.
        """
        words = ["-o", str(self.results), "--engine", "ray"]
        words += ["--workers", str(workers or self._workers)]
        if self._cluster is not None:
            words += ["--address", self._cluster.address]
        return self._run(pictures, words, watch, ("taskset", "-c", "0") if one_core else ())

    def clear(self) -> None:
        """Throws the results away."""
        shutil.rmtree(self.results, ignore_errors=True)

    def workers(self, driver: int) -> list[int]:
        """Returns the process ids of the workers that judge for a driver."""
        return workers_under(driver) if self._cluster is None else self._cluster.workers()

    @property
    def results(self) -> Path:
        """The folder of a run's results."""
        return self._out / "results"

    def results_bytes(self, pictures: int) -> int:
        """Returns how many bytes of the results a picture has; the listing is not of them."""
        found = sum(file.stat().st_size for file in self.results.glob("part-*.parquet"))
        return round(found / pictures)

    def listing_seconds(self) -> float:
        """Returns how long the last run took to list its archive, beside which nothing is done."""
        own = self.results / "_nfbmr"
        begun, ended = ((own / name).stat().st_mtime_ns for name in ("lock", "run.json"))
        return round((ended - begun) / 1e9, 3)

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

    def _run(
        self,
        pictures: Path,
        words: list[str],
        watch: Watch = lambda _: None,
        before: tuple[str, ...] = (),
    ) -> Ran:
        if self._cluster is not None:
            before = self._cluster.nodes[0].place.before
        nfbmr = [*before, sys.executable, "-m", "nfbmr", "inspect", str(self.model), str(pictures)]
        self._runs += 1
        with self._log.open("wb") as said:
            return _watched(
                subprocess.Popen(
                    [*nfbmr, "--runtime", self._runtime, *words],
                    env=None if self._cluster is None else self._cluster.env,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                ),
                watch,
            )

    def _whole(self, done: Ran) -> Ran:
        if done.status:
            raise RuntimeError(f"nfbmr inspect: {self._log.read_text('utf-8')[-2000:]}")
        return done

    @property
    def _log(self) -> Path:
        return self._out / f"run-{self._runs}.log"


def _watched(process: subprocess.Popen[bytes], watch: Watch) -> Ran:
    """Runs a process to its end; `watch` is called every few milliseconds."""
    started, peak = time.monotonic(), 0.0
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


def _peak_mb(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    lines = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0]) / 1024 if lines else 0.0
