"""Learning: features -> stage one (TNF) -> stage two (BMR) -> raw maps of held-out pictures.

Shapes: n = training images, B = images of a batch, P = positions of a batch, G = positions of
the grid, C = channels, H W = grid.

SNN is frozen and nothing augments the images, so y is computed once per image, and z once per
training image after stage one; both lie in files. Training is a function of its checkpoints, one
a stage, and each is keyed by what its own stage depends on: mappings that are compared on one
flow train that flow once. Gaussians and subspace are kept likewise once they are found.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nfbmr.errors import TrainingError
from nfbmr.features.store import FeatureFile, FeatureStore, write_store
from nfbmr.learning.checkpoint import Position, Saver, load_checkpoint
from nfbmr.learning.share import (
    ALONE,
    Part,
    Share,
    part_of,
    part_of_batch,
    refuse_to_share,
    weighted,
)
from nfbmr.learning.stage import (
    Optimiser,
    Stage,
    batch_of_images,
    computation,
    computes_in_bfloat16,
    rng,
    total_steps,
)
from nfbmr.learning.training_data import TrainingData, chunks_of
from nfbmr.networks.detector import Detector
from nfbmr.networks.flow import negative_log_likelihood, position_code
from nfbmr.networks.mapping import BidirectionalMapping
from nfbmr.networks.sums import Sums
from nfbmr.settings.schema import Settings
from nfbmr.system.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training says of itself."""

    seconds: float
    """Wall-clock time of both stages, over all runs."""
    losses: dict[str, float]
    """Last loss of each stage, per channel."""


def split_held_out(n: int, held_out: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the ascending indices that train and that are held out, drawn from `seed`."""
    order = np.random.default_rng([seed, 0]).permutation(n)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def stage_keys(
    settings: Settings, data: TrainingData, device: torch.device, workers: int = 1
) -> tuple[str, str]:
    """Returns what the checkpoints of stage one and stage two must agree with.

    Settings, seed, features, which of them train, and what computes; stage two also depends on
    all that stage one does.
    """
    both = _shared(settings, data, device, workers)
    one = [*both, asdict(settings.flow), asdict(settings.stage_one)]
    two = [*one, asdict(settings.mapping), asdict(settings.stage_two)]
    return _hash(one), _hash(two)


def gaussians_key(
    settings: Settings, data: TrainingData, device: torch.device, workers: int = 1
) -> str:
    """Returns what kept Gaussians and a kept subspace must agree with; no stage is part of it."""
    how = [asdict(settings.gaussian), asdict(settings.local), asdict(settings.subspace)]
    which = hashlib.sha256(data.learnt.tobytes()).hexdigest()
    return _hash([*_shared(settings, data, device, workers), *how, which])


def _shared(
    settings: Settings, data: TrainingData, device: torch.device, workers: int
) -> list[object]:
    """Returns what all that is learnt depends on."""
    together = [] if workers == 1 else [f"{workers} workers"]  # who divide the sums
    return [
        settings.seed,
        settings.standardise,
        data.store.key,
        hashlib.sha256(data.train.tobytes()).hexdigest(),
        *[device.type, computes_in_bfloat16(device), *computation()],
        metadata.version("nfbmr"),
        *together,
    ]


def _hash(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def train(
    detector: Detector,
    data: TrainingData,
    settings: Settings,
    *,
    work: Path,
    device: torch.device,
    progress: Progress = silent,
    checkpoint_seconds: float = 10.0,
    share: Share = ALONE,
) -> Trained:
    """Trains TNF, then BMR, in place; goes on from the checkpoints in `work` where they fit.

    Args:
        detector: its statistics, flow and mapping are set; the source network is not touched.
        data: features, and which of them train.
        settings: of the fit.
        work: a folder of this fit's own for the checkpoints and z.
        device: where to compute.
        progress: hears each step.
        checkpoint_seconds: pause between two checkpoints, at least; what a kill loses.
        share: of this worker, where several call this with the same words and end with the same
            weights; `work` is then one folder that all of them see.

    Raises:
        TrainingError: a loss that is not finite, no room for a checkpoint, or pictures that hardly
            differ; the last good checkpoint stays. Or the workers are too many, or do not see one
            folder.
        SettingsError: what is to be learnt cannot be shared.
    """
    refuse_to_share(settings, len(data.train), share.workers)
    run = _Run(detector, data, settings, work, device, share)
    optimiser = Optimiser(
        work=work,
        device=device,
        progress=progress,
        checkpoint_seconds=checkpoint_seconds,
        share=share,
    )
    keys = stage_keys(settings, data, device, share.workers)
    stages = {"flow": run.flow_stage(keys[0])}
    if detector.mapping is not None:
        stages["mapping"] = run.mapping_stage(keys[1], detector.mapping)
    seconds, losses = 0.0, {}
    for name, stage in stages.items():
        at = optimiser.restore(stage)
        if at is None or at[0].step < stage.steps:
            run.prepare(name, fresh=at is None)
        position = optimiser.run(stage, at)
        seconds += position.seconds
        assert position.loss is not None, "a stage has at least one step"
        losses[name] = position.loss
    seconds += _closed_forms(run, gaussians_key(settings, data, device, share.workers))
    return Trained(seconds=seconds, losses=losses)


def _closed_forms(run: _Run, key: str) -> float:
    try:
        return run.learn_gaussians_and_subspace(key)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise TrainingError(
            f"the good pictures hardly differ ({error}): are they copies of one picture, or is the "
            "camera stuck? Give pictures of different good parts"
        ) from error


class _Run:
    """The batches and losses of one fit's two stages."""

    def __init__(
        self,
        detector: Detector,
        data: TrainingData,
        settings: Settings,
        work: Path,
        device: torch.device,
        share: Share = ALONE,
    ) -> None:
        self.share = share
        self.detector = detector.to(device)
        self.data = data
        self.settings = settings
        self.work = work
        self.device = device
        self.z: FeatureStore | None = None
        waves, grid = self.detector.waves, data.store.grid
        self.where = position_code(grid, waves, device) if waves else None

    def prepare(self, name: str, *, fresh: bool) -> None:
        """Makes what a stage needs besides its own checkpoint."""
        if name == "mapping":
            self.write_z()
        elif fresh and self.settings.standardise == "channel":
            chunks = chunks_of(part_of(self.share, self.data.train))
            rows = (torch.from_numpy(self.data.store.read(i)) for i in chunks)
            self.detector.standardisation.learn(
                (row.to(self.device) for row in rows), self.share.together
            )

    # ---- stage one: TNF, eq. 8

    def flow_stage(self, key: str) -> Stage:
        """Stage one; its checkpoint holds the statistics of y, too."""
        how, detector = self.settings.stage_one, self.detector
        parts = {"standardisation": detector.standardisation, "flow": detector.flow}
        return Stage(
            name="flow",
            key=key,
            how=how,
            setting="stage_one",
            steps=total_steps(how, len(self.data.train), self.data.store.grid),
            seed=self.settings.seed,
            network=detector.flow,
            state=nn.ModuleDict(parts),
            batch=self.flow_batch,
            loss=self.flow_loss,
        )

    def learn_gaussians_and_subspace(self, key: str) -> float:
        """Finds what the settings want of the two, or reads it; returns the seconds it took."""
        detector = self.detector
        gaussians, local, subspace = detector.gaussians, detector.local, detector.subspace
        there = {"gaussians": gaussians, "local": local, "subspace": subspace}
        there |= {"finest": detector.finest}
        parts = nn.ModuleDict({name: part for name, part in there.items() if part is not None})
        if not parts:
            return 0.0
        file = self.work / "gaussians.safetensors"
        if (found := load_checkpoint(file, key)) is not None:
            parts.load_state_dict(found[0])
            return found[1].seconds
        started = time.monotonic()
        seed, everyone, together = self.settings.seed, self.data.learnt, self.share.together
        own = part_of(self.share, everyone)
        if gaussians is not None:
            gaussians.learn(
                lambda: self.standardised_y(own),
                together=together,
                some=lambda: self.standardised_y(everyone),
            )
        for place, fine in ((1, local), (2, detector.finest)):
            if fine is None:
                continue

            def cells(which: NDArray[np.int64], place: int = place) -> Iterator[Tensor]:
                return (found[place] for found in self.standardised(which))

            some = partial(cells, everyone)
            fine.learn(partial(cells, own), seed, together=together, some=some)
            if self.data.everyone:
                fine.measure_own(some, seed)
        if subspace is not None:
            train = part_of(self.share, self.data.train)
            subspace.learn(
                lambda: (fine for _, fine, _ in self.standardised(train)), seed, together=together
            )
        seconds = time.monotonic() - started
        if self.share.rank == 0:
            with Saver(file, math.inf) as saver:
                position = Position(key=key, step=1, seconds=seconds, loss=None)
                saver.save(parts.state_dict(), position)
        return seconds

    def standardised(self, which: NDArray[np.int64]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Gives y, detail and finest, each (B, H, W, .), of images `which` once."""
        for indices in chunks_of(which):
            rows = torch.from_numpy(self.data.store.read(indices)).to(self.device)
            yield self.detector.standardised(rows)

    def standardised_y(self, which: NDArray[np.int64]) -> Iterator[Tensor]:
        """Gives y alone, likewise."""
        for indices in chunks_of(which):
            rows = torch.from_numpy(self.data.store.read(indices)).to(self.device)
            yield self.detector.standardised_y(rows)

    def flow_batch(self, step: int) -> tuple[Tensor, Tensor | None, Part | None]:
        """Draws standardised features, where they lie, and which part of the batch this is.

        Of positions, (P, C) and (P, E); or of images, (B, H, W, C) and (H, W, E).
        """
        how, train, store = self.settings.stage_one, self.data.train, self.data.store
        seed = self.settings.seed
        if how.batch_of == "positions":
            generator = rng(seed, 1, step)
            height, width = store.grid
            count = min(how.batch, len(train) * height * width)  # of few, a step is a pass
            images = train[generator.integers(len(train), size=count)]
            positions = generator.integers(height * width, size=count)
            (images, positions), part = part_of_batch(self.share, images, positions)
            rows = store.read_positions(images, positions, self.detector.source.channels)
            where = None if self.where is None else self.where.flatten(0, 1)[positions]
        else:
            drawn = batch_of_images(how, len(train), (seed, 1), step)
            (drawn,), part = part_of_batch(self.share, drawn)
            rows, where = store.read(train[drawn]), self.where
        return self.detector.standardised_y(torch.from_numpy(rows).to(self.device)), where, part

    def flow_loss(self, y: Tensor, where: Tensor | None, part: Part | None = None) -> Tensor:
        """Eq. 8, the mean over positions; by `flow.loss` also divided by C."""
        z, log_det = self.detector.flow(y, where, None if part is None else part.rows)
        loss = weighted(negative_log_likelihood(z, log_det).mean(), part)
        return loss / y.shape[-1] if self.settings.flow.loss == "channel" else loss

    # ---- stage two: BMR, eq. 11-13

    def mapping_stage(self, key: str, mapping: BidirectionalMapping) -> Stage:
        """Stage two; `write_z` comes before its batches."""
        how = self.settings.stage_two
        return Stage(
            name="mapping",
            key=key,
            how=how,
            setting="stage_two",
            steps=total_steps(how, len(self.data.train), self.data.store.grid),
            seed=self.settings.seed,
            network=mapping,
            state=mapping,
            batch=self.mapping_batch,
            loss=self.mapping_loss,
        )

    def write_z(self) -> None:
        """Passes every training image through TNF once, into a file for each worker."""

        @torch.no_grad()
        def batches() -> Iterator[NDArray[np.float32]]:
            for indices in chunks_of(part_of(self.share, self.data.train)):
                y = torch.from_numpy(self.data.store.read(indices)).to(self.device)
                z, _ = self.detector.flow(self.detector.standardised(y)[0], self.where)
                yield z.cpu().numpy()

        ranks = range(self.share.workers)
        names = ["z.f32"] if len(ranks) == 1 else [f"z.{rank}.f32" for rank in ranks]
        counts = [len(part) for part in np.array_split(self.data.train, len(ranks))]
        row = (*self.data.store.grid, self.detector.source.channels)
        own = names[self.share.rank]
        self.work.mkdir(parents=True, exist_ok=True)
        for left in self.work.glob(f".{own}.*"):  # by a kill
            left.unlink(missing_ok=True)
        self.z = write_store(self.work / own, (counts[self.share.rank], *row), batches())
        if len(ranks) > 1:
            self.share.together(Sums())  # all have written theirs
            self.z = FeatureStore(
                [
                    FeatureFile(self.work / name, (count, *row))
                    for name, count in zip(names, counts, strict=True)
                ]
            )

    def mapping_batch(self, step: int) -> tuple[Tensor, Tensor, Part | None]:
        """Draws y and z of images, (B, C, H, W) in channels-last memory, and which part it is."""
        assert self.z is not None, "write_z comes first"
        how, seed = self.settings.stage_two, self.settings.seed
        drawn = batch_of_images(how, len(self.data.train), (seed, 2), step)
        (chosen,), part = part_of_batch(self.share, drawn)
        y = torch.from_numpy(self.data.store.read(self.data.train[chosen])).to(self.device)
        z = torch.from_numpy(self.z.read(chosen)).to(self.device)
        y = self.detector.standardised(y)[0]
        return y.permute(0, 3, 1, 2), z.permute(0, 3, 1, 2), part

    def mapping_loss(self, y: Tensor, z: Tensor, part: Part | None = None) -> Tensor:
        """loss_S + loss_T, each a mean square over positions and channels."""
        assert self.detector.mapping is not None
        z_mt, y_ms = self.detector.mapping(y, z)
        errors = nn.functional.mse_loss(y_ms.float(), y) + nn.functional.mse_loss(z_mt.float(), z)
        return weighted(errors, part)
