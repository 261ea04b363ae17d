"""From pictures and a plan to a finished model in memory: the part that every fit shares."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput
from nfbmr.data.layouts import Sample
from nfbmr.data.pose import Pose
from nfbmr.data.survey import Survey, Surveyed, survey
from nfbmr.data.tiles import CELL, Tiling
from nfbmr.errors import SettingsError
from nfbmr.features.compute import FeatureCache
from nfbmr.inspection.decoding import decode
from nfbmr.learning.crew import HERE, Helpers
from nfbmr.learning.examples import examples_of
from nfbmr.learning.folds import FOLDS, are_few, maps_by_others
from nfbmr.learning.maps import calibration_maps
from nfbmr.learning.plan import Plan
from nfbmr.learning.pose import pose_of
from nfbmr.learning.stages import split_held_out
from nfbmr.learning.training_data import TrainingData
from nfbmr.learning.unlike import say_oddest, with_oddest
from nfbmr.model.bundle import Bundle
from nfbmr.model.facts import Facts
from nfbmr.networks.detector import Detector
from nfbmr.networks.protocol import FeatureSource
from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.weights import load_weights
from nfbmr.scoring.calibrate import Known, calibrate, with_looks
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.looks import OF_PIXELS, joined
from nfbmr.scoring.order import order_in_words
from nfbmr.settings.schema import Settings
from nfbmr.system import provenance
from nfbmr.system.progress import Progress, silent

_log = logging.getLogger(__name__)

_THREADS = 2

_Split = tuple[NDArray[np.int64], NDArray[np.int64]]  # which pictures train, which are held out


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
    """Pause between two checkpoints, at least; what a kill loses."""
    helpers: Helpers = HERE
    """Who computes features, and who trains."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a fit is given, instead of finding it."""

    network: FeatureSource
    """SNN. Of one that is no network of torch, the bundle holds no tensors."""
    weights: str
    """Where they came from."""
    pose: Pose | None
    """What pictures are turned to."""


def look_over(
    name: str,
    good: Iterable[Sample | ImageInput],
    progress: Progress = silent,
    *,
    white: int | None = None,
) -> Survey:
    """Surveys good pictures, and warns of what is left out of them; see `survey`.

    Raises:
        ImageError: some cannot be read.
    """
    found = survey(name, good, progress, white=white)
    for warning in found.warnings:
        _log.warning("%s", warning)
    return found


def learn(good: Survey, plan: Plan, job: Job, given: Given | None = None) -> Bundle:
    """Everything between the pictures and the finished model in memory.

    Args:
        good: pictures to learn from.
        plan: for these pictures and settings.
        job: how.
        given: SNN and pose of an earlier fit; by default those of settings and pictures.

    Raises:
        ImageError, WeightsError, TrainingError: as `fit`.
        SettingsError: something is to be ignored of pictures that have to be turned.
    """
    started = time.monotonic()
    split = _split(plan, len(good.pictures), job.settings.seed)
    given = given or _found(good.pictures, plan, split, job)
    features = _features(good.pictures, given, plan, split, job)
    detector = Detector(given.network, job.settings, plan.size)
    before = good.seconds + time.monotonic() - started
    trained = job.helpers.train(
        detector,
        features,
        job.settings,
        work=job.work,
        device=job.device,
        progress=job.progress,
        checkpoint_seconds=job.checkpoint_seconds,
    )
    started = time.monotonic()
    maps = _calibration_maps(detector, features, plan, job)
    calibration = _calibration(detector, good, features, (plan, split), (maps, job.settings))
    tensors = {k: v.detach().cpu().numpy() for k, v in detector.state_dict().items()}
    examples = examples_of(
        [good.pictures[i].picture for i in split[0]],
        job.settings.examples,
        plan.size if plan.tiling is None else plan.tiling.whole,
        job.settings.data,
        given.pose,
    )
    bundle = Bundle(
        settings=_portable(job.settings),
        facts=_facts(good, split, plan, given.weights, trained.losses),
        calibration=calibration,
        tensors=tensors,
        examples=examples,
        pose=given.pose,
        ignore=plan.ignore,
    )
    calibration = _with_looks(bundle, {one.pixel_hash: one.picture for one in good.pictures})
    seconds = before + trained.seconds + time.monotonic() - started
    facts = bundle.facts.model_copy(update={"fit_seconds": seconds})
    return replace(bundle, calibration=calibration, facts=facts)


def _with_looks(bundle: Bundle, pictures: Mapping[str, ImageInput]) -> Calibration:
    """Reads the pictures that calibrate as an inspection does, to know how bright they are."""
    calibration = bundle.calibration
    came = [calibration.pictures[i] for i in np.argsort(calibration.places)]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="nfbmr-looks") as pool:
        looks = list(pool.map(lambda name: decode(pictures[name], bundle).about.looks, came))
    found = with_looks(calibration, joined(looks, OF_PIXELS))
    for sentence in order_in_words(found):
        _log.info("%s", sentence)
    return found


def _calibration_maps(
    detector: Detector, features: TrainingData, plan: Plan, job: Job
) -> NDArray[np.float32]:
    """Returns the raw maps of what calibrates; of few pictures by models of the others."""
    _log.info("Setting the threshold")
    if not _are_folded(features, job.settings):
        return calibration_maps(detector, features, detector.standardisation.mean.device)

    def learns(part: TrainingData, work: Path, progress: Progress) -> Detector:
        one = Detector(detector.source, job.settings, plan.size)
        job.helpers.train(
            one,
            part,
            job.settings,
            work=work,
            device=job.device,
            progress=progress,
            checkpoint_seconds=job.checkpoint_seconds,
        )
        return one

    def maps_of(one: Detector, part: TrainingData) -> NDArray[np.float32]:
        return calibration_maps(one, part, one.standardisation.mean.device)

    return maps_by_others(features, job.settings.seed, job.work, learns, maps_of, job.progress)


def _are_folded(features: TrainingData, settings: Settings) -> bool:
    return are_few(features, settings.calibration.folded_below)


def _calibration(
    detector: Detector,
    good: Survey,
    features: TrainingData,
    planned: tuple[Plan, _Split],
    judged: tuple[NDArray[np.float32], Settings],
) -> Calibration:
    """Calibrates by those that are held out, by everyone, or as is in force."""
    (plan, split), (maps, settings) = planned, judged
    tiles = 1 if features.tiling is None else len(features.tiling.corners)
    calibrating, known = np.unique(features.calibrating // tiles), None
    if features.judges_without_itself:
        known = Known(
            learnt=len(features.learnt),
            own=detector.own_weights(),
            trained=np.isin(calibrating, split[0]),
            folds=FOLDS if _are_folded(features, settings) else 0,
        )
    found = calibrate(
        maps,
        settings.scoring,
        settings.calibration.false_alarm_rate,
        [good.pictures[i].pixel_hash for i in calibrating],
        look_rate=settings.calibration.look_rate,
        known=known,
        ignored=() if plan.in_force is None else plan.in_force.ignored,
        names=[good.pictures[i].name for i in calibrating],
    )
    if plan.in_force is not None:
        found = replace(found, chosen=plan.in_force.chosen)
    found = with_oddest(found, detector, good, features, settings.scoring)
    say_oddest(found, settings.scoring)
    return found


def _split(plan: Plan, n: int, seed: int) -> _Split:
    if plan.held_out is None:
        return split_held_out(n, plan.n_held_out, seed)
    held_out = np.array(plan.held_out, np.int64)
    new = () if plan.in_force is None else plan.in_force.new
    return np.setdiff1d(np.arange(n), [*plan.held_out, *new]), held_out


def _found(good: Sequence[Surveyed], plan: Plan, split: _Split, job: Job) -> Given:
    """Builds SNN, and learns the pose of what trains: held-out pictures are new to it, too."""
    network, weights = source_network(job.settings)
    if plan.tiling is not None and CELL % network.stride:
        raise SettingsError(
            f"tiles: the grid of '{network.name}' has a position every {network.stride} pixels; "
            f"expected a stride that divides {CELL}, where tiles begin. Choose another network or "
            "stage (backbone.name, backbone.stages), or fit without tiles"
        )
    pose = None
    if job.settings.pose == "auto" and plan.tiling is None:
        pose = pose_of([good[i] for i in split[0]], plan.size, job.progress, job.settings.data)
    if pose is not None and plan.ignore is not None:
        raise SettingsError(
            "ignore: the good pictures show parts that lie turned, so each is turned to one pose, "
            "and what a mask marks would turn with it; expected parts in one pose. Where they "
            "need no turning, add --set pose=off; else go without the mask"
        )
    return Given(network=network, weights=weights, pose=pose)


def _features(
    good: Sequence[Surveyed], given: Given, plan: Plan, split: _Split, job: Job
) -> TrainingData:
    store = job.helpers.build_features(
        [(one.picture, one.fingerprint) for one in good],
        given.network,
        plan.size,
        cache=job.cache,
        tiling=plan.tiling,
        how=job.settings.data,
        pose=given.pose,
        ignore=plan.ignore,
        progress=lambda done, total: job.progress("features", done, total),
        device=job.device,
    )
    train_entries, held_out_entries = (_entries(part, plan.tiling) for part in split)
    chosen = None if plan.in_force is None else plan.in_force.calibrating
    return TrainingData(
        store=store,
        train=train_entries,
        held_out=held_out_entries,
        everyone=plan.everyone,
        chosen=None if chosen is None else _entries(np.array(chosen, np.int64), plan.tiling),
        most_calibrating=plan.most_calibrating,
        tiling=plan.tiling,
    )


def _entries(pictures: NDArray[np.int64], tiling: Tiling | None) -> NDArray[np.int64]:
    """Returns the entries of the store that belong to pictures."""
    if tiling is None:
        return pictures
    count = len(tiling.corners)
    return (pictures[:, None] * count + np.arange(count)).reshape(-1)


def source_network(settings: Settings) -> tuple[SourceNetwork, str]:
    """Builds SNN and fills it; returns it and where its weights came from.

    Raises:
        WeightsError: the weights cannot be reached or do not fit.
    """
    network = SourceNetwork.of(settings.backbone)
    return network, load_weights(network, settings.backbone.weights)


def _facts(
    good: Survey,
    split: _Split,
    plan: Plan,
    weights: str,
    losses: dict[str, float],
) -> Facts:
    trained_on, held_out = (tuple(good.pictures[i].fingerprint for i in part) for part in split)
    pixels = [tuple(good.pictures[i].pixel_hash for i in part) for part in split]
    return Facts(
        name=good.name,
        size=plan.size,
        whole=None if plan.tiling is None else plan.tiling.whole,
        weights=weights,
        trained_on=trained_on,
        held_out=held_out,
        trained_pixels=pixels[0],
        held_out_pixels=pixels[1],
        labelled=good.is_labelled,
        depth=max((one.depth for one in good.pictures), default=None),
        highest=max((one.highest for one in good.pictures), default=None),
        ratio=float(np.median([one.size[0] / one.size[1] for one in good.pictures])),
        n_train=len(trained_on),
        n_held_out=len(held_out),
        fit_seconds=0.0,  # until all is done
        created=provenance.now(),
        commit=provenance.commit(),
        versions=provenance.versions(),
        losses=losses,
    )


def _portable(settings: Settings) -> Settings:
    # A file's path says where it lay on the machine that learnt; the bundle carries the weights.
    backbone = replace(settings.backbone, weights=settings.backbone.weights_kind)
    return replace(settings, backbone=backbone)
