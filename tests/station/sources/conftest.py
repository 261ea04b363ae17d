"""A folder that is watched without waiting long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nfbmr.inspection.watch import Watch


@pytest.fixture
def hot(tmp_path: Path) -> Path:
    folder = tmp_path / "hot"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    from nfbmr.station.sources import folder as module

    class Quick(Watch):
        def __init__(self, **options: Any) -> None:
            super().__init__(**(options | {"every": 0.01, "patience": 0.2, "settle": 0.01}))

    monkeypatch.setattr(module, "Watch", Quick)
