"""How late the verdicts of a live stream are: `python -m nfbmr.benchmark.live MODEL PICTURES`.

A camera takes a picture every 1 / rate seconds, whatever the program does. Each is handed over as
the bytes of its file as soon as the program takes it, and its latency is the time from the moment
it was taken until its verdict is there: waiting until it was asked for, decoding and the pictures
before it included. A row says the median, the 95th percentile and the worst.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nfbmr.benchmark.child import say_row
from nfbmr.data.layouts import read_data
from nfbmr.inspection.inspector import Inspector, load

Row = dict[str, Any]

_WARM_UP = 20  # pictures; a runtime compiles for its batches


@dataclass
class Camera:
    """Gives pictures at a steady rate; what is asked for too late is the older for it."""

    pictures: Sequence[bytes]
    rate: float
    """Pictures a second."""
    count: int
    taken: list[float] = field(default_factory=list)
    """When each was, in seconds of `time.perf_counter`."""

    def __iter__(self) -> Iterator[bytes]:
        """Yields the pictures in turn, none before its time."""
        started = time.perf_counter()
        for number, picture in zip(range(self.count), itertools.cycle(self.pictures), strict=False):
            self.taken.append(started + number / self.rate)
            time.sleep(max(0.0, self.taken[-1] - time.perf_counter()))
            yield picture


def measure(inspector: Inspector, pictures: Sequence[bytes], *, rate: float, seconds: float) -> Row:
    """Inspects a live stream.

    Args:
        inspector: any model.
        pictures: files' bytes, taken in turn.
        rate: pictures a second.
        seconds: that the stream lasts.

    Returns:
        The row; latencies in milliseconds.
    """
    count = max(1, round(rate * seconds))
    for _ in inspector.inspect_many(list(pictures[:_WARM_UP])):
        pass
    camera = Camera(pictures, rate, count)
    there = [time.perf_counter() for _ in inspector.inspect_many(iter(camera))]
    waited = 1000 * (np.array(there) - np.array(camera.taken))
    height, width = inspector.size
    return {
        "row": "live",
        "rate": rate,
        "pictures": len(waited),
        "size": [height, width],
        "runtime": inspector.runtime.name,
        "milliseconds": {
            "median": round(float(np.median(waited)), 1),
            "percentile_95": round(float(np.percentile(waited, 95)), 1),
            "worst": round(float(waited.max()), 1),
        },
    }


def main() -> None:
    """Parses the command line, measures, and adds a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model directory")
    parser.add_argument("pictures", type=Path, help="a folder or a data set; its test pictures")
    parser.add_argument("--rate", type=float, default=30.0, help="pictures a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("-o", "--out", type=Path, help="JSONL that the row is added to")
    arguments = parser.parse_args()
    inspector = load(arguments.model, runtime=arguments.runtime, threads=arguments.threads)
    found = read_data(arguments.pictures)
    paths = [sample.path for sample in found.test or found.samples]
    pictures = [path.read_bytes() for path in paths[:: max(1, len(paths) // 100)]]
    row = measure(inspector, pictures, rate=arguments.rate, seconds=arguments.seconds)
    say_row(row | {"preset": inspector.settings.preset}, arguments.out)


if __name__ == "__main__":
    main()
