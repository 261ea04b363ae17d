"""Scales and thresholds learnt anew from good pictures that a model was not trained on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.ignore import nothing_ignored, refuse_other_shape
from nfbmr.data.images import ImageInput
from nfbmr.data.masks import MaskInput, read_mask
from nfbmr.data.survey import survey
from nfbmr.errors import CalibrationError, SettingsError
from nfbmr.inspection.result import Inspection
from nfbmr.model.facts import Facts
from nfbmr.scoring.calibrate import calibrate, recalibrate, with_looks
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.ignored import Area, areas_of
from nfbmr.scoring.looks import OF_PIXELS, joined
from nfbmr.scoring.odd import name_of, with_names
from nfbmr.scoring.without import without
from nfbmr.settings.schema import Settings
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

_LEAST_RATE = 1e-6  # as of the settings


@dataclass(frozen=True)
class Model:
    """What calibrating takes of a model."""

    facts: Facts
    settings: Settings
    inspected: Callable[[Iterable[ImageInput]], Iterable[Inspection]]
    """Inspects pictures, in their order, with no area left out."""
    turned: bool = False
    """Whether it turns parts to one pose before it looks."""
    painted: bool = False
    """Whether it was fitted with a mask of what is to be ignored."""


def calibrated_anew(
    now: Calibration,
    model: Model,
    rates: tuple[float | None, float | None],
    good_images: Iterable[ImageInput] | None,
    without: Iterable[ImageInput],
    ignore: MaskInput | None = None,
) -> Calibration:
    """Calibrates for other rates, on other pictures, or without some: `Inspector.recalibrated`."""
    rate = now.false_alarm_rate if rates[0] is None else rates[0]
    look_rate = now.look_rate if rates[1] is None else rates[1]
    _refuse_no_shares(rate, look_rate)
    left = _one_of(good_images, without)
    if good_images is not None:
        mask = None if ignore is None else read_mask(ignore)
        found = calibrated_on(good_images, model, (rate, look_rate), now.ignored, mask)
        if mask is not None and not mask.any():
            text = nothing_ignored(painted=model.painted, earlier=bool(now.ignored))
            _log.warning("%s", text)
        return found
    if ignore is not None:
        raise SettingsError(
            "ignore: found a mask and no good pictures; what scores are without the areas is "
            "learnt from pictures: give good ones that the model was not trained on"
        )
    return recalibrate(_left_without(now, left, model.settings), rate, look_rate)


def calibrated_on(
    good_images: Iterable[ImageInput],
    model: Model,
    rates: tuple[float, float],
    ignored: tuple[Area, ...] = (),
    mask: NDArray[np.bool_] | None = None,
) -> Calibration:
    """Calibrates a model by other good pictures.

    Args:
        good_images: the pictures.
        model: that judges them.
        rates: of false alarms, and of what a person looks at.
        ignored: areas that count for no score.
        mask: bool (H, W) of the pictures' aspect ratio, True where nothing counts, in their place.

    Raises:
        CalibrationError: too few pictures, some that were trained on, or all alike.
        ImageError: one cannot be read.
        SettingsError: the mask has another aspect ratio, or leaves next to nothing.
    """
    facts, settings = model.facts, model.settings
    seen = survey(facts.name, good_images, white=settings.data.white)
    if mask is not None and seen.pictures:
        ignored = _areas(mask, [one.size for one in seen.pictures], model)
    for warning in seen.warnings:
        _log.warning("%s", warning)
    # Where every picture calibrated, its Gaussians learnt from those held out, too.
    everyone = facts.everyone(settings)
    asked = facts.knows if everyone else facts.trained
    known = [one.name for one in seen.pictures if asked(one.fingerprint, one.pixel_hash)]
    if known:
        raise CalibrationError(
            f"{len(known)} of {counted(len(seen.pictures), 'picture')} "
            f"{'was' if len(known) == 1 else 'were'} learnt from "
            f"({', '.join(known[:5])}): the model knows them, so they score lower than new "
            "parts and the threshold would be too low; give good pictures it has not seen"
        )
    found = list(model.inspected(one.picture for one in seen.pictures))
    _ask_about_defects(found)
    maps = np.stack([one.maps for one in found]) if found else np.empty((0, 1, 1, 1), np.float32)
    hashes = [one.pixel_hash for one in seen.pictures]
    calibration = calibrate(
        maps,
        settings.scoring,
        rates[0],
        hashes,
        look_rate=rates[1],
        ignored=ignored,
        names=[one.name for one in seen.pictures],
    )
    calibration = with_names(calibration, {one.pixel_hash: one.name for one in seen.pictures})
    return with_looks(calibration, joined([one.looks for one in found], OF_PIXELS))


def _ask_about_defects(found: Sequence[Inspection]) -> None:
    """Asks whether pictures are good where most were called defects until now."""
    called = sum(one.is_defect for one in found)
    if 2 * called > len(found):
        _log.warning(
            "%d of the %d pictures were defects by the thresholds until now, and are taken for "
            "good: look whether they are good parts of this product, unless camera, light or "
            "material changed",
            called,
            len(found),
        )


def _areas(
    mask: NDArray[np.bool_], pictures: Sequence[tuple[int, int]], model: Model
) -> tuple[Area, ...]:
    """Returns what a mask that was drawn on one of the pictures, of (H, W) each, leaves out."""
    if model.turned:
        raise SettingsError(
            "ignore: this model turns parts to one pose before it looks, so an area of the picture "
            "is no area of the part; expected no mask. Cover it before the camera, or fit with "
            "--set pose=off where parts need no turning"
        )
    refuse_other_shape(mask, pictures)
    return areas_of(mask)


def _left_without(
    calibration: Calibration, pictures: Sequence[ImageInput], settings: Settings
) -> Calibration:
    """Returns the calibration without the scores of some of its pictures.

    Args:
        calibration: now in force.
        pictures: that are to go.
        settings: of the model.

    Raises:
        CalibrationError: one does not calibrate the model, or too few would be left.
        ImageError: one cannot be read.
    """
    if not pictures:
        return calibration
    left, files = set[str](), list[ImageInput]()
    for one in pictures:
        known = _named(calibration, Path(one)) if isinstance(one, str | os.PathLike) else None
        if known is None:
            files.append(one)
        else:
            left.add(known)
    if not files:
        return without(calibration, left, settings.scoring)
    seen = survey("pictures to leave out", files, white=settings.data.white)
    strange = [one.name for one in seen.pictures if one.pixel_hash not in calibration.pictures]
    if strange:
        raise _no_such(strange, calibration)
    left |= {one.pixel_hash for one in seen.pictures}
    return without(calibration, left, settings.scoring)


def _named(calibration: Calibration, given: Path) -> str | None:
    """Returns the sha256 of the picture that is called so, where no file is; None for a path.

    Raises:
        CalibrationError: several are, or none is.
    """
    name = given.name
    if name != str(given) or given.exists():
        return None
    found = [
        one
        for one in calibration.pictures
        if name in (calibration.names.get(one), name_of(calibration, one), one)
    ]
    if not found:
        raise _no_such([name], calibration)
    if len(found) > 1:
        raise CalibrationError(
            f"{given}: found {len(found)} pictures of this name among those that calibrate; "
            "give the path of the one that is to go"
        )
    return found[0]


def _no_such(names: Sequence[str], calibration: Calibration) -> CalibrationError:
    return CalibrationError(
        f"{', '.join(names[:5])}: found no such picture among the {len(calibration.scores)} that "
        "calibrate this model; give files that it was fitted or calibrated with, or their names. "
        "What was left out before is no longer among them; it comes back with a calibration that "
        "was exported before ('--import') or a new fit, and pictures that a model was calibrated "
        "with by calibrating with all of them again"
    )


def _refuse_no_shares(rate: float, look_rate: float) -> None:
    """Checks asked rates.

    Raises:
        SettingsError: one is not a share between 0 and 1.
    """
    for name, asked in (("false-alarm rate", rate), ("look rate", look_rate)):
        if not _LEAST_RATE <= asked < 1:
            raise SettingsError(
                f"{name} {asked:g}: a share between 0 and 1 was expected, at least 1e-6"
            )


def _one_of(
    good_images: Iterable[ImageInput] | None, without: Iterable[ImageInput]
) -> list[ImageInput]:
    """Returns the pictures to leave out, where no other good ones take the place of all.

    Raises:
        SettingsError: both are given.
    """
    given = list(without)
    if good_images is not None and given:
        raise SettingsError(
            "new good pictures, and pictures to leave out of those that calibrate now: found both, "
            "expected one; leave the odd ones out of the new ones"
        )
    return given
