"""An empty database of each kind, with its writer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nfbmr.station.store.database import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    from sqlalchemy import text

    from nfbmr.station.store.database import Store
    from nfbmr.station.store.schema import METADATA

    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'station.db'}"
        return
    found: str = request.getfixturevalue("postgresql")
    yield found
    store = Store(found)
    store.write(lambda c: METADATA.drop_all(c)).result()
    store.write(lambda c: c.execute(text("DROP TABLE alembic_version"))).result()
    store.close()


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    """An open one."""
    from nfbmr.station.store.database import Store

    found = Store(address)
    yield found
    found.close()
