"""`fit`: from a folder of good pictures to a model directory."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from nfbmr import config
from nfbmr.bundle import Bundle, read_bundle, write_bundle
from nfbmr.bundle_folder import refuse_to_replace_other_things
from nfbmr.config import Settings
from nfbmr.data.images import fingerprint, image_size
from nfbmr.data.layouts import DataSet, Sample, read_data
from nfbmr.data.sizes import choose_size
from nfbmr.data.tiles import CELL, LARGEST, MOST_TILES, Tiling, whole_size
from nfbmr.devices import choose_device
from nfbmr.errors import ImageError, SettingsError, TrainingError
from nfbmr.exporting import add_graphs, runtimes_here
from nfbmr.features import FeatureCache
from nfbmr.inference import Inspector, load
from nfbmr.learning import Job, Plan, learn, without_copies
from nfbmr.progress import Progress, silent
from nfbmr.runtimes import TorchRuntime
from nfbmr.scoring import LEAST_HELD_OUT, held_out_count
from nfbmr.training import forget

_log = logging.getLogger(__name__)

FEWEST_IMAGES = 2 * LEAST_HELD_OUT
"""As many to train on as to hold out: below that nothing can be said."""


def fit(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    preset: str = "fast",
    settings: Settings | None = None,
    device: str = "auto",
    fresh: bool = False,
    cache: FeatureCache | None = None,
    progress: Progress = silent,
    checkpoint_seconds: float = 10.0,
    export: bool = True,
    **changes: Any,
) -> Inspector:
    """Learns good pictures and writes a model directory; goes on where an interrupted fit stopped.

    Args:
        data: a folder of good pictures, an MVTec AD category, a DAGM 2007 class, or a table.
            Only its good training pictures are looked at.
        out: the model directory; an existing model is replaced once the new one is complete.
        preset: `fast`, `accurate` or `paper`; not looked at where `settings` is given.
        settings: all of them, instead of a preset.
        device: `auto`, `cpu`, `cuda`, ...
        fresh: start anew, whatever an interrupted fit left.
        cache: of features; by default the user's.
        progress: hears how far the work is.
        checkpoint_seconds: at most this much work is lost to a kill.
        export: also make graphs for the other runtimes that are here; a failure is a warning.
        **changes: single settings over the preset, e.g. `seed=1` or `flow={"hidden": 256}`.

    Raises:
        LayoutError: the data cannot be read as a data set.
        ImageError, SettingsError, WeightsError: a picture, a setting or the weights are to blame.
        TrainingError: too few pictures, or training broke down.
        BundleError: the model cannot be written.
    """
    chosen = config.with_changes(settings or config.preset(preset), changes)
    path = Path(out)
    refuse_to_replace_other_things(path)
    work = work_folder(path)
    if fresh:
        forget(work)
    job = Job(
        settings=chosen,
        work=work,
        device=choose_device(device),
        cache=cache or FeatureCache(),
        progress=progress,
        checkpoint_seconds=checkpoint_seconds,
    )
    found = read_data(data)
    good, plan = _announced(found, chosen)
    bundle = learn(found.name, good, plan, job)
    write_bundle(path, bundle)
    forget(work)
    if export:
        _export(path, bundle, good, progress)
    _log.info("%s", "\n".join(bundle.calibration.describe()))
    return load(path, device=device)


def _export(path: Path, bundle: Bundle, good: list[Sample], progress: Progress) -> None:
    """Adds graphs to a finished model; the model stands whatever becomes of them."""
    wanted = runtimes_here()
    if not wanted:
        return
    progress("export", 0, 1)
    held_out = set(bundle.facts.held_out)
    pictures = [sample.path for sample in good if fingerprint(sample.path) in held_out]
    try:
        bundle = read_bundle(path)
        reference = TorchRuntime(bundle, "cpu")
        exports = add_graphs(path, bundle, reference, wanted, pictures, keep_going=True)
    except Exception as error:  # hours of learning stand; what failed is said
        _log.warning("The model runs with torch alone: %s", error)
        return
    progress("export", 1, 1)
    _log.info("Runs without torch: %s", ", ".join(export.name for export in exports))


def _announced(found: DataSet, settings: Settings) -> tuple[list[Sample], Plan]:
    """Says what was found and what will be done with it."""
    _log.info("%s", found.describe())
    for warning in found.warnings:
        _log.warning("%s", warning)
    shown = {*settings.scoring.maps, settings.scoring.heat}
    if settings.mapping.kind != "none" and not {"source", "target", "asm"} & shown:
        _log.warning("The mapping is learnt but no map of it is in scoring.maps or scoring.heat")
    good = without_copies(found)
    plan = plan_fit(good, settings)
    for line in plan.describe():
        _log.info("%s", line)
    return good, plan


def work_folder(out: Path) -> Path:
    """Returns where a fit keeps its checkpoint, beside the model that it makes."""
    return out.with_name(f".{out.name}.fit")


def plan_fit(good: list[Sample], settings: Settings) -> Plan:
    """Chooses size and split for good training pictures.

    Raises:
        TrainingError: too few pictures.
        ImageError: a picture's header cannot be read.
    """
    if len(good) < FEWEST_IMAGES:
        raise TrainingError(
            f"{len(good)} good pictures to learn from; at least {FEWEST_IMAGES} are needed, "
            "and 100 or more are better"
        )
    sizes = _sizes(good)
    held_out = held_out_count(len(good), settings.calibration)
    size = settings.size or choose_size(
        sizes if settings.tiles is None else [(1, 1)], settings.pixel_budget
    )
    return Plan(
        size=size,
        tiling=None if settings.tiles is None else _tiling(sizes, size, settings.tiles.overlap),
        chosen=settings.size is None,
        n_train=len(good) - held_out,
        n_held_out=held_out,
        rate=settings.calibration.false_alarm_rate,
    )


def _tiling(sizes: list[tuple[int, int]], tile: tuple[int, int], overlap: float) -> Tiling:
    if any(side % CELL for side in tile):
        raise SettingsError(
            f"size {tile[0]} x {tile[1]}: sides of a tile are multiples of {CELL}, e.g. 320"
        )
    height, width = (int(np.median(sides)) for sides in zip(*sizes, strict=True))
    whole = whole_size((height, width), tile)
    if max(whole) > LARGEST:
        raise SettingsError(
            f"pictures of {height} x {width} pixels: up to {LARGEST} a side can be cut into tiles; "
            "cut or shrink them first"
        )
    tiling = Tiling(whole, tile, overlap)
    if len(tiling.corners) > MOST_TILES:
        raise SettingsError(
            f"{len(tiling.corners)} tiles a picture, {MOST_TILES} at most; make the tiles larger "
            "(--size) or let them overlap less"
        )
    return tiling


def _sizes(good: list[Sample]) -> list[tuple[int, int]]:
    sizes, broken = [], []
    for sample in good:
        try:
            sizes.append(image_size(sample.path))
        except ImageError as error:
            broken.append(str(error))
    if broken:
        rest = f"; and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise ImageError(
            f"{len(broken)} of the training pictures cannot be read: {'; '.join(broken[:3])}{rest}"
        )
    return sizes
