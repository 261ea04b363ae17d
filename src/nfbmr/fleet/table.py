"""The fleet as lines for the screen: each product's state, figures and time, and what is amiss."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from nfbmr.evaluation.report.words import duration, fixed, percent
from nfbmr.fleet.place import State
from nfbmr.system.words import counted

_HEADS = ("product", "state", "AUROC", "false alarms", "held out", "time", "memory", "warnings")
_NUMBERS = range(2, 8)
"""Columns that stand to the right."""


def table(states: Sequence[State]) -> list[str]:
    """Returns lines: a table, then whatever failed or does not fit, then the sum."""
    rows = [_HEADS, *(_row(state) for state in states)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = [
        "  ".join(
            cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    for state in states:
        lines += [f"{state.product} does not fit: {said}" for said in state.misfit]
        if state.error:
            lines.append(f"{state.product} {state.status}: {state.error}")
    return [*lines, summary(states)]


def summary(states: Sequence[State]) -> str:
    """Says in one line how far all are."""
    words = {"done": "done", "running": "at work", "waiting": "waiting", "stopped": "stopped"}
    words |= {"failed": "failed"}
    parts = [
        f"{count} {word}"
        for status, word in words.items()
        if (count := sum(state.status == status for state in states))
    ]
    silent = sum(state.is_silent for state in states)
    if silent:
        parts.append(f"{silent} of those at work not heard of for long")
    worked = sum(state.seconds for state in states)
    return f"{counted(len(states), 'product')}: {', '.join(parts)}; {duration(worked)} of work"


def state_of(state: State) -> str:
    """Says how far a product is, in a few words."""
    if state.is_silent:
        return f"killed? silent for {duration(time.time() - state.changed)}"
    if state.status != "running":
        return state.status
    if not state.what:
        return "at work"
    share = f" {100 * state.done // state.total}%" if state.total else ""
    return f"{state.what}{share}"


def _row(state: State) -> tuple[str, ...]:
    figures: dict[str, Any] = state.figures
    warnings = len(state.warnings) + len(state.misfit)
    learnt = state.status == "done"
    return (
        state.product,
        state_of(state),
        fixed(figures.get("image_auroc"), 4),
        percent(figures.get("false_alarm_rate_observed")),
        ("does not fit" if state.misfit else "fits") if learnt else "–",
        duration(state.seconds) if state.seconds else "–",
        f"{state.peak_mb} MB" if state.peak_mb else "–",
        str(warnings) if warnings else "–",
    )
