"""Whatever is sent, described or not: an answer as described, and no failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limited
from hypothesis import strategies as st

from nfbmr.station.app import create_app
from nfbmr.station.auth import new_token
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

Settings = Callable[..., StationSettings]

EXAMPLES = 4  # of each operation, so that this stays quick


def test_every_operation_answers_as_described(settings: Settings, tmp_path: Path) -> None:
    secret = new_token(tmp_path / "tokens", "anybody", "admin")
    shown = {"Authorization": f"Bearer {secret}"}
    tried = set()
    with Station(settings(token_file=tmp_path / "tokens")) as station:
        schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(station))
        for found in schema.get_all_operations():
            operation = found.ok()
            modes = list(schemathesis.GenerationMode)
            if not (operation.query or operation.path_parameters or operation.body):
                modes = modes[:1]  # there is nothing that could be wrong

            @given(case=st.one_of(*(operation.as_strategy(mode) for mode in modes)))
            @limited(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
            def answers(case: Any) -> None:
                case.call_and_validate(headers=shown)

            answers()
            tried.add(operation.label)
            for learning, _ in station.learn.everything():  # no chance bytes are pictures for it
                station.learn.remove(learning.id, "anybody")
    assert "POST /v1/models/{name}/inspect" in tried
    assert len(tried) >= 13
