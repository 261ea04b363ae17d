"""An output by HTTP: each message is the body of one POST, as `nfbmr watch` sends its rows."""

from __future__ import annotations

from nfbmr.inspection.courier import Outcome
from nfbmr.inspection.webhook import SECONDS, Post
from nfbmr.station.store.outputs import Message


class Webhook:
    """Sends messages to an address."""

    def __init__(self, url: str, secret: str | None, *, seconds: float = SECONDS) -> None:
        """Takes the address.

        Args:
            url: as for a `Post`.
            secret: likewise.
            seconds: likewise.

        Raises:
            SettingsError: it is no http or https one.
        """
        self._post = Post(url, secret, seconds=seconds)
        self.address = self._post.shown
        """To be shown: without what may be a secret."""

    def deliver(self, message: Message) -> tuple[Outcome, str]:
        """Sends one; returns what came of it, and why."""
        return self._post(message.body.encode(), message.id)

    def close(self) -> None:
        """Has nothing to end: each message has a connection of its own."""
