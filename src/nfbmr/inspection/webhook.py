"""A webhook: one POST of JSON for each defect, signed, and tried again until somebody has it.

The body's HMAC-SHA256 under a shared secret stands in the header `X-Nfbmr-Signature` as
`sha256=<hexadecimal>`, so that the receiver knows who sent it. A row waits in a file until it is
delivered, across restarts and kills: it arrives at least once, and `id`, also in the header
`X-Nfbmr-Id`, says whether it has arrived before. Sending has a thread of its own: an outage of the
receiver never holds up the line.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import logging
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from nfbmr.errors import SettingsError
from nfbmr.inspection.outbox import Outbox
from nfbmr.system.files import printable

_log = logging.getLogger(__name__)

_SECONDS = 10.0  # for an answer
_LAST_SECONDS = 30.0  # for all that waits when the program ends
_LONGEST_PAUSE = 60.0  # seconds
_BUSY_AT_ONCE = 3  # rows in turn that a receiver does not take: then all wait
_OF_THE_ROW = frozenset({400, 413, 415, 422})  # answers that the same row would get again

_Outcome = Literal["delivered", "refused", "busy", "nobody"]


def signature(body: bytes, secret: str) -> str:
    """Returns the header's value for a body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def parse_address(url: str) -> tuple[str, str | None]:
    """Returns an address without user and password, and the header that says those.

    Raises:
        SettingsError: it is no http or https address.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        sound = False
    if not sound or not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        shown = url.rpartition("@")[2]  # a log is no place for a password
        raise SettingsError(
            f"webhook {shown}: an http:// or https:// address was expected, other letters than "
            "those of ASCII written with %"
        )
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    if parts.username is None:
        return bare, None
    said = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return bare, "Basic " + base64.b64encode(said.encode()).decode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for a refusal: followed, it would become a GET without the row."""

    def redirect_request(self, *_: Any) -> None:
        """Declines."""


class Webhook:
    """Sends rows from a thread of its own; a context manager that waits for the last one."""

    def __init__(
        self, url: str, secret: str | None = None, *, outbox: Path, first_pause: float = 0.5
    ) -> None:
        """Starts the thread; what waits from the time before is sent first.

        Args:
            url: http or https; user and password in it are sent by the header `Authorization`.
            secret: shared with the receiver; without it nothing is signed.
            outbox: a folder for what waits.
            first_pause: seconds; each pause is twice as long as the one before, a minute at most.

        Raises:
            SettingsError: the address is no http or https one.
            OSError: the folder cannot be made.
        """
        self.url, self._authorization = parse_address(url)
        self.secret = secret
        self.lost = 0
        """Rows that the receiver refused; they stay in the outbox, by another name."""
        self.outbox = Outbox(outbox)
        self._first_pause = self._pause = first_pause
        self._later: dict[str, tuple[float, float]] = {}  # file: when to try it again, its pause
        self._said = False
        self._stopping, self._something = threading.Event(), threading.Event()
        self._deadline = float("inf")
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._work, name="nfbmr-webhook", daemon=True)
        self._thread.start()

    def send(self, row: dict[str, Any]) -> None:
        """Keeps a row, and sends it soon; one without an `id` gets one.

        Raises:
            OSError: it cannot be kept.
        """
        self.outbox.put({"id": uuid.uuid4().hex} | row)
        self._something.set()

    def __enter__(self) -> Webhook:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tries what waits once more, for half a minute in all; the rest waits on."""
        self._deadline = time.monotonic() + _LAST_SECONDS
        self._stopping.set()
        self._something.set()
        self._thread.join(_LAST_SECONDS + _SECONDS)
        left = len(self.outbox.waiting())
        if left:
            text = f"webhook: {left} rows wait in {self.outbox.folder} for the next start"
            _log.warning("%s", printable(text))

    def _work(self) -> None:
        while True:
            last = self._stopping.is_set()
            try:
                pause = self._round(last=last)
            except Exception as error:  # one row, or a disk that is away, must not end the thread
                _log.warning("%s", printable(f"webhook: {type(error).__name__}: {error}"))
                pause = _LONGEST_PAUSE
            if last:
                return
            self._something.wait(pause)
            self._something.clear()

    def _round(self, *, last: bool) -> float | None:
        """Tries all that is due; returns seconds until the next try, None where nothing waits."""
        busy = 0
        waiting = self.outbox.waiting()
        for file in waiting:
            due, pause = self._later.get(file.name, (0.0, self._first_pause))
            if time.monotonic() > self._deadline or (last and busy >= _BUSY_AT_ONCE):
                break
            if not last and time.monotonic() < due:
                continue
            outcome, why = self._deliver(file)
            if outcome == "nobody":
                return self._nobody(why)
            self._pause = self._first_pause
            if outcome == "busy":
                self._say(why)
                self._later[file.name] = (time.monotonic() + pause, min(2 * pause, _LONGEST_PAUSE))
                busy += 1
                if busy >= _BUSY_AT_ONCE:
                    break
                continue
            busy, self._said = 0, False
            self._later.pop(file.name, None)
            if outcome == "refused":
                self.lost += 1
                self.outbox.set_aside(file)
                text = f"webhook: {file.name} was not delivered: {why}; it is kept as .refused"
                _log.warning("%s", printable(text))
            else:
                self.outbox.take_away(file)
        if not self._later:
            return None if not waiting else 0.0
        return max(0.0, min(due for due, _ in self._later.values()) - time.monotonic())

    def _nobody(self, why: str) -> float:
        """Has all wait, longer each time; returns seconds until the next try."""
        self._say(why)
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        self._stopping.wait(pause)
        return 0.0

    def _say(self, why: str) -> None:
        """Warns once of each outage."""
        if not self._said:
            self._said = True
            text = f"webhook: {self.url} takes no rows ({why}); they wait in {self.outbox.folder}"
            _log.warning("%s", printable(text))

    def _deliver(self, file: Path) -> tuple[_Outcome, str]:
        body = file.read_bytes()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "nfbmr",
            "X-Nfbmr-Id": self.outbox.id_of(file),
        }
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        if self.secret is not None:
            headers["X-Nfbmr-Signature"] = signature(body, self.secret)
        request = urllib.request.Request(self.url, body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=_SECONDS):
                return "delivered", ""
        except urllib.error.HTTPError as error:
            with error:
                refused = error.code in _OF_THE_ROW
                return "refused" if refused else "busy", f"answered {error.code}"
        except (OSError, http.client.HTTPException) as error:
            return "nobody", str(error) or type(error).__name__
