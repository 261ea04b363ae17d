"""The page *Drift*: its charts, however long the watch."""

from __future__ import annotations

import tracemalloc
from array import array

import numpy as np
from starlette.testclient import TestClient

from nfbmr.station.pages.charts import WIDTH, lines
from nfbmr.station.station import Station

PARTS = 1_000_000


def test_of_neighbouring_parts_the_highest_is_drawn() -> None:
    numbers = np.arange(1, 1001, dtype=np.int32)
    values = np.random.default_rng(0).random(1000)
    drawn = lines({"": (numbers, values)}, (0, 1), 1000)
    highest: dict[int, int] = {}
    for number in numbers.tolist():
        place = number // 3  # 1000 parts, 400 points at most
        if place not in highest or values[number - 1] > values[highest[place] - 1]:
            highest[place] = number
    found = [float(point.split(",")[0]) for point in drawn.paths[""].split(" ")]
    assert found == [float(f"{WIDTH * number / 1000:.1f}") for number in highest.values()]
    assert lines({"": (numbers[:0], values[:0])}, (0, 1), 0).paths == {"": ""}


def test_a_long_watch_takes_no_more_than_its_numbers(client: TestClient, station: Station) -> None:
    client.get("/drift")
    (loaded,) = station.pool.all()
    monitor = station.drift.of(loaded).monitor
    monitor.parts = PARTS
    monitor.trail = array("f", np.linspace(0, 0.9, PARTS, dtype=np.float32))
    tracemalloc.start()
    answer = client.get("/drift")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 200
    assert peak < 30 * PARTS  # bytes: some copies of four each, no pair of objects
