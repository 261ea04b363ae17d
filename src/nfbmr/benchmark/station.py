"""What a station stands: `python -m nfbmr.benchmark.station MODEL PICTURES`.

Many clients at once send pictures to `nfbmr serve`, each the next one as soon as it has its
answer, or when it is told to come again. A row says how many verdicts there were, how long a
client waited, what else was answered, how much memory the station held at the start, in the middle
and at the end, and whether every answered verdict is in the record. Before and after it the same
pictures go from their files through the same runtime without a station, for as long in all as a
quarter of the load; the row compares the two rates, and what all cores together compute for a
picture (`cpu_ms`): where the clients run on the same machine, they take their share of the rate.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nfbmr.benchmark.child import do_job, in_child, say_row
from nfbmr.benchmark.served import Client, Served, served
from nfbmr.data.layouts import read_data
from nfbmr.inspection.inspector import load

Row = dict[str, Any]

_PICTURES = 100  # at most, taken in turn
_WARM_UP = 16  # pictures; a runtime compiles for its batches
_EVERY = 0.5  # seconds between two looks at the memory
_END = 0.1  # share of the load that counts as its start, middle or end


@dataclass
class Tally:
    """What clients were answered; each has its own, so that none waits for another."""

    waited: list[float] = field(default_factory=list)
    """Seconds until each verdict."""
    busy: int = 0
    """Answers 503."""
    errors: Counter[str] = field(default_factory=Counter)
    """All others, by what they were."""


def measure(
    model: Path, pictures: Sequence[Path], *, clients: int, seconds: float, options: Sequence[str]
) -> Row:
    """Measures a station under load, and the bare runtime before and after it.

    Args:
        model: a model directory.
        pictures: files, sent in turn.
        clients: that send at once.
        seconds: of load.
        options: words for `nfbmr serve`, its database and folder of pictures among them.

    Returns:
        The row; times in milliseconds, memory in MB.

    Raises:
        RuntimeError: the station did not start, or gave no verdict.
    """
    runtime = options[options.index("--runtime") + 1] if "--runtime" in options else "auto"
    bare = {
        "do": "bare",
        "model": str(model),
        "pictures": [str(path) for path in pictures],
        "seconds": seconds / 8,
        "runtime": runtime,
    }
    before = in_child("nfbmr.benchmark.station", bare).row
    with served(model, *options) as station:
        found = loaded(station, model.name, pictures, clients=clients, seconds=seconds)
    after = in_child("nfbmr.benchmark.station", bare).row
    alone = (before["per_second"] + after["per_second"]) / 2
    cpu = found.pop("cpu_seconds") / found["answered"]
    cpu_alone = (before["cpu_seconds"] + after["cpu_seconds"]) / 2
    return {
        "row": "station load",
        "clients": clients,
        **found,
        "bare_per_second": round(alone, 2),
        "share_of_bare": round(found["per_second"] / alone, 3),
        "cpu_ms": {"station": round(1000 * cpu, 1), "bare": round(1000 * cpu_alone, 1)},
        "size": before["size"],
        "runtime": before["runtime"],
    }


def loaded(
    station: Served, model: str, pictures: Sequence[Path], *, clients: int, seconds: float
) -> Row:
    """Puts a station under load, and counts; arguments as for `measure`."""
    data = [path.read_bytes() for path in pictures]
    first = Client(station.port)
    for number in range(_WARM_UP):
        first.inspect(model, f"warm-up {number}", data[number % len(data)])
    earlier = len(first.record())
    began, spent = time.monotonic(), station.cpu_seconds()
    until = began + seconds
    held: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_EVERY):
            held.append(station.resident_mb())

    looking = threading.Thread(target=look)
    looking.start()
    tallies = [Tally() for _ in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        sending = [
            pool.submit(_send, station.port, model, f"{number}", turn, until, tally)
            for number, tally in enumerate(tallies)
            for turn in [itertools.islice(itertools.cycle(data), number % len(data), None)]
        ]
        for one in sending:
            one.result()
    took, spent = time.monotonic() - began, station.cpu_seconds() - spent
    ended.set()
    looking.join()
    recorded = len(first.record()) - earlier
    first.close()
    return _counted(tallies, took, held, recorded) | {"cpu_seconds": round(spent, 1)}


def _send(
    port: int, model: str, name: str, pictures: Iterator[bytes], until: float, tally: Tally
) -> None:
    """Sends pictures by one connection until the time is over."""
    with closing(Client(port)) as client:
        _send_by(client, model, name, pictures, until, tally)


def _send_by(
    client: Client, model: str, name: str, pictures: Iterator[bytes], until: float, tally: Tally
) -> None:
    for number, picture in enumerate(pictures):
        asked = time.monotonic()
        if asked >= until:
            return
        try:
            answer = client.inspect(model, f"{name}-{number}", picture)
        except (OSError, http.client.HTTPException) as error:
            tally.errors[type(error).__name__] += 1
            continue
        if answer.status == 200:
            tally.waited.append(time.monotonic() - asked)
        elif answer.status == 503:
            tally.busy += 1
            time.sleep(min(answer.retry_after, max(0.0, until - time.monotonic())))
        else:
            tally.errors[str(answer.status)] += 1


def _counted(tallies: Sequence[Tally], took: float, held: Sequence[float], recorded: int) -> Row:
    waited = 1000 * np.array([one for tally in tallies for one in tally.waited])
    if not len(waited) or not held:
        raise RuntimeError("the station gave no verdict; give it more seconds, or see its log")
    window = max(1, round(_END * len(held)))
    middle = (len(held) - window) // 2
    return {
        "seconds": round(took, 1),
        "answered": len(waited),
        "recorded": recorded,
        "busy": sum(tally.busy for tally in tallies),
        "errors": dict(sum((tally.errors for tally in tallies), Counter[str]())),
        "per_second": round(len(waited) / took, 2),
        "milliseconds": {
            "median": round(float(np.median(waited)), 1),
            "percentile_99": round(float(np.percentile(waited, 99)), 1),
            "worst": round(float(waited.max()), 1),
        },
        "resident_mb": {
            "start": round(float(np.median(held[:window])), 1),
            "middle": round(float(np.median(held[middle : middle + window])), 1),
            "end": round(float(np.median(held[-window:])), 1),
            "most": round(max(held), 1),
        },
    }


def bare(model: str, pictures: Sequence[str], seconds: float, runtime: str) -> Row:
    """Measures how many pictures a second go from their files through a runtime.

    `cpu_seconds` is what all cores together compute for one.
    """
    inspector = load(model, runtime=runtime)
    for _ in inspector.inspect_many(list(pictures[:_WARM_UP])):
        pass
    began, spent = time.monotonic(), time.process_time()
    done = sum(1 for _ in inspector.inspect_many(_until(pictures, began + seconds)))
    height, width = inspector.size
    return {
        "per_second": done / (time.monotonic() - began),
        "cpu_seconds": (time.process_time() - spent) / done,
        "size": [height, width],
        "runtime": inspector.runtime.name,
    }


def _until(pictures: Sequence[str], end: float) -> Iterator[str]:
    """Yields pictures in turn until the time is over."""
    for picture in itertools.cycle(pictures):
        if time.monotonic() >= end:
            return
        yield picture


def is_clean(row: Row) -> bool:
    """Tells whether nothing but 503 went wrong, and every answered verdict is in the record."""
    return not row["errors"] and row["recorded"] == row["answered"]


def main() -> None:
    """Parses the command line, measures, and adds a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", help="a model directory")
    parser.add_argument("pictures", type=Path, nargs="?", help="a folder, or a data set")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--good", action="store_true", help="send good parts alone, as on a line")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--database", help="as for nfbmr serve; else a file that is made for this")
    parser.add_argument("-o", "--out", type=Path, help="JSONL that the row is added to")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job is not None:
        do_job(arguments.job, {"bare": bare})
        return
    found = read_data(arguments.pictures)
    samples = [s for s in found.test or found.samples if not (arguments.good and s.is_defect)]
    samples = samples[:: max(1, len(samples) // _PICTURES)]
    defective = sum(sample.is_defect for sample in samples)
    with tempfile.TemporaryDirectory(prefix="nfbmr-station-") as made:
        database = arguments.database or f"sqlite:///{made}/station.db"
        options = ["--database", database, "--pictures", f"{made}/pictures"]
        row = measure(
            arguments.model,
            [sample.path for sample in samples],
            clients=arguments.clients,
            seconds=arguments.seconds,
            options=[*options, "--runtime", arguments.runtime],
        )
    sent = {"good": len(samples) - defective, "defective": defective}
    say_row(row | {"sent": sent, "database": database.partition(":")[0]}, arguments.out)
    sys.exit(not is_clean(row))


if __name__ == "__main__":
    main()
