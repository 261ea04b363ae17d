"""An open station with the tiny model, and a client for it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

for package in ("fastapi", "sqlalchemy", "alembic", "uvicorn", "python_multipart", "jinja2", "httpx2"):
    pytest.importorskip(package, reason="the extra [station] is not installed")

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from nfbmr.station.settings import StationSettings
    from nfbmr.station.station import Station

Draw = Callable[..., NDArray[np.uint8]]
Encoded = Callable[..., bytes]
Settings = Callable[..., "StationSettings"]


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
