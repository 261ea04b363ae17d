"""The station: settings to all that a request needs, opened once and closed at the end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import metadata
from types import TracebackType
from typing import Any

from nfbmr.errors import StationError
from nfbmr.station.audit import Change
from nfbmr.station.auth import Sessions, Token, Tokens
from nfbmr.station.engine.gate import Gate
from nfbmr.station.engine.pool import Judges, Loaded, Pool
from nfbmr.station.outputs.outbox import Outputs
from nfbmr.station.services.changes import Changes
from nfbmr.station.services.drift import Drift
from nfbmr.station.services.folders import claim_learning, claim_pictures
from nfbmr.station.services.jobs import Jobs
from nfbmr.station.services.judge import Judge
from nfbmr.station.services.learn import Learn, made_line_folder
from nfbmr.station.services.learner import Learner
from nfbmr.station.services.live import Live
from nfbmr.station.services.recalibrate import Recalibration
from nfbmr.station.services.retention import Retention
from nfbmr.station.services.threshold import Thresholds
from nfbmr.station.services.versions import Line, prune
from nfbmr.station.settings import MEGABYTE, StationSettings
from nfbmr.station.sources.all import Sources
from nfbmr.station.store import noticed, queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.pictures import Pictures
from nfbmr.station.store.versions import VERSIONS, Versions

_log = logging.getLogger(__name__)


class Station:
    """What is open while the station runs; a context manager that closes it."""

    def __init__(self, settings: StationSettings, judges: Judges | None = None) -> None:
        """Opens the database, loads the models, starts the threads.

        Args:
            settings: what it is started with.
            judges: gives what judges in a model's place, such as workers on other machines.

        Raises:
            StationError: the database, the tokens, or the folder of pictures or of learning cannot
                be used, as where that is another database's; or it is to listen to other machines,
                and there are no tokens.
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
            self.pictures.refuse_unwritable()
            self.versions = Versions(settings.pictures / VERSIONS)
            claim_pictures(self.store, self.pictures, self.versions)
            claim_learning(self.store, settings.learning_folder)
            self.unkept: dict[str, str] = {}
            """Models on the line that are not kept as versions, and why."""
            self.sessions = Sessions(self.store.secret)
            self.pool = Pool(
                settings.models,
                made_line_folder(settings),
                runtime=settings.runtime,
                batch=settings.batch,
                heard=self._model_loaded,
                left=self._model_left,
                judges=judges,
            )
            opened.callback(self.pool.close)
            there = [one.name for one in self.pool.all()]
            self.store.write(noticed.models_are, there, self.pool.troubles).result()
            if self.tokens is not None:
                self.tokens.tell(self._tokens_are)
            most_bytes = int(settings.waiting_megabytes * MEGABYTE)
            self.arriving = Gate(sys.maxsize, most_bytes)
            self._serve(opened, settings)
            self._opened = opened.pop_all()

    def _serve(self, opened: ExitStack, settings: StationSettings) -> None:
        """Opens what answers people and machines, and what works beside it."""
        gate = Gate(settings.waiting, int(settings.waiting_megabytes * MEGABYTE))
        self.live = Live(self.store)
        self.outputs = Outputs(settings, self.store, self.live.touch)
        opened.callback(self.outputs.close)
        told = self.outputs.call
        self.judge = Judge(settings, self.pool, self.store, self.pictures, gate, told)
        changes = Changes(self.store, self.pool)
        for loaded in self.pool.all():
            changes.reconcile(loaded)
        self.jobs = Jobs()
        opened.callback(self.jobs.close)
        self.thresholds = Thresholds(self.store, self.pool, changes)
        self.line = Line(self.store, self.pool, self.pictures, self.versions, changes, self.jobs)
        self.recalibration = Recalibration(self.store, self.pictures, self.thresholds, self.jobs)
        self.learner = Learner(self.store, settings.learning_folder, settings.learning_days)
        opened.callback(self.learner.close)
        self.learn = Learn(settings, self.store, self.pool, self.learner)
        self.learn.reconcile()
        self.drift = Drift(self.store, self.pool)
        opened.callback(self.drift.close)
        retention = Retention(settings, self.store, self.pictures, self._tidied)
        opened.callback(retention.close)
        sources = Sources(
            settings, self.pool, self.judge, self.store, self.pictures, self.live.touch
        )
        opened.callback(sources.close)
        self.sources = sources
        self.store.write(noticed.started, self._settings_said()).result()

    def _settings_said(self) -> dict[str, Any]:
        """Returns what an event says of what the station is started with, without secrets."""
        outputs = self.outputs.states()
        return self.settings.said() | {
            "version": metadata.version("nfbmr"),
            "database": self.store.shown,
            "sources": {one.name: one.address for one in self.sources.states(last=False)},
            "told": {one.name: one.address for one in outputs if one.tells != "nothing"},
        }

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

    def _tidied(self) -> None:
        """Gives up messages and versions that are too old, or too many."""
        self.outputs.trim()
        prune(self.settings, self.store, self.pool, self.versions)

    def _model_left(self, loaded: Loaded) -> None:
        """Has an event say so."""
        why = "its directory is gone from the folder of models"
        self.store.write(noticed.model_left, loaded.name, why).result()

    def _tokens_are(self, tokens: Sequence[Token]) -> None:
        """Has events say whose tokens hold; a token itself is known by some of its hash."""
        said = {one.name: {"scope": one.scope, "sha256": one.hash[:12]} for one in tokens}
        self.store.write(noticed.tokens_are, said, str(self.settings.token_file)).result()

    def _model_loaded(self, loaded: Loaded) -> None:
        """Keeps it and its calibration before it judges, and an event where it is another."""
        what = {
            "path": str(loaded.path),
            "bundle": loaded.bundle,
            "calibration": loaded.calibration,
            "runtime": loaded.runtime,
        }
        change = Change(kind="model", subject=loaded.name, actor="station", new=what)
        text = loaded.calibration_text
        self.store.write(queries.model_loaded, change, loaded.calibration, text).result()
        self.unkept.pop(loaded.name, None)
        try:
            self.versions.keep(loaded.path, loaded.bundle, loaded.inspector.identity)
        except StationError as error:  # it judges all the same
            _log.warning("%s", error)
            self.unkept[loaded.name] = str(error)
