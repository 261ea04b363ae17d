"""From pictures and a plan to a finished model in memory: the part that every fit shares."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nfbmr.data.images import fingerprint
from nfbmr.data.layouts import DataSet, Sample, find_duplicates
from nfbmr.data.tiles import Tiling
from nfbmr.features.compute import FeatureCache, build_features
from nfbmr.learning.plan import Plan
from nfbmr.learning.stages import (
    Trained,
    TrainingData,
    calibration_maps,
    split_held_out,
    train,
)
from nfbmr.model.bundle import Bundle
from nfbmr.model.facts import Facts
from nfbmr.networks.detector import Detector
from nfbmr.networks.protocol import FeatureSource
from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.weights import load_weights
from nfbmr.scoring.calibration import calibrate
from nfbmr.settings.schema import Settings
from nfbmr.system import provenance
from nfbmr.system.progress import Progress, silent

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a fit is done, besides its pictures."""

    settings: Settings
    work: Path
    """Where the checkpoints lie; fits that share it share what their settings have in common."""
    device: torch.device
    cache: FeatureCache
    progress: Progress = silent
    checkpoint_seconds: float = 10.0
    """At most this much work is lost to a kill."""


def learn(
    name: str,
    good: list[Sample],
    plan: Plan,
    job: Job,
    source: tuple[FeatureSource, str] | None = None,
) -> Bundle:
    """Everything between the pictures and the finished model in memory.

    Args:
        name: of the product.
        good: pictures to learn from, none of them twice.
        plan: for these pictures and settings.
        job: how.
        source: SNN, and where its weights came from; by default that of the settings. Of one that
            is no network of torch, the bundle holds no tensors.

    Raises:
        ImageError, WeightsError, TrainingError: as `fit`.
    """
    started = time.monotonic()
    network, weights = source or source_network(job.settings)
    store = build_features(
        [sample.path for sample in good],
        network,
        plan.size,
        cache=job.cache,
        tiling=plan.tiling,
        progress=lambda done, total: job.progress("features", done, total),
        device=job.device,
    )
    train_indices, held_out = split_held_out(len(good), plan.n_held_out, job.settings.seed)
    features = TrainingData(
        store=store,
        train=_entries(train_indices, plan.tiling),
        held_out=_entries(held_out, plan.tiling),
        tiling=plan.tiling,
    )
    detector = Detector(network, job.settings, plan.size)
    hashes = [fingerprint(sample.path) for sample in good]
    origin = _Origin(
        name=name,
        weights=weights,
        trained_on=tuple(hashes[i] for i in train_indices),
        held_out=tuple(hashes[i] for i in held_out),
    )
    before = time.monotonic() - started
    trained = train(
        detector,
        features,
        job.settings,
        work=job.work,
        device=job.device,
        progress=job.progress,
        checkpoint_seconds=job.checkpoint_seconds,
    )
    return _bundle(detector, features, job.settings, plan, trained, origin, before)


def _entries(pictures: NDArray[np.int64], tiling: Tiling | None) -> NDArray[np.int64]:
    """Returns the entries of the store that belong to pictures."""
    if tiling is None:
        return pictures
    count = len(tiling.corners)
    return (pictures[:, None] * count + np.arange(count)).reshape(-1)


@dataclass(frozen=True, kw_only=True)
class _Origin:
    name: str
    weights: str
    trained_on: tuple[str, ...]
    held_out: tuple[str, ...]


def without_copies(data: DataSet) -> list[Sample]:
    """Returns the good training samples, one of each content.

    A copy on both sides of the held-out split would make the calibration believe in itself.
    """
    good = list(data.train_good)
    copies = [sample for group in find_duplicates(good) for sample in group[1:]]
    if copies:
        names = ", ".join(str(sample.path.name) for sample in copies[:5])
        _log.warning("%d pictures are copies of others and are left out: %s", len(copies), names)
    left_out = {sample.path for sample in copies}
    return [sample for sample in good if sample.path not in left_out]


def source_network(settings: Settings) -> tuple[SourceNetwork, str]:
    """Builds SNN and fills it; returns it and where its weights came from.

    Raises:
        WeightsError: the weights cannot be reached or do not fit.
    """
    network = SourceNetwork.of(settings.backbone)
    return network, load_weights(network, settings.backbone.weights)


def _bundle(
    detector: Detector,
    features: TrainingData,
    settings: Settings,
    plan: Plan,
    trained: Trained,
    origin: _Origin,
    before: float,
) -> Bundle:
    started = time.monotonic()
    rate = settings.calibration.false_alarm_rate
    device = detector.standardisation.mean.device
    maps = calibration_maps(detector, features, device)
    calibration = calibrate(maps, settings.scoring, rate)
    tensors = {k: v.detach().cpu().numpy() for k, v in detector.state_dict().items()}
    facts = Facts(
        name=origin.name,
        size=plan.size,
        whole=None if plan.tiling is None else plan.tiling.whole,
        weights=origin.weights,
        trained_on=origin.trained_on,
        held_out=origin.held_out,
        n_train=len(origin.trained_on),
        n_held_out=len(origin.held_out),
        fit_seconds=before + trained.seconds + time.monotonic() - started,
        created=provenance.now(),
        commit=provenance.commit(),
        versions=provenance.versions(),
        losses=trained.losses,
    )
    # A file's path says where it lay on the machine that learnt; the bundle carries the weights.
    backbone = replace(settings.backbone, weights=settings.backbone.weights_kind)
    settings = replace(settings, backbone=backbone)
    return Bundle(settings=settings, facts=facts, calibration=calibration, tensors=tensors)
