"""The page *Models* and its API: compared, switched, undone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from nfbmr.station.app import create_app
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]
NAME = "model-copy"


@pytest.fixture
def line(settings: Settings, model_copy: Path) -> Iterator[Station]:
    """A station with a model of which two versions were on the line."""
    with Station(settings(models=(model_copy,))) as station:
        (loaded,) = station.pool.all()
        proposal = station.thresholds.propose(loaded, 0.6, 0.9)
        station.thresholds.save(loaded, proposal, "ann", "stricter")
        yield station


@pytest.fixture
def user(line: Station) -> TestClient:
    """Asks that station as its page does."""
    client = TestClient(create_app(line), base_url="http://127.0.0.1")
    key = re.search(r'data-form-key="(\w+)"', client.get("/inspect").text)
    assert key is not None
    client.headers["X-Form-Key"] = key[1]
    return client


def done(line: Station) -> None:
    assert line.jobs._running is not None
    line.jobs._running[1].join(60)


def test_a_version_is_compared_put_on_the_line_and_taken_back(
    user: TestClient, line: Station, png: Encoded
) -> None:
    for seed in range(100, 110):
        user.post(f"/v1/models/{NAME}/inspect?part_id=X-{seed}", content=png(seed))
    page = user.get("/models").text
    assert "stricter" in page
    assert page.count(">Compare</button>") == 1
    assert "Put this version on the line" not in page
    new, old = line.line.history(NAME)
    form = {"model": NAME, "bundle": old.bundle, "calibration": old.calibration}
    assert user.post("/models/comparison", data=form).status_code == 200
    done(line)
    found = user.get(f"/models/comparison?model={NAME}").text
    assert "Put this version on the line" in found
    (differing,) = re.findall(r"<strong>(\d+)</strong>of the last 10 parts", found)
    assert int(differing) == found.count('class="pair"') > 0
    assert "part X-10" in found
    shown = f"{new.bundle}.{new.calibration}"
    late = form | {"shown": f"{old.bundle}.{old.calibration}", "reason": "as before"}
    assert user.post("/models/version", data=late).status_code == 409
    assert user.post("/models/version", data=late | {"reason": ""}).status_code == 422
    switched = user.post("/models/version", data=late | {"shown": shown})
    assert switched.status_code == 200
    assert "as before" in switched.text
    assert line.pool.all()[0].calibration == old.calibration
    undo = {"model": NAME, "shown": f"{old.bundle}.{old.calibration}"}
    assert "Undo the last switch" in user.get("/models").text
    assert user.post("/models/version/undo", data=undo).status_code == 200
    assert line.pool.all()[0].calibration == new.calibration
    assert user.get("/models?model=other").status_code == 404


def test_the_api_does_the_same(user: TestClient, line: Station, png: Encoded) -> None:
    user.post(f"/v1/models/{NAME}/inspect", content=png(1))
    assert user.get(f"/v1/models/{NAME}/comparison").status_code == 404
    new, old = user.get(f"/v1/models/{NAME}/versions").json()["versions"]
    assert (new["until"], old["until"]) == (None, new["since"])
    named = {"bundle": old["bundle"], "calibration": old["calibration"]}
    assert user.post(f"/v1/models/{NAME}/comparison", json=named | {"last": 5}).status_code == 200
    done(line)
    found = user.get(f"/v1/models/{NAME}/comparison").json()
    assert (found["runs"], found["tried"], found["trouble"]) == (False, 1, None)
    assert found["other"] == named
    switched = user.post(f"/v1/models/{NAME}/version", json=named | {"reason": "as before"})
    assert switched.json() == named
    assert user.post(f"/v1/models/{NAME}/version/undo").json() == {
        "bundle": new["bundle"],
        "calibration": new["calibration"],
    }
    assert user.post(f"/v1/models/{NAME}/version/undo").status_code == 200
    unknown = {"bundle": "0" * 64, "calibration": "0" * 64}
    assert user.post(f"/v1/models/{NAME}/comparison", json=unknown).status_code == 409
    assert user.post(f"/v1/models/{NAME}/comparison", json={}).status_code == 422


def test_a_station_without_models_says_so(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with Station(settings(models=(), folder=tmp_path / "models")) as station:
        client = TestClient(create_app(station), base_url="http://127.0.0.1")
        assert "No model is on the line" in client.get("/models").text
