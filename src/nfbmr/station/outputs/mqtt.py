"""An output by MQTT: one connection that is kept, and made anew, longer after each failure.

Below the topic that was asked for: `inspections/MODEL` and `events/KIND` with QoS 1, and
`availability`, retained, which says `online`, and `offline` once the station has gone.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nfbmr.errors import MissingExtraError, SettingsError
from nfbmr.inspection.courier import Outcome
from nfbmr.station.outputs.secret import given_or_line_of
from nfbmr.station.store.outputs import Message
from nfbmr.system.files import reason_of
from nfbmr.system.packages import how_to_install

if TYPE_CHECKING:
    import aiomqtt

LOGIN = "NFBMR_MQTT_LOGIN"
"""The environment's variable with `USER:PASSWORD`."""

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_SECONDS = 10.0  # for an answer of the broker
_LONGEST_PAUSE = 60.0  # seconds; a connection that lasted for longer, or took something, was good


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Where to, and how."""

    host: str
    port: int
    topic: str
    """Before all topics of the station, without a slash at its end."""
    tls: ssl.SSLContext | None
    login: tuple[str, str] | None

    @property
    def address(self) -> str:
        """To be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtt' if self.tls is None else 'mqtts'}://{host}:{self.port}/{self.topic}"


def broker_of(address: str, login: Path | None = None, ca: Path | None = None) -> Broker:
    """Reads an address, `mqtt://HOST/TOPIC` or `mqtts://HOST/TOPIC`.

    Args:
        address: as above, perhaps with a port.
        login: a file with `USER:PASSWORD`; without it the environment's `LOGIN` counts.
        ca: a file of certificates instead of the system's.

    Raises:
        SettingsError: it is no such address, or a file cannot be used.
    """
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        parts, port = urlsplit(""), 0
    topic = parts.path.strip("/")
    plain = topic.isprintable() and not any(letter in address for letter in "#+?")
    if not parts.hostname or not topic or not plain:
        shown = address.rpartition("@")[2]
        raise SettingsError(
            f"mqtt {shown}: mqtt://HOST/TOPIC or mqtts://HOST/TOPIC was expected, no + # ? in it"
        )
    if "@" in parts.netloc:
        raise SettingsError(
            f"mqtt://{parts.netloc.rpartition('@')[2]}: user and password do not belong on the "
            f"command line; write USER:PASSWORD into a file for --mqtt-login, or into {LOGIN}"
        )
    tls = _tls(ca) if parts.scheme == "mqtts" else None
    if ca is not None and tls is None:
        raise SettingsError("--mqtt-ca is for mqtts://HOST/TOPIC: mqtt:// has no TLS")
    return Broker(host=parts.hostname, port=port, topic=topic, tls=tls, login=_login(login))


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"--mqtt-ca {ca}: no certificates can be read ({reason_of(error)})"
        ) from None


def _login(file: Path | None) -> tuple[str, str] | None:
    option = "--mqtt-login"
    said = given_or_line_of(os.environ.get(LOGIN), file, option)
    if not said:
        return None
    user, colon, password = said.rstrip("\r\n").partition(":")
    if not colon or not user or "\n" in password:
        where = LOGIN if file is None else f"{option} {file}"
        raise SettingsError(f"{where}: one line USER:PASSWORD was expected")
    return user, password


class Mqtt:
    """A connection in a thread of its own."""

    def __init__(
        self, broker: Broker, heard: Callable[[str | None], object], *, first_pause: float = 0.5
    ) -> None:
        """Starts the thread.

        Args:
            broker: where to.
            heard: hears None whenever the connection stands, and why when it does not.
            first_pause: seconds; each pause is twice as long as the one before, a minute at most.

        Raises:
            MissingExtraError: aiomqtt is not installed.
        """
        try:
            import aiomqtt  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"{error.name} is not installed; it speaks MQTT; {how_to_install('mqtt')}"
            ) from None
        self._broker, self._heard, self._first_pause = broker, heard, first_pause
        self.address = broker.address
        self._client: aiomqtt.Client | None = None
        self._why = "no connection yet"
        self._took = False  # whether anything was taken over this connection
        self._ending = asyncio.Event()
        self._loop = asyncio.SelectorEventLoop()  # on Windows the usual one does not suffice
        self._thread = threading.Thread(target=self._work, name="nfbmr-broker", daemon=True)
        self._thread.start()

    def deliver(self, message: Message) -> tuple[Outcome, str]:
        """Publishes one, and waits until the broker has it; returns what came of it, and why."""
        from aiomqtt import MqttError

        client = self._client
        if client is None:
            return "nobody", self._why
        topic = f"{self._broker.topic}/{message.topic}"
        publishing = client.publish(topic, message.body, qos=1, timeout=_SECONDS)
        try:
            asyncio.run_coroutine_threadsafe(publishing, self._loop).result(2 * _SECONDS)
        except (MqttError, TimeoutError) as error:
            return "dropped", str(error) or "the broker does not answer"
        except ValueError as error:  # its topic or its size are none that MQTT has
            return "refused", str(error)
        self._took = True
        return "delivered", ""

    def close(self) -> None:
        """Says `offline`, and ends the connection."""
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(2 * _SECONDS)

    def _work(self) -> None:
        try:
            self._loop.run_until_complete(self._stay())
        finally:
            self._loop.close()

    async def _stay(self) -> None:
        """Keeps a connection until the end."""
        pause = self._first_pause
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                await self._connected()
            except Exception as error:  # whatever it was, the broker may be back later
                self._why = str(error) or type(error).__name__
                self._heard(self._why)
                if self._took or time.monotonic() - began > _LONGEST_PAUSE:
                    pause = self._first_pause
                self._took = False
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _connected(self) -> None:
        """Connects, and returns at the end.

        Raises:
            MqttError: there is no connection, or no more.
        """
        from aiomqtt import Client, Will

        where, available = self._broker, f"{self._broker.topic}/availability"
        user, password = where.login or (None, None)
        connecting = Client(
            where.host,
            where.port,
            username=user,
            password=password,
            tls_context=where.tls,
            identifier=f"nfbmr-{uuid.uuid4().hex[:16]}",
            will=Will(available, "offline", qos=1, retain=True),
            timeout=_SECONDS,
        )
        async with connecting as client:
            await client.publish(available, "online", qos=1, retain=True)
            self._client = client
            self._heard(None)
            try:
                await self._until_lost(client)
            finally:
                self._client = None
            await client.publish(available, "offline", qos=1, retain=True)

    async def _until_lost(self, client: aiomqtt.Client) -> None:
        async def listening() -> None:
            async for _ in client.messages:  # none come; it raises once the connection is lost
                pass

        lost = asyncio.create_task(listening())
        ending = asyncio.create_task(self._ending.wait())
        await asyncio.wait((lost, ending), return_when=asyncio.FIRST_COMPLETED)
        ended = lost.done()
        ending.cancel()
        lost.cancel()
        await asyncio.gather(lost, ending, return_exceptions=True)
        if ended and not lost.cancelled():
            lost.result()
