"""The webhook: signed, tried again, and never in the way."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from nfbmr.errors import SettingsError
from nfbmr.inspection.webhook import Webhook, signature


class Receiver(HTTPServer):
    """Answers with the next of `answers`, then with 200, and remembers what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.heard: list[tuple[bytes, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/defects"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((body, self.headers["X-Nfbmr-Signature"]))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_rows_arrive_signed_and_in_order(receiver: Receiver) -> None:
    with Webhook(receiver.url, "secret") as hook:
        for number in range(3):
            hook.send({"path": f"{number}.png", "score": 1.5})
    bodies = [json.loads(body) for body, _ in receiver.heard]
    assert [body["path"] for body in bodies] == ["0.png", "1.png", "2.png"]
    for body, sent in receiver.heard:
        expected = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
        assert sent == f"sha256={expected}" == signature(body, "secret")
    assert hook.lost == 0


def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    with Webhook(receiver.url) as hook:
        hook.send({"path": "a.png"})
    assert receiver.heard[0][1] is None


def test_failures_are_tried_again_and_the_row_is_the_same(receiver: Receiver) -> None:
    receiver.answers = [503, 500, 429]
    hook = Webhook(receiver.url, "secret", first_pause=0.01)
    hook.send({"path": "a.png"})
    while len(receiver.heard) < 4:
        threading.Event().wait(0.01)
    with hook:
        pass
    assert len(set(receiver.heard)) == 1
    assert (len(receiver.heard), hook.lost) == (4, 0)


@pytest.mark.parametrize(("answer", "tries"), [(400, 1), (404, 1), (500, 3)])
def test_what_cannot_be_delivered_is_counted_and_said(
    receiver: Receiver, answer: int, tries: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [answer] * 10
    hook = Webhook(receiver.url, tries=3, first_pause=0.01)
    hook.send({"path": "a.png"})
    while not hook.lost:
        threading.Event().wait(0.01)
    with hook:
        pass
    assert (len(receiver.heard), hook.lost) == (tries, 1)
    assert f"a.png was not delivered: answered {answer}" in caplog.text


def test_a_redirect_is_a_refusal_and_a_strange_answer_ends_nothing(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [302]
    with Webhook(receiver.url, "secret", tries=1) as hook:
        hook.send({"path": "a.png"})
        hook.send({"path": object()})
        hook.send({"path": "b.png"})
    assert hook.lost == 2
    assert [json.loads(body)["path"] for body, _ in receiver.heard] == ["a.png", "b.png"]
    assert "a.png was not delivered: answered 302" in caplog.text


def test_nobody_there_holds_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with Webhook("http://127.0.0.1:9/none", tries=100, first_pause=60) as hook:
        hook.send({"path": "a.png"})
    assert hook.lost == 1
    assert "a.png was not delivered" in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "host/x",
        "file:///etc/passwd",
        "http://",
        "",
        "http://h:abc/",
        "http://h/a b",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="http:// or https:// address was expected"):
        Webhook(url)
