"""The sources of pictures, by name: REST, and those that the station was started with."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nfbmr.errors import SettingsError, StationError
from nfbmr.station.engine.pool import Pool
from nfbmr.station.services.judge import Judge
from nfbmr.station.services.ready import troubles_of
from nfbmr.station.settings import MEGABYTE, StationSettings
from nfbmr.station.sources.camera import Camera, camera_of, shown_camera
from nfbmr.station.sources.folder import Folder
from nfbmr.station.sources.rest import ADDRESS, REST, Rest
from nfbmr.station.sources.source import Feed, Named, Source
from nfbmr.station.store import sources
from nfbmr.station.store.database import Store
from nfbmr.station.store.pictures import Pictures
from nfbmr.station.store.queries import Recorded

PAGE = "page"
"""What rows name as their source whose pictures came by *Inspect*."""
_LONGEST_NAME = 36  # and a number, within the record's 40 letters


class NoSuchSourceError(StationError):
    """The station was started with no source of this name."""


@dataclass(frozen=True, kw_only=True)
class Fares:
    """How a source fares."""

    name: str
    model: str
    address: str
    paused: bool
    failing: bool
    """Whether something hinders it now."""
    error: str
    """The last trouble; empty without any."""
    error_at: str | None
    last: Recorded | None
    """Its newest inspection, where it is asked for."""

    @property
    def alive(self) -> bool:
        """Whether pictures of it would be judged now."""
        return not self.paused and not self.failing


class Sources:
    """Watched folders, cameras, and REST."""

    def __init__(
        self,
        settings: StationSettings,
        pool: Pool,
        judge: Judge,
        store: Store,
        pictures: Pictures,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        """Starts them; who was paused stays so.

        Raises:
            SettingsError: one is not said as expected, or its model is not on the line.
            MissingExtraError: a camera is asked for, and OpenCV is not installed.
            StationError: the database does not answer.
        """
        self._store, self._pool = store, pool
        feeds = _feeds(settings)
        for named in feeds:
            if settings.folder is None and pool.get(named.model) is None:
                known = ", ".join(one.name for one in pool.all())
                raise SettingsError(
                    f"{named.name}: no model {named.model} is on the line; there: {known}"
                )
        wanted = [(named.name, named.model, named.address) for named in feeds]
        wanted.append((REST, "", ADDRESS))
        store.write(sources.configure, wanted).result()
        paused = {state.name for state in store.read(sources.states) if state.paused}
        self._all = {
            named.name: Source(named, feed, judge, store, changed, paused=named.name in paused)
            for named, feed in feeds.items()
        }
        self.rest = Rest(judge, store, pictures, changed, paused=REST in paused)

    def get(self, name: str) -> Source | Rest:
        """Returns a source.

        Raises:
            NoSuchSourceError: there is none of this name.
        """
        found = self.rest if name == REST else self._all.get(name)
        if found is None:
            raise NoSuchSourceError(f"no such source; there: {', '.join([*self._all, REST])}")
        return found

    def known(self) -> list[str]:
        """Returns what rows may name as their source: REST, the page, those of earlier starts, too.

        Raises:
            StationError: the database does not answer.
        """
        names = (state.name for state in self._store.read(sources.states))
        return [REST, PAGE, *(name for name in names if name != REST)]

    def states(self, *, last: bool = True) -> list[Fares]:
        """Returns how they fare, REST last.

        Args:
            last: with the newest inspection of each, which takes a question of its own.

        Raises:
            StationError: the database does not answer.
        """
        found = []
        states = self._store.read(sources.states)
        for state in sorted(states, key=lambda state: state.name == REST):
            source = self._all.get(state.name)
            if source is not None:
                silent = source.silent
                why = "" if silent is None else f"no sign of life for {silent:.0f} s"
            elif state.name == REST:
                why = "; ".join(troubles_of(self._store, self._pool))
            else:
                continue
            found.append(
                Fares(
                    name=state.name,
                    model=state.model,
                    address=state.address,
                    paused=state.paused,
                    failing=state.failing or bool(why),
                    error=why or state.error,
                    error_at=state.error_at,
                    last=self.last(state.name) if last else None,
                )
            )
        return found

    def last(self, source: str) -> Recorded | None:
        """Returns the newest inspection of a source, `rest` and `page` among them.

        Raises:
            StationError: the database does not answer.
        """
        return self._store.read(sources.last, source)

    def close(self) -> None:
        """Ends them, each after its picture in work."""
        for source in self._all.values():
            source.close()


def _feeds(settings: StationSettings) -> dict[Named, Feed]:
    found: dict[Named, Feed] = {}

    def add(kind: str, model: str, address: str, feed: Feed) -> None:
        first = f"{kind}-{model}"[:_LONGEST_NAME]
        taken = {named.name for named in found}
        name, number = first, 2
        while name in taken:
            name, number = f"{first}-{number}", number + 1
        found[Named(name=name, model=model, address=address)] = feed

    for said in settings.watch:
        model, where = _halves("watch", said)
        folder = Path(where)
        most = int(settings.most_megabytes * MEGABYTE)
        feed = Folder(folder, move=settings.watch_move, most_bytes=most)
        add("watch", model, str(folder.absolute()), feed)
    for said in settings.camera:
        model, where = _halves("camera", said)
        camera = Camera(camera_of(where), settings.camera_every)
        add("camera", model, camera.shown, camera)
    return found


def _halves(option: str, said: str) -> tuple[str, str]:
    model, sign, where = said.partition("=")
    if not sign or not where or not re.fullmatch(r"[A-Za-z0-9._-]+", model):
        example = "MODEL=FOLDER" if option == "watch" else "MODEL=0 or MODEL=rtsp://HOST/STREAM"
        # A log is no place for a password.
        shown = said if option == "watch" else shown_camera(said)
        raise SettingsError(f"--{option} {shown}: {example} was expected")
    return model, where
