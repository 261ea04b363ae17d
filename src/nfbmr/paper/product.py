"""One category of the paper's experiments: its pictures, and what its systems and seeds share.

Features are computed once, whatever number of systems and seeds read them; what that took is
measured and counted into every system's time to fit. The flow is trained once a seed.

Shapes: N = test pictures, K = raw maps, H W = the system's grid.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, image_size
from nfbmr.data.layouts import DataSet, Sample
from nfbmr.data.survey import Survey, looked_at
from nfbmr.errors import ImageError
from nfbmr.features.cache import FeatureCache
from nfbmr.features.compute import build_features
from nfbmr.features.store import FeatureStore
from nfbmr.inspection.inspector import Inspector
from nfbmr.learning.learn import Job, learn, look_over, source_network
from nfbmr.learning.maps import feature_maps
from nfbmr.learning.plan import Plan, plan_fit
from nfbmr.learning.stage import Optimiser
from nfbmr.learning.stages import split_held_out
from nfbmr.model.bundle import Bundle
from nfbmr.model.facts import Facts
from nfbmr.networks.source import SourceNetwork
from nfbmr.paper.pairs import LevelData, Pair, PairRuntime, pair_maps, train_pair
from nfbmr.paper.systems import BackboneName, System, pair_size
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.calibrate import calibrate
from nfbmr.scoring.maps import Maps
from nfbmr.settings.schema import DataSettings, ScoringSettings, Settings
from nfbmr.system import provenance
from nfbmr.system.files import written_beside
from nfbmr.system.progress import Progress, silent
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

_NAMED = 5  # copies
_CACHE_LIMIT = 2**50  # it is deleted with the category; a limit would compute features twice


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """A system that has learnt one category."""

    inspector: Inspector
    maps: Maps
    """Of the test pictures, (N, K, H, W)."""
    fit_seconds: float
    """Of this system alone: features, and all stages that it needs."""
    weights: str
    """Where the frozen networks' weights came from."""


class Product:
    """One category; `close` deletes its features and checkpoints."""

    def __init__(
        self,
        found: DataSet,
        backbone: BackboneName,
        work: Path,
        device: torch.device,
        progress: Progress = silent,
        *,
        white: int | None = None,
    ) -> None:
        """Takes a data set; nothing is computed yet.

        Args:
            found: with good training pictures and a test.
            backbone: of the systems to come.
            work: a folder of this category's own.
            device: where to compute.
            progress: hears each step.
            white: as the systems' settings have it.
        """
        self.name = found.name
        self.found = found
        self.test: Sequence[Sample] = found.test
        self.backbone = backbone
        self.work = work
        self.device = device
        self.progress = progress
        self.white = white
        self._cache = FeatureCache(work / "cache", _CACHE_LIMIT)
        self._sizes: list[tuple[int, int]] | None = None
        # Settings, the scoring apart; what was learnt with them, and its SNN.
        self._last: tuple[Settings, Learnt, SourceNetwork] | None = None

    def close(self) -> None:
        """Deletes what the systems shared."""
        shutil.rmtree(self.work, ignore_errors=True)

    @cached_property
    def good(self) -> Survey:
        """The good training pictures.

        Raises:
            ImageError: some cannot be read.
        """
        return look_over(self.name, self.found.train_good, self.progress, white=self.white)

    @property
    def test_sizes(self) -> list[tuple[int, int]]:
        """(H, W) of every test picture, from its header."""
        if self._sizes is None:
            self._sizes = [image_size(sample.path) for sample in self.test]
        return self._sizes

    def learn(self, system: System) -> Learnt:
        """Fits a system and passes the test pictures through it.

        Raises:
            NfbmrError: as `nfbmr.fit`.
        """
        plan = plan_fit(self.good, system.settings)
        if system.pair is None:
            return self._learn_flow(system, plan)
        return self._learn_pair(system, plan)

    def _learn_flow(self, system: System, plan: Plan) -> Learnt:
        # Any scoring that every kind of mapping can have.
        unscored = replace(system.settings, scoring=ScoringSettings(maps=("likelihood",)))
        if self._last is not None and self._last[0] == unscored:
            return self._scored_anew(system, plan, *self._last[1:])
        network, weights = source_network(system.settings)
        seconds = self._features(network, plan.size, self._seen, system.settings.data)[1]
        test, _ = self._features(network, plan.size, self._unseen, system.settings.data)
        job = Job(
            settings=system.settings,
            work=self._work(system),
            device=self.device,
            cache=self._cache,
            progress=self.progress,
        )
        bundle = learn(self.good, plan, job)
        runtime = TorchRuntime(bundle, str(self.device))
        learnt = Learnt(
            inspector=Inspector(bundle, runtime),
            maps=feature_maps(runtime.detector, test, np.arange(len(test)), self.device),
            fit_seconds=seconds + bundle.facts.fit_seconds,
            weights=weights,
        )
        self._last = unscored, learnt, network
        return learnt

    def _scored_anew(
        self, system: System, plan: Plan, learnt: Learnt, network: SourceNetwork
    ) -> Learnt:
        """The same network with another score: nothing but the calibration is new."""
        runtime, facts = learnt.inspector.runtime, learnt.inspector.facts
        assert isinstance(runtime, TorchRuntime)
        store, _ = self._features(network, plan.size, self._seen, system.settings.data)
        train, held_out = self._split(plan, system.settings)
        calibrating = held_out if len(held_out) else train
        names = [self.good.pictures[i].pixel_hash for i in calibrating]
        maps = feature_maps(runtime.detector, store, calibrating, self.device)
        how = system.settings.calibration
        bundle = Bundle(
            settings=replace(learnt.inspector.settings, scoring=system.settings.scoring),
            facts=facts,
            calibration=calibrate(
                maps,
                system.settings.scoring,
                how.false_alarm_rate,
                names,
                look_rate=how.look_rate,
            ),
            tensors={},
        )
        return replace(learnt, inspector=Inspector(bundle, runtime))

    def _learn_pair(self, system: System, plan: Plan) -> Learnt:
        assert system.pair is not None
        settings = system.settings
        size = pair_size(self.backbone, plan.size)
        pair = Pair(system.pair, settings.seed)
        weights = pair.load()
        good, test, seconds = [], [], self.good.seconds
        for level in system.pair.levels:
            source, target = pair.networks(level)
            stores = [
                self._features(network, size, self._seen, settings.data)
                for network in (source, target)
            ]
            seconds += sum(spent for _, spent in stores)
            good.append(LevelData(source=stores[0][0], target=stores[1][0]))
            others = [
                self._features(network, size, self._unseen, settings.data)[0]
                for network in (source, target)
            ]
            test.append(LevelData(source=others[0], target=others[1]))
        train, held_out = self._split(plan, settings)
        optimiser = Optimiser(work=self._work(system), device=self.device, progress=self.progress)
        seconds += train_pair(pair, good, train, settings.seed, optimiser)
        started = time.monotonic()
        maps = pair_maps(pair, good, held_out if len(held_out) else train, self.device)
        how = settings.calibration
        calibration = calibrate(
            maps, settings.scoring, how.false_alarm_rate, look_rate=how.look_rate
        )
        seconds += time.monotonic() - started
        facts = _facts(self.name, replace(plan, size=size), weights, seconds)
        bundle = Bundle(settings=settings, facts=facts, calibration=calibration, tensors={})
        return Learnt(
            inspector=Inspector(bundle, PairRuntime(pair, self.device)),
            maps=pair_maps(pair, test, np.arange(len(self.test)), self.device),
            fit_seconds=seconds,
            weights=weights,
        )

    def _work(self, system: System) -> Path:
        # A flow that learnt all pictures and one that left some out do not share checkpoints.
        part = "" if system.settings.calibration.held_out else "-all"
        return self.work / f"seed-{system.settings.seed}{part}"

    def _split(self, plan: Plan, settings: Settings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the indices that train and those held out, of which there may be none."""
        return split_held_out(len(self.good.pictures), plan.n_held_out, settings.seed)

    @cached_property
    def _seen(self) -> list[tuple[ImageInput, str]]:
        return [(one.picture, one.fingerprint) for one in self.good.pictures]

    @cached_property
    def _unseen(self) -> list[tuple[ImageInput, str]]:
        """The test pictures; those that are copies of good ones to learn from are said and stay."""
        learnt = {one.pixel_hash for one in self.good.pictures}
        found, copies = [], []
        for one in looked_at(self.test, self.white):
            if isinstance(one, ImageError):
                raise one
            found.append((one.picture, one.fingerprint))
            if one.pixel_hash in learnt:
                copies.append(one.name)
        if copies:
            are = counted(len(found), "test picture is", "test pictures are")
            _log.warning(
                "%s: %d of %s also learnt from, kept, so that the figures flatter: %s",
                *(self.name, len(copies), are, ", ".join(copies[:_NAMED])),
            )
        return found

    def _features(
        self,
        network: SourceNetwork,
        size: tuple[int, int],
        pictures: Sequence[tuple[ImageInput, str]],
        how: DataSettings,
    ) -> tuple[FeatureStore, float]:
        """Returns y of pictures, and the seconds that computing it takes, now or before."""
        clock = _Clock(self.progress)
        store = build_features(
            pictures,
            network,
            size,
            cache=self._cache,
            how=how,
            progress=clock,
            device=self.device,
        )
        seconds = clock.seconds_per_image()
        file = self.work / "seconds_per_image.json"
        try:
            known = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):  # none yet, or cut off when the power was
            known = {}
        if seconds is not None and store.key not in known:
            known[store.key] = seconds
            with written_beside(file) as beside:
                beside.write_text(json.dumps(known), encoding="utf-8")
        return store, known.get(store.key, 0.0) * len(pictures)


class _Clock:
    """Times the computing of features; those that were there already say nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._seen: list[tuple[float, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self._seen.append((time.monotonic(), done))
        self._progress("features", done, total)

    def seconds_per_image(self) -> float | None:
        """From the first batch to the last; None where one call said that all was there."""
        if len(self._seen) < 2:
            return None
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (last - first) / (after - before)


def _facts(name: str, plan: Plan, weights: str, seconds: float) -> Facts:
    return Facts(
        name=name,
        size=plan.size,
        weights=weights,
        trained_on=(),
        held_out=(),
        n_train=plan.n_train,
        n_held_out=plan.n_held_out,
        fit_seconds=seconds,
        created=provenance.now(),
        commit=provenance.commit(),
        versions=provenance.versions(),
        losses={},
    )
