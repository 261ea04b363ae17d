"""An open station with the tiny model, and a client for it."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

PACKAGES = ("alembic", "fastapi", "httpx2", "jinja2", "python_multipart", "sqlalchemy", "uvicorn")
MISSING = [package for package in PACKAGES if not find_spec(package)]

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from nfbmr.settings.schema import Settings as LearntSettings
    from nfbmr.station.settings import StationSettings
    from nfbmr.station.station import Station

Draw = Callable[..., NDArray[np.uint8]]
Encoded = Callable[..., bytes]
Settings = Callable[..., "StationSettings"]
Until = Callable[[Callable[[], object]], None]


class NotInstalled(pytest.Module):
    """A module of tests that cannot even be imported without the station's packages."""

    def collect(self) -> Iterator[pytest.Item]:
        pytest.skip(f"the extra [station] is not installed: no {', '.join(MISSING)}")


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    return NotInstalled.from_parent(parent, path=module_path) if MISSING else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of Debian's PostgreSQL, started for these tests by a user without rights."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    from nfbmr.benchmark.postgresql import missing, throw_away

    if why := missing():
        pytest.skip(why)
    with throw_away(durable=False) as address:
        yield address


class Receiver(ThreadingHTTPServer):
    """Answers with the next of `answers`, then with `usual`, and remembers what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.usual = 200
        self.poison: dict[int, int] = {}
        """What the inspections of these numbers are answered; 0: nothing, the connection ends."""
        self.elsewhere = ""
        """Where redirects lead."""
        self.slow: threading.Event | None = None
        """Answers wait for it."""
        self.heard: list[dict[str, Any]] = []
        self.headers: list[Message] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/verdicts"

    def numbers(self) -> list[int]:
        """Inspections in the order in which they came."""
        return [one["inspection"]["id"] for one in self.heard]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.headers.append(self.headers)
        self.server.heard.append(json.loads(body))
        if self.server.slow is not None:
            self.server.slow.wait(60)
        said = self.server.heard[-1].get("inspection", {})
        usual = self.server.answers.pop(0) if self.server.answers else self.server.usual
        answer = self.server.poison.get(said.get("id"), usual)
        if not answer:
            return
        with contextlib.suppress(OSError):  # whoever asked is gone
            self.send_response(answer)
            self.send_header("Location", self.server.elsewhere)
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Whoever is told by a webhook."""
    yield from receiving()


@pytest.fixture
def another() -> Iterator[Receiver]:
    """Somebody else."""
    yield from receiving()


def receiving() -> Iterator[Receiver]:
    """Yields a server that runs."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        if server.slow is not None:
            server.slow.set()
        server.shutdown()
        thread.join()


@contextmanager
def _serving(model: Path, *words: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Starts the station as a process; gives it and its address once it is ready."""
    from nfbmr.benchmark.served import served

    with served(model, *map(str, words)) as station:
        yield station.process, f"http://127.0.0.1:{station.port}"


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[tuple[subprocess.Popen[str], str]]]:
    """Runs the station as a process: `with serving(model, *options) as (process, address):`."""
    return _serving


@pytest.fixture(scope="session")
def png(draw: Draw) -> Encoded:
    """A picture's file: `png(seed, defect=False, form="PNG", size=(80, 80))`."""

    def encoded(seed: int, *, form: str = "PNG", **options: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(draw(seed, **options)).save(buffer, form)
        return buffer.getvalue()

    return encoded


@pytest.fixture
def settings(model: Path, tmp_path: Path) -> Settings:
    """Settings of a station with the tiny model, called `fitted`: `settings(waiting=2)`."""
    from nfbmr.station.settings import StationSettings

    def made(**changes: Any) -> StationSettings:
        usual: dict[str, Any] = {
            "models": (model,),
            "database": f"sqlite:///{tmp_path / 'station.db'}",
            "pictures": tmp_path / "pictures",
            "learning": tmp_path / "learning",
            "runtime": "torch",
        }
        return StationSettings(**(usual | changes))

    return made


@pytest.fixture
def quick(tiny: LearntSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is learnt on the page is learnt by tiny settings, without graphs."""
    from nfbmr.settings import presets
    from nfbmr.station.services.learner import Learner

    monkeypatch.setitem(presets._PRESETS, "fast", lambda: tiny)
    monkeypatch.setattr(Learner, "export", False)


@pytest.fixture
def until() -> Until:
    """Waits until something is true."""

    def waited(true: Callable[[], object]) -> None:
        for _ in range(40_000):
            if true():
                return
            threading.Event().wait(0.02)
        pytest.fail("it never became true")

    return waited


@pytest.fixture
def station(settings: Settings) -> Iterator[Station]:
    """An open station for this machine alone."""
    from nfbmr.station.station import Station

    with Station(settings()) as opened:
        yield opened


@pytest.fixture
def client(station: Station) -> Iterator[TestClient]:
    """Asks that station, as this machine does."""
    yield from asking(station)


def asking(station: Station) -> Iterator[TestClient]:
    """Yields what asks a station."""
    from starlette.testclient import TestClient

    from nfbmr.station.app import create_app

    with TestClient(create_app(station), base_url="http://127.0.0.1") as found:
        yield found
