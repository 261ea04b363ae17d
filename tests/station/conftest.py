"""An open station with the tiny model, and a client for it."""

from __future__ import annotations

import io
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

    from nfbmr.station.settings import StationSettings
    from nfbmr.station.station import Station

Draw = Callable[..., NDArray[np.uint8]]
Encoded = Callable[..., bytes]
Settings = Callable[..., "StationSettings"]


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
            "runtime": "torch",
        }
        return StationSettings(**(usual | changes))

    return made


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
