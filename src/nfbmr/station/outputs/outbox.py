"""The outputs that the station was started with, and what waits for each in the record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from nfbmr.errors import StationError
from nfbmr.inspection.courier import Courier, Outcome
from nfbmr.station.outputs.mqtt import Mqtt, broker_of
from nfbmr.station.outputs.secret import given_or_line_of
from nfbmr.station.outputs.webhook import Webhook
from nfbmr.station.settings import StationSettings
from nfbmr.station.store import outputs
from nfbmr.station.store.database import Store
from nfbmr.station.store.outputs import Message, OutputState, Wanted
from nfbmr.system.files import printable
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

_IDLE = 1.0  # seconds between two looks, for what others write
_LAST_SECONDS = 3.0  # for what waits when the station ends; the rest waits for the next start


class Receiver(Protocol):
    """A webhook or a broker."""

    address: str

    def deliver(self, message: Message) -> tuple[Outcome, str]:
        """Sends one; returns what came of it, and why."""
        ...

    def close(self) -> None:
        """Ends."""
        ...


class Outputs:
    """Tells others of what was recorded, from threads of its own."""

    def __init__(
        self,
        settings: StationSettings,
        store: Store,
        changed: Callable[[], object] = lambda: None,
        *,
        first_pause: float = 0.5,
    ) -> None:
        """Begins with what waits from before.

        Args:
            settings: which outputs.
            store: the record.
            changed: hears that an output fares otherwise than before.
            first_pause: seconds until what fails is tried again; doubled at each failure, a minute
                at most.

        Raises:
            SettingsError: an address is none.
            MissingExtraError: what speaks MQTT is not installed.
            StationError: the database does not answer.
        """
        self._settings, self._store, self._changed = settings, store, changed
        self._couriers: dict[str, Courier[Message]] = {}
        self.losses: dict[str, str] = {}
        """Outputs whose messages were given up and that nothing was delivered to since, and why."""
        with ExitStack() as opened:
            receivers = self._receivers(opened, first_pause)
            tells = settings.outputs
            wanted = [
                Wanted(name=name, tells=tells, address=receiver.address)
                for name, receiver in receivers.items()
            ]
            store.write(outputs.configure, wanted).result()
            for name, receiver in receivers.items():
                box = _Box(self, name)
                self._couriers[name] = Courier(
                    name, box, receiver.deliver, first_pause=first_pause, idle=_IDLE
                )
            self._opened = opened.pop_all()
        self.trim()

    def call(self) -> None:
        """Says that something may wait."""
        for courier in self._couriers.values():
            courier.call()

    def close(self) -> None:
        """Tries what waits once more; the rest waits for the next start."""
        for courier in self._couriers.values():
            courier.close(_LAST_SECONDS)
        self._opened.close()

    def states(self) -> list[OutputState]:
        """Returns how they fare.

        Raises:
            StationError: the database does not answer.
        """
        return self._store.read(outputs.states)

    def trim(self) -> None:
        """Gives up what is too much, or waits for too long."""
        most, days = self._settings.outbox_most, self._settings.outbox_days
        before = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="microseconds")
        gone = self._store.write(outputs.give_up, most, before).result()
        for name, count in gone.items():
            why = (
                f"{counted(count, 'message was', 'messages were')} given up: more than {most} "
                f"waited, or {counted(days, 'day')} long"
            )
            _log.error("%s: %s", name, why)
            self.losses[name] = why
            self._changed()

    def waiting(self, name: str) -> Sequence[Message]:
        """Returns what waits for an output, the oldest first."""
        return self._store.read(outputs.waiting, name)

    def note(self, change: Callable[..., None], *words: Any) -> Future[None]:
        """Writes down how an output fares, and says that it did."""
        written = self._store.write(change, *words)
        written.add_done_callback(lambda _: self._changed())
        return written

    def _receivers(self, opened: ExitStack, first_pause: float) -> dict[str, Receiver]:
        settings = self._settings
        found: dict[str, Receiver] = {}
        url = given_or_line_of(settings.webhook, settings.webhook_file, "--webhook-file")
        if url is not None:
            file = settings.webhook_secret_file
            secret = given_or_line_of(settings.webhook_secret, file, "--webhook-secret-file")
            found["webhook"] = Webhook(url, secret)
        if settings.mqtt is not None:
            broker = broker_of(settings.mqtt, settings.mqtt_login, settings.mqtt_ca)
            found["mqtt"] = Mqtt(broker, self._broker_heard, first_pause=first_pause)
        for receiver in found.values():
            opened.callback(receiver.close)
        return found

    def _broker_heard(self, why: str | None) -> None:
        try:
            if why is not None:
                self.note(outputs.failing, "mqtt", printable(why))
                return
            self.note(outputs.works, "mqtt")
        except StationError:  # the station is ending
            return
        if "mqtt" in self._couriers:
            self._couriers["mqtt"].try_again()


class _Box:
    """What waits for one output, as a courier sees it."""

    def __init__(self, all_of_them: Outputs, name: str) -> None:
        self._all, self._name = all_of_them, name

    def waiting(self) -> Sequence[Message]:
        return self._all.waiting(self._name)

    def take_away(self, message: Message) -> None:
        self._all.note(outputs.delivered, self._name, message.number).result()
        self._all.losses.pop(self._name, None)

    def set_aside(self, message: Message, why: str) -> None:
        said = printable(f"{message.topic}, {message.id}: set aside, {why}")
        _log.warning("%s: %s; it is tried again at the next start", self._name, said)
        self._all.note(outputs.refused, self._name, message.number, said).result()

    def in_trouble(self, why: str) -> None:
        _log.warning("%s: %s; messages wait in the record", self._name, printable(why))
        self._all.note(outputs.failing, self._name, printable(why)).result()
