"""Rows of inspected parts to an answer: has the line changed, in what, and since which part.

The mathematics is `nfbmr.scoring.drift`; here are the files, and the words.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfbmr.errors import DataError
from nfbmr.inspection.rows import Row
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.drift import STEP, Alarm, Monitor, reference_of
from nfbmr.scoring.looks import LOOKS
from nfbmr.system.files import reason_of
from nfbmr.system.words import counted

WORDS = {
    "score": "the score",
    "brightness": "the brightness",
    "sharpness": "the sharpness",
    "feature_distance": "the distance of features",
    "defects": "the share of defects",
}
"""Of each statistic, and of the second alarm."""

_WAYS = {
    ("brightness", True): "brighter",
    ("brightness", False): "darker",
    ("sharpness", True): "sharper",
    ("sharpness", False): "less sharp",
}
FOUND = ("changed", "alarm", "defects_alarm", "evidence")
"""Among the keys of what is found, as JSON holds it."""
_FORMS = (".jsonl", ".csv")
_VERDICTS = ("good", "look", "defect")


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Parts that were watched, and what came of it."""

    monitor: Monitor
    paths: tuple[str, ...]
    """Of each part, as its row says."""

    def to_dict(self) -> dict[str, Any]:
        """Returns what is said as JSON holds it; each alarm also with the path of its part."""
        found = findings(self.monitor)
        for name in ("alarm", "defects_alarm"):
            if found[name] is not None:
                found[name]["path"] = self.paths[found[name]["part"] - 1]
        return found


def read_rows(paths: Sequence[Path]) -> Iterator[Row]:
    """Yields rows of verdicts from files of `inspect` and `watch`, in their order.

    Raises:
        DataError: a file is missing or holds no such rows.
    """
    for path in paths:
        if path.suffix.lower() not in _FORMS:
            raise DataError(
                f"{path}: found no {' or '.join(_FORMS)} file; give rows that 'nfbmr inspect' or "
                "'nfbmr watch' wrote, with -o FILE.jsonl or -o FILE.csv"
            )
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                lines: Iterable[str | dict[str, Any]] = stream
                if path.suffix.lower() == ".csv":
                    lines = csv.DictReader(stream)
                for number, line in enumerate(lines, start=1):
                    row = _row(line, f"{path}, row {number}")
                    if row is not None:
                        yield row
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"{path} cannot be read ({reason_of(error)}); give rows of inspections"
            ) from None


def _row(line: str | dict[str, Any], where: str) -> Row | None:
    """Returns a row's path, verdict and numbers; None of a picture that could not be read."""
    try:
        row = json.loads(line) if isinstance(line, str) else line
        if row.get("error"):
            return None
        verdict = row["verdict"]
        if verdict not in _VERDICTS:
            raise ValueError(f"'{verdict}' is no verdict")
        known = {name: row[name] for name in LOOKS if row.get(name) not in (None, "")}
        wanted = {name: row[name] for name in ("score", "threshold", "look_threshold")}
        numbers = {name: float(value) for name, value in (wanted | known).items()}
        if not all(map(math.isfinite, numbers.values())):
            raise ValueError("a number that is not finite")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{where}: found {error}; expected what 'nfbmr inspect' writes: verdict, score, "
            "threshold, look_threshold"
        ) from None
    return {"path": str(row.get("path")), "verdict": verdict} | numbers


def watch_rows(rows: Iterable[Row], calibration: Calibration, seed: int) -> Watched:
    """Watches parts in the order of their rows.

    Args:
        rows: as of `read_rows`.
        calibration: of the model that judged them.
        seed: breaks ties; not negative.

    Raises:
        DataError: there is no row, or some were judged by another calibration.
    """
    every = list(rows)
    if not every:
        raise DataError("found no row with a verdict; give rows of at least one inspected picture")
    limits = calibration.threshold, calibration.look_threshold
    for row in every:
        own = row["threshold"], row["look_threshold"]
        if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(own, limits, strict=True)):
            raise DataError(
                f"{row['path']}: found thresholds {own[0]:.6g} and {own[1]:.6g}, this model has "
                f"{limits[0]:.6g} and {limits[1]:.6g}: it was judged by another model or before a "
                "'nfbmr calibrate'; give rows of this model as it is"
            )
    names = [name for name in LOOKS if all(name in row for row in every)]
    reference = reference_of(calibration, names)
    monitor = Monitor(reference, seed=seed)
    for row in every:
        values = [row[name] for name in reference.names]
        monitor.add(values, defect=row["verdict"] == "defect")
    return Watched(monitor=monitor, paths=tuple(row["path"] for row in every))


def findings(monitor: Monitor) -> dict[str, Any]:
    """Returns what a monitor found, as JSON holds it."""
    return {
        "changed": monitor.alarm is not None or monitor.defects_alarm is not None,
        "alarm": _said(monitor.alarm),
        "defects_alarm": _said(monitor.defects_alarm),
        "level": monitor.level,
        "level_holds": not monitor.too_alike,
        "parts": monitor.parts,
        "compared": monitor.compared,
        "calibrating": len(monitor.reference.values),
        "streams": monitor.streams,
        "runs": monitor.runs,
        "seed": monitor.seed,
        "evidence": monitor.evidence,
        "defects_evidence": monitor.defects_evidence,
        "apart": monitor.apart(),
    }


def _said(alarm: Alarm | None) -> dict[str, Any] | None:
    if alarm is None:
        return None
    return {"part": alarm.number, "statistic": alarm.name, "higher": alarm.higher}


def in_words(monitor: Monitor) -> list[str]:
    """Returns sentences for the screen: both alarms, how sure, and what is not promised."""
    level = f"{100 * monitor.level:g} %"
    said = [
        _changed_in_words(monitor.alarm, level)
        if monitor.alarm is not None
        else _unchanged_in_words(monitor),
        f"The share of defects WENT UP, found at part {monitor.defects_alarm.number} (a false "
        f"alarm of this second kind: {level} at most, too)."
        if monitor.defects_alarm is not None
        else "The share of defects did not go up as far as can be told.",
    ]
    if monitor.too_alike:
        said.append(
            f"Neighbours are alike even {monitor.streams} parts apart: NO level is promised."
        )
    elif monitor.streams > 1:
        said.append(
            f"Neighbours may be alike, so every {monitor.streams}th part is compared with those of "
            f"its own stream, in {monitor.streams} streams: none is left out."
        )
    if len(monitor.reference.names) == 1:
        said.append(
            "Only the score is watched: the model or the rows know no brightness, sharpness and "
            "distance of features. Fit again, and inspect with this version."
        )
    return [*said, *apart_in_words(monitor)]


def _changed_in_words(alarm: Alarm, level: str) -> str:
    return (
        f"The line HAS CHANGED, found at part {alarm.number}: {changed_how(alarm)}. An unchanged "
        f"line raises this alarm with a probability of {level} at most, from the first part to the "
        "last."
    )


def changed_how(alarm: Alarm) -> str:
    """Says in what parts are other than before."""
    if alarm.name == "defects":
        return "more parts are called defects"
    way = _WAYS.get((alarm.name, alarm.higher))
    if way is not None:
        return f"pictures are {way}"
    return f"{WORDS[alarm.name]} is {'higher' if alarm.higher else 'lower'}"


def _unchanged_in_words(monitor: Monitor) -> str:
    name, most = max(monitor.evidence.items(), key=lambda item: item[1])
    return (
        f"No change is found in {counted(monitor.parts, 'part')}; the most evidence, in "
        f"{WORDS[name]}, is {100 * most:.0f} % of what raises the alarm."
    )


def apart_in_words(monitor: Monitor) -> list[str]:
    """Says where the last parts lie among the calibration pictures: no level goes with it."""
    apart = [f"{WORDS[name]} at {100 * place:.0f} %" for name, place in monitor.apart().items()]
    if not apart:
        return []
    return [
        f"Against the calibration alone, without guarantee: the last {STEP} parts lie apart in "
        f"{', '.join(apart)} of the good pictures (50 % is the middle). A slow change shows here "
        "first."
    ]
