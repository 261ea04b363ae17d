"""Figures in documents are rows: `python -m nfbmr.benchmark.document` writes the tables again.

A table stands between `<!-- rows: NAME -->` and `<!-- end -->`, and NAME is one of `BLOCKS`. A
figure in prose is a claim: `docs/results/claims.toml` has its sentence, with `{}` for each figure,
and says of which rows the figure is made. `tests/test_figures_in_documents.py` compares both, and
finds figures that are neither.

    [[claim]]
    document = "README.md"
    text = "fits used {} to {} GB"
    figures = [
        { rows = "fast", of = "peak_mb", by = "min", times = 0.001, format = ".1f" },
        { rows = "fast", of = "peak_mb", by = "max", times = 0.001, format = ".1f" },
    ]

A figure: `rows`, the file; `where`, values that its rows must have, a list for any of several;
`of`, what is taken of each; `per`, by which they are first averaged; `less` and `over`, the same
with other keys, taken off or divided by one by one; `by`, what becomes of them all (`mean`, `std`,
`min`, `max` or `sum`; else all stand there, with commas); `times`; `format`. Keys reach inside:
`row/torch/image_auroc`. What is no measurement of ours has its words under `[[other]]`, which says
what it `is`; whole sections of single runs are under `[[unkept]]`, and say so to the reader.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nfbmr.benchmark.blocks import BLOCKS, Results, Row
from nfbmr.system.files import written_beside

_BLOCK = re.compile(r"(<!-- rows: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_KEYS = {"rows", "where", "of", "per", "by", "less", "over", "times", "format"}
_WAYS: dict[str, Callable[[Any], float]] = {
    "mean": np.mean,
    "std": lambda values: np.std(values, ddof=1),
    "min": np.min,
    "max": np.max,
    "sum": np.sum,
}


def read_results(folder: Path) -> Results:
    """Reads all files of rows of a folder; a name such as `SET | seed 0` is also set and seed."""
    found: Results = {}
    for path in sorted(folder.glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for row in rows:
            name, mark, seed = str(row.get("name", "")).partition(" | seed ")
            if mark:
                row |= {"set": name, "seed": int(seed)}
        found[path.stem] = rows
    return found


def with_blocks(text: str, results: Results) -> str:
    """Returns a document with every block made anew.

    Raises:
        KeyError: a block that nothing makes.
    """
    return _BLOCK.sub(lambda m: f"{m[1]}{BLOCKS[m[2]](results)}\n{m[4]}", text)


def without_blocks(text: str) -> str:
    """Returns what a person wrote of a document: its lines stay where they are."""
    return _BLOCK.sub(lambda m: "\n" * m[0].count("\n"), text)


def figure(about: Row, results: Results) -> str:
    """Returns one figure of a claim, as the module's docstring says.

    Raises:
        ValueError: an unknown key, or rows that are not there.
    """
    if strange := set(about) - _KEYS:
        raise ValueError(f"{about}: found {', '.join(sorted(strange))}; expected {sorted(_KEYS)}")
    values = _values(about, results)
    for key, change in (("less", np.subtract), ("over", np.divide)):
        if key in about:
            values = change(values, _values(about | about[key], results)).tolist()
    if "by" in about:
        values = [float(_WAYS[about["by"]](values))]
    form, times = about.get("format", ".0f"), about.get("times", 1)
    return ", ".join(format(times * value, form) for value in values)


def _values(about: Row, results: Results) -> list[float]:
    rows = [row for row in results[about["rows"]] if _has(row, about.get("where", {}))]
    if not rows:
        raise ValueError(f"{about}: no such rows in {about['rows']}.jsonl")
    values = [float(reach(row, about["of"])) for row in rows]
    if "per" not in about:
        return values
    groups = [str(reach(row, about["per"])) for row in rows]
    return [
        float(np.mean([v for v, other in zip(values, groups, strict=True) if other == group]))
        for group in dict.fromkeys(groups)
    ]


def _has(row: Row, where: Row) -> bool:
    """Whether a row has all values, or one of those that a list names."""
    return all(
        reach(row, key) in (value if isinstance(value, list) else [value])
        for key, value in where.items()
    )


def reach(row: Row, key: str) -> Any:
    """Returns what a row has under `key`, slashes leading inside; None where it has nothing."""
    found: Any = row
    for part in key.split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def rendered(claim: Row, results: Results) -> str:
    """Returns the sentence of a claim with its figures, on one line."""
    figures = [figure(about, results) for about in claim["figures"]]
    return one_line(claim["text"].format(*figures))


def one_line(text: str) -> str:
    """Returns a text with every run of white space as one space."""
    return re.sub(r"\s+", " ", text).strip()


def main() -> None:
    """Writes the blocks of all documents; names claims that their documents do not make."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(), help="the checkout")
    root: Path = parser.parse_args().root
    results = read_results(root / "docs" / "results")
    for path in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        text = path.read_text("utf-8")
        if (new := with_blocks(text, results)) != text:
            with written_beside(path) as beside:
                beside.write_text(new, encoding="utf-8")
            print(f"written: {path}")
    known = tomllib.loads((root / "docs" / "results" / "claims.toml").read_text("utf-8"))
    wrong = 0
    for claim in known["claim"]:
        said = rendered(claim, results)
        if said not in one_line((root / claim["document"]).read_text("utf-8")):
            wrong += 1
            print(f"not in {claim['document']}: {said}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
