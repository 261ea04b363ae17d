"""`fit`: from a folder of good pictures to a model directory."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from nfbmr.data.layouts import read_data
from nfbmr.data.survey import Survey
from nfbmr.deployment.export import add_graphs, runtimes_here
from nfbmr.errors import SettingsError
from nfbmr.features.compute import FeatureCache
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.learning.learn import Job, learn, look_over
from nfbmr.learning.plan import Plan, plan_fit
from nfbmr.learning.stages import forget
from nfbmr.model.bundle import Bundle, read_bundle, write_bundle
from nfbmr.model.folder import refuse_to_replace_other_things
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.settings import presets
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import Settings
from nfbmr.system.devices import choose_device
from nfbmr.system.progress import Progress, silent

_log = logging.getLogger(__name__)


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
    chosen = with_changes(settings or presets.preset(preset), changes)
    if not chosen.calibration.held_out:
        raise SettingsError(
            "calibration.held_out 0: no threshold can rest on pictures that were trained on, so "
            "this is for the paper's experiments alone; give a share above 0, such as 0.2"
        )
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
    good = _survey(data, chosen, progress)
    plan = _plan(good, chosen)
    bundle = learn(good, plan, job)
    write_bundle(path, bundle)
    forget(work)
    if export:
        _export(path, bundle, good, progress)
    _log.info("%s", "\n".join(bundle.calibration.describe()))
    return load(path, device=device)


def _survey(data: str | os.PathLike[str], settings: Settings, progress: Progress) -> Survey:
    """Says what lies there, and what is odd about it or the settings; then looks at it."""
    found = read_data(data)
    _log.info("%s", found.describe())
    for warning in found.warnings:
        _log.warning("%s", warning)
    shown = {*settings.scoring.maps, settings.scoring.heat}
    if settings.mapping.kind != "none" and not {"source", "target", "asm"} & shown:
        _log.warning("The mapping is learnt but no map of it is in scoring.maps or scoring.heat")
    return look_over(found.name, found.train_good, progress)


def _plan(good: Survey, settings: Settings) -> Plan:
    plan = plan_fit(good, settings)
    for line in plan.describe():
        _log.info("%s", line)
    return plan


def _export(path: Path, bundle: Bundle, good: Survey, progress: Progress) -> None:
    """Adds graphs to a finished model; the model stands whatever becomes of them."""
    wanted = runtimes_here()
    if not wanted:
        return
    progress("export", 0, 1)
    held_out = set(bundle.facts.held_out)
    pictures = [one.picture for one in good.pictures if one.fingerprint in held_out]
    try:
        bundle = read_bundle(path)
        reference = TorchRuntime(bundle, "cpu")
        exports = add_graphs(path, bundle, reference, wanted, pictures, keep_going=True)
    except Exception as error:  # hours of learning stand; what failed is said
        _log.warning("The model runs with torch alone: %s", error)
        return
    progress("export", 1, 1)
    _log.info("Runs without torch: %s", ", ".join(export.name for export in exports))


def work_folder(out: Path) -> Path:
    """Returns where a fit keeps its checkpoint, beside the model that it makes."""
    return out.with_name(f".{out.name}.fit")
