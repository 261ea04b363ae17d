"""A live station with pictures of real solar cells, a real browser, and what fails a test in it."""

from __future__ import annotations

import csv
import shutil
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

PACKAGES = ("axe_playwright_python", "fastapi", "httpx2", "playwright", "sqlalchemy", "uvicorn")
MISSING = [package for package in PACKAGES if not find_spec(package)]
CHROMIUM = Path("/usr/bin/chromium")
PICTURES = Path(__file__).parents[2] / "out" / "browser"
DESK, PHONE = (1280, 800), (390, 844)
PATIENCE = 60_000  # milliseconds for what has to happen, on a machine that is busy
NEEDED = {"good": 12, "look": 2, "defect": 4}

if TYPE_CHECKING:
    from playwright.sync_api import (
        Browser,
        ConsoleMessage,
        FilePayload,
        JSHandle,
        Page,
        Request,
        Response,
    )

    from nfbmr.settings.schema import Settings
    from nfbmr.station.settings import StationSettings
    from nfbmr.station.station import Station

BuiltOnce = Callable[[str, Callable[[Path], object]], Path]


class NotInstalled(pytest.Module):
    """A module of tests that cannot even be imported without these packages."""

    def collect(self) -> Iterator[pytest.Item]:
        pytest.skip(f"browser tests need {', '.join(MISSING)}: the extra [dev]")


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    return NotInstalled.from_parent(parent, path=module_path) if MISSING else None


# ---- a model of solar cells, and cells of each verdict


@dataclass(frozen=True)
class Cells:
    """What the station knows, and what is sent to it."""

    model: Path
    """Called `solar`."""
    files: dict[str, list[Path]]
    """By the verdict that the model gives them; it learnt from none of them."""


@pytest.fixture(scope="session")
def solar(tiny: Settings) -> Settings:
    """Settings that learn solar cells in seconds: a picture becomes 96 x 96 pixels."""
    from nfbmr.settings.changes import with_changes

    changes: dict[str, Any] = {
        "size": [96, 96],
        "mapping": {"kind": "none"},
        "scoring": {"maps": ["norm", "distance", "fine"]},
        "calibration": {"false_alarm_rate": 0.05, "look_rate": 0.15},
    }
    return with_changes(tiny, changes)


@pytest.fixture(scope="session")
def cells(once: BuiltOnce, solar: Settings) -> Cells:
    """A model that learnt 40 good cells, and others by what it says of them; read only."""
    from nfbmr.benchmark.solar_cells import write_table
    from nfbmr.features.cache import FeatureCache
    from nfbmr.fitting import fit

    def build(root: Path) -> None:
        with write_table("mono", root / "cells.csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        good = [Path(row["path"]) for row in rows if row["label"] == "good"]
        (root / "cells").mkdir()
        for path in good[:40]:
            shutil.copy(path, root / "cells")
        cache = FeatureCache(root / "cache")
        inspector = fit(
            root / "cells", root / "solar", settings=solar, device="cpu", cache=cache, export=False
        )
        others = [Path(row["path"]) for row in rows if row["label"] == "defect"]
        left = dict(NEEDED)
        for path in (one for pair in zip(good[40:], others, strict=False) for one in pair):
            verdict = inspector.inspect(path).verdict
            if left[verdict]:
                left[verdict] -= 1
                (root / verdict).mkdir(exist_ok=True)
                shutil.copy(path, root / verdict)
            if not any(left.values()):
                return
        raise AssertionError(f"too few cells of some verdict: {left}")

    root = once("solar cells", build)
    files = {verdict: sorted((root / verdict).glob("*.png")) for verdict in NEEDED}
    return Cells(model=root / "solar", files=files)


# ---- a station that listens


@dataclass(frozen=True)
class Desk:
    """A station's address, and what sends to it as a machine does."""

    address: str
    station: Station
    cells: Cells
    tokens: dict[str, str]
    """By scope; none where none are demanded."""

    def send(
        self, verdict: str, number: int = 0, *, model: str = "solar", **query: str
    ) -> dict[str, Any]:
        """Has a cell judged; returns the recorded row."""
        import httpx2

        headers = {"Authorization": f"Bearer {self.tokens['inspect']}"} if self.tokens else {}
        answer = httpx2.post(
            f"{self.address}/v1/models/{model}/inspect",
            params=query,
            content=self.cells.files[verdict][number].read_bytes(),
            headers=headers,
            timeout=PATIENCE / 1000,
        )
        answer.raise_for_status()
        (row,) = answer.json()["inspections"]
        assert row["verdict"] == verdict
        found: dict[str, Any] = row
        return found


@contextmanager
def listening(settings: StationSettings) -> Iterator[tuple[Station, int]]:
    """Yields an open station and its port."""
    import uvicorn

    from nfbmr.station.app import create_app
    from nfbmr.station.station import Station

    place = socket.create_server((settings.host, settings.port))
    with place, Station(settings) as station:
        config = uvicorn.Config(
            create_app(station), log_config=None, access_log=False, timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            yield station, place.getsockname()[1]
        finally:
            station.live.ending = server.should_exit = True
            thread.join()


@pytest.fixture
def serve(cells: Cells, tmp_path: Path) -> Callable[..., AbstractContextManager[Desk]]:
    """A station while it runs: `with serve(tokens=True, waiting=2) as desk`.

    Its record is empty at first; a second one in the same test finds what the first one left.
    """
    from nfbmr.station.auth import SCOPES, new_token
    from nfbmr.station.settings import StationSettings

    @contextmanager
    def started(
        *, models: tuple[str, ...] = ("solar",), tokens: bool = False, **changes: Any
    ) -> Iterator[Desk]:
        places = tuple(tmp_path / "models" / name for name in models)
        for place in places:
            if not place.exists():
                shutil.copytree(cells.model, place)
        file = tmp_path / "tokens"
        secrets: dict[str, str] = {}
        if tokens:
            secrets |= {scope: new_token(file, f"{scope}or", scope) for scope in SCOPES}
        usual: dict[str, Any] = {
            "models": places,
            "port": 0,
            "database": f"sqlite:///{tmp_path / 'station.db'}",
            "pictures": tmp_path / "pictures",
            "token_file": file if tokens else None,
            "runtime": "torch",
        }
        with listening(StationSettings(**(usual | changes))) as (station, port):
            address = f"http://127.0.0.1:{port}"
            yield Desk(address=address, station=station, cells=cells, tokens=secrets)

    return started


@pytest.fixture
def desk(serve: Callable[..., AbstractContextManager[Desk]]) -> Iterator[Desk]:
    """A station that nothing was sent to yet."""
    with serve() as opened:
        yield opened


@pytest.fixture
def busy_desk(desk: Desk) -> Desk:
    """A station with a record: two good cells, two to look at, two defects, in turn."""
    for number in range(2):
        for verdict in NEEDED:
            desk.send(verdict, number, part_id=f"{verdict}-{number + 1}")
    return desk


# ---- a browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, with a camera that shows a test picture."""
    from playwright.sync_api import expect, sync_playwright

    if not CHROMIUM.is_file():
        pytest.skip(f"no browser at {CHROMIUM}: Debian's package chromium has it")
    expect.set_options(timeout=PATIENCE)
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=camera)
        yield browser
        browser.close()


@pytest.fixture
def expected() -> set[str]:
    """What a test expects to fail, as `422 POST /inspect/picture`; behind `? ` what may."""
    return set()


class Watch:
    """Writes down what goes wrong in a tab."""

    def __init__(self, page: Page, found: set[str]) -> None:
        self._found = found
        page.on("console", self._said)
        page.on("pageerror", lambda error: found.add(f"script: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        refused = message.text.startswith(
            (
                "Failed to load resource: the server responded",
                "Response Status Error Code",
                "htmx:sendError",
                "htmx:afterRequest",
            )
        )
        if "net::ERR_" in message.text:
            self._found.add(f"no answer {urlsplit(message.location['url']).path}")
        elif message.type == "error" and not refused:  # those are seen as answers, or as none
            self._found.add(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page itself, or its end, let go of it
            self._found.add(f"no answer {_path(request)}")

    def _answered(self, answer: Response) -> None:
        if answer.status >= 400:
            self._found.add(f"{answer.status} {answer.request.method} {_path(answer.request)}")


def _path(request: Request) -> str:
    return urlsplit(request.url).path


@pytest.fixture
def tab(chromium: Browser, expected: set[str]) -> Iterator[Callable[..., Page]]:
    """Opens a page in a browser of its own: `tab(address, phone=False)`.

    After the test nothing may have gone wrong in any of them but what was `expected`, and that
    has to have.
    """
    found: set[str] = set()
    with ExitStack() as opened:

        def page(address: str, *, phone: bool = False) -> Page:
            width, height = PHONE if phone else DESK
            context = chromium.new_context(
                viewport={"width": width, "height": height},
                is_mobile=phone,
                has_touch=phone,
                permissions=["camera"],
            )
            opened.callback(context.close)
            context.set_default_timeout(PATIENCE)
            made = context.new_page()
            Watch(made, found)
            made.goto(address)
            return made

        yield page
    certain = {one for one in expected if not one.startswith("? ")}
    assert certain <= found <= {one.removeprefix("? ") for one in expected}


@pytest.fixture
def carried() -> Callable[[Page, list[FilePayload]], JSHandle]:
    """Files as a drop or a paste carries them."""

    def made(page: Page, files: list[FilePayload]) -> JSHandle:
        return page.evaluate_handle(
            """files => {
              const found = new DataTransfer();
              for (const [name, text] of files) {
                const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
                found.items.add(new File([bytes], name, {type: "image/png"}));
              }
              return found;
            }""",
            [[file["name"], b64encode(file["buffer"]).decode()] for file in files],
        )

    return made


@pytest.fixture(params=[False, True], ids=["desk", "phone"])
def phone(request: pytest.FixtureRequest) -> bool:
    """Whether a page is opened as on a phone: a test that asks runs twice."""
    found: bool = request.param
    return found


@pytest.fixture
def look(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Looks at a page as it is: `look(page, "name")`.

    At both widths nothing stands out sideways, all pictures are there, and axe finds no serious
    fault; a picture of it goes into `out/browser`.
    """
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import expect

    def looked(page: Page, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        before = page.viewport_size
        for width, height in (DESK, PHONE):
            page.set_viewport_size({"width": width, "height": height})
            for picture in page.locator("img:not([loading=lazy])").all():
                expect(picture).not_to_have_js_property("naturalWidth", 0)
            page.screenshot(path=PICTURES / f"{name}-{width}.png", full_page=True)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} pixels wide at {width}"
            faults = [
                f"{width}: {one['id']}: {one['help']}: {[n['target'] for n in one['nodes']]}"
                for one in Axe().run(page).response["violations"]
                if one["impact"] in ("serious", "critical")
            ]
            assert not faults, "\n".join(faults)
        if before is not None:
            page.set_viewport_size(before)

    return looked
