"""How fast large pictures load and how late verdicts of a live stream are: tables of rows."""

from __future__ import annotations

from typing import Any

from nfbmr.benchmark.tables import markdown

Row = dict[str, Any]


def reading(rows: list[Row]) -> str:
    """Returns milliseconds from a file to the model's size, as it was and as it is read now."""
    head = ["a picture", "whole, then resized, ms", "as it is read, ms", "times as fast"]
    lines = []
    for row in rows:
        taken = row["milliseconds"]
        name = (
            f"{row['megapixels']} megapixels, {'gray' if row['gray'] else 'colour'} {row['format']}"
        )
        lines.append(
            [
                name,
                f"{taken['copied']:.0f}",
                f"{taken['scaled']:.0f}",
                f"{row['times_as_fast']:.1f}",
            ]
        )
    return markdown(head, lines)


def live(rows: list[Row]) -> str:
    """Returns the latency of verdicts, from the moment a picture is taken."""
    head = ["pictures a second, at", "median, ms", "95 of 100, ms", "worst, ms"]
    lines = []
    for row in rows:
        (height, width), late = row["size"], row["milliseconds"]
        lines.append(
            [
                f"{row['rate']:g}, {height} x {width}, {row['runtime']}",
                *(f"{late[key]:.0f}" for key in ("median", "percentile_95", "worst")),
            ]
        )
    return markdown(head, lines)
