"""A webhook: one POST of JSON for each defect, signed, and tried again until somebody has it.

The body's HMAC-SHA256 under a shared secret stands in the header `X-Nfbmr-Signature` as
`sha256=<hexadecimal>`, so that the receiver knows who sent it. A row waits in a file until it is
delivered, across restarts and kills: it arrives at least once, and `id`, also in the header
`X-Nfbmr-Id`, says whether it has arrived before. How it is tried again is in `courier.py`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import logging
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from nfbmr.errors import DataError, SettingsError
from nfbmr.inspection.courier import Courier, Outcome
from nfbmr.inspection.outbox import Outbox
from nfbmr.system.files import printable
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

SECONDS = 10.0
"""For an answer."""

_LAST_SECONDS = 30.0  # for all that waits when the program ends
_OF_THE_ROW = frozenset({400, 413, 415, 422})  # answers that the same row would get again


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
        scheme, mark, _ = url.partition("://")  # a log is no place for the rest of it
        found = f"one with {scheme}://" if mark and scheme.isalnum() else "one without http://"
        raise SettingsError(
            f"webhook: an http:// or https:// address was expected, other letters than those of "
            f"ASCII written with %, and a port that is a number; found {found}"
        )
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    if parts.username is None:
        return bare, None
    said = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return bare, "Basic " + base64.b64encode(said.encode()).decode()


def shown_address(url: str) -> str:
    """Returns what people may see of an address, scheme, host and port: `https://host/...`.

    All else may be a secret: user and password, and of services also the path or the query.
    """
    parts = urlsplit(url)
    more = "..." if parts.path.strip("/") or parts.query or parts.fragment else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{more}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for a refusal: followed, it would become a GET without the row."""

    def redirect_request(self, *_: Any) -> None:
        """Declines."""


class Post:
    """Sends a body to an address: one request, one answer."""

    def __init__(self, url: str, secret: str | None = None, *, seconds: float = SECONDS) -> None:
        """Takes the address.

        Args:
            url: http or https; user and password in it are sent by the header `Authorization`.
            secret: shared with the receiver; without it nothing is signed.
            seconds: for each step of an answer.

        Raises:
            SettingsError: the address is no http or https one.
        """
        self.url, self._authorization = parse_address(url)
        self.shown = shown_address(self.url)
        """To people."""
        self._secret, self._seconds = secret, seconds
        self._opener = urllib.request.build_opener(_NoRedirect)

    def __call__(self, body: bytes, name: str) -> tuple[Outcome, str]:
        """Sends JSON with its `id`; returns what came of it, and why."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "nfbmr",
            "X-Nfbmr-Id": name,
        }
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        if self._secret is not None:
            headers["X-Nfbmr-Signature"] = signature(body, self._secret)
        request = urllib.request.Request(self.url, body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._seconds):
                return "delivered", ""
        except urllib.error.HTTPError as error:
            with error:
                refused = error.code in _OF_THE_ROW
                return "refused" if refused else "busy", f"answered {error.code}"
        except urllib.error.URLError as error:  # until it had the body
            broke = isinstance(error.reason, ConnectionResetError | BrokenPipeError)
            return "dropped" if broke else "nobody", _said(error.reason)
        except (OSError, http.client.HTTPException) as error:
            return "dropped", _said(error)


def _said(error: BaseException | str) -> str:
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


class Webhook:
    """Sends rows from a thread of its own; a context manager that waits for the last one."""

    def __init__(
        self, url: str, secret: str | None = None, *, outbox: Path, first_pause: float = 0.5
    ) -> None:
        """Starts the thread; what waits from the time before is sent first.

        Args:
            url: as for a `Post`.
            secret: likewise.
            outbox: a folder for what waits.
            first_pause: seconds; each pause is twice as long as the one before, a minute at most.

        Raises:
            SettingsError: the address is no http or https one.
            DataError: a link is in the place of the folder.
            OSError: the folder cannot be made.
        """
        self._post = Post(url, secret)
        self.outbox = Outbox(outbox)
        box = _Box(self.outbox, self._post.shown)
        self._courier = Courier("webhook", box, self._deliver, first_pause=first_pause)

    @property
    def url(self) -> str:
        """Where to, without user and password."""
        return self._post.url

    @property
    def lost(self) -> int:
        """Rows that the receiver refused; they stay in the outbox, by another name."""
        return self._courier.refused

    def send(self, row: dict[str, Any]) -> None:
        """Keeps a row, and sends it soon; one without an `id` gets one.

        Raises:
            OSError: it cannot be kept.
        """
        self.outbox.put({"id": uuid.uuid4().hex} | row)
        self._courier.call()

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
        self._courier.close(_LAST_SECONDS)
        left = len(self.outbox.waiting())
        if left:
            text = (
                f"webhook: {counted(left, 'row waits', 'rows wait')} in {self.outbox.folder} for "
                "the next start"
            )
            _log.warning("%s", printable(text))

    def _deliver(self, file: Path) -> tuple[Outcome, str]:
        try:
            body = self.outbox.read(file)
        except DataError as error:  # nobody signs what lies there by chance, or by a stranger
            return "refused", str(error)
        return self._post(body, self.outbox.id_of(file))


class _Box:
    """A folder as a courier sees it; says in the log what goes wrong."""

    def __init__(self, outbox: Outbox, address: str) -> None:
        self._outbox, self._address = outbox, address

    def waiting(self) -> list[Path]:
        return self._outbox.waiting()

    def take_away(self, file: Path) -> None:
        self._outbox.take_away(file)

    def set_aside(self, file: Path, why: str) -> None:
        self._outbox.set_aside(file)
        text = f"webhook: {file.name} was not delivered: {why}; it is kept as .refused"
        _log.warning("%s", printable(text))

    def in_trouble(self, why: str) -> None:
        text = f"webhook: {self._address} takes no rows ({why}); they wait in {self._outbox.folder}"
        _log.warning("%s", printable(text))
