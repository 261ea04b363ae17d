"""Tables that say which pictures are defective: CSV, TSV, Parquet, and DAGM 2007's Labels.txt.

Text in, text out: whether the files exist is for `layouts` to find out.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nfbmr.data.samples import counted
from nfbmr.data.series import answered, are_no_series
from nfbmr.data.words import answers, is_plainly_good, meaning
from nfbmr.errors import LayoutError, MissingExtraError
from nfbmr.system.packages import how_to_install

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})
_GOOD, _DEFECT = frozenset({"", "0", "0.0", "false"}), frozenset({"1", "1.0", "true"})
_ANSWERS = frozenset({"true", "false"})
_NOTHING = frozenset({"nan", "null", "none", "nil", "n/a", "na", "#n/a"})
"""How programs write a cell in which there is nothing."""
_SIGNS = frozenset("+-✓✔✗✘❌○◯×✕〇")
_TICKS = frozenset("xvyjopf*") | _SIGNS - {"-"}
"""With what people tick a cell, where they leave the others empty."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEP = re.compile(r'(?i)"?sep=(?P<sep>[^\r\n"])"?[,;\t]*\r?\n')
"""The line by which a table says to spreadsheets what separates its cells."""
_COLUMNS = ("path", "label", "mask", "split")
_SPLITS: dict[str, Literal["train", "test"] | None] = {"train": "train", "test": "test", "": None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a table, in the words of `layouts`."""

    number: int
    """The row's number, from 1, without the header."""
    path: str
    defect: str
    """"good", "defect", or the name of a type of defect."""
    label: str
    """As the table has it; empty where it says nothing: learnt as good where no mask denies it."""
    mask: str
    """Empty where there is none."""
    split: Literal["train", "test"] | None
    """None where the table does not say."""

    @property
    def says_nothing(self) -> bool:
        """Whether the label is empty, a sign alone, or what programs write for nothing."""
        return self.label.lower() in _NOTHING or not any(map(str.isalnum, self.label))

    @property
    def is_open(self) -> bool:
        """Whether the label leaves open what the part is: `unsure`, `not checked`, `ok?`."""
        is_asked = "?" in unicodedata.normalize("NFKC", self.label)
        return not self.says_nothing and (meaning(self.label).open or is_asked)


@dataclass(frozen=True, kw_only=True, slots=True)
class DagmLabel:
    """One row of DAGM 2007's Labels.txt."""

    picture: str
    """The picture's file name."""
    is_defect: bool
    mask: str
    """The label picture's file name; empty where there is none."""


def read_rows(path: Path) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Reads a table of pictures.

    Columns, named without regard to case: `path` (required); `label`: good, normal, ok, pass, i.O.,
    0, false, or empty where no row is called good, is good, 1, true, defect, bad, fail, anomaly, ng
    or n.i.O. is "defect", so are these words in other languages, and anything else names a type of
    defect (see `words`); `mask`, which may be empty; `split`: train, test or empty. A mask such as
    `nan` is none, and a row with such a label is `unlabelled`. CSV may be separated by commas,
    semicolons or tabs, or by what a first line `sep=` says, and is UTF-8, or UTF-16 with its mark.

    Returns:
        The rows, and the names of the columns that are not used.

    Raises:
        LayoutError: the table cannot be read, lacks `path`, has labels in a column of another name,
            or a row has no path, too many cells, an unknown split or a label such as `good copy`
            or `good*`, or one is true or false where others have a word for good.
        MissingExtraError: it is Parquet and pyarrow is not installed.
    """
    records = _parquet_records(path) if path.suffix.lower() == ".parquet" else _csv_records(path)
    header = [str(name).strip() for name in records[0]] if records else []
    names = [name.lower() for name in header]
    if names.count("path") != 1 or any(names.count(name) > 1 for name in _COLUMNS):
        raise LayoutError(
            f"{path}: found the columns {', '.join(header) or '(none)'}; expected each of "
            "path, label, mask, split at most once, and path, separated by commas, semicolons or "
            "tabs; name the picture's column 'path'"
        )
    if "label" not in names:
        _refuse_other_labels(path, header, records[1:])
    rows = tuple(
        _row(path, i, names, cells) for i, cells in enumerate(records[1:], 1) if any(cells)
    )
    if unsure := sorted(answered(row.label for row in rows)):
        raise LayoutError(
            f"{path}: found the labels {', '.join(unsure)}, which may be yes and no; expected "
            "good and bad, or 0 and 1 for defective; write in each row which it is"
        )
    _refuse_answers_beside_good(path, rows)
    if halves := Counter(row.label for row in rows if _is_half_good(row)):
        raise LayoutError(
            f"{path}: found the labels {counted(halves)}, a word for good beside others or "
            "signs that may turn it around; expected good, or a type of defect; write in each row "
            "which it is"
        )
    others = (h for h, name in zip(header, names, strict=True) if name not in _COLUMNS)
    return rows, tuple(name or "(no name)" for name in others)


def _refuse_answers_beside_good(table: Path, rows: Sequence[Row]) -> None:
    """Refuses `false` where other rows have a word for good: it may say that a part is not good.

    Raises:
        LayoutError: it does.
    """
    found = Counter(row.label for row in rows if row.label.lower() in _ANSWERS)
    words = Counter(row.label for row in rows if "good" in meaning(row.label).says)
    if found and words:
        raise LayoutError(
            f"{table}: found the labels {counted(found)} beside {counted(words)}: they may answer "
            "whether a part is good, or whether it is defective; expected words alone, or true and "
            "false alone, true for defective; write good or bad in each row"
        )


def _refuse_other_labels(table: Path, header: list[str], records: list[list[object]]) -> None:
    """Refuses a table without `label` that says in another column what is good or defective.

    Raises:
        LayoutError: it does.
    """
    for number, name in enumerate(header):
        cells = [_text(cells[number]) for cells in records if number < len(cells)]
        said, words = meaning(name), {word for cell in cells for word in meaning(cell).says}
        is_measured = any(re.fullmatch(r"[-+]?\d*\.\d*[1-9]\d*", cell) for cell in cells)
        is_sort = not is_measured and bool(said.says & {"good", "defect", "mask"} or said.unclear)
        is_index = not name and len({*cells}) == len(cells)
        is_coded = not is_index and not _says_of_what(name) and _are_codes(cells)
        if name.lower() in _COLUMNS or not any(cells):
            continue
        if is_sort or is_coded or {"good", "defect"} & words:
            raise LayoutError(
                f"{table}: found no column 'label', and in '{name}' {counted(Counter(cells))}; "
                "expected labels in 'label'; name that column so, or take it away if it says "
                "nothing of good or defective"
            )


def _says_of_what(name: str) -> bool:
    """Whether a column's name says when, where or of what: `camera`, `shift`, not `y`."""
    said = meaning(name)
    return any(map(str.isalpha, name)) and not (said.unknown or said.short)


def _are_codes(cells: list[str]) -> bool:
    """Whether cells may say yes and no: 0 and 1, 1 and -1, P and F, `ja`, a tick or none.

    Other numbers, as those of classes, only where they come again: those of an index do not.
    """
    found = {re.sub(r"(?<=\d)\.0+$", "", cell.lower()) for cell in cells}
    signs = found - {""}
    if found <= _GOOD | _DEFECT:
        return True
    if all(re.fullmatch(r"[-+]?\d", sign) for sign in signs):
        return len(found) < len(cells) and bool(signs & {"0", "-1"} or signs == {"1", "2"})
    are_letters = all(len(sign) <= 2 and sign.isalpha() for sign in signs)
    if are_letters and len(signs) == 2 and are_no_series(signs):
        return True
    says = all(sign in _SIGNS or answers(sign) for sign in signs)
    ticks = signs - {"-"}
    return len(found) > 1 and (says or (len(ticks) == 1 and ticks <= _TICKS))


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


def unlabelled(rows: Sequence[Row]) -> frozenset[int]:
    """Returns the numbers of rows without a label where others have one that says good.

    Not those of the test, which nothing is learnt from: who looks at them counts them. So are those
    whose label is what programs write for nothing, whatever others say. None whose mask says it.
    """
    is_said = any(row.label and row.defect == "good" for row in rows)
    return frozenset(
        row.number
        for row in rows
        if row.defect not in {"defect", ""}
        and (
            (is_said and not row.label and row.split != "test") or (row.label and row.says_nothing)
        )
    )


def _row(table: Path, number: int, names: list[str], cells: list[object]) -> Row:
    if len(cells) > len(names):
        raise LayoutError(
            f"{table}: found {len(cells)} cells in row {number}; expected {len(names)}, as in the "
            "header; put cells that contain the separator in quotes"
        )
    values = dict.fromkeys(_COLUMNS, "")
    values |= {name: _text(cell) for name, cell in zip(names, cells, strict=False)}
    if not values["path"]:
        raise LayoutError(
            f"{table}: found no path in row {number}; expected one in each row; "
            "fill it in or delete the row"
        )
    split = values["split"].lower()
    if split not in _SPLITS:
        raise LayoutError(
            f"{table}: found the split '{values['split']}' in row {number}; "
            "expected train or test; change the cell"
        )
    return Row(
        number=number,
        path=values["path"],
        defect=_defect(values["label"]),
        label=values["label"],
        mask="" if values["mask"].lower() in _NOTHING else values["mask"],
        split=_SPLITS[split],
    )


def _defect(label: str) -> str:
    word, said = label.lower(), meaning(label)
    if word in _GOOD or is_plainly_good(label):
        return "good"
    is_plain = said.only and said.says == {"defect"} and not any(c.isdigit() for c in label)
    return "defect" if word in _DEFECT or is_plain else label


def _is_half_good(row: Row) -> bool:
    """Whether a label holds a word for good and others that may turn it around: `good copy`."""
    is_type = row.defect not in {"good", "defect"} and not row.is_open
    return is_type and meaning(row.label).says == {"good"}


def labels_found(rows: Sequence[Row]) -> str:
    """Says which labels were found and what each was taken for; nothing where no row has one.

    Such as "labels: pass 12, taken for good; fail 12, taken for defective; dent 3, taken for types
    of defect".
    """
    without = unlabelled(rows)
    used = [row for row in rows if row.number not in without and not row.is_open]
    found = [
        f"{counted(counts)}, taken for {what}"
        for what, is_kind in _TAKEN_FOR.items()
        if (counts := Counter(row.label or "(empty)" for row in used if is_kind(row.defect)))
    ]
    return f"labels: {'; '.join(found)}" if any(row.label for row in rows) else ""


_TAKEN_FOR: dict[str, Callable[[str], bool]] = {
    "good": lambda defect: defect == "good",
    "defective": lambda defect: defect == "defect",
    "types of defect": lambda defect: defect not in {"good", "defect"},
}


def _csv_records(path: Path) -> list[list[object]]:
    try:
        text = _decoded(path.read_bytes())
        separator = "\t" if path.suffix.lower() == ".tsv" else ""
        if said := _SEP.match(text):
            separator, text = said["sep"], text[said.end() :]
        separator = separator or max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        return [list(cells) for cells in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise LayoutError(
            f"{path}: cannot be read as a table ({error}); expected CSV or TSV in UTF-8, or in "
            "UTF-16 as spreadsheets write it; export it again"
        ) from error


def _decoded(data: bytes) -> str:
    """Reads UTF-8, and UTF-16 and UTF-32 where the first bytes say so."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    if b"\0" in data:
        raise csv.Error("zeros between its letters, as UTF-16 without a mark has them")
    return data.decode("utf-8")


def _parquet_records(path: Path) -> list[list[object]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: found a Parquet table, and no pyarrow to read it; {how_to_install('parquet')}"
        ) from error
    try:
        table = parquet.read_table(path)
    except ValueError as error:  # pyarrow.ArrowInvalid is one
        raise LayoutError(
            f"{path}: cannot be read as Parquet ({error}); expected a Parquet table; "
            "export it again"
        ) from error
    columns: Iterable[list[object]] = (column.to_pylist() for column in table.columns)
    header: list[object] = list(table.column_names)
    return [header, *(list(cells) for cells in zip(*columns, strict=True))]


def read_dagm_labels(path: Path) -> dict[str, DagmLabel]:
    """Reads DAGM 2007's Labels.txt: index, class (0 or 1), picture, 0, label picture or 0.

    The cells are separated by any mix of tabs and spaces; lines above the first row that are too
    short to be one, such as "1", are a header.

    Returns:
        By the picture's file name in lower case.

    Raises:
        LayoutError: a line has another form.
    """
    labels: dict[str, DagmLabel] = {}
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        cells = line.split()
        if not cells or (not labels and len(cells) < 4):
            continue
        if len(cells) not in {4, 5} or cells[1] not in {"0", "1"}:
            raise LayoutError(
                f"{path}: found '{line.strip()}' in line {number}; expected index, class (0 or 1), "
                "picture, 0, label picture or 0; restore the file from the data set's archive"
            )
        mask = cells[4] if len(cells) == 5 and cells[4] != "0" else ""
        label = DagmLabel(picture=cells[2], is_defect=cells[1] == "1", mask=mask)
        labels[label.picture.lower()] = label
    return labels
