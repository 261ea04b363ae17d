"""`evaluate`: a model against labelled pictures -> metrics.json, scores.csv, report.html."""

from __future__ import annotations

import csv
import json
import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.layouts import DataSet, Sample, read_data
from nfbmr.data.masks import read_masks
from nfbmr.data.pages import said_of
from nfbmr.data.survey import Surveyed, looked_at
from nfbmr.errors import LayoutError, MissingExtraError, SettingsError
from nfbmr.evaluation.metrics import predictive_interval, summarise
from nfbmr.evaluation.pixel_metrics import PixelMetrics, PixelResult
from nfbmr.evaluation.pointing import Pointing
from nfbmr.evaluation.report.page import ReportContent, choose_pictures, write_report
from nfbmr.evaluation.shown import pictures_of
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.places import is_csv_with, is_json_with, is_page, refuse_to_overwrite
from nfbmr.inspection.result import Failure, Inspection
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.odd import oddest, oddest_trained, without_all
from nfbmr.settings.changes import settings_hash, to_dict
from nfbmr.system import provenance
from nfbmr.system.files import spreadsheet_cell, written_beside
from nfbmr.system.packages import how_to_install, lacking
from nfbmr.system.progress import Progress, silent
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

_TIMED = 20
METRICS = "metrics.json"
SCORES = "scores.csv"
REPORT = "report.html"
_WRITTEN = (
    (METRICS, "figures", is_json_with("settings_hash")),
    (SCORES, "scores", is_csv_with("path", "score", "p_value", "is_defect")),
    (REPORT, "a report", is_page),
)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The figures of a model on labelled pictures, and each picture's verdict."""

    metrics: dict[str, Any]
    """What `metrics.json` holds."""
    samples: tuple[Sample, ...]
    """The pictures that could be read, N of them."""
    scores: NDArray[np.float64]
    p_values: NDArray[np.float64]
    warnings: tuple[str, ...]


def evaluate(
    inspector: Inspector,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress = silent,
) -> Evaluation:
    """Inspects the test pictures of a data set and writes the figures and the report.

    Args:
        inspector: the model; its threshold is used as it stands.
        data: a data set with test pictures; a plain folder counts as good pictures.
        out: a folder for `metrics.json`, `scores.csv` and `report.html`; made where absent.
        progress: hears each picture.

    Raises:
        LayoutError: there is nothing to evaluate on.
        MissingExtraError: the extra `report` is not installed.
        SettingsError: nothing can be written to the folder, or something would be lost there.
    """
    folder = Path(out)
    refuse_early(data, folder)
    found = _without_unlabelled(read_data(data, to_learn=False))
    _log.info("%s", _described(found))
    for warning in found.warnings:
        _log.warning("%s", warning)
    samples = _test_samples(found)
    cautions = _cautions(inspector, samples)
    for caution in cautions:
        _log.warning("%s", caution)
    results = inspector.inspect_many([sample.path for sample in samples])
    collected = collect(results, samples, progress)
    metrics = figures(inspector, collected)
    evaluation = Evaluation(
        metrics=metrics,
        samples=tuple(collected.samples),
        scores=np.array(collected.scores),
        p_values=np.array(collected.p_values),
        warnings=(*cautions, *found.warnings, *collected.failures, *said_of(collected.several)),
    )
    folder.mkdir(parents=True, exist_ok=True)
    with written_beside(folder / METRICS) as beside:
        beside.write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    _write_scores(folder / SCORES, evaluation, inspector)
    write_report(folder / REPORT, _report(inspector, evaluation, found))
    return evaluation


def refuse_early(data: str | os.PathLike[str], folder: Path) -> None:
    """Says before the work what would stop the report behind it, or what it would overwrite.

    Raises:
        MissingExtraError, SettingsError: as `evaluate`.
    """
    for name, what, wrote in _WRITTEN:
        refuse_to_overwrite("-o", folder / name, what, wrote, [Path(data)])
    if missing := lacking("jinja2", "matplotlib", "sklearn"):
        raise MissingExtraError(
            f"The report needs {', '.join(missing)}, not installed here; {how_to_install('report')}"
        )
    if folder.is_symlink() and not folder.exists():
        raise SettingsError(f"{folder} is a link to where nothing is; give another folder with -o")
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise SettingsError(
            f"{folder}: the report cannot be written there ({error.strerror}); give another folder "
            "with -o, or the right to write to this one"
        ) from None


class Collected:
    """What is kept of each picture: numbers; the maps only pass through."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.scores: list[float] = []
        self.p_values: list[float] = []
        self.pixels = PixelMetrics()
        self.pointing = Pointing()
        self.failures: list[str] = []
        self.several: list[str] = []


def _test_samples(data: DataSet) -> tuple[Sample, ...]:
    if data.test:
        return data.test
    if data.layout == "folder" and data.train_good:
        return data.train_good
    raise LayoutError(
        f"{data.root} has no test pictures; expected a folder test/ with good and defective ones, "
        "a table with split = test, or a plain folder of good pictures"
    )


def _without_unlabelled(data: DataSet) -> DataSet:
    """Leaves test pictures without a label out where others have one: they are not known good."""
    bare = {sample.path for sample in data.test if not sample.is_labelled}
    if not bare or len(bare) == len(data.test):
        return data
    said = (
        f"{len(bare)} of {counted(len(data.test), 'test picture')} "
        f"{'has' if len(bare) == 1 else 'have'} no label, left out of all figures"
    )
    kept = tuple(s for s in data.samples if s.split != "test" or s.path not in bare)
    return replace(data, samples=kept, warnings=(*data.warnings, said))


def _cautions(inspector: Inspector, samples: tuple[Sample, ...]) -> list[str]:
    """Returns what would make the figures look better than they are."""
    facts, calibrated_on = inspector.facts, set(inspector.calibration.pictures)
    used = {*facts.trained_on, *facts.held_out}
    pixels = {*facts.trained_pixels, *facts.held_out_pixels, *calibrated_on}
    seen = [
        one.name
        for one in looked_at(samples, inspector.settings.data.white)
        if isinstance(one, Surveyed) and (one.fingerprint in used or one.pixel_hash in pixels)
    ]
    cautions = []
    if seen:
        cautions.append(
            f"{len(seen)} of {counted(len(samples), 'test picture')} "
            f"{'was' if len(seen) == 1 else 'were'} learnt from or calibrated with, so the figures "
            f"flatter the model: {', '.join(seen[:5])}"
        )
    if not _labelled(samples):
        cautions.append(
            f"no label says which of {counted(len(samples), 'picture')} are good: neither AUROC "
            "nor false alarms can be measured. If all are, put them into a folder named 'good'"
        )
    if all(sample.is_defect for sample in samples):
        cautions.append(
            "there are no good test pictures: neither AUROC nor false alarms can be measured"
        )
    return cautions


def _described(data: DataSet) -> str:
    samples = _test_samples(data)
    if _labelled(samples):
        return data.describe()
    return f"{data.root}: {counted(len(samples), 'picture')} without a label"


def _labelled(samples: Sequence[Sample]) -> bool:
    return any(sample.is_labelled for sample in samples)


def collect(
    results: Iterable[Inspection | Failure],
    samples: Sequence[Sample],
    progress: Progress = silent,
) -> Collected:
    """Compares results with samples, one at a time.

    Args:
        results: of each sample, in order.
        samples: the pictures with their labels and masks.
        progress: hears each picture.

    Raises:
        LayoutError: every result is a failure.
    """
    collected = Collected()
    masks = any(sample.mask for sample in samples)
    for done, (sample, result) in enumerate(zip(samples, results, strict=True), start=1):
        progress("inspect", done, len(samples))
        if isinstance(result, Failure):
            collected.failures.append(f"left out, cannot be read: {result.error}")
            _log.warning("%s", collected.failures[-1])
            continue
        collected.several += [sample.path.name] if result.has_more else []
        collected.samples.append(sample)
        collected.scores.append(result.score)
        collected.p_values.append(result.p_value)
        # A defect whose place nobody marked says nothing about pixels.
        if masks and (sample.mask is not None or not sample.is_defect):
            mask = read_masks(sample.masks) if sample.mask is not None else None
            heat = result.heatmap
            collected.pixels.update(heat, mask)
            if mask is not None:
                collected.pointing.update(result, heat, mask)
    if not collected.samples:
        raise LayoutError(f"of {counted(len(samples), 'test picture')} none can be read")
    return collected


def figures(inspector: Inspector, collected: Collected) -> dict[str, Any]:
    """Returns what `metrics.json` holds: the figures, and what made them."""
    scores = np.array(collected.scores)
    is_defect = np.array([sample.is_defect for sample in collected.samples])
    calibration, facts = inspector.calibration, inspector.facts
    flagged, looked = _called(scores, calibration)
    pixel: PixelResult | None = collected.pixels.compute()
    summary = summarise(
        scores=scores,
        p_values=np.array(collected.p_values),
        is_defect=is_defect,
        defects=[sample.defect for sample in collected.samples],
        threshold=inspector.threshold,
        predicted=flagged,
        pixel=pixel,
    )
    n, n_good = len(calibration.scores), int((~is_defect).sum())
    labelled = _labelled(collected.samples)
    rank = min(calibration.rank, n)
    low, high = predictive_interval(n, rank, n_good) if n_good else (0, 0)
    return (
        summary
        | collected.pointing.compute()
        | {
            "false_alarm_rate_asked": calibration.false_alarm_rate,
            "false_alarm_rate_attainable": calibration.attainable_rate,
            "false_alarms_expected_interval": [0 if calibration.extrapolated else low, high],
            "threshold_extrapolated": calibration.extrapolated,
            "look_rate_asked": calibration.look_rate,
            "look_threshold": calibration.look_threshold,
            "n_good_to_look_at": int((looked & ~is_defect).sum()),
            "n_defective_to_look_at": int((looked & is_defect).sum()),
            "recall_with_look": _share((flagged | looked)[is_defect]),
            "good_with_look": _share((flagged | looked)[~is_defect]),
            "seed": inspector.settings.seed,
            "settings_hash": settings_hash(inspector.settings),
            "commit": facts.commit,
            "versions": provenance.versions(),
            "fit_seconds": round(facts.fit_seconds, 2),
            "inspect_ms": _milliseconds(inspector, collected.samples),
            "runtime": inspector.runtime.name,
            "n_unreadable": len(collected.failures),
            "n_train": facts.n_train,
            "n_held_out": facts.n_held_out,
        }
        | ({} if labelled else _without_labels(flagged, looked))
    )


def _without_labels(flagged: NDArray[np.bool_], looked: NDArray[np.bool_]) -> dict[str, Any]:
    """Returns what is said instead of figures that need labels, of verdicts (N,)."""
    unknown = (
        *("f1", "precision", "recall", "recall_with_look", "good_with_look"),
        *("false_alarm_rate_observed", "false_alarm_interval", "false_alarms_expected_interval"),
    )
    return {
        **dict.fromkeys(unknown),
        **dict.fromkeys(("n_good", "n_good_to_look_at"), 0),
        "n_unlabelled": len(flagged),
        "n_called_defects": int(flagged.sum()),
        "n_to_look_at": int(looked.sum()),
    }


def _called(
    scores: NDArray[np.float64], calibration: Calibration
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns which scores (N,) are called a defect, and which are left to a person."""
    verdicts = np.array([calibration.verdict(float(score)) for score in scores])
    return verdicts == "defect", verdicts == "look"


def _share(found: NDArray[np.bool_]) -> float | None:
    return float(found.mean()) if len(found) else None


def _milliseconds(inspector: Inspector, samples: list[Sample]) -> float:
    """Times one picture at a time, decoding included: the median, after a warm-up."""
    times = []
    for sample in samples[:_TIMED]:
        started = time.perf_counter()
        inspector.inspect(sample.path)
        times.append(1000 * (time.perf_counter() - started))
    return round(float(np.median(times[min(2, len(times) - 1) :])), 2)


def _write_scores(path: Path, evaluation: Evaluation, inspector: Inspector) -> None:
    # Some names of files are no Unicode.
    with (
        written_beside(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "verdict", "score", "p_value", "is_defect"])
        rows = zip(evaluation.samples, evaluation.scores, evaluation.p_values, strict=True)
        for sample, score, p_value in rows:
            label = sample.defect if sample.is_labelled else ""
            names = [spreadsheet_cell(str(sample.path)), spreadsheet_cell(label)]
            verdict = inspector.calibration.verdict(float(score))
            flagged = verdict == "defect"
            writer.writerow([*names, verdict, repr(float(score)), p_value, flagged])


def _report(inspector: Inspector, evaluation: Evaluation, data: DataSet) -> ReportContent:
    is_defect = np.array([sample.is_defect for sample in evaluation.samples])
    predicted, looked = _called(evaluation.scores, inspector.calibration)
    defects = [sample.defect for sample in evaluation.samples]
    chosen = choose_pictures(evaluation.scores, is_defect, predicted, defects, looked)
    return ReportContent(
        title=inspector.facts.name,
        summary=evaluation.metrics,
        scores=evaluation.scores,
        p_values=evaluation.p_values,
        is_defect=is_defect,
        predicted=predicted,
        looked=looked,
        threshold=inspector.threshold,
        look_threshold=inspector.calibration.look_threshold,
        notes=(_described(data), *inspector.calibration.describe()),
        warnings=evaluation.warnings,
        settings=to_dict(inspector.settings),
        labelled=_labelled(evaluation.samples),
        pictures=tuple(pictures_of(inspector, [evaluation.samples[i] for i in chosen])),
        oddest=oddest(inspector.calibration, inspector.settings.scoring),
        oddest_trained=oddest_trained(inspector.calibration),
        without_odd=without_all(inspector.calibration, inspector.settings.scoring),
    )
