"""`/v1/sources` and the lights of *Line*: what lives, a pause with its event, a test."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from nfbmr.station.app import create_app
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import queries

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]

NAME = "watch-fitted"


@pytest.fixture
def station(settings: Settings, tmp_path: Path) -> Iterator[Station]:
    """One that watches a folder, and pauses, so that tests say when it looks."""
    (tmp_path / "hot").mkdir()
    with Station(settings(watch=(f"fitted={tmp_path / 'hot'}",))) as opened:
        opened.sources.get(NAME).pause(True, "station")
        yield opened


def test_a_source_pauses_and_goes_on_by_whoever_says_so(
    client: TestClient, station: Station
) -> None:
    shown, _ = client.get("/v1/sources").json()["sources"]
    assert (shown["name"], shown["model"], shown["paused"]) == (NAME, "fitted", True)
    assert (shown["alive"], shown["last_inspection"]) == (False, None)
    answer = client.post(f"/v1/sources/{NAME}/resume?reason=clean")
    assert (answer.json()["paused"], answer.json()["alive"]) == (False, True)
    assert client.post(f"/v1/sources/{NAME}/pause").json()["paused"]
    newest, before = client.get("/v1/events").json()["events"][:2]
    assert (before["kind"], before["reason"], before["actor"]) == ("source", "clean", "local")
    assert (newest["old"], newest["new"]) == ({"paused": False}, {"paused": True})
    assert 'nfbmr_source_paused{source="watch-fitted"} 1' in client.get("/metrics").text
    answer = client.post("/v1/sources/other/pause")
    assert answer.status_code == 404
    assert answer.json()["detail"] == f"no such source; there: {NAME}, rest"


def test_a_test_takes_a_picture_and_records_nothing(
    client: TestClient, station: Station, png: Encoded, tmp_path: Path
) -> None:
    answer = client.post(f"/v1/sources/{NAME}/test")
    assert answer.status_code == 503
    assert "no picture to test with" in answer.json()["detail"]
    (tmp_path / "hot" / "A-1.png").write_bytes(png(1, defect=True))
    found = client.post(f"/v1/sources/{NAME}/test").json()
    assert (found["verdict"], found["part_id"], found["source"]) == ("defect", "A-1", NAME)
    assert station.store.read(queries.newest) == 0
    assert list(station.pictures.folder.rglob("*.png")) == []
    (tmp_path / "hot" / "A-1.png").write_bytes(b"no picture")
    assert client.post(f"/v1/sources/{NAME}/test").status_code == 422


def test_the_page_has_a_light_a_test_and_a_pause(
    client: TestClient, station: Station, png: Encoded, tmp_path: Path
) -> None:
    (tmp_path / "hot" / "A-1.png").write_bytes(png(1, defect=True))
    text = client.get("/").text
    assert re.search(r'class="light on">REST</span>\s*<small>lives, no part yet', text)
    assert re.search(rf'class="light paused">{NAME}</span>\s*<small>paused, no part yet', text)
    key = {"X-Form-Key": re.findall(r'data-form-key="(\w+)"', text)[0]}
    tried = client.post(f"/line/sources/{NAME}/test", headers=key).text
    assert "Not in the record" in tried
    assert "Defect</span>" in tried
    (address,) = re.findall(r'<img src="([^"]+)"', tried)
    shown = client.get(address)
    assert Image.open(io.BytesIO(shown.content)).size == (80, 80)
    assert client.get(re.sub("of=.*", f"of={'0' * 12}", address)).status_code == 404
    text = client.post(f"/line/sources/{NAME}/resume", headers=key).text
    assert re.search(rf'class="light on">{NAME}</span>\s*<small>lives', text)
    assert f'Pause<span class="unseen"> {NAME}' in text
    text = client.post(f"/line/sources/{NAME}/pause", headers=key).text
    assert "Go on" in text
    assert client.post(f"/line/sources/{NAME}/pause").status_code == 403, "without the form's key"
    assert client.get("/line/lights").text.count("<li") == 2


def test_outputs_are_told_of_and_have_a_light(settings: Settings, client: TestClient) -> None:
    assert client.get("/v1/outputs").json() == {"outputs": []}
    with Station(settings(webhook="http://u:secret@127.0.0.1:9/x")) as station:
        asks = TestClient(create_app(station), base_url="http://127.0.0.1")
        (shown,) = asks.get("/v1/outputs").json()["outputs"]
        assert (shown["name"], shown["waiting"], shown["tells"]) == ("webhook", 0, "defect")
        assert shown["address"] == "http://127.0.0.1:9/..."
        text = asks.get("/").text
        assert re.search(r"to webhook</span>\s*<small>0 wait, nothing delivered yet", text)
        assert "secret" not in text
