"""Who may do what: tokens in a file of the station's own, sessions of the page, and its forms.

A line of the file is `NAME SCOPE SHA256`, of a token that only its owner has. Scopes grow: whoever
may review may inspect, whoever is admin may do both. A session is a cookie that holds a token's
name and when it ends, signed with the database's secret: it outlives a restart, and dies with the
token's line.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from nfbmr.errors import StationError
from nfbmr.system.files import written_beside
from nfbmr.system.locks import locked_file

_log = logging.getLogger(__name__)

Scope = Literal["inspect", "review", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Each includes those before it."""

SESSION_SECONDS = 12 * 3600

_PATIENCE = 10.0  # seconds that another program may take to add a token
_NEVER = (-1, -1)  # time and size of a file that was not read yet

_LINE = re.compile(r"([A-Za-z0-9_-]{1,60}) (inspect|review|admin) ([0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who asks."""

    name: str
    scope: Scope
    session: str | None = None
    """The cookie, of whoever came by the page; None of whoever showed a token."""
    shown: bool = False
    """Whether a token came with the request itself."""

    def may(self, scope: Scope) -> bool:
        """Whether a scope is among this one's."""
        return SCOPES.index(scope) <= SCOPES.index(self.scope)


LOCAL = Actor(name="local", scope="admin")
"""Whoever is on this machine, where no tokens are demanded."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """One line of the file."""

    name: str
    scope: Scope
    hash: str
    """sha256 of the token."""


class Tokens:
    """The file of tokens, read again whenever it changes."""

    def __init__(self, path: Path) -> None:
        """Reads it.

        Raises:
            StationError: it is missing, or not such a file.
        """
        self._path = path
        self._lock = threading.Lock()
        self._stamp = _NEVER
        self._tokens: tuple[Token, ...] = ()
        self._heard: Callable[[tuple[Token, ...]], object] = lambda _: None
        self._told = self._now()

    def tell(self, heard: Callable[[tuple[Token, ...]], object]) -> None:
        """Tells somebody which tokens there are, now and whenever they are others.

        Args:
            heard: hears them; a StationError of later calls is logged, and they are told again.
        """
        self._heard, self._told = heard, self._now()
        heard(self._told)

    def of_secret(self, secret: str) -> Token | None:
        """Returns whose token this is; all are compared, each in constant time."""
        given, found = _hash(secret), None
        for token in self._current():
            if hmac.compare_digest(token.hash, given):
                found = token
        return found

    def of_name(self, name: str) -> Token | None:
        """Returns a token by its owner's name."""
        return next((token for token in self._current() if token.name == name), None)

    def _current(self) -> tuple[Token, ...]:
        found = self._now()
        if self._told is not found:
            try:
                self._heard(found)
                self._told = found
            except StationError as error:
                _log.warning("The tokens are others, and the record cannot say so: %s", error)
        return found

    def _now(self) -> tuple[Token, ...]:
        with self._lock:
            try:
                found = self._path.stat()
                stamp = (found.st_mtime_ns, found.st_size)
                if stamp != self._stamp:
                    self._tokens = self._read()
                    self._stamp = stamp
            except OSError as error:
                raise StationError(
                    f"the tokens in {self._path} cannot be read ({error.strerror}); make them with "
                    "'nfbmr token'"
                ) from None
            return self._tokens

    def _read(self) -> tuple[Token, ...]:
        """Reads them; where the file became another kind of file, those that were there hold."""
        try:
            return read_tokens(self._path)
        except StationError as error:
            if self._stamp == _NEVER:
                raise
            _log.warning("%s; the tokens that were read before stay in force", error)
            return self._tokens


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Reads a file of tokens.

    Raises:
        StationError: a line is none of ours, or two have one name, or it is no UTF-8.
        OSError: it cannot be read.
    """
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise StationError(
            f"{path}: found other bytes than UTF-8; let 'nfbmr token' write it"
        ) from None
    found: dict[str, Token] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match[1] in found:
            raise StationError(
                f"{path}, line {number}: 'NAME SCOPE SHA256' was expected, each name once; let "
                "'nfbmr token' write it"
            )
        scope = next(one for one in SCOPES if one == match[2])
        found[match[1]] = Token(name=match[1], scope=scope, hash=match[3])
    return tuple(found.values())


def new_token(
    path: Path, name: str, scope: Scope, show: Callable[[str], object] = lambda _: None
) -> str:
    """Adds a token to a file, which is made where it is absent.

    Args:
        path: the file.
        name: whose it is.
        scope: what it allows.
        show: hears the token; what it raises leaves the file as it was.

    Returns:
        The token, which is kept nowhere.

    Raises:
        StationError: the name is none, or has a token, or the file is not one of ours.
        OSError: it cannot be written.
    """
    secret = secrets.token_urlsafe(32)
    with _alone(path):
        known = read_tokens(path) if path.exists() else ()
        before = path.read_text("utf-8").splitlines() if path.exists() else []
        if any(token.name == name for token in known):
            raise StationError(
                f"'{name}' has a token in {path}; take its line out, or choose another name"
            )
        line = f"{name} {scope} {_hash(secret)}"
        if not _LINE.fullmatch(line):
            raise StationError(f"'{name}': letters, digits, - and _ were expected, 60 at most")
        with written_beside(path, mode=0o600) as beside:
            beside.write_text("\n".join([*before, line]) + "\n", encoding="utf-8")
            show(secret)
    return secret


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps other programs from adding a token at the same time.

    Raises:
        StationError: another program does so for long.
    """
    lock, until = path.with_name(f".{path.name}.lock"), time.monotonic() + _PATIENCE
    while True:
        with ExitStack() as held:
            try:
                free = held.enter_context(locked_file(lock))
            except OSError as error:
                raise StationError(
                    f"{path}: no tokens can be kept there ({error.strerror or error}); name "
                    "another file, or give this user the right to its folder"
                ) from None
            if free:
                held.callback(lock.unlink, missing_ok=True)
                yield
                return
        if time.monotonic() > until:
            raise StationError(f"{path} is being changed by another program; try again after it")
        time.sleep(0.02)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Sessions:
    """Cookies of the page, and what its changes have to show."""

    def __init__(self, secret: bytes) -> None:
        """Takes the database's secret."""
        self._secret = secret

    def cookie(self, token: Token) -> str:
        """Returns the cookie of a new session."""
        said = f"{token.name}.{int(time.time()) + SESSION_SECONDS}"
        return f"{said}.{self._signed('session', said, token.hash)}"

    def actor(self, cookie: str, tokens: Tokens) -> Actor | None:
        """Returns whose session a cookie is; None where it ended or was never one."""
        name, _, rest = cookie.partition(".")
        ends, _, signature = rest.partition(".")
        token = tokens.of_name(name)
        if token is None or not ends.isdecimal():
            return None
        expected = self._signed("session", f"{name}.{ends}", token.hash)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            return None
        if int(ends) < time.time():
            return None
        return Actor(name=token.name, scope=token.scope, session=cookie)

    def form_key(self, actor: Actor) -> str:
        """Returns what each change by the page has to bring, which other sites cannot know."""
        return self._signed("form", actor.session or actor.name)

    def is_form_key(self, actor: Actor, given: str) -> bool:
        """Whether a change brings it."""
        return hmac.compare_digest(self.form_key(actor).encode(), given.encode())

    def _signed(self, *parts: str) -> str:
        return hmac.new(self._secret, "\n".join(parts).encode(), hashlib.sha256).hexdigest()
