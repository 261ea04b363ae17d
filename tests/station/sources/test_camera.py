"""Cameras as sources, without hardware: what OpenCV would give, and what it would not."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.data.images import read_image
from nfbmr.errors import DataError, MissingExtraError, SettingsError
from nfbmr.station.services.judge import Given, HinderedError, Judge
from nfbmr.station.settings import StationSettings
from nfbmr.station.sources import source as module
from nfbmr.station.sources.camera import Camera, camera_of
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter, Recorded

Settings = Callable[..., StationSettings]
Draw = Callable[..., NDArray[np.uint8]]
Until = Callable[[Callable[[], object]], None]

NAME = "camera-fitted"


class Device:
    """Cameras that are open show `shown` again and again until `broken`."""

    def __init__(self, shown: NDArray[np.uint8]) -> None:
        self.shown = np.ascontiguousarray(shown[..., ::-1])  # as OpenCV orders colours
        self.broken = self.hangs = False
        self.open = self.most_open = self.opened = self.decoded = 0
        self.let_go = threading.Event()

    def capture(self, address: object) -> Any:
        device = self
        device.opened += 1
        device.open += 1
        device.most_open = max(device.most_open, device.open)

        class Capture:
            def isOpened(self) -> bool:  # noqa: N802, as OpenCV calls it
                return not device.broken

            def grab(self) -> bool:
                if device.hangs:
                    device.let_go.wait(60)
                threading.Event().wait(0.001)
                return not device.broken

            def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
                device.decoded += 1
                return True, device.shown

            def release(self) -> None:
                device.open -= 1

        return Capture()


@pytest.fixture
def device(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> Device:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    found = Device(draw(3, defect=True))
    monkeypatch.setattr(cv2, "VideoCapture", found.capture)
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    return found


def rows(station: Station) -> list[Recorded]:
    return station.store.read(queries.page, Filter(source=NAME), limit=1000)


def test_its_pictures_are_judged_and_kept_without_loss(
    settings: Settings, device: Device, draw: Draw, until: Until
) -> None:
    with Station(settings(camera=("fitted=0",), camera_every=0.0)) as station:
        until(lambda: len(rows(station)) >= 3)
        row = rows(station)[-1]
        assert row.file is not None
        kept = station.pictures.read(row.file)
        assert station.sources.states()[0].address == "camera 0"
    assert kept is not None
    np.testing.assert_array_equal(read_image(kept), draw(3, defect=True))
    assert row.verdict == "defect"
    assert device.open == 0, "it is let go at the end"


def test_only_what_is_wanted_is_decoded(settings: Settings, device: Device, until: Until) -> None:
    with Station(settings(camera=("fitted=0",), camera_every=3600.0)) as station:
        until(lambda: rows(station))
        assert len(rows(station)) == 1
    assert device.decoded <= 2


def test_a_camera_that_stops_is_shown_and_tried_until_it_is_back(
    settings: Settings, device: Device, until: Until
) -> None:
    with Station(settings(camera=("fitted=rtsp://me:secret@cam/1",), camera_every=0.0)) as station:
        until(lambda: rows(station))
        device.broken = True
        until(lambda: station.sources.states()[0].failing)
        fares, _ = station.sources.states()
        assert "rtsp://cam/..." in fares.error
        assert "secret" not in fares.error + fares.address
        before = len(rows(station))
        opened = device.opened
        until(lambda: device.opened > opened + 2)
        device.broken = False
        until(lambda: len(rows(station)) > before)
        until(lambda: station.sources.states()[0].alive)


def test_a_camera_that_waits_for_its_next_picture_lives_and_is_missed_at_once(
    settings: Settings, device: Device, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Station(settings(camera=("fitted=0",), camera_every=3600.0)) as station:
        until(lambda: rows(station))
        monkeypatch.setattr("nfbmr.station.sources.source._SILENT_SECONDS", 0.5)
        heard = time.monotonic() + 1.0
        until(lambda: time.monotonic() > heard)
        assert station.sources.states()[0].alive
        device.broken = True
        until(lambda: station.sources.states()[0].failing)
        assert "camera 0" in station.sources.states()[0].error


def test_a_test_shares_the_open_camera_and_opens_one_that_pauses(
    settings: Settings, device: Device, until: Until
) -> None:
    with Station(settings(camera=("fitted=0",), camera_every=3600.0)) as station:
        until(lambda: rows(station))
        source = station.sources.get(NAME)
        picture, found, _ = asyncio.run(source.test("ann"))
        assert (found.verdict, found.source) == ("defect", NAME)
        assert read_image(picture.data).shape == (80, 80, 3)
        source.pause(True, "ann")
        until(lambda: device.open == 0)
        asyncio.run(source.test("ann"))
        assert device.open == 0
        assert len(rows(station)) == 1, "tests are in no record"
        kept = list(station.pictures.folder.rglob("*.png"))
        assert len(kept) == 1
    assert device.most_open == 1


def test_one_that_hangs_holds_up_nobody(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfbmr.station.sources.camera._SECONDS", 0.05)
    monkeypatch.setattr("nfbmr.station.sources.camera._END_SECONDS", 0.05)
    device.hangs = True
    camera = Camera(0, 1.0)
    with pytest.raises(DataError, match=r"camera 0: no picture within 0\.05 s"):
        camera.picture()
    with pytest.raises(DataError, match="does not answer, nor let go"):
        camera.picture()
    device.hangs = False
    device.let_go.set()
    assert camera._grabber is not None
    camera._grabber._thread.join(60)
    assert camera.picture().data


def failing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[str], bool]) -> list[str]:
    """Has pictures get no verdict; returns the names of those that were tried."""
    tried: list[str] = []
    verdict: Callable[..., Any] = Judge._verdict

    async def judged(judge: Judge, given: Given, judging: Any) -> Any:
        found = await verdict(judge, given, judging)
        tried.append(given.name)
        if fails(given.name):
            judge.passed[given.model] -= 1
            raise HinderedError("the network failed", 1.0)
        return found

    monkeypatch.setattr(Judge, "_verdict", judged)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.05)
    return tried


def test_one_picture_that_gets_no_verdict_stops_no_camera_and_is_refused(
    settings: Settings, device: Device, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = failing(monkeypatch, lambda name: name == tried[0])
    with Station(settings(camera=("fitted=0",), camera_every=0.0)) as station:

        def refused() -> list[dict[str, Any] | None]:
            found = station.store.read(queries.events, kinds=("refused",), subject=NAME)
            return [event.new for event in found]

        until(refused)
        before = len(rows(station))
        until(lambda: len(rows(station)) > before)
        (said,) = refused()
        assert said is not None
        assert said["name"] == tried[0]
        assert device.opened == 1


def test_while_the_network_fails_a_camera_keeps_what_it_took(
    settings: Settings, device: Device, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = threading.Event()
    broken.set()
    tried = failing(monkeypatch, lambda _: broken.is_set())
    with Station(settings(camera=("fitted=0",), camera_every=0.0)) as station:
        until(lambda: len(set(tried)) == 8 and min(map(tried.count, set(tried))) >= 6)
        kept = set(tried)
        assert station.sources.states()[0].failing
        broken.clear()
        until(lambda: kept <= {row.name for row in rows(station)})
        until(lambda: station.sources.states()[0].alive)


def test_a_camera_is_no_file() -> None:
    assert camera_of("2") == 2
    assert camera_of("/dev/video0") == "/dev/video0"
    for said in ("line.avi", "file:///line.avi"):
        with pytest.raises(SettingsError, match="a stream's address"):
            camera_of(said)


def test_without_opencv_the_start_says_how_to_get_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"pip install -e .\.\[video\]"):
        Station(settings(camera=("fitted=0",)))
