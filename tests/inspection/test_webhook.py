"""The webhook: signed, tried again, and never in the way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from nfbmr.errors import DataError, SettingsError
from nfbmr.inspection.outbox import Outbox
from nfbmr.inspection.webhook import Webhook, parse_address, shown_address, signature


class Receiver(HTTPServer):
    """Answers with the next of `answers`, then with 200, and remembers what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.heard: list[tuple[bytes, Message]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/defects"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((body, self.headers))
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


Open = Callable[..., Webhook]


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def hook_to(outbox: Path) -> Open:
    """Opens a webhook that is not patient: `hook_to(url, secret)`."""

    def opened(url: str, secret: str | None = None, **options: Any) -> Webhook:
        return Webhook(url, secret, outbox=outbox, **({"first_pause": 0.01} | options))

    return opened


def wait_until(true: Callable[[], object]) -> None:
    for _ in range(1000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come true")


def paths(receiver: Receiver) -> list[str]:
    return [json.loads(body)["path"] for body, _ in receiver.heard]


def test_rows_arrive_signed_and_in_order(receiver: Receiver, hook_to: Open) -> None:
    with hook_to(receiver.url, "secret") as hook:
        for number in range(3):
            hook.send({"path": f"{number}.png", "score": 1.5, "id": f"id{number}"})
    assert paths(receiver) == ["0.png", "1.png", "2.png"]
    for number, (body, headers) in enumerate(receiver.heard):
        expected = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
        assert headers["X-Nfbmr-Signature"] == f"sha256={expected}" == signature(body, "secret")
        assert headers["X-Nfbmr-Id"] == json.loads(body)["id"] == f"id{number}"
    assert (hook.lost, hook.outbox.waiting()) == (0, [])


def test_without_a_secret_nothing_is_signed(receiver: Receiver, hook_to: Open) -> None:
    with hook_to(receiver.url) as hook:
        hook.send({"path": "a.png"})
    (_, headers) = receiver.heard[0]
    assert headers["X-Nfbmr-Signature"] is None
    assert headers["Authorization"] is None
    assert headers["X-Nfbmr-Id"], "each has one"


@pytest.mark.parametrize(
    ("userinfo", "said"), [("u:p", "u:p"), ("u%40x:p%3Aq%2F", "u@x:p:q/"), ("token", "token:")]
)
def test_user_and_password_go_into_a_header(
    receiver: Receiver, hook_to: Open, userinfo: str, said: str
) -> None:
    with hook_to(receiver.url.replace("http://", f"http://{userinfo}@")) as hook:
        hook.send({"path": "a.png"})
    (_, headers) = receiver.heard[0]
    assert headers["Authorization"] == f"Basic {base64.b64encode(said.encode()).decode()}"
    assert headers["Host"] == f"127.0.0.1:{receiver.server_port}"
    assert hook.url == receiver.url


def test_failures_are_tried_again_and_the_row_is_the_same(
    receiver: Receiver, hook_to: Open
) -> None:
    receiver.answers = [503, 500, 429, 404, 302]
    with hook_to(receiver.url, "secret") as hook:
        hook.send({"path": "a.png"})
        wait_until(lambda: len(receiver.heard) == 6)
        wait_until(lambda: not hook.outbox.waiting())
    assert len({body for body, _ in receiver.heard}) == 1
    assert hook.lost == 0


@pytest.mark.parametrize("answer", [400, 422])
def test_what_is_refused_is_kept_said_and_in_nobodys_way(
    receiver: Receiver, hook_to: Open, answer: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [answer]
    with hook_to(receiver.url) as hook:
        hook.send({"path": "a.png"})
        hook.send({"path": "b.png"})
    assert paths(receiver) == ["a.png", "b.png"]
    assert f"was not delivered: answered {answer}" in caplog.text
    (kept,) = hook.outbox.refused()
    assert json.loads(kept.read_text())["path"] == "a.png"
    assert hook.lost == 1


def test_a_row_that_a_receiver_chokes_on_holds_up_no_other(
    receiver: Receiver, hook_to: Open
) -> None:
    receiver.answers = [500]
    with hook_to(receiver.url, first_pause=60) as hook:
        hook.send({"path": "a.png"})
        wait_until(lambda: receiver.heard)
        hook.send({"path": "b.png"})
        wait_until(lambda: len(receiver.heard) == 2)
        assert paths(receiver) == ["a.png", "b.png"]
    assert paths(receiver) == ["a.png", "b.png", "a.png"]


def test_rows_wait_for_the_next_start_while_nobody_is_there(
    receiver: Receiver, hook_to: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with hook_to("http://127.0.0.1:9/none", first_pause=60) as hook:
        hook.send({"path": "a.png", "id": "1"})
        hook.send({"path": "b.png", "id": "2"})
    assert hook.lost == 0
    assert "2 rows wait in" in caplog.text
    assert caplog.text.count("takes no rows") == 1
    with hook_to(receiver.url) as hook:
        hook.send({"path": "c.png", "id": "3"})
    assert paths(receiver) == ["a.png", "b.png", "c.png"]
    assert hook.outbox.waiting() == []


def test_what_a_kill_leaves_is_sent_by_the_next_start(
    receiver: Receiver, hook_to: Open, outbox: Path
) -> None:
    Outbox(outbox).put({"path": "a.png", "id": "1"})  # and then there was a kill
    (outbox / ".abc.part").write_text('{"pa')
    with hook_to(receiver.url):
        pass
    assert paths(receiver) == ["a.png"]


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system follows every link")
def test_what_is_no_row_of_its_name_is_neither_signed_nor_sent(
    receiver: Receiver, hook_to: Open, outbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox.mkdir()
    (outbox.parent / "secrets.json").write_text('{"id": "1", "path": "stolen"}')
    (outbox / "00-1.json").symlink_to(outbox.parent / "secrets.json")
    os.mkfifo(outbox / "01-1.json")
    (outbox / "02-1.json").mkdir()
    for number, body in enumerate(
        [b"{", b"[]", b"[" * 100_000, b'"1"', b'{"id": "2"}', b'{"path": "x"}', b"\xff"], start=3
    ):
        (outbox / f"{number:02d}-1.json").write_bytes(body)
    (outbox / "10-a\nX-Other: 1.json").write_text('{"id": "a\\nX-Other: 1"}')
    (outbox / "11-1.json").write_bytes(b'{"id": "1"}')
    os.truncate(outbox / "11-1.json", 10**9)
    Outbox(outbox).put({"path": "a.png", "id": "1"})
    with hook_to(receiver.url, "secret") as hook:
        pass
    assert paths(receiver) == ["a.png"]
    assert hook.lost == len(hook.outbox.refused()) == 12
    assert hook.outbox.waiting() == []
    assert caplog.text.count("expected a row that was put here, with the id of its name") == 12


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_an_outbox_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    old.chmod(0o777)
    for folder in (old, tmp_path / "new"):
        Outbox(folder).put({"path": "a.png", "id": "1"})
        assert folder.stat().st_mode & 0o777 == 0o700
        (file,) = folder.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
    assert not caplog.text

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    old.chmod(0o777)
    monkeypatch.setattr(Path, "chmod", refused)
    Outbox(old)
    assert "others may write into it (Operation not permitted), and what they put" in caplog.text


def test_a_link_is_no_outbox(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "outbox").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="found a link; expected a folder of its own"):
        Outbox(tmp_path / "outbox")


def test_a_row_that_is_no_json_is_its_senders_trouble(receiver: Receiver, hook_to: Open) -> None:
    with hook_to(receiver.url) as hook:
        with pytest.raises(ValueError, match="JSON compliant"):
            hook.send({"path": "a.png", "score": float("nan")})
        hook.send({"path": "b.png"})
    assert paths(receiver) == ["b.png"]


def test_an_address_that_is_refused_shows_no_password() -> None:
    for url in ("http://user:hidden@h:abc/", "http://h:abc/hidden?hidden=1", "http://u:hid?den@h/"):
        with pytest.raises(SettingsError) as caught:
            parse_address(url)
        assert "hid" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:8080/verdicts", "http://h:8080/..."),
        ("https://ntfy.sh/s3cret-topic", "https://ntfy.sh/..."),
        ("https://u:p@h/", "https://h/"),
        ("https://h", "https://h/"),
        ("https://h/services/T0/B0/secret", "https://h/..."),
        ("https://h/in?key=secret", "https://h/..."),
        ("http://u:p@[::1]:80/a/b?c#d", "http://[::1]:80/..."),
    ],
)
def test_people_see_of_an_address_what_is_no_secret(url: str, expected: str) -> None:
    assert shown_address(url) == expected


def test_the_log_names_a_receiver_without_the_secrets_of_its_address(
    hook_to: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with hook_to("http://user:hidden@127.0.0.1:9/in/hidden?key=hidden", first_pause=60) as hook:
        hook.send({"path": "a.png"})
    assert "webhook: http://127.0.0.1:9/... takes no rows" in caplog.text
    assert "hidden" not in caplog.text


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
        "http://h/ü",
        "http://ü/",
    ],
)
def test_other_addresses_are_refused(url: str, outbox: Path) -> None:
    with pytest.raises(SettingsError, match="http:// or https:// address was expected"):
        Webhook(url, outbox=outbox)
    assert not outbox.exists()
