"""One table of plain text: as Markdown, as CSV, and the notes that its cells call for."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nfbmr.paper import aggregates
from nfbmr.paper.aggregates import TITLES, Category, Mean, Row
from nfbmr.paper.published import Published
from nfbmr.system.files import printable, spreadsheet_cell

NOTHING = "–"
_NUMBER = re.compile(r"[+−-]?\d+(\.\d+)?")


@dataclass(frozen=True)
class Table:
    """A table of plain text.

    Attributes:
        number: as the paper's, such as `1`; with a letter where the paper has none.
        title: one line.
        header: a name for each column; what stands before `: ` heads neighbours together.
        rows: as many cells each as the header; a line with one cell alone heads those below it.
        notes: sentences below; the first says it where figures mean nothing.
    """

    number: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """Returns heading, table and notes; names of folders cannot break out of their cells."""
        lines = [f"## Table {self.number}. {_markdown(self.title)}", ""]
        if self.rows:
            rule = ["---"] + ["---:"] * (len(self.header) - 1)
            cells = [self.header, rule, *self.rows]
            escaped = [row if row is rule else [_markdown(cell) for cell in row] for row in cells]
            lines += [f"| {' | '.join(row)} |" for row in escaped] + [""]
        return "\n".join([*lines, *(f"- {_markdown(note)}" for note in self.notes), ""])

    def to_csv(self) -> str:
        """Returns header and rows; a name that a spreadsheet would compute is put behind a '."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows([_csv(cell) for cell in row] for row in (self.header, *self.rows))
        return buffer.getvalue()


def _markdown(text: str) -> str:
    plain = " ".join(printable(text).split())
    return re.sub(r"([\\|`*\[\]])", r"\\\1", plain).replace("&", "&amp;").replace("<", "&lt;")


def _csv(cell: str) -> str:
    return cell.replace("−", "-") if _NUMBER.fullmatch(cell) else spreadsheet_cell(cell)


def text_of(mean: Mean | None, seeds: int) -> str:
    """Returns a cell such as "98.7 ± 0.12 (3 of 15)"; `seeds` is how many the table has at most."""
    if mean is None:
        return NOTHING
    spread = "" if mean.spread is None else f" ± {mean.spread:.2f}"
    part = "" if mean.is_complete else f" ({mean.n} of {mean.of})"
    if mean.seeds == 0:
        part += " (no seed in common)"
    elif mean.seeds < seeds:
        part += f" ({mean.seeds} seed{'s' if mean.seeds > 1 else ''})"
    return f"{mean.value:.1f}{spread}{part}"


def difference(mean: Mean | None, paper: Published | None) -> str:
    """Returns ours minus the paper's in points; a dash where the two do not compare."""
    if mean is None or paper is None or mean.is_random or not mean.is_complete:
        return NOTHING
    points = round(mean.value - paper.percent, 1)
    return "0.0" if points == 0 else f"{points:+.1f}".replace("-", "−")


def most_seeds(rows: Iterable[Row]) -> int:
    """Returns the most seeds that any system has on any category."""
    seeds: dict[tuple[str, Category], set[int]] = {}
    for row in rows:
        about = (row["system"], aggregates.category_of(row))
        seeds.setdefault(about, set()).add(row["seed"])
    return max((len(found) for found in seeds.values()), default=0)


def finished(
    number: str,
    title: str,
    header: tuple[str, ...],
    lines: Sequence[tuple[str, ...]],
    rows: list[Row],
    notes: Sequence[str] = (),
) -> Table:
    """Joins a table, and the notes that its rows and cells call for."""
    if not rows:
        return Table(number, title, header, (), ("No row of this table has been measured yet.",))
    cells = [cell for line in lines for cell in line]
    said = []
    random = [TITLES[key] for key in TITLES if any(_is_random(row, key) for row in rows)]
    if random:
        title = f"{title} (RANDOM WEIGHTS)"
        said.append(f"{aggregates.RANDOM_WARNING} ({'; '.join(random)}).")
    seeds = sorted({int(row["seed"]) for row in rows})
    listed = ", ".join(map(str, seeds))
    said.append(
        f"Of one seed ({listed}), hence without a spread."
        if len(seeds) == 1
        else f"Means over seeds {listed} ± their sample standard deviation."
    )
    if any(row.get("backbone") != "paper" for row in rows):
        said.append(
            "The backbone is the fast one, not the paper's EfficientNet-B5 at 768 x 768; so "
            "differences from the paper are not those of its method alone."
        )
    said += [text for pattern, text in _EXPLAINED if any(re.search(pattern, c) for c in cells)]
    if any(row["system"] == "nfbmr" for row in rows):
        said.append(aggregates.OWN_SCORE)
    return Table(number, title, header, tuple(lines), (*said, *notes))


def _is_random(row: Row, system: str) -> bool:
    return bool(row["system"] == system and aggregates.is_random(row))


_EXPLAINED = (
    (
        r"\(\d+ of \d+\)",
        "A mean over a part of the categories is marked, such as (3 of 15). It does not compare "
        "with the paper's, and no difference is given.",
    ),
    (r"\(\d+ seeds?\)", "Cells that rest on fewer seeds say so. A seed that lacks a category is "
     "left out of the means."),
    (r"\(no seed in common\)", "Where no seed has all categories, the mean is over what is there."),
    (r"\(derived\)", "Published figures marked as derived follow from a figure and a difference "
     "that the paper's text states; its tables are pictures."),
)  # fmt: skip
