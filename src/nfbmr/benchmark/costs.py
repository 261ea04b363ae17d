"""What a fleet costs, by arithmetic from rows that were measured: the tables of docs/scale.md.

A figure whose row is not there yet is a dash, and the table says which rows it waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nfbmr.benchmark.tables import markdown

Row = dict[str, Any]
Results = dict[str, list[Row]]

PICTURES = 100_000_000
NODES = (1, 10, 100)
LINK = 125e6
"""Bytes a second that a node's network brings, by assumption: 1 Gbit/s."""
STORAGE = 1.25e9
"""Bytes a second that the storage of all nodes gives, by assumption: 10 Gbit/s."""
PRODUCTS = 1_000
JUDGED = 10_000
"""Pictures that each product has judged in a week, by assumption."""
_HOURS = 3600
_DAY, _WEEK = 24 * _HOURS, 7 * 24 * _HOURS


@dataclass(frozen=True)
class Kind:
    """A kind of node, and what one of it does."""

    name: str
    judges: float | None
    """Pictures a second; None where no row says it."""
    learns: float | None
    """Seconds that a product's fit takes of the whole node."""


def kinds(results: Results) -> list[Kind]:
    """Returns the kinds of nodes that there are rows of."""
    archive, many = _archive(results), _last(results["fleet"], row="many products")
    alone = [row["inspect_ms"] for row in results["peers"] if row["system"] == "nfbmr"]
    fits = [row["fit_seconds"] for row in results["peers"] if row["system"] == "nfbmr"]
    on_gpu = [
        row["test"]
        for row in results["kept"]
        if row["variant"] == "fast" and str(row.get("device", "")).startswith("cuda")
    ]
    return [
        Kind(
            f"2 cores, as measured{_of(archive)}",
            archive["a_second"] if archive else None,
            many["fleet_seconds"] / (many["products"] - many.get("refused", 0)) if many else None,
        ),
        Kind("2 cores, `fast` on a thread each", _rate(alone, 2), _mean(fits, 2)),
        Kind(
            "one NVIDIA H200, `fast`",
            _rate([test["inspect_ms"] for test in on_gpu]),
            _mean([test["fit_seconds"] for test in on_gpu]),
        ),
    ]


def archives(results: Results) -> str:
    """Returns how fast archives were judged, and what kills cost, run by run."""
    lines = []
    for row in results["fleet"]:
        if row["row"] == "archive":
            what = f"{row['way']}, {row['pictures']:,} pictures ({row['model']})"
            lines.append([what, f"{row['a_second']:.1f}", f"{row['driver_mb']}", "-"])
        elif row["row"] in ("archive_nodes", "archive_kills", "archive_links"):
            where = f"{row['nodes']} nodes" if "nodes" in row else "2 workers"
            killed = ""
            if "kills" in row:
                times = "once" if row["kills"] == 1 else f"{row['kills']} times"
                killed = f", {times} a {row['killed']} killed"
            what = f"{where}, {row['pictures']:,} pictures ({row['model']}){killed}"
            faults = f"{row['missing']}, {row['twice']}"
            lines.append([what, "-", f"{row['driver_mb']}", faults])
    head = ["an archive", "pictures a second", "the driver's MB", "left out, scored twice"]
    return markdown(head, lines)


def judging(results: Results) -> str:
    """Returns what 100 million pictures cost, by kind of node and number of nodes.

    One process lists them before any is judged, however many nodes wait; the days hold that.
    """
    listing = _times(_listing_seconds(results), PICTURES) or 0.0
    lines = []
    for kind in kinds(results):
        seconds = kind.judges and PICTURES / kind.judges
        lines.append(
            [
                kind.name,
                _text(kind.judges, ",.1f"),
                _text(seconds and seconds / _HOURS, ",.0f"),
                *(_text(seconds and (listing + seconds / nodes) / _DAY, ",.1f") for nodes in NODES),
            ]
        )
    head = ["a node", "pictures a second", "machine-hours", "days: 1 node"]
    text = markdown([*head, *map(str, NODES[1:])], lines)
    said = f"\n\nOf the days the listing is {listing / _DAY:,.2f}." if listing else ""
    return text + said + _waits(results, "archive", "listing_seconds")


def saturation(results: Results) -> str:
    """Returns what nodes ask of storage, networks and decoding, and the nodes that fill them."""
    picture = _picture(results)
    size, decode = picture.get("picture_bytes"), picture.get("decode_ms")
    written = _results_bytes(results)
    lines = []
    for kind in kinds(results):
        read = _times(kind.judges, size)
        lines.append(
            [
                kind.name,
                _text(_times(read, 1e-6), ",.2f"),
                _text(read and 100 * read / LINK, ",.2f"),
                _text(_times(kind.judges, decode, 1e-3), ",.2f"),
                _text(_times(kind.judges, written, 1e-6), ",.3f"),
                _text(read and STORAGE / read, ",.0f"),
            ]
        )
    head = ["a node", "reads, MB/s", "of its network, %", "decodes, cores", "writes results, MB/s"]
    text = markdown([*head, "nodes that fill the storage"], lines)
    whole = [
        (_times(size, PICTURES, 1e-12), ",.2f", "TB are read"),
        (_times(decode, PICTURES, 1e-3 / _HOURS), ",.0f", "core-hours decode"),
        (_times(written, PICTURES, 1e-9), ",.1f", "GB of results are written"),
        (_times(_listing_bytes(results), PICTURES, 1e-9), ",.1f", "GB are the listing"),
    ]
    known = [f"{value:{form}} {what}" for value, form, what in whole if value is not None]
    said = f"\n\nOf 100 million such pictures {', '.join(known)}." if known else ""
    wanted = ("archive", "archive_pictures", "results_bytes", "archive_links")
    return text + said + _waits(results, *wanted)


def decoding(results: Results) -> str:
    """Returns what pictures of cameras' sizes take of a core, beside what judges them."""
    *_, gpu = kinds(results)
    lines = []
    for row in results["reading"]:
        if row["format"] == "JPEG" and not row["gray"]:
            scaled = row["milliseconds"]["scaled"]
            lines.append(
                [
                    f"{row['megapixels']} megapixels",
                    f"{row['milliseconds']['whole']:.0f}",
                    f"{scaled:.0f}",
                    f"{PICTURES * scaled / 1000 / _HOURS:,.0f}",
                    _text(_times(gpu.judges, scaled, 1e-3), ".1f"),
                ]
            )
    head = ["JPEG in colour", "whole, ms", "scaled, ms", "core-hours of 100 million, scaled"]
    return markdown([*head, "cores that keep an H200 busy"], lines)


def plant(results: Results) -> str:
    """Returns what a plant of 1,000 products needs a week: learning all anew, and judging."""
    lines = []
    for kind in kinds(results):
        learn = _times(kind.learns, PRODUCTS)
        judge = kind.judges and PRODUCTS * JUDGED / kind.judges
        both = None if learn is None or judge is None else learn + judge
        cells = [seconds and seconds / _HOURS for seconds in (learn, judge, both)]
        lines.append(
            [
                kind.name,
                _text(kind.learns, ",.1f"),
                *(_text(hours, ",.0f") for hours in cells),
                _text(both and both / _WEEK, ",.2f"),
            ]
        )
    head = ["a node", "a fit, s", "learning all, h", "judging, h", "together, h"]
    text = markdown([*head, "nodes busy all week"], lines)
    return text + _waits(results, "archive", "many products")


def _archive(results: Results) -> Row | None:
    """Returns the row of the longest archive by two workers on this machine."""
    rows = [r for r in results["fleet"] if (r["row"], r.get("way")) == ("archive", "2 workers")]
    return max(rows, key=lambda row: int(row["pictures"]), default=None)


def _of(archive: Row | None) -> str:
    return f" ({archive['model']}, {archive['side']} pixels)" if archive else ""


def _picture(results: Results) -> Row:
    """Returns what a picture of that archive is; empty where no row says it."""
    archive = _archive(results) or {}
    return _last(results["fleet"], row="archive_pictures", side=archive.get("side")) or {}


def _results_bytes(results: Results) -> float | None:
    """Returns what a picture of such an archive leaves; None where no row of its like says it."""
    side = (_archive(results) or {}).get("side")
    rows = [row for row in results["fleet"] if row.get("side") == side]
    found = [row["results_bytes"] for row in rows if row.get("results_bytes")]
    return found[-1] if found else None


def _listing_bytes(results: Results) -> float | None:
    row = _last(results["fleet"], row="archive_links")
    return 1e6 * row["listing_mb"] / row["pictures"] if row else None


def _listing_seconds(results: Results) -> float | None:
    """Returns what a name takes of the process that lists; None where no row says it."""
    rows = [row for row in results["fleet"] if row.get("listing_seconds")]
    return rows[-1]["listing_seconds"] / rows[-1]["pictures"] if rows else None


def _last(rows: Sequence[Row], **where: object) -> Row | None:
    found = [row for row in rows if all(row.get(key) == value for key, value in where.items())]
    return found[-1] if found else None


def _rate(milliseconds: Sequence[float], workers: int = 1) -> float | None:
    return workers * 1000 / float(np.mean(milliseconds)) if milliseconds else None


def _mean(seconds: Sequence[float], workers: int = 1) -> float | None:
    return float(np.mean(seconds)) / workers if seconds else None


def _times(*factors: float | None) -> float | None:
    known = [factor for factor in factors if factor is not None]
    return float(np.prod(known)) if len(known) == len(factors) else None


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _waits(results: Results, *wanted: str) -> str:
    """Says which rows are not there yet."""
    there = {
        "archive": _archive(results),
        "archive_pictures": _picture(results),
        "results_bytes": _results_bytes(results),
        "archive_links": _listing_bytes(results),
        "listing_seconds": _listing_seconds(results),
        "many products": _last(results["fleet"], row="many products"),
    }
    absent = [name for name in wanted if not there[name]]
    return f"\n\nNot measured yet: {', '.join(absent)}." if absent else ""
