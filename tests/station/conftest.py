"""An open station with the tiny model, and a client for it."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
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


POSTGRESQL = Path("/usr/lib/postgresql")
_NOBODY = 65534


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of Debian's PostgreSQL, started for these tests by a user without rights."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    programs = sorted(POSTGRESQL.glob("*/bin/pg_ctl"))
    if not programs:
        pytest.skip(f"no PostgreSQL under {POSTGRESQL}")
    before: list[str] = []
    if os.getuid() == 0:  # it refuses to run as root
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv, which gives up the rights of root, is not there")
        before = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    folder = Path(tempfile.mkdtemp(prefix="nfbmr-"))  # short, as a socket's name has to be
    data, tools = folder / "data", programs[-1].parent

    def run(tool: str, *words: object) -> None:
        command = [*before, str(tools / tool), "-D", str(data), *map(str, words)]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=60)

    try:
        if before:
            os.chown(folder, _NOBODY, _NOBODY)
        run("initdb", "-U", "station", "--auth=trust", "--no-sync")
        listening = f"-k {folder} -c listen_addresses= -c fsync=off"
        run("pg_ctl", "-w", "-l", folder / "log", "-o", listening, "start")
        try:
            yield f"postgresql://station@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


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
