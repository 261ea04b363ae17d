"""The report of one test run: one HTML file that needs no network and runs no code.

Pictures and plots are inside the file. File names and defect names come from the user's folders,
so everything is escaped, and the page forbids scripts and remote content to itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.evaluation.report import plots, words
from nfbmr.evaluation.report.cards import Card, Picture, card_of
from nfbmr.evaluation.report.templates import load_template
from nfbmr.inspection import pictures
from nfbmr.scoring.conformal import images_needed
from nfbmr.scoring.odd import Unlike
from nfbmr.scoring.odd_words import UNKNOWN
from nfbmr.system.files import written_beside
from nfbmr.system.words import counted

_WORST = 8  # misses, and others of a kind, that are always shown


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportContent:
    """What the report says.

    Attributes:
        title: heading of the page.
        summary: the keys of `metrics.summarise`, and where known `false_alarm_rate_asked`,
            `inspect_ms`, `fit_seconds`, `seed`, `settings_hash`, `commit`, `versions` (a mapping).
        scores: (N,) of all test pictures, finite.
        p_values: (N,) in [0, 1].
        is_defect: (N,).
        predicted: (N,) called a defect.
        looked: (N,) left to a person.
        threshold: of the scores.
        look_threshold: above it a person is to look.
        notes: sentences about the threshold, e.g. which false-alarm rates can be had.
        warnings: sentences the reader must not miss.
        settings: names to values; mappings inside mappings are flattened.
        labelled: whether anything says which pictures are good.
        pictures: those to show, as `choose_pictures` picks them.
        oddest: good pictures that calibrate and look least like the rest, the highest first.
        oddest_trained: likewise of those that were learnt from and do not calibrate.
        without_odd: what the threshold would be without all odd ones; None where that is not said.
    """

    title: str
    summary: Mapping[str, Any]
    scores: NDArray[np.floating[Any]]
    p_values: NDArray[np.floating[Any]]
    is_defect: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    looked: NDArray[np.bool_]
    threshold: float
    look_threshold: float
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    settings: Mapping[str, Any]
    labelled: bool = True
    pictures: tuple[Picture, ...]
    oddest: tuple[Unlike, ...] = ()
    oddest_trained: tuple[Unlike, ...] = ()
    without_odd: float | None = None


def choose_pictures(
    scores: NDArray[np.floating[Any]],
    is_defect: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    defects: Sequence[str],
    looked: NDArray[np.bool_],
    per_type: int = 4,
    worst: int = _WORST,
) -> list[int]:
    """Which pictures are worth showing, so that heatmaps are needed for those only.

    Args:
        scores: (N,) finite.
        is_defect: (N,).
        predicted: (N,) the verdicts.
        defects: N defect names; those of good pictures are not read.
        looked: (N,) left to a person.
        per_type: pictures of each defect type, and of good ones that passed, spread evenly over
            the ranks of their scores from lowest to highest.
        worst: at most so many missed defects (lowest scores), false alarms and pictures for a
            person (highest scores).

    Returns:
        Indices without repetition: misses, false alarms, those for a person, each type by name,
        good ones.
    """
    assert scores.shape == is_defect.shape == predicted.shape == (len(defects),)
    order = np.argsort(scores, kind="stable")
    missed = order[is_defect[order] & ~predicted[order] & ~looked[order]]
    alarms = order[~is_defect[order] & predicted[order]][::-1]
    chosen = [*missed[:worst], *alarms[:worst], *order[looked[order]][::-1][:worst]]
    names = np.array(defects, dtype=object)
    for name in sorted(set(names[is_defect])):
        chosen += _spread(order[is_defect[order] & (names[order] == name)], per_type)
    chosen += _spread(order[~is_defect[order] & ~predicted[order] & ~looked[order]], per_type)
    return [int(index) for index in dict.fromkeys(chosen)]


def _spread(ordered: NDArray[np.intp], count: int) -> list[np.intp]:
    if not len(ordered):
        return []
    return list(ordered[np.rint(np.linspace(0, len(ordered) - 1, count)).astype(np.intp)])


def write_report(path: Path, content: ReportContent) -> None:
    """Writes the report, beside its place first and then renamed: whole, or not at all.

    Args:
        path: of the HTML file; its folder is made, an older report is replaced.
        content: what it says.

    Raises:
        MissingExtraError: jinja2, matplotlib or scikit-learn is not installed.
        OSError: the file cannot be written.
    """
    page = render(content)
    with written_beside(path) as beside:
        # A file name that is not valid Unicode reaches us with lone surrogates in it.
        beside.write_text(page, encoding="utf-8", errors="backslashreplace")


def render(content: ReportContent) -> str:
    """The report as one HTML text; raises MissingExtraError as `write_report` does."""
    template = load_template(
        __package__, "report.html.j2", percent=words.percent, fixed=words.fixed, counted=counted
    )
    summary = content.summary
    good = content.p_values[~content.is_defect]
    has_both = bool(content.is_defect.any() and len(good))
    threshold = content.threshold if np.isfinite(content.threshold) else None
    roc = has_both and plots.roc_plot(content.scores, content.is_defect, content.predicted)
    shown = {
        "roc": roc or None,
        "histogram": plots.score_plot(
            content.scores,
            content.is_defect,
            threshold,
            content.look_threshold,
            "good" if content.labelled else "no label",
        ),
        "uniformity": plots.p_value_plot(good) if len(good) and content.labelled else None,
    }
    return str(
        template.render(
            content=content,
            summary=summary,
            figures=_figures(summary),
            verdict=_verdict(summary),
            plots=shown,
            legend=_legend(),
            ratio=_median_ratio(content.pictures),
            settings=_flat(content.settings),
            provenance=_provenance(summary),
            unknown=UNKNOWN,
            **_galleries(content),
        )
    )


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """One headline figure: its name, its value as text, and lines below."""

    name: str
    value: str
    remarks: list[str]


def _galleries(content: ReportContent) -> dict[str, Any]:
    by_score = sorted(content.pictures, key=lambda picture: picture.score)
    missed = [p for p in by_score if p.is_defect and p.verdict == "good"]
    looked = [p for p in reversed(by_score) if p.verdict == "look"]
    alarms = [p for p in reversed(by_score) if not p.is_defect and p.is_flagged]
    cards = {id(picture): card_of(picture) for picture in by_score}
    types: dict[str, list[Card]] = {}
    for picture in missed + [p for p in by_score if p.is_defect and p.verdict != "good"]:
        shown = types.setdefault(picture.defect, [])
        if picture.verdict != "good" or not shown:  # other misses have their own gallery
            shown.append(cards[id(picture)])
    return {
        "missed": [cards[id(p)] for p in missed],
        "worst": _WORST,
        "n_missed": int((content.is_defect & ~content.predicted & ~content.looked).sum()),
        "looked": [cards[id(p)] for p in looked],
        "n_looked": int(content.looked.sum()),
        "alarms": [cards[id(p)] for p in alarms],
        "n_alarms": int((~content.is_defect & content.predicted).sum()),
        "types": dict(sorted(types.items())),
        "calm": [cards[id(p)] for p in by_score if not p.is_defect and p.verdict == "good"],
    }


def _figures(summary: Mapping[str, Any]) -> list[_Figure]:
    if "n_unlabelled" in summary:
        called, looked = (str(summary[f"n_{one}"]) for one in ("called_defects", "to_look_at"))
        time = words.milliseconds(summary.get("inspect_ms"))
        all_of = f"of {counted(summary['n_unlabelled'], 'picture')}"
        return [
            _Figure(name="Called defects", value=called, remarks=[all_of]),
            _Figure(name="For a person", value=looked, remarks=[all_of]),
            _Figure(name="Time", value=time, remarks=["per picture"]),
        ]
    n_good, n_defective = summary["n_good"], summary["n_defective"]
    found = round((summary["recall"] or 0) * n_defective)
    alarms = round((summary["false_alarm_rate_observed"] or 0) * n_good)
    asked = summary.get("false_alarm_rate_asked")
    more, good = (summary.get(f"n_{kind}_to_look_at") or 0 for kind in ("defective", "good"))
    alarm_remarks = [
        f"{alarms} of {counted(n_good, 'good picture')}",
        f"interval {_interval(summary)}",
    ]
    if asked is not None:
        alarm_remarks.append(f"{words.percent(asked)} asked for")
    no_masks = summary["aupro"] is None
    pixels = "no masks" if no_masks else f"pixel AUROC {words.fixed(summary['pixel_auroc'], 3)}"
    rows = (
        ("Image AUROC", words.fixed(summary["image_auroc"], 4), ["good and defective told apart"]),
        (
            "Recall",
            words.percent(summary["recall"]),
            [f"{found} of {counted(n_defective, 'defect')} found"],
        ),
        (
            "False alarms",
            words.percent(summary["false_alarm_rate_observed"]),
            alarm_remarks if n_good else ["no good test pictures"],
        ),
        (
            "For a person",
            str(more + good),
            [
                f"{more} defective, {good} good",
                f"{found + more} of {n_defective} not passed as good",
            ],
        ),
        ("F1", words.fixed(summary["f1"], 3), [f"precision {words.percent(summary['precision'])}"]),
        ("AUPRO", words.fixed(summary["aupro"], 3), [pixels]),
        ("Time", words.milliseconds(summary.get("inspect_ms")), ["per picture"]),
    )
    return [_Figure(name=name, value=value, remarks=remarks) for name, value, remarks in rows]


def _verdict(summary: Mapping[str, Any]) -> list[str]:
    """One or two sentences that say it all."""
    if "n_unlabelled" in summary:
        called, looked = summary["n_called_defects"], summary["n_to_look_at"]
        return [
            f"No label says which of these {counted(summary['n_unlabelled'], 'picture')} are good, "
            "so nothing is known of misses and false alarms.",
            f"{called} {_were(called)} called a defect, {looked} {_are(looked)} for a person to "
            "look at.",
        ]
    lines = []
    n_good, n_defective = summary["n_good"], summary["n_defective"]
    if n_defective:
        found = round(summary["recall"] * n_defective)
        to_look_at = summary.get("n_defective_to_look_at") or 0
        line = f"{found} of {counted(n_defective, 'defective picture')} {_were(found)} found"
        if to_look_at:
            line += f", {to_look_at} more {_are(to_look_at)} for a person to look at"
        lines.append(f"{line}.")
    if n_good:
        alarms = round(summary["false_alarm_rate_observed"] * n_good)
        line = f"{alarms} of {counted(n_good, 'good picture')} raised a false alarm"
        asked, (low, high) = summary.get("false_alarm_rate_asked"), summary["false_alarm_interval"]
        if asked is not None:
            if asked > high:
                line += f", fewer than the {words.percent(asked)} asked for"
            elif asked < low:
                line += f", more than the {words.percent(asked)} asked for"
            elif n_good >= images_needed(asked):
                line += f", in line with the {words.percent(asked)} asked for"
            else:
                line += f"; so few cannot say whether that is the {words.percent(asked)} asked for"
        lines.append(line + ".")
    return lines


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _provenance(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (label, str(summary[key]))
        for key, label in (
            ("seed", "Seed"),
            ("settings_hash", "Settings hash"),
            ("commit", "Commit"),
        )
        if summary.get(key) is not None
    ]
    if summary.get("fit_seconds") is not None:
        rows.append(("Time to learn", words.duration(summary["fit_seconds"])))
    return rows + [(str(k), str(v)) for k, v in (summary.get("versions") or {}).items()]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            rows.append((f"{prefix}{key}", text))
    return rows


def _legend() -> str:
    """The colours of heatmap levels 0 to 2 over middle gray, drawn by the overlay itself."""
    levels = np.tile(np.linspace(0, 2, 360, dtype=np.float32), (12, 1))
    gray = np.full((*levels.shape, 3), 128, np.uint8)
    return pictures.to_data_uri(pictures.heatmap_overlay(gray, levels), form="png")


def _median_ratio(shown: Sequence[Picture]) -> float:
    ratios = [picture.image.shape[1] / picture.image.shape[0] for picture in shown]
    return round(float(np.clip(np.median(ratios), 0.5, 2.0)), 3) if ratios else 1.0


def _interval(summary: Mapping[str, Any]) -> str:
    low, high = summary["false_alarm_interval"] or (0, 1)
    return f"{words.percent(low)}–{words.percent(high)}"
