"""The command `nfbmr calibrate`: its words, and one call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nfbmr.cli.arguments import (
    Device,
    FalseAlarmRate,
    LookRate,
    ModelPath,
    RuntimeName,
    Threads,
    refuse_folder,
    refuse_swapped,
)
from nfbmr.errors import SettingsError
from nfbmr.system.words import quoted

if TYPE_CHECKING:
    from nfbmr.inspection.inspector import Inspector
    from nfbmr.scoring.calibration import Calibration

_log = logging.getLogger(__name__)

Ignore = Annotated[
    Path | None,
    typer.Option(
        metavar="MASK.png",
        help="What never counts from now on, with GOOD_IMAGES: a picture that is not 0 there. "
        "It takes the place of what an earlier calibration left out.",
    ),
]
Without = Annotated[
    list[Path] | None,
    typer.Option(
        help="A picture that calibrates now and is to have no part in the thresholds, such as "
        "one that `fit` called odd: its file, or its name as `doctor` has it. May be given several "
        "times."
    ),
]


def calibrate(
    model: ModelPath,
    good_images: Annotated[
        Path | None,
        typer.Argument(
            metavar="[GOOD_IMAGES]",
            help="Good pictures that the model was NOT trained on. "
            "Without them the scores kept from the fit serve.",
        ),
    ] = None,
    false_alarm_rate: FalseAlarmRate = None,
    look_rate: LookRate = None,
    without: Without = None,
    ignore: Ignore = None,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the calibration to a file, for copies of this model; alone, it changes "
            "nothing.",
        ),
    ] = None,
    import_: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Take the calibration from a file that a copy of this model exported.",
        ),
    ] = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Set another threshold, without retraining."""
    from nfbmr.inspection.inspector import load

    refuse_swapped("calibrate", model, [path for path in (good_images,) if path])
    if export is not None:
        given = (good_images, import_, ignore, *(without or ()))
        _refuse_export(export, [path for path in given if path])
    changes = (good_images, false_alarm_rate, look_rate, without or None, ignore)
    is_changed = any(change is not None for change in changes)
    if import_ is not None:
        _import(model, import_, runtime, alone=not is_changed)
    elif export is None or is_changed:
        _calibrate(
            model,
            load(model, runtime=runtime, device=device, threads=threads),
            good_images,
            (false_alarm_rate, look_rate),
            without or [],
            ignore,
        )
    if export is not None:
        _export(model, runtime, device, export)


def _refuse_export(export: Path, inputs: list[Path]) -> None:
    from nfbmr.inspection.places import is_json_with, refuse_to_overwrite
    from nfbmr.model.carried import KIND

    refuse_folder("--export", export)
    refuse_to_overwrite("--export", export, "a calibration", is_json_with(KIND), inputs)


def _calibrate(
    model: Path,
    inspector: Inspector,
    good_images: Path | None,
    rates: tuple[float | None, float | None],
    without: list[Path],
    ignore: Path | None,
) -> None:
    from nfbmr.data.layouts import read_data
    from nfbmr.model.place import refuse_unwritable
    from nfbmr.scoring.odd_words import odd_warning

    refuse_unwritable(model)
    images = None
    if good_images is not None:
        found = read_data(good_images)
        _log.info("%s", found.describe())
        images = [sample.path for sample in found.to_learn_from()]
    changed = inspector.recalibrated(
        rates[0], images, look_rate=rates[1], without=without, ignore=ignore
    )
    changed.save_calibration()
    _tell(inspector.calibration, changed.calibration)
    if warning := odd_warning(changed.calibration, changed.settings.scoring):
        _log.warning("%s", warning)
    if images is not None:
        print(
            f"The rates are those of parts like the {len(images)} pictures given; they are the "
            "line's where chance chose them, not where somebody picked what looked odd."
        )
    if own := inspector.others:
        _log.warning("Not changed: %s; calibrate each with --runtime", ", ".join(own))


def _import(model: Path, file: Path, runtime: str, *, alone: bool) -> None:
    from nfbmr.model.carried import bring_calibration

    if not alone:
        raise SettingsError(
            "--import brings a whole calibration, with its rates: found it beside pictures or "
            "rates; expected one of the two"
        )
    if runtime != "auto":
        raise SettingsError(
            f"--import with --runtime {runtime}: the file says which graph it is of; leave "
            "--runtime out"
        )
    _tell(*bring_calibration(model, file))


def _export(model: Path, runtime: str, device: str, file: Path) -> None:
    """Writes what is in force, of the graph that a runtime of this name opens."""
    from nfbmr.model.carried import write_calibration
    from nfbmr.runtimes.choose import calibrated_for

    bundle = calibrated_for(model, runtime, device=device)
    write_calibration(file, bundle)
    _log.info(
        "Written: %s; give it to a copy of this model with: nfbmr calibrate COPY --import %s",
        file,
        quoted(file),
    )


def _tell(before: Calibration, after: Calibration) -> None:
    """Says where the thresholds were, and where they are."""
    import numpy as np

    print(
        f"Before: threshold {before.threshold:.3f} for a false-alarm rate of "
        f"{before.false_alarm_rate:.3g}, from {len(before.scores)} good images; a person looks "
        f"above {before.look_threshold:.3f}."
    )
    same = (before.statistic_mean, before.judge_mean) == (after.statistic_mean, after.judge_mean)
    if after == before:
        print("Unchanged: all of this is in force already.")
    elif same and before.one is not None and after.one is not None:
        now = f"{float(before.shown(np.array(after.one))):.3f}"
        moved = f"began at 1, and on that scale now begins at {now}"
        print(f"What is called a defect {'begins at 1 as before' if now == '1.000' else moved}.")
    elif not same:
        print("Scales are learnt anew: scores from before do not compare with those from now.")
    for line in after.describe():
        print(line)
