"""`fit`: from a folder of good pictures to a model directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from nfbmr.data.derived import derived_of_others
from nfbmr.data.ignore import ignored_in, nothing_ignored
from nfbmr.data.images import ImageInput
from nfbmr.data.layouts import Sample, read_data
from nfbmr.data.masks import MaskInput, read_mask
from nfbmr.data.survey import Survey
from nfbmr.deployment.export import add_graphs, runtimes_here
from nfbmr.errors import BundleError, SettingsError
from nfbmr.features.compute import FeatureCache
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.learning.crew import HERE, Helpers
from nfbmr.learning.learn import Job, learn, look_over
from nfbmr.learning.plan import Plan, plan_fit
from nfbmr.learning.work import forget, is_finished, mark_of, note_finished, workplace
from nfbmr.model.bundle import read_bundle, write_bundle
from nfbmr.model.folder import refuse_to_replace_other_things
from nfbmr.model.place import put_back
from nfbmr.networks.stages import for_network
from nfbmr.networks.weights import refuse_missing
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.settings import presets
from nfbmr.settings.changes import with_changes
from nfbmr.settings.keywords import Keywords, nested
from nfbmr.settings.schema import Settings
from nfbmr.system.devices import choose_device
from nfbmr.system.files import printable
from nfbmr.system.progress import Progress, silent

_log = logging.getLogger(__name__)

Data: TypeAlias = str | os.PathLike[str] | Sequence[ImageInput]
"""A folder or table that `read_data` reads, or good pictures."""


def fit(
    data: Data,
    out: str | os.PathLike[str] | None = None,
    *,
    preset: str = "fast",
    settings: Settings | None = None,
    changes: Mapping[str, object] | None = None,
    ignore: MaskInput | None = None,
    device: str = "auto",
    fresh: bool = False,
    cache: FeatureCache | None = None,
    progress: Progress = silent,
    checkpoint_seconds: float = 10.0,
    export: bool = True,
    helpers: Helpers = HERE,
    **keywords: Unpack[Keywords],
) -> Inspector:
    """Learns good pictures and writes a model directory; goes on where an interrupted fit stopped.

    Args:
        data: a folder of good pictures, an MVTec AD category, a DAGM 2007 class, or a table, of
            which only the good training pictures are looked at; or a list of good pictures: paths,
            Pillow images, arrays, files' bytes.
        out: the model directory; an existing model is replaced once the new one is complete, and
            what its user put there stays. None: in memory, and nothing of a killed fit is left.
        preset: `fast`, `accurate` or `paper`; not looked at where `settings` is given.
        settings: all of them, instead of a preset.
        changes: any settings over those, nested: `{"flow": {"hidden": 256}}`.
        ignore: what never counts: a mask (path, Pillow image, array) of the pictures' aspect ratio,
            not 0 there; never with tiles, nor with parts that lie turned.
        device: `auto` (CUDA, but not for the small networks of nfbmr), `cpu`, `cuda`, ...
        fresh: start anew, whatever an interrupted fit left.
        cache: of features; by default the user's.
        progress: hears how far the work is.
        checkpoint_seconds: between two checkpoints, what a kill loses; 20 times a save at least.
        export: also make graphs for the runtimes that are here; a failure is a warning.
        helpers: who computes features and trains; by default this process.
        **keywords: single settings over `changes`, e.g. `seed=1`, `false_alarm_rate=0.05` or
            `flow={"hidden": 256}`; see `Keywords`.

    Raises:
        LayoutError, ImageError, SettingsError, WeightsError: data, a picture, ... are to blame.
        TrainingError: too few pictures, or training broke down.
        BundleError: the model cannot be written, or another fit is writing it.
    """
    chosen = _checked(settings or presets.preset(preset), nested(keywords, changes))
    mask = None if ignore is None else _mask(ignore, chosen)
    path = None if out is None else _place_for(Path(out))
    with _workplace(path, fresh=fresh) as work:
        job = Job(
            settings=chosen,
            work=Path(work),
            device=choose_device(device, small=chosen.backbone.small),
            cache=cache or FeatureCache(),
            progress=progress,
            checkpoint_seconds=checkpoint_seconds,
            helpers=helpers,
        )
        return _fit(data, out, path, job, device, mask=mask, export=export)


def _fit(
    data: Data,
    out: str | os.PathLike[str] | None,
    path: Path | None,
    job: Job,
    device: str,
    *,
    mask: NDArray[np.bool_] | None,
    export: bool,
) -> Inspector:
    """The steps of a fit, each from what the one before gave; `learn` has those in between."""
    good = _survey(data, path, job)
    plan = _plan(good, job.settings, mask)
    if out is None or path is None:
        bundle = learn(good, plan, job)
        inspector = Inspector(bundle, TorchRuntime(bundle, str(job.device)))
    else:
        _write(path, good, plan, job, export=export)
        inspector = load(out, device=device)
    _log.info("%s", "\n".join(inspector.calibration.describe()))
    return inspector


def _write(path: Path, good: Survey, plan: Plan, job: Job, *, export: bool) -> None:
    """What is learnt is kept until the model stands with its graphs, so no kill loses it."""
    mark = mark_of(good, job.settings, job.device, plan.ignore)
    if is_finished(job.work, mark, path):
        _log.info("%s was learnt and written before the interruption", path)
    else:
        bundle = learn(good, plan, job)
        note_finished(job.work, mark, bundle)
        write_bundle(path, bundle)
    if export:
        _export(path, good, job)
    forget(job.work)


def _place_for(out: Path) -> Path:
    """Returns where a model goes, by a path with a name; says at once where it cannot."""
    put_back(out)
    refuse_to_replace_other_things(out)
    place = out.resolve()
    if place.is_mount() and place != Path.cwd():  # the current directory is filled where it is
        raise BundleError(
            f"{out} is a mount point, which cannot be exchanged for a new model; choose a folder "
            f"in it, such as {out / 'part'}"
        )
    return place


def _workplace(path: Path | None, *, fresh: bool) -> AbstractContextManager[str | Path]:
    """Gives a folder for checkpoints: beside the model, or one that goes with the call."""
    if path is None:
        return TemporaryDirectory(prefix="nfbmr-fit-", ignore_cleanup_errors=True)
    return workplace(path, fresh=fresh)


def _survey(data: Data, path: Path | None, job: Job) -> Survey:
    """Says what was given, and what is odd about it or the settings; then looks at it."""
    good: Sequence[Sample | ImageInput]
    if isinstance(data, str | os.PathLike):
        found = read_data(data)
        name, good = found.name, found.to_learn_from()
        _log.info("%s", found.describe())
        for warning in found.warnings:
            _log.warning("%s", warning)
    else:
        name, good = "pictures" if path is None else path.name, list(data)
        _log.info("list of pictures: %d good to learn from", len(good))
        paths = [Path(one) for one in good if isinstance(one, str | os.PathLike)]
        if derived := derived_of_others(paths):
            text = "%d of them by their names were made of others in the list, and are learnt: %s"
            _log.warning(text, len(derived), printable(str(min(derived))))
    how = job.settings
    shown = {*how.scoring.maps, how.scoring.heat}
    if how.mapping.kind != "none" and not {"source", "target", "asm"} & shown:
        _log.warning("The mapping is learnt but no map of it is in scoring.maps or scoring.heat")
    job.cache.refuse_unwritable()
    return look_over(name, good, job.progress, white=how.data.white)


def _checked(start: Settings, changes: dict[str, Any]) -> Settings:
    """Returns the settings of a fit, and says at once what of them cannot be had here."""
    chosen = with_changes(start, changes)
    given = changes.get("backbone")
    if chosen.backbone.name != start.backbone.name and isinstance(given, dict):
        backbone, said = for_network(chosen.backbone, given)
        chosen = replace(chosen, backbone=backbone)
        if said:
            _log.info("%s", said)
    refuse_missing(chosen.backbone.name, chosen.backbone.weights)
    if not chosen.calibration.held_out:
        raise SettingsError(
            "calibration.held_out 0: no threshold can rest on pictures that were trained on, so "
            "this is for the paper's experiments alone; give a share above 0, such as 0.2"
        )
    return chosen


def _mask(ignore: MaskInput, settings: Settings) -> NDArray[np.bool_] | None:
    """Reads what is to be ignored; None where that is nothing."""
    if settings.tiles is not None:
        raise SettingsError(
            "ignore: pictures that are cut into tiles are judged whole; expected a mask or tiles, "
            "not both. Fit without tiles, at a larger --size where defects are small"
        )
    mask = read_mask(ignore)
    if not mask.any():
        _log.warning("%s", nothing_ignored())
        return None
    return mask


def _plan(good: Survey, settings: Settings, mask: NDArray[np.bool_] | None) -> Plan:
    plan = plan_fit(good, settings)
    if mask is not None:
        sizes = [one.size for one in good.pictures]
        plan = replace(plan, ignore=ignored_in(mask, sizes, plan.size))
    for line in plan.describe():
        _log.info("%s", line)
    return plan


def _export(path: Path, good: Survey, job: Job) -> None:
    """Adds graphs to a finished model; the model stands whatever becomes of them."""
    here = runtimes_here()
    if not here:
        return
    bundle = read_bundle(path)
    there = {(export.target, export.precision) for export in bundle.exports}
    wanted = [one for one in here if one not in there]
    if not wanted:
        return
    known = set(bundle.facts.held_out)
    held_out = [one for one in good.pictures if one.fingerprint in known]
    names = [one.pixel_hash for one in held_out]
    if job.device.type != "cpu":
        _log.info("Learnt on %s; held-out pictures now pass the CPU, to compare", job.device)
    try:
        exports = add_graphs(
            path,
            bundle,
            TorchRuntime(bundle, "cpu"),
            wanted,
            [one.picture for one in held_out],
            threads=torch.get_num_threads(),
            keep_going=True,
            calibrated=names if set(names) <= set(bundle.calibration.pictures) else (),
            progress=job.progress,
        )
    except Exception as error:  # hours of learning stand; what failed is said
        _log.warning("The model runs with torch alone: %s", error)
        return
    _log.info("Runs without torch: %s", ", ".join(export.name for export in exports))
