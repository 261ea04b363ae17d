"""The JSON form of a calibration, also those of older versions.

Shapes: none; see `nfbmr.scoring.calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nfbmr.errors import BundleTamperedError
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.judges import judges_of
from nfbmr.scoring.maps import halved_sums, shown_maps
from nfbmr.settings.schema import ScoringSettings

_ASM = "half the sum"


def calibration_to_dict(calibration: Calibration) -> dict[str, Any]:
    """Returns the JSON form, which also says what `asm` meant when it was made."""
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(calibration).items()}
    for name in (
        "ignored",
        "rims",
        "chosen",
        "folds",
        "names",
        "trained",
        "table",
        "seen",
        "calm",
        "wild_from",
    ):
        if not values[name]:  # as it was before there were such
            del values[name]
    return values | {"asm": _ASM}


def calibration_from_dict(values: Mapping[str, Any], scoring: ScoringSettings) -> Calibration:
    """Reads the JSON form back and checks every value.

    A form that does not say what `asm` is was made when it was the whole sum: its scales of it are
    halved, which is exact, so scores and verdicts stay to the last bit.

    Raises:
        BundleTamperedError: keys are missing or unknown, or values are impossible.
    """
    kept = {k: v for k, v in values.items() if k != "asm" or v != _ASM}
    if "false_alarm_rate" in kept:  # older versions have two verdicts
        kept.setdefault("look_rate", kept["false_alarm_rate"])
    try:
        found = TypeAdapter(Calibration).validate_python(kept)
        return found if "asm" in values else _with_half_sums(found, scoring)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "values"
        raise BundleTamperedError(
            f"calibration refused: {where}: {first['msg']}; restore the file or calibrate again"
        ) from None


def checked(calibration: Calibration, scoring: ScoringSettings) -> Calibration:
    """Returns a calibration that is of a model with these settings.

    Raises:
        BundleTamperedError: it is another model's, or its threshold is not on its own scale.
    """
    judges = len(judges_of(scoring)) if scoring.by_judges else 0
    for what, found, expected in (
        ("statistics", calibration.statistic_mean, len(scoring.maps) * len(scoring.statistics)),
        ("maps", calibration.map_mean, len(shown_maps(scoring))),
        ("judges", calibration.judge_mean, judges),
    ):
        if len(found) != expected:
            raise BundleTamperedError(
                f"calibration refused: it has {len(found)} {what}, the settings have {expected}: "
                "it is another model's; restore the file or calibrate again"
            )
    if calibration.one is not None and calibration.threshold != 1:
        raise BundleTamperedError(
            f"calibration refused: its threshold is {calibration.threshold:g}, 1 was expected on "
            "the scale of its scores; restore the file or calibrate again"
        )
    return calibration


def _with_half_sums(old: Calibration, scoring: ScoringSettings) -> Calibration:
    """Brings scales of eq. 14 without its half to those with it."""
    by_statistic = [name for name in scoring.maps for _ in scoring.statistics]
    return replace(
        old,
        statistic_mean=halved_sums(old.statistic_mean, by_statistic),
        statistic_std=halved_sums(old.statistic_std, by_statistic),
        map_mean=halved_sums(old.map_mean, shown_maps(scoring)),
        map_std=halved_sums(old.map_std, shown_maps(scoring)),
    )
