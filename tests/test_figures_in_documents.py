"""Figures in documents are rows of docs/results: in tables, in sentences, and nowhere else."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nfbmr.benchmark import document
from nfbmr.benchmark.blocks import BLOCKS, Results

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
# docs/settings.md has a test of its own: it is written from the settings.
DOCUMENTS = [
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "settings.md"),
]
KINDS = {
    "a setting",
    "a version",
    "a scale",
    "a bound",
    "arithmetic",
    "of the data",
    "of a kept log",
}
"""What a figure may be that no row has."""

# What looks like a measurement: a decimal, 1e-4, a percentage, or a number before a unit.
FIGURE = re.compile(
    r"(?<![\w.])[-+]?(?:\d[\d,]*\.\d+(?:e-?\d+)?|\d+e-\d+|\d[\d,.]*(?= ?%)"
    r"|\d[\d,.]*(?= (?:s|ms|MB|GB|h|minutes?|min|seconds?|hours?|days?|points?)\b))"
)
# Code, what links lead to, and addresses are no text.
NO_TEXT = re.compile(r"^```.*?^```|`[^`\n]*`|\]\([^)]*\)|https?://\S+", re.DOTALL | re.MULTILINE)


@cache
def results() -> Results:
    return document.read_results(RESULTS)


@cache
def known() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads((RESULTS / "claims.toml").read_text("utf-8"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def said_in(path: Path) -> str:
    return document.one_line(path.read_text("utf-8"))


def section(text: str, heading: str) -> str:
    """A heading and what follows it, up to the next heading of any rank."""
    found = re.search(rf"^#+ {re.escape(heading)}$.*?(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"no heading '{heading}'"
    return found[0]


def unclaimed(path: Path) -> list[str]:
    """Figures of a document that are in no block, claim or list, each with what is around it."""
    text = document.without_blocks(path.read_text("utf-8"))
    for one in known()["unkept"]:
        if one["document"] == name_of(path):
            for heading in one["headings"]:
                text = text.replace(section(text, heading), "")
    text = document.one_line(NO_TEXT.sub(" ", text))
    claims = [document.rendered(c, results()) for c in known()["claim"] if is_of(c, path)]
    others = [words for one in known()["other"] if is_of(one, path) for words in one["texts"]]
    for words in sorted([*claims, *others], key=len, reverse=True):
        text = text.replace(document.one_line(NO_TEXT.sub(" ", words)), " ")
    return [text[max(0, m.start() - 40) : m.end() + 20] for m in FIGURE.finditer(text)]


def is_of(entry: dict[str, Any], path: Path) -> bool:
    return str(entry["document"]) == name_of(path)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_tables_are_what_the_rows_give(path: Path) -> None:
    text = path.read_text("utf-8")
    assert document.with_blocks(text, results()) == text, (
        f"{name_of(path)} is stale: python -m nfbmr.benchmark.document"
    )


def test_every_table_stands_in_a_document() -> None:
    texts = " ".join(path.read_text("utf-8") for path in DOCUMENTS)
    assert set(re.findall(r"<!-- rows: ([\w-]+) -->", texts)) == set(BLOCKS)


@pytest.mark.parametrize("claim", known()["claim"], ids=lambda claim: str(claim["text"])[:40])
def test_a_sentence_has_the_figures_of_its_rows(claim: dict[str, Any]) -> None:
    assert claim["figures"], "a claim without figures claims nothing"
    assert document.rendered(claim, results()) in said_in(ROOT / claim["document"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_figure_is_of_rows_or_said_to_be_something_else(path: Path) -> None:
    found = unclaimed(path)
    assert not found, "no rows, and not in claims.toml:\n" + "\n".join(found)


def test_what_is_said_to_be_something_else_is_there_and_has_a_kind() -> None:
    for one in known()["other"]:
        assert one["is"] in KINDS
        for words in one["texts"]:
            assert document.one_line(words) in said_in(ROOT / one["document"]), words


def test_sections_without_rows_tell_the_reader() -> None:
    for one in known()["unkept"]:
        text = (ROOT / one["document"]).read_text("utf-8")
        for heading in one["headings"]:
            assert "not kept as rows" in section(text, heading), heading


# ---- what finds them


def test_figures_are_found_and_code_links_and_blocks_are_none(tmp_path: Path) -> None:
    text = "of 3 sets 95.8 in 31 s, 5 % `0.5` [a](b-1.5.md)\n```sh\n--rate 0.05\n```\n1e-4."
    assert FIGURE.findall(NO_TEXT.sub(" ", text)) == ["95.8", "31", "5", "1e-4"]
    marked = "a 1.5\n<!-- rows: int8 -->\n2.5\n<!-- end -->\n"
    assert FIGURE.findall(document.without_blocks(marked)) == ["1.5"]


def test_a_figure_is_counted_by_hand() -> None:
    rows = [
        {"set": name, "seed": seed, "deep": {"0.01": value}}
        for name, seed, value in (("a", 0, 0.5), ("a", 1, 0.7), ("b", 0, 0.1), ("b", 1, 0.2))
    ]
    about = {"rows": "some", "of": "deep/0.01", "times": 100}
    of_a = about | {"where": {"set": "a"}}
    assert document.figure(of_a, {"some": rows}) == "50, 70"
    assert document.figure(of_a | {"by": "mean", "format": ".1f"}, {"some": rows}) == "60.0"
    assert document.figure(about | {"per": "set", "by": "min"}, {"some": rows}) == "15"
    less = of_a | {"less": {"where": {"set": "b"}}, "by": "max"}
    assert document.figure(less, {"some": rows}) == "50"
    assert document.figure(of_a | {"over": {"where": {"set": ["b"]}}}, {"some": rows}) == "500, 350"
    with pytest.raises(ValueError, match="no such rows"):
        document.figure(about | {"where": {"set": "c"}}, {"some": rows})
    with pytest.raises(ValueError, match="expected"):
        document.figure(about | {"off": 1}, {"some": rows})


def test_a_changed_row_makes_tables_stale() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    rows = document.read_results(RESULTS)
    rows["deployed"][0]["row"]["torch"]["image_auroc"] -= 0.01
    assert document.with_blocks(text, rows) != text
