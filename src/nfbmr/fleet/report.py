"""The fleet as one HTML page that needs no network and runs no code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nfbmr.errors import SettingsError
from nfbmr.evaluation.evaluate import REPORT
from nfbmr.evaluation.report.templates import load_template
from nfbmr.evaluation.report.words import duration, fixed, percent
from nfbmr.fleet.place import Place, State
from nfbmr.fleet.table import state_of, summary
from nfbmr.system import provenance
from nfbmr.system.files import written_beside
from nfbmr.system.words import counted

_TONES = {"done": "fine", "failed": "bad", "stopped": "warn", "running": "", "waiting": ""}


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A product as the page shows it."""

    name: str
    state: str
    tone: str
    pictures: str
    figures: tuple[tuple[str, str, str], ...]
    """Name, value and what stands below it."""
    time: str
    memory: str
    warnings: tuple[str, ...]
    misfit: tuple[str, ...]
    error: str
    address: str
    """Of the report of its test; empty where there is none."""


def write_report(path: Path, place: Place) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: of the file; reports of single products are linked relative to it.
        place: the models.

    Raises:
        DataError: there is no fleet.
        MissingExtraError: jinja2 is not installed.
        SettingsError: the page cannot be written there.
    """
    page = render(place, path)
    try:
        with written_beside(path) as beside:
            beside.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise SettingsError(
            f"{path}: the page cannot be written there ({error.strerror or error}); give another "
            "place with -o"
        ) from None


def render(place: Place, path: Path) -> str:
    """Returns the page; raises as `write_report` does."""
    states = place.states()
    rows = [_row(state, place, path) for state in states]
    template = load_template(__package__, "report.html.j2", counted=counted)
    return str(
        template.render(
            title=place.models.name,
            summary=summary(states),
            cards=_cards(states),
            rows=rows,
            amiss=[row for row in rows if row.error or row.misfit or row.warnings],
            made=f"{provenance.now()}, nfbmr {provenance.versions()['nfbmr']}",
        )
    )


def _cards(states: Sequence[State]) -> list[tuple[str, str, str]]:
    """Returns the figures of all: name, value, what stands below it."""
    aurocs = [value for state in states if (value := state.figures.get("image_auroc")) is not None]
    alarms = [state.figures for state in states if state.figures.get("n_good")]
    good = sum(figures["n_good"] for figures in alarms)
    called = sum(
        round(figures["false_alarm_rate_observed"] * figures["n_good"]) for figures in alarms
    )
    tested = counted(len(aurocs), "product") + " tested"
    lowest = f"lowest {min(aurocs):.4f}" if aurocs else tested
    return [
        ("Done", _of(states, "done"), f"of {counted(len(states), 'product')}"),
        ("Failed", _of(states, "failed"), "see below" if _of(states, "failed") != "0" else "none"),
        (
            "Do not fit",
            str(sum(bool(state.misfit) for state in states)),
            "good pictures unlike those that calibrate",
        ),
        ("Image AUROC", fixed(_mean(aurocs), 4), f"mean of {tested}, {lowest}"),
        (
            "False alarms",
            percent(called / good) if good else "–",
            f"{called} of {counted(good, 'good test picture')}",
        ),
        ("Work", duration(sum(state.seconds for state in states)), "of all products together"),
    ]


def _of(states: Sequence[State], status: str) -> str:
    return str(sum(state.status == status for state in states))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _row(state: State, place: Place, path: Path) -> _Row:
    figures: dict[str, Any] = state.figures
    report = place.evaluation(state.product) / REPORT
    held = figures.get("n_held_out")
    asked = figures.get("false_alarm_rate_asked")
    found = (
        ("AUROC", fixed(figures.get("image_auroc"), 4), ""),
        ("AUPRO", fixed(figures.get("aupro"), 3), ""),
        ("Found", percent(figures.get("recall")), _count(figures, "n_defective", "defective")),
        (
            "False alarms",
            percent(figures.get("false_alarm_rate_observed")),
            "" if asked is None else f"{percent(asked)} asked",
        ),
    )
    return _Row(
        name=state.product,
        state=state_of(state),
        tone="warn" if state.is_silent or state.misfit else _TONES[state.status],
        pictures="–" if held is None else f"{figures['n_train']} + {held}",
        figures=found,
        time=duration(state.seconds) if state.seconds else "–",
        memory=f"{state.peak_mb} MB" if state.peak_mb else "–",
        warnings=state.warnings,
        misfit=state.misfit,
        error=state.error,
        address=_relative(report, path) if report.is_file() else "",
    )


def _count(figures: dict[str, Any], name: str, word: str) -> str:
    return f"of {figures[name]} {word}" if figures.get(name) else ""


def _relative(target: Path, page: Path) -> str:
    try:
        there = os.path.relpath(target, page.absolute().parent)
    except ValueError:  # another drive
        return ""
    return quote(Path(there).as_posix())
