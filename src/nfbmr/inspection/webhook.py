"""A webhook: one POST of JSON for each defect, signed, and tried again while nobody answers.

The body's HMAC-SHA256 under a shared secret stands in the header `X-Nfbmr-Signature` as
`sha256=<hexadecimal>`, so that the receiver knows who sent it. Sending has a thread of its own: an
outage of the receiver never holds up the line.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import logging
import queue
import threading
import time
import urllib.error
import urllib.request
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from nfbmr.errors import SettingsError
from nfbmr.system.files import printable

_log = logging.getLogger(__name__)

_WAITING = 10_000  # rows at most; an outage must not fill the memory
_SECONDS = 10.0  # for an answer
_LAST_SECONDS = 30.0  # for all that waits when the program ends


def signature(body: bytes, secret: str) -> str:
    """Returns the header's value for a body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for a refusal: followed, it would become a GET without the row."""

    def redirect_request(self, *_: Any) -> None:
        """Declines."""


class Webhook:
    """Sends rows from a thread of its own; a context manager that waits for the last one."""

    def __init__(
        self, url: str, secret: str | None = None, *, tries: int = 6, first_pause: float = 0.5
    ) -> None:
        """Starts the thread.

        Args:
            url: http or https.
            secret: shared with the receiver; without it nothing is signed.
            tries: for one row, each pause twice as long as the one before.
            first_pause: seconds.

        Raises:
            SettingsError: the address is no http or https one.
        """
        try:
            parts = urlsplit(url)
            sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is no number
            sound = False
        if not sound or any(c.isspace() or not c.isprintable() for c in url):
            raise SettingsError(f"webhook {url}: an http:// or https:// address was expected")
        self.url, self.secret = url, secret
        self.tries, self.first_pause = tries, first_pause
        self.lost = 0
        """Rows that could not be delivered."""
        self._rows: queue.Queue[dict[str, Any] | None] = queue.Queue(_WAITING)
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._work, name="nfbmr-webhook", daemon=True)
        self._thread.start()

    def send(self, row: dict[str, Any]) -> None:
        """Queues a row; where too many wait already, it is dropped and counted as lost."""
        try:
            self._rows.put_nowait(row)
        except queue.Full:
            self._give_up(row, f"{_WAITING} others wait")

    def __enter__(self) -> Webhook:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Delivers what waits, one try a row and half a minute for all; the rest is lost."""
        self._deadline = time.monotonic() + _LAST_SECONDS
        self._stopping.set()
        self._rows.put(None)
        self._thread.join(_LAST_SECONDS + _SECONDS)

    def _work(self) -> None:
        while (row := self._rows.get()) is not None:
            try:
                if time.monotonic() > self._deadline:
                    self._give_up(row, "the program ends")
                else:
                    self._deliver(row)
            except Exception as error:  # one row must not end the thread
                self._give_up(row, f"{type(error).__name__}: {error}")

    def _deliver(self, row: dict[str, Any]) -> None:
        body = json.dumps(row, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "nfbmr"}
        if self.secret is not None:
            headers["X-Nfbmr-Signature"] = signature(body, self.secret)
        pause, why = self.first_pause, ""
        for left in range(self.tries - 1, -1, -1):
            request = urllib.request.Request(self.url, body, headers, method="POST")
            try:
                with self._opener.open(request, timeout=_SECONDS):
                    return
            except urllib.error.HTTPError as error:
                why = f"answered {error.code}"
                if error.code < 500 and error.code not in (408, 429):
                    break  # it was understood and refused; the same again changes nothing
            except (OSError, http.client.HTTPException) as error:
                why = str(error) or type(error).__name__
            if not left or self._stopping.wait(pause):
                break
            pause *= 2
        self._give_up(row, why)

    def _give_up(self, row: dict[str, Any], why: str) -> None:
        self.lost += 1
        _log.warning("%s", printable(f"webhook: {row.get('path')} was not delivered: {why}"))
