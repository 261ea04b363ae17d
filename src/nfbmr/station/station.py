"""The station: settings to all that a request needs, opened once and closed at the end."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from types import TracebackType

from nfbmr.errors import StationError
from nfbmr.station.audit import Change
from nfbmr.station.auth import Sessions, Tokens
from nfbmr.station.engine.gate import Gate
from nfbmr.station.engine.pool import Loaded, Pool
from nfbmr.station.services.drift import Drift
from nfbmr.station.services.judge import Judge
from nfbmr.station.services.live import Live
from nfbmr.station.services.retention import Retention
from nfbmr.station.services.threshold import Thresholds
from nfbmr.station.settings import MEGABYTE, StationSettings
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.pictures import Pictures


class Station:
    """What is open while the station runs; a context manager that closes it."""

    def __init__(self, settings: StationSettings) -> None:
        """Opens the database, loads the models, starts the threads.

        Raises:
            StationError: the database, the folder of pictures or the tokens cannot be used; or it
                is to listen to other machines, and there are no tokens.
            NfbmrError: a model cannot be loaded.
        """
        self.settings = settings
        self.tokens = None if settings.token_file is None else Tokens(settings.token_file)
        if self.tokens is None and not settings.local:
            raise StationError(
                f"host {settings.host}: other machines reach the station there, so tokens are "
                "demanded; make some with 'nfbmr token NAME --scope admin --token-file FILE', then "
                "start with --token-file FILE"
            )
        with ExitStack() as opened:
            self.store = Store(settings.database)
            opened.callback(self.store.close)
            self.pictures = Pictures(settings.pictures)
            self.sessions = Sessions(self.store.secret)
            self.pool = Pool(
                settings.models,
                settings.folder,
                runtime=settings.runtime,
                batch=settings.batch,
                heard=self._model_loaded,
            )
            opened.callback(self.pool.close)
            most_bytes = int(settings.waiting_megabytes * MEGABYTE)
            gate = Gate(settings.waiting, most_bytes)
            self.arriving = Gate(sys.maxsize, most_bytes)
            self.judge = Judge(settings, self.pool, self.store, self.pictures, gate)
            self.thresholds = Thresholds(self.store, self.pool)
            self.live = Live(self.store)
            self.drift = Drift(self.store, self.pool)
            opened.callback(self.drift.close)
            retention = Retention(settings, self.store, self.pictures)
            opened.callback(retention.close)
            self._opened = opened.pop_all()

    def __enter__(self) -> Station:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Judges and writes what was given, then ends the threads."""
        self._opened.close()

    def _model_loaded(self, loaded: Loaded) -> None:
        """Keeps its calibration before it judges, and an event where it is another than before."""
        what = {
            "path": str(loaded.path),
            "bundle": loaded.bundle,
            "calibration": loaded.calibration,
            "runtime": loaded.runtime,
        }
        change = Change(kind="model", subject=loaded.name, actor="station", new=what)
        text = loaded.calibration_text
        self.store.write(queries.model_loaded, change, loaded.calibration, text).result()
