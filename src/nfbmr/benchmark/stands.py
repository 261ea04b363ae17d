"""What a station stands, as a table in Markdown, of rows: a block of `nfbmr.benchmark.document`.

Rows of one kind are replaced by later ones of the same kind.
"""

from __future__ import annotations

from typing import Any

from nfbmr.benchmark.tables import markdown

Row = dict[str, Any]


def table(rows: list[Row]) -> str:
    """Returns what load, kills, a full disk and a product of one's own were seen to take."""
    last = {(row["row"], row.get("database"), _defective(row) > 0): row for row in rows}
    lines = [line for row in last.values() for line in _LINES[row["row"]](row)]
    return markdown(["what", "measured"], lines)


def _defective(row: Row) -> int:
    """How many of a load's pictures show defects, which take regions and heatmaps."""
    return int(row.get("sent", {}).get("defective", 0))


def _load(row: Row) -> list[list[str]]:
    wait, held = row["milliseconds"], row["resident_mb"]
    errors = sum(row["errors"].values())
    height, width = row["size"]
    sent = ""
    if "sent" in row:
        good, defective = row["sent"]["good"], row["sent"]["defective"]
        sent = f", {good} good parts and {defective} defective" if defective else ", good parts"
    said = [
        [
            f"{row['clients']} clients for {row['seconds']:.0f} s, {height} x {width}, "
            f"{row['runtime']}{sent}: verdicts, of these recorded, told to come again, errors",
            f"{row['answered']:,}, {row['recorded']:,}, {row['busy']}, {errors}",
        ],
        [
            "a client waits, s: median, 99 of 100, longest",
            ", ".join(f"{wait[key] / 1000:.1f}" for key in ("median", "percentile_99", "worst")),
        ],
        [
            "memory, MB: start, middle, end",
            ", ".join(f"{held[key]:.0f}" for key in ("start", "middle", "end")),
        ],
        [
            "verdicts a second, and of the runtime alone from files",
            f"{row['per_second']:.1f}, {row['bare_per_second']:.1f}",
        ],
    ]
    if spent := row.get("cpu_ms"):
        what = "computed for a verdict, ms of one core, and by the runtime alone"
        said.append([what, f"{spent['station']:.0f}, {spent['bare']:.0f}"])
    return said


def _kills(row: Row) -> list[list[str]]:
    faults = ("missing", "twice", "changed", "without_picture")
    seen = ", ".join(f"{row[fault]} {fault.replace('_', ' ')}" for fault in faults)
    what = f"killed {row['kills']} times under load, {row['database']}"
    return [[what, f"{row['answered']:,} verdicts answered: {seen}"]]


def _full(row: Row) -> list[list[str]]:
    refused = ", ".join(f"{count} x {status}" for status, count in row["refused"].items())
    what = f"a disk of {row['megabytes']:.0f} MB fills"
    return [[what, f"{row['answered']:,} verdicts answered, {row['missing']} missing; {refused}"]]


def _own(row: Row) -> list[list[str]]:
    seconds = row["seconds"]
    return [
        [
            f"from an empty record to a verdict on an own product, {row['pictures']} good pictures",
            f"{row['clicks']} clicks, {row['drops']} drops, {row['seconds_in_all']:.0f} s, "
            f"{seconds['learnt']:.0f} of them learning",
        ]
    ]


_LINES = {
    "station load": _load,
    "station kills": _kills,
    "station full disk": _full,
    "station own product": _own,
}
