"""Silent connections, and those that do not read, hold nobody else's place."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from nfbmr.station import connections
from nfbmr.station.connections import Watched, protocol

Until = Callable[[Callable[[], object]], None]

PARSERS = {
    "h11": "uvicorn.protocols.http.h11_impl:H11Protocol",
    "httptools": "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol",
}
HEAD = b"GET /quick HTTP/1.1\r\nHost: x\r\n"
HUGE = 1 << 20
PATIENCE = 60.0  # seconds, for what comes by itself


class Served:
    """A server of a few places, whose application answers by path."""

    def __init__(self, parser: str) -> None:
        module, _, name = PARSERS[parser].partition(":")
        made = type("Made", (Watched, getattr(import_module(module), name)), {})
        self.go = asyncio.Event()
        self.bodies = 0
        config = uvicorn.Config(
            self._app,
            http=made,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            limit_concurrency=8,
        )
        self.server = uvicorn.Server(config)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_until_complete(self.server.serve(sockets=[self.listening]))
        self._loop.close()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/body":
            while (await receive()).get("more_body"):
                pass
            self.bodies += 1
        if scope["path"] == "/slow":
            await self.go.wait()
        start = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)
        if scope["path"] == "/huge":
            for _ in range(32):
                await send({"type": "http.response.body", "body": bytes(HUGE), "more_body": True})
        await send({"type": "http.response.body", "body": b"done"})

    def connect(self, said: bytes = b"") -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        made.sendall(said)
        return made

    def ask(self, path: str) -> tuple[int, bytes]:
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(asking):
            asking.request("GET", path)
            answer = asking.getresponse()
            return answer.status, answer.read()

    @property
    def there(self) -> int:
        return len(self.server.server_state.connections)

    def let_go(self) -> None:
        self._loop.call_soon_threadsafe(self.go.set)

    def close(self) -> None:
        self.let_go()
        self.server.should_exit = self.server.force_exit = True
        self._thread.join()


def ended(said: socket.socket) -> bool:
    """Waits until the server ends a connection, whether or not something was lost by that."""
    try:
        return said.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture(params=PARSERS)
def served(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, until: Until
) -> Iterator[Served]:
    if request.param == "httptools":
        pytest.importorskip("httptools", reason="httptools is not installed")
    monkeypatch.setattr(connections, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(connections, "MOST", 8)
    found = Served(request.param)
    until(lambda: found.server.started)
    yield found
    found.close()


def test_who_says_nothing_or_half_is_let_go_and_who_is_answered_stays(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_HEAD_SECONDS", 0.3)
    with contextlib.ExitStack() as opened:
        slow = opened.enter_context(served.connect(HEAD.replace(b"quick", b"slow") + b"\r\n"))
        silent = opened.enter_context(served.connect())
        half = opened.enter_context(served.connect(HEAD))
        later = opened.enter_context(served.connect(HEAD + b"\r\n"))
        assert later.recv(4096).startswith(b"HTTP/1.1 200")
        later.sendall(HEAD)
        assert ended(silent)
        assert ended(half)
        while later.recv(4096):  # its first answer's end, then that of the connection
            pass
        served.let_go()
        assert slow.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "said",
    [b"", HEAD, HEAD + b"\r\n", b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"],
)
def test_more_silent_ones_than_may_be_keep_nobody_from_an_answer(
    served: Served, until: Until, said: bytes
) -> None:
    with contextlib.ExitStack() as opened:
        slow = opened.enter_context(served.connect(HEAD.replace(b"quick", b"slow") + b"\r\n"))
        until(lambda: served.server.server_state.tasks)
        for _ in range(20):
            opened.enter_context(served.connect(said))
            assert served.ask("/quick") == (200, b"done")
        assert served.there <= 8
        served.let_go()
        assert slow.recv(4096).startswith(b"HTTP/1.1 200")


def test_as_many_requests_in_work_as_may_be_are_all_answered(served: Served, until: Until) -> None:
    asked = HEAD.replace(b"quick", b"slow") + b"\r\n"
    with contextlib.ExitStack() as opened:
        working = [opened.enter_context(served.connect(asked)) for _ in range(7)]
        until(lambda: len(served.server.server_state.tasks) == 7)
        assert served.ask("/quick")[0] == 503
        served.let_go()
        for one in working:
            assert one.recv(4096).startswith(b"HTTP/1.1 200")


def test_who_does_not_read_is_let_go(
    served: Served, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    monkeypatch.setattr(connections, "_READ_SECONDS", 0.5)
    with served.connect(b"GET /huge HTTP/1.0\r\nHost: x\r\n\r\n"):
        until(lambda: served.there == 1)
        until(lambda: served.there == 0)


class Clock:
    """The loop and the transport of a connection."""

    def __init__(self) -> None:
        self.now, self.left, self.ended = 0.0, 0, False

    def time(self) -> float:
        return self.now

    def call_later(self, *_: object) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return self.left

    def abort(self) -> None:
        self.ended = True


@pytest.mark.parametrize(("read", "ended"), [(0, True), (1, False)])
def test_who_reads_slowly_is_answered_to_the_end(*, read: int, ended: bool) -> None:
    clock, one = Clock(), Watched()
    one.loop = one.transport = clock  # type: ignore[assignment]
    one.cycle = SimpleNamespace(response_complete=False, more_body=False)
    clock.left = 1000
    for _ in range(200):
        clock.now += 1.0
        clock.left -= read
        one._look()
    assert clock.ended is ended


def test_a_body_that_comes_late_after_its_answer_is_waited_for_longer(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_HEAD_SECONDS", 0.1)
    with served.connect(b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n") as late:
        for letter in b"123456789":
            late.sendall(bytes([letter]))
            threading.Event().wait(0.05)
        assert late.recv(4096).startswith(b"HTTP/1.1 200")


def test_the_station_is_served_so_and_by_a_parser_that_takes_no_head_of_any_size() -> None:
    assert issubclass(protocol(), Watched)
    assert issubclass(protocol(), H11Protocol)
