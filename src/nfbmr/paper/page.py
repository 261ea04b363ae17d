"""Tables as files, and one HTML page of tables and figures that needs no network and runs no code.

Names of categories and files come from the user's folders, so everything is escaped, and the page
forbids scripts and remote content to itself.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nfbmr.evaluation.report.templates import load_template
from nfbmr.inspection.pictures import to_data_uri
from nfbmr.paper import published
from nfbmr.paper.aggregates import (
    RANDOM_WARNING,
    SET_TITLES,
    TITLES,
    Row,
    categories_of,
    category_of,
    group_size,
    is_random,
    number,
    set_of,
    systems_of,
)
from nfbmr.paper.drawing import Drawn
from nfbmr.paper.table import Table
from nfbmr.paper.tables import DIFFERENCE, PAPERS
from nfbmr.system.files import printable, written_beside
from nfbmr.system.words import counted

_WIDEST = 2400  # pixels of an embedded picture
_SHOWN = 6  # different values of one fact that the page lists


def write_tables(folder: Path, tables: Sequence[Table]) -> None:
    """Writes `table_NUMBER.md` and `.csv` for each table, and `tables.md` with all of them.

    Args:
        folder: it is made; older files of these names are replaced.
        tables: as `build_tables` makes them.

    Raises:
        OSError: a file cannot be written.
    """
    for table in tables:
        _write(folder / f"table_{table.number}.md", table.to_markdown())
        _write(folder / f"table_{table.number}.csv", table.to_csv())
    _write(folder / "tables.md", "\n".join(table.to_markdown() for table in tables))


def write_page(
    path: Path, tables: Sequence[Table], figures: Sequence[Drawn], rows: Sequence[Row]
) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: of the HTML file; an older one is replaced.
        tables: as `build_tables` makes them.
        figures: as `draw_figures` makes them; their files are embedded.
        rows: those that both were made of; settings, versions and devices are read from them.

    Raises:
        MissingExtraError: jinja2 is not installed.
        OSError: the page cannot be written or a figure cannot be read.
    """
    _write(path, render(tables, figures, rows))


def render(tables: Sequence[Table], figures: Sequence[Drawn], rows: Sequence[Row]) -> str:
    """Returns the page as one HTML text; arguments and errors as of `write_page`."""
    main = [table for table in tables if table.number.isdigit()]
    return str(
        load_template("nfbmr.paper", "page.html.j2", clean=printable).render(
            paper=published.PAPER,
            address=published.PAPER_ADDRESS,
            at_100=published.MVTEC_CATEGORIES_AT_100,
            warnings=_warnings(rows),
            coverage=_coverage(rows),
            measured=_measured(rows),
            runs=_runs(rows),
            facts=_facts(rows),
            main=[_shown_table(table) for table in main],
            further=[_shown_table(table) for table in tables if table not in main],
            figures=[(one, _embedded(one)) for one in figures if one.files],
            missing=[one for one in figures if not one.files],
        )
    )


def _warnings(rows: Sequence[Row]) -> list[str]:
    said = []
    random = systems_of(row for row in rows if is_random(row))
    if random:
        names = "; ".join(TITLES[key] for key in random)
        said.append(f"{RANDOM_WARNING}. They were used for: {names}.")
    if not rows:
        said.append("Nothing has been measured yet.")
    return said


def _coverage(rows: Sequence[Row]) -> list[str]:
    """Returns a sentence for each set: how much of it was measured."""
    said = []
    for key, title in SET_TITLES.items():
        found = categories_of(rows, key)
        own = [row for row in rows if set_of(category_of(row)) == key]
        if not found:
            continue
        counts = f"{len(found)} of {group_size(rows, key)} categories"
        if key == "further":
            counts = ", ".join(printable(category.name) for category in found)
        seeds = ", ".join(map(str, sorted({int(row["seed"]) for row in own})))
        said.append(f"{title}: {counts}; {counted(len(own), 'row')}; seeds {seeds}.")
    return said


def _measured(rows: Sequence[Row]) -> str:
    """Says whether pictures were held out, and for which rates of false alarms."""
    asked = sorted({number(row, "false_alarm_rate_asked") or 0.0 for row in rows} - {0.0})
    rates = ", ".join(f"{100 * rate:g} %" for rate in asked)
    parts = []
    if rates:
        parts.append(
            "A fifth of the good pictures, up to a quarter, is held out of learning and sets the "
            f"threshold for the asked share of false alarms ({rates})."
        )
    if not all(row.get("n_held_out") for row in rows):
        systems = sorted({str(row["system"]) for row in rows if not row.get("n_held_out")})
        parts.append(
            "Of these systems every good picture trains, as in the paper, and there is no "
            f"threshold: {', '.join(systems)}."
        )
    return " ".join(parts)


def _runs(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Returns for each system its title, backbones, weights and settings hashes."""
    found = []
    for key in systems_of(rows):
        own = [row for row in rows if row["system"] == key]
        names = ("backbone", "weights", "settings_hash")
        found.append((TITLES[key], *(_several(row.get(name) for row in own) for name in names)))
    return found


def _facts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    versions: dict[str, set[str]] = {}
    for row in rows:
        for name, version in (row.get("versions") or {}).items():
            versions.setdefault(str(name), set()).add(str(version))
    created = sorted(str(row["created"]) for row in rows if row.get("created"))
    facts = [
        ("Commit", _several(row.get("commit") for row in rows)),
        ("Device", _several(row.get("device") for row in rows)),
        ("Measured", " to ".join(dict.fromkeys((created[0], created[-1]))) if created else ""),
        *((name, _several(found)) for name, found in sorted(versions.items())),
    ]
    return [(name, text) for name, text in facts if text]


def _several(values: Iterable[object]) -> str:
    found = sorted({printable(str(value)) for value in values if value not in (None, "")})
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def _shown_table(table: Table) -> dict[str, Any]:
    """Returns a table as the template shows it: headings over columns, and a kind for each line."""
    split = [cell.rpartition(": ")[::2] for cell in table.header]
    heads = [(name, len(list(own))) for name, own in groupby(name for name, _ in split)]
    is_grouped = any(name for name, _ in heads)
    return {
        "table": table,
        "heads": heads if is_grouped else [],
        "columns": [name for _, name in split],
        "lines": [(_kind(line), line) for line in table.rows],
        "is_text": [_is_text(table, column) for column in range(len(table.header))],
    }


def _kind(line: tuple[str, ...]) -> str:
    if not any(line[1:]):
        return "heading"
    if line[0] in (PAPERS, DIFFERENCE) or line[0].endswith("(published)"):
        return "published"
    return "mean" if line[0].startswith("Mean of ") else "plain"


def _is_text(table: Table, column: int) -> bool:
    """Whether a column holds sentences, so that it is set flush left."""
    cells = [line[column] for line in table.rows if line[column]]
    return any(len(cell) > 2 and not cell[1].isdigit() and cell[0].isalpha() for cell in cells)


def _embedded(drawn: Drawn) -> str:
    """Returns the figure as a `data:` address: a photo as JPEG, a drawing as SVG."""
    by_kind = {path.suffix: path for path in drawn.files}
    if drawn.has_photos:
        with Image.open(by_kind[".png"]) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        return to_data_uri(pixels, max_side=_WIDEST)
    return f"data:image/svg+xml;base64,{base64.b64encode(by_kind['.svg'].read_bytes()).decode()}"


def _write(path: Path, text: str) -> None:
    # A name that is not valid Unicode reaches us with lone surrogates in it.
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
