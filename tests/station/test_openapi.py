"""Whatever is sent, described or not: an answer as described, and no failure.

`NFBMR_EXAMPLES=200` in the environment sends so many of each operation instead of a few.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limited
from hypothesis import strategies as st
from starlette.testclient import TestClient

from nfbmr.station.app import create_app
from nfbmr.station.auth import SCOPES, Actor, new_token, read_tokens
from nfbmr.station.deps import FORM_KEY, SESSION, each_route
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

Encoded = Callable[..., bytes]
Headers = dict[str, str]
Settings = Callable[..., StationSettings]

EXAMPLES = int(os.environ.get("NFBMR_EXAMPLES", "4"))
CONFIRMED = 5  # good parts, so that a model can be calibrated on them
SAID = {501, 503, 507}  # what the station cannot do now is no failure of it
TAKE_PICTURES = {"POST /v1/models/{name}/inspect", "POST /v1/learn/{number}/pictures"}
GIVE_AREAS = {"POST /v1/models/{name}/recalibration"}
ENDLESS = "/events"


class Busy:
    """A station that demands tokens and has something of each kind."""

    def __init__(self, station: Station, secrets: dict[str, str], png: Encoded) -> None:
        self.station, self.app = station, create_app(station)
        self.shown = {scope: {"Authorization": f"Bearer {one}"} for scope, one in secrets.items()}
        self._picture, self._learning = png(1), (0, 0)
        self._client = TestClient(self.app, headers=self.shown["admin"])
        for number in range(1, CONFIRMED + 1):
            self._post("/v1/models/fitted/inspect", content=png(300 + number))
            self._post(f"/v1/inspections/{number}/feedback", json={"label": "good"})
        self._post("/v1/models/fitted/inspect", content=png(400, defect=True))

    def _post(self, address: str, **given: Any) -> Any:
        answer = self._client.post(address, **given)
        assert answer.is_success, answer.text
        return answer.json()

    def in_browser(self) -> Headers:
        """What an admin's browser sends."""
        assert self.station.settings.token_file is not None
        token = next(
            one for one in read_tokens(self.station.settings.token_file) if one.scope == "admin"
        )
        cookie = self.station.sessions.cookie(token)
        actor = Actor(name=token.name, scope=token.scope, session=cookie)
        return {"Cookie": f"{SESSION}={cookie}", FORM_KEY: self.station.sessions.form_key(actor)}

    def prepare(self) -> None:
        """Has one product that could be learnt, whatever was named or deleted meanwhile."""
        for learning, _ in self.station.learn.everything():
            self.station.learn.remove(learning.id, "anybody")
        number = self._post("/v1/learn", json={"name": "product"})["id"]
        kept = self._post(f"/v1/learn/{number}/pictures", content=self._picture)
        self._learning = number, kept["pictures"][0]["id"]

    def at_home(self, case: Any) -> Any:
        """Has a case ask for what is there, wherever it names something."""
        (loaded,) = self.station.pool.all()
        number, picture = self._learning
        place = {
            "name": "watch-fitted" if "/sources/" in case.path else "fitted",
            "number": number if "/learn/" in case.path else 1,
            "picture": picture,
            "which": picture,
        }
        field = {
            "model": "fitted",
            "bundle": loaded.bundle,
            "calibration": loaded.calibration,
            "picture": loaded.inspector.calibration.pictures[0],
            "at": 1,
        }
        for given_there, there in (
            (case.path_parameters, place),
            (case.query, field),
            (case.body, field),
        ):
            if isinstance(given_there, dict):
                given_there |= {name: there[name] for name in given_there.keys() & there}
        return case

    def cases(self, operation: Any) -> st.SearchStrategy[Any]:
        """What may be asked of an operation, as described or not, of what is there or not."""
        modes = list(schemathesis.GenerationMode)
        if not (operation.query or operation.path_parameters or operation.body):
            modes = modes[:1]  # there is nothing that could be wrong
        found = [operation.as_strategy(mode) for mode in modes]
        return st.one_of(*found, found[0].map(self.at_home))  # what is as described stays so

    def each(self, *, api: bool = True) -> Iterator[Any]:
        """Each operation of the document, one after another; without `api` those of pages alone."""
        for found in schemathesis.openapi.from_asgi("/openapi.json", self.app).get_all_operations():
            operation = found.ok()
            if api or not operation.path.startswith("/v1/"):
                self.prepare()
                yield operation


@pytest.fixture
def busy(settings: Settings, model: Path, png: Encoded, tmp_path: Path) -> Iterator[Busy]:
    place, hot, file = tmp_path / "models" / "fitted", tmp_path / "hot", tmp_path / "tokens"
    shutil.copytree(model, place)
    hot.mkdir()
    (hot / "A-1.png").write_bytes(png(2))
    secrets: dict[str, str] = {scope: new_token(file, f"{scope}or", scope) for scope in SCOPES}
    options: dict[str, Any] = {
        "models": (place,),
        "token_file": file,
        "watch": (f"fitted={hot}",),
        "webhook": "http://127.0.0.1:9/verdicts",
    }
    with Station(settings(**options)) as station:
        yield Busy(station, secrets, png)


def few(examples: int) -> limited:
    return limited(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


def is_as_described(case: Any, shown: Headers) -> None:
    """Asks, and checks the answer; one that says what cannot be done now is no failure."""
    beyond: list[Any] = []
    answer = case.call(headers=shown)
    if case.operation.label in TAKE_PICTURES:
        beyond.append(positive_data_acceptance)  # no document describes which bytes are a picture
    if case.operation.label in GIVE_AREAS:
        beyond.append(positive_data_acceptance)  # nor that a top lies above its bottom
    if answer.status_code in SAID:
        beyond.append(not_a_server_error)
    case.validate_response(
        answer, excluded_checks=beyond, headers=shown, transport_kwargs={"headers": dict(shown)}
    )


def test_every_operation_answers_as_described(busy: Busy) -> None:
    tried = set()
    for operation in busy.each():

        @given(case=busy.cases(operation))
        @few(EXAMPLES)
        def answers(case: Any) -> None:
            is_as_described(case, busy.shown["admin"])

        answers()
        tried.add(operation.label)
    assert {"POST /v1/models/{name}/inspect", "POST /v1/sources/{name}/test"} <= tried
    assert {"POST /v1/learn/{number}/pictures", "POST /v1/models/{name}/recalibration"} <= tried
    assert len(tried) >= 35


def test_so_it_does_whoever_asks(busy: Busy) -> None:
    shown = [{}, {"Authorization": "Bearer none"}, busy.shown["inspect"], busy.shown["review"]]
    for operation in busy.each():

        @given(case=busy.cases(operation), shown=st.sampled_from(shown))
        @few(max(1, EXAMPLES // 2))
        def answers(case: Any, shown: Headers) -> None:
            is_as_described(case, shown)

        answers()


def test_no_page_fails_whatever_is_sent(busy: Busy) -> None:
    for route in each_route(busy.app.routes):
        route.include_in_schema = route.path != ENDLESS
    tried = set()
    for operation in busy.each(api=False):

        @given(case=busy.cases(operation))
        @few(max(1, EXAMPLES // 2))
        def answers(case: Any) -> None:
            answer = case.call(headers=busy.in_browser())
            assert answer.status_code < 500 or answer.status_code in SAID, answer.text

        answers()
        tried.add(operation.label)
    assert {"POST /threshold/ignore", "POST /learn/{number}/picture"} <= tried
    assert len(tried) >= 45
