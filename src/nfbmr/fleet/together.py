"""One large product by many workers: its features spread over them, its training shared by them.

What they do lies in files that all see: features in the entries of a cache, each with its chunks
while it is computed; training in the checkpoints of the work folder. A worker that dies loses what
is not in them yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nfbmr.data.ignore import Ignored
from nfbmr.data.images import AS_STORED, ImageInput
from nfbmr.data.pose import Pose
from nfbmr.data.tiles import Tiling
from nfbmr.errors import FleetError, TrainingError
from nfbmr.features.cache import MOST_FILES
from nfbmr.features.chunks import CHUNK
from nfbmr.features.compute import FeatureCache, build_features, shelf_of
from nfbmr.features.store import FeatureStore
from nfbmr.fleet.group import Group
from nfbmr.fleet.local import RETRIES
from nfbmr.fleet.plan import Resources
from nfbmr.learning.checkpoint import Position, load_checkpoint, save_checkpoint
from nfbmr.learning.stages import Trained, train
from nfbmr.learning.training_data import TrainingData
from nfbmr.networks.detector import Detector
from nfbmr.networks.protocol import FeatureSource
from nfbmr.networks.sums import Sums
from nfbmr.settings.schema import DataSettings, Settings
from nfbmr.system.devices import choose_device
from nfbmr.system.progress import Progress, silent
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

_PARTS_EACH = 4  # for a worker: who is quick does more of them
_STARTS = 30  # of all workers, each waited for 60 s by Ray, until it is said that they find no room
_KEY = "together"  # of what is handed over, made anew each time
_SOURCE = "source."  # SNN's tensors, which no training changes

Picture = tuple[ImageInput, str]


class RayHelpers:
    """Computes features and trains by workers of the cluster that this process belongs to."""

    def __init__(self, resources: Resources) -> None:
        """Says how many workers there are, and what each takes."""
        self._workers = resources.workers
        self._holds = {"num_cpus": resources.cpus, "num_gpus": resources.gpus}
        self._threads = resources.cpus
        self._device = torch.device("cuda" if resources.gpus else "cpu")

    def build_features(
        self,
        pictures: Sequence[Picture],
        network: FeatureSource,
        size: tuple[int, int],
        *,
        cache: FeatureCache,
        tiling: Tiling | None = None,
        how: DataSettings = AS_STORED,
        pose: Pose | None = None,
        ignore: Ignored | None = None,
        progress: Callable[[int, int], None] | None = None,
        device: torch.device | str = "cpu",  # noqa: ARG002
    ) -> FeatureStore:
        """Does what `nfbmr.features.compute.build_features` does, on the workers' devices.

        Raises:
            FleetError: workers compute otherwise than this machine, or were lost.
        """
        import ray

        shelf = shelf_of(network, size, tiling, pose, ignore=ignore, how=how, device=self._device)
        contents = [content for _, content in pictures]
        there = cache.find(shelf, contents)
        every = {content: picture for picture, content in pictures}
        parts = parts_left([(one, content) for content, one in every.items()], there, self._workers)
        del there
        work = ray.put(
            _Features(
                network=network,
                size=size,
                root=cache.root,
                tiling=tiling,
                how=how,
                pose=pose,
                ignore=ignore,
                shelf=shelf.name,
                threads=self._threads,
                device=self._device.type,
            )
        )
        before = len(contents) - sum(len(part) for part in parts)
        for done in self._built(parts, work):
            _tell(progress, (before + done) * shelf.tiles, len(contents) * shelf.tiles)
        places = cache.find(shelf, contents)
        if absent := len(set(contents) - places.keys()):
            raise FleetError(
                f"{cache.root}: features of {counted(absent, 'picture')} that workers wrote are "
                "not seen here; the folder of models has to lie on storage that all nodes share"
            )
        return cache.store(shelf, contents, places)

    def _built(self, parts: Sequence[Sequence[Picture]], work: Any) -> Iterator[int]:
        """Has workers compute parts, one each at a time; gives how many pictures are done."""
        import ray

        task = ray.remote(max_retries=RETRIES, **self._holds)(_build_part)
        waiting: dict[Any, int] = {}
        done = 0
        for part in parts:
            if len(waiting) == self._workers:
                done += _one_of(waiting)
                yield done
            waiting[task.remote(part, work)] = len(part)
        while waiting:
            done += _one_of(waiting)
            yield done

    def train(
        self,
        detector: Detector,
        data: TrainingData,
        settings: Settings,
        *,
        work: Path,
        device: torch.device,  # noqa: ARG002
        progress: Progress = silent,
        checkpoint_seconds: float = 10.0,
    ) -> Trained:
        """Does what `nfbmr.learning.stages.train` does, by all workers on the same batches.

        Raises:
            TrainingError: a worker said why it cannot go on, or they were lost too often.
        """
        result = work / "trained.safetensors"
        result.unlink(missing_ok=True)  # the checkpoints are what is gone on from
        job = _Training(
            detector=detector,
            data=data,
            settings=settings,
            work=work,
            result=result,
            threads=self._threads,
            checkpoint_seconds=checkpoint_seconds,
        )
        progress("training", 0, 1)
        _train_on_ray(job, self._workers, self._holds, use_gpu=self._device.type == "cuda")
        progress("training", 1, 1)
        found = load_checkpoint(result, _KEY)
        if found is None:
            raise TrainingError(
                f"{result}: what the workers learnt is not seen here; the folder of models has to "
                "lie on storage that all nodes share"
            )
        tensors, position = found
        losses = {
            name.removeprefix("loss."): float(value)
            for name, value in tensors.items()
            if name.startswith("loss.")
        }
        own = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        lacking = detector.load_state_dict(own, strict=False).missing_keys
        assert all(name.startswith(_SOURCE) for name in lacking), lacking
        return Trained(seconds=position.seconds, losses=losses)


def parts_left(
    pictures: Sequence[Picture], there: Collection[str], workers: int
) -> list[Sequence[Picture]]:
    """Returns the parts of pictures that are lacking, as whoever began cut them.

    An entry's chunks are found by what is in it: cut otherwise, those of parts that were begun
    would be lost.

    Args:
        pictures: all of them, each content once.
        there: contents whose features are there.
        workers: among whom they are divided.
    """
    parts = parts_of(pictures, workers, MOST_FILES)
    left = ([one for one in part if one[1] not in there] for part in parts)
    return [part for part in left if part]


def parts_of(pictures: Sequence[Picture], workers: int, most: int) -> list[Sequence[Picture]]:
    """Divides pictures among workers: whole chunks, several parts for each, `most` at most."""
    chunks = -(-len(pictures) // CHUNK)
    count = max(1, min(most, _PARTS_EACH * workers, chunks))
    length = CHUNK * -(-chunks // count)
    return [pictures[start : start + length] for start in range(0, len(pictures), length or 1)]


def _one_of(waiting: dict[Any, int]) -> int:
    """Waits for a part; returns how many pictures it has."""
    import ray

    (ended,), _ = ray.wait(list(waiting), num_returns=1)
    try:
        ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # what a picture or a node is to blame for
    except ray.exceptions.RayError as error:
        raise FleetError(
            f"a worker that computed features was lost {RETRIES + 1} times "
            f"({type(error).__name__}); the same command goes on from what is computed"
        ) from None
    return waiting.pop(ended)


def _tell(progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


@dataclass(frozen=True, kw_only=True)
class _Features:
    """What each part's task needs besides its pictures."""

    network: FeatureSource
    size: tuple[int, int]
    root: Path
    tiling: Tiling | None
    how: DataSettings
    pose: Pose | None
    ignore: Ignored | None
    shelf: str
    threads: int
    device: str


def _build_part(pictures: Sequence[Picture], work: _Features) -> None:
    """Computes features of some pictures into an entry of the shared cache."""
    torch.set_num_threads(work.threads)
    device = choose_device(work.device)
    words: dict[str, Any] = {"how": work.how, "ignore": work.ignore, "device": device}
    shelf = shelf_of(work.network, work.size, work.tiling, work.pose, **words)
    if shelf.name != work.shelf:
        raise FleetError(
            "a node computes features otherwise than the one that began (another processor, or "
            "other versions of torch, timm or Pillow), so that they cannot stand side by side; "
            "expected nodes of one kind"
        )
    # Its parts go with the fit: nothing is to be cleared away meanwhile.
    cache = FeatureCache(work.root, limit_bytes=2**62)
    build_features(
        pictures,
        work.network,
        work.size,
        cache=cache,
        tiling=work.tiling,
        pose=work.pose,
        **words,
    )


@dataclass(frozen=True, kw_only=True)
class _Training:
    """What each worker of a training needs."""

    detector: Detector
    data: TrainingData
    settings: Settings
    work: Path
    result: Path
    threads: int
    checkpoint_seconds: float


def _train_on_ray(job: _Training, workers: int, holds: dict[str, float], *, use_gpu: bool) -> None:
    """Runs the workers to their end; those that are lost are started again.

    Raises:
        TrainingError: they cannot go on.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        _train_here,
        train_loop_config={"job": ray.put(job)},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": holds["num_cpus"]}
            | ({"GPU": holds["num_gpus"]} if use_gpu else {}),
        ),
        run_config=RunConfig(
            name="together",
            storage_path=str(job.work / "ray"),
            failure_config=FailureConfig(**_limits(FailureConfig)),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:  # of Ray, around what a worker said
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise TrainingError(
            f"{workers} workers cannot train together: {lines[-1] if lines else error!r}; the "
            "same command goes on from their last checkpoint"
        ) from None


def _limits(config: Any) -> dict[str, int]:
    """Returns what Ray is to try again how often, as far as its version knows the words.

    Without a limit of its own it waits without end for workers that find no room.
    """
    asked = {"max_failures": RETRIES, "controller_failure_limit": _STARTS}
    return {name: value for name, value in asked.items() if name in config.__dataclass_fields__}


def _train_here(config: dict[str, Any]) -> None:
    """Trains as one of the workers; the first writes what all have learnt."""
    import ray
    from ray.train.torch import get_device

    job: _Training = ray.get(config["job"])
    torch.set_num_threads(job.threads)
    device = choose_device(str(get_device()))
    share = Group()
    trained = train(
        job.detector,
        job.data,
        job.settings,
        work=job.work,
        device=device,
        checkpoint_seconds=job.checkpoint_seconds,
        share=share,
    )
    if share.rank == 0:
        tensors = {
            f"model.{name}": value
            for name, value in job.detector.state_dict().items()
            if not name.startswith(_SOURCE)
        }
        losses = {
            f"loss.{name}": torch.tensor(loss, dtype=torch.float64)
            for name, loss in trained.losses.items()
        }
        position = Position(key=_KEY, step=1, seconds=trained.seconds, loss=None)
        save_checkpoint(job.result, tensors | losses, position)
    share.together(Sums())
