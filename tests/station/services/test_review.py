"""What follows from what people say: figures with intervals, and the table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from scipy.stats import binomtest
from starlette.testclient import TestClient

from nfbmr.station.services.export import CSV_COLUMNS, to_csv
from nfbmr.station.services.review import Share, figures
from nfbmr.station.station import Station
from nfbmr.station.store.queries import Filter

Encoded = Callable[..., bytes]

INSPECT = "/v1/models/fitted/inspect"


@pytest.mark.parametrize(("hits", "of"), [(0, 5), (5, 5), (3, 10), (1, 200)])
def test_a_share_has_its_exact_interval(hits: int, of: int) -> None:
    expected = binomtest(hits, of).proportion_ci(0.95, "exact")
    assert Share(hits=hits, of=of).interval == pytest.approx((expected.low, expected.high))
    assert Share(hits=hits, of=of).value == hits / of
    assert Share(hits=0, of=0).value is None


def test_figures_are_those_of_reviewed_parts(
    client: TestClient, station: Station, png: Encoded
) -> None:
    said = [(True, "defect"), (True, "defect"), (True, "good"), (False, "good"), (False, None)]
    for number, (defect, label) in enumerate(said, 1):
        client.post(f"{INSPECT}?part_id==P{number}", content=png(100 + number, defect=defect))
        if label:
            client.post(f"/v1/inspections/{number}/feedback", json={"label": label})
    verdicts = [row["verdict"] for row in client.get("/v1/inspections").json()["inspections"]]
    assert verdicts[2:] == ["defect"] * 3
    found = figures(station.store, Filter())
    assert (found.precision.hits, found.precision.of) == (2, 3)
    assert (found.recall.hits, found.recall.of) == (2, 2)
    alarms = 1 + (verdicts[1] == "defect")
    assert (found.false_alarms.hits, found.false_alarms.of) == (alarms, 2)
    assert found.reviewed == 4
    table = "".join(to_csv(station.store, Filter(label="any")))
    rows = list(csv.DictReader(io.StringIO(table)))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["id"] for row in rows] == ["4", "3", "2", "1"]
    assert rows[0]["part_id"] == "'=P4", "no spreadsheet takes it for a formula"
