"""What watches over the station: `/healthz`, `/readyz`, `/metrics`, `/v1/models`."""

from __future__ import annotations

from collections.abc import Callable

from starlette.testclient import TestClient

from nfbmr.inspection.inspector import Inspector
from nfbmr.station.station import Station

Encoded = Callable[..., bytes]


def test_ready_while_there_are_database_and_models(client: TestClient, station: Station) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"ready": True, "troubles": [], "notes": []}
    station.store.writer.close()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    troubles = ["nothing is written any more"]
    assert answer.json() == {"ready": False, "troubles": troubles, "notes": []}


def test_metrics_count_what_was_answered(client: TestClient, png: Encoded) -> None:
    for seed in (1, 2):
        client.post("/v1/models/fitted/inspect", content=png(seed, defect=True))
    client.post("/v1/models/fitted/inspect", content=b"no picture")
    text = client.get("/metrics").text
    assert 'nfbmr_inspections_total{model="fitted",verdict="defect"} 2' in text
    assert 'nfbmr_refused_total{why="picture"} 1' in text
    assert 'nfbmr_inspection_seconds_bucket{le="+Inf",model="fitted"} 2' in text
    assert 'nfbmr_inspection_seconds_count{model="fitted"} 2' in text
    assert "nfbmr_pictures_in_work 0" in text


def test_models_say_their_thresholds(client: TestClient, inspector: Inspector) -> None:
    (found,) = client.get("/v1/models").json()["models"]
    calibration = inspector.calibration
    assert (found["name"], found["product"]) == ("fitted", inspector.facts.name)
    assert found["look_threshold"] == calibration.look_threshold
    assert found["false_alarm_rate"] == calibration.false_alarm_rate
    assert found["good_pictures"] == len(calibration.scores)
    assert found["size"] == list(inspector.size)
