"""Networks are what is tested here: each is built anew."""

from __future__ import annotations

import pytest

from nfbmr.networks import cutting, source


@pytest.fixture(autouse=True)
def _built_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "build", cutting.build)
