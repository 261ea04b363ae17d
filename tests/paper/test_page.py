"""The page: one file, everything escaped, loud where figures mean nothing."""

from __future__ import annotations

import csv
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nfbmr.errors import MissingExtraError
from nfbmr.paper.drawing import Drawn
from nfbmr.paper.page import render, write_page, write_tables
from nfbmr.paper.table import Table
from nfbmr.paper.tables import HELD_OUT, ORACLE, build_tables

EVIL = "<script>alert(1)</script>\x1b"


def row(category: str = "bottle", **given: Any) -> dict[str, Any]:
    return {
        "dataset": "mvtec",
        "category": category,
        "system": "nf-bmr-2",
        "seed": 0,
        "backbone": "paper",
        "weights": "hub",
        "image_auroc": 0.98,
        "precision": 0.9,
        "false_alarm_rate_asked": 0.01,
        "settings_hash": "0123abcd",
        "commit": "feedbeef",
        "versions": {"torch": "2.6.0"},
        "device": "cpu",
        "created": "2025-01-02T03:04:05",
    } | given


class Tags(HTMLParser):
    """Collects tags and addresses, and fails on tags that do not close in order."""

    VOID = frozenset(("meta", "img", "br", "link", "input"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def figures(tmp_path: Path) -> list[Drawn]:
    png, svg = tmp_path / "figure_8_mvtec.png", tmp_path / "figure_8_mvtec.svg"
    Image.new("RGB", (40, 20), "red").save(png)
    svg.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>", encoding="utf-8")
    return [
        Drawn(number="5", title=f"ROC {EVIL}", caption=EVIL, files=(png, svg)),
        Drawn(number="8", title="Pictures", caption="c", files=(png, svg), has_photos=True),
        Drawn(number="9", title="Not there", reason="there are no rows of DAGM 2007"),
    ]


def test_the_page_is_one_safe_file(figures: list[Drawn]) -> None:
    rows = [row(), row(EVIL, dataset="other")]
    text = render(build_tables(rows), figures, rows)
    tags = Tags(text)
    assert "script" not in tags.found
    assert "\x1b" not in text
    assert "&lt;script&gt;" in text
    outside = [one for one in tags.addresses if not one.startswith(("data:", "#"))]
    assert outside == ["https://doi.org/10.32604/cmc.2024.046924"]  # a link, not a request
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_figures_are_embedded_and_missing_ones_named(figures: list[Drawn]) -> None:
    text = render([], figures, [row()])
    kinds = re.findall(r'src="data:image/([a-z+]+);', text)
    assert kinds == ["svg+xml", "jpeg"]
    assert "Figure 9, Not there: there are no rows of DAGM 2007." in text


def test_the_page_says_how_it_was_measured() -> None:
    rows = [row(seed=seed, versions={"torch": f"2.{seed}"}) for seed in (0, 1)]
    text = render(build_tables(rows), [], rows)
    for said in ("1 of 15 categories", "seeds 0, 1", "last step", "(1 %)", "0123abcd", "feedbeef"):
        assert said in text
    assert "2.0, 2.1" in text
    assert "cpu" in text
    assert 'role="alert"' not in text


def test_random_weights_raise_an_alarm() -> None:
    rows = [row(weights="random")]
    text = render(build_tables(rows), [], rows)
    assert 'role="alert"' in text
    assert text.count("Random weights: no figures of accuracy") > 1


def test_headings_over_columns_and_kinds_of_lines() -> None:
    rows = [row(name) for name in ("bottle", "grid")]
    text = render(build_tables(rows, (2,)), [], rows)
    assert re.search(rf'colspan="4" class="over">{HELD_OUT}</th>', text)
    assert re.search(rf'colspan="3" class="over">{ORACLE}</th>', text)
    for kind in ("heading", "mean", "published", "plain"):
        assert f'<tr class="{kind}">' in text


def test_a_page_of_nothing() -> None:
    text = render(build_tables([]), [], [])
    Tags(text)
    assert "Nothing has been measured yet." in text
    assert text.count("No row of this table has been measured yet.") == 5


def test_write_page_and_tables(tmp_path: Path) -> None:
    rows = [row(), row("lone \udc80 surrogate", dataset="other")]
    tables = build_tables(rows)
    write_page(tmp_path / "new" / "paper.html", tables, [], rows)
    write_tables(tmp_path / "tables", tables)
    assert "Table 1." in (tmp_path / "new" / "paper.html").read_text("utf-8")
    names = {path.name for path in (tmp_path / "tables").iterdir()}
    wanted = {f"table_{one.number}.{kind}" for one in tables for kind in ("md", "csv")}
    assert names == wanted | {"tables.md"}
    every = (tmp_path / "tables" / "tables.md").read_text("utf-8")
    assert all(f"## Table {one.number}. " in every for one in tables)
    with (tmp_path / "tables" / "table_1.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.reader(stream))
    assert lines[0][:2] == ["Category", "NF-BMR, n = 2"]


def test_a_table_of_names_is_escaped_in_all_forms() -> None:
    table = Table("1", EVIL, ("Category", EVIL), ((EVIL, "=1"),), (EVIL,))
    Tags(render([table], [], [row()]))
    assert "\x1b" not in table.to_markdown()
    assert "<script>" not in table.to_markdown()
    assert ",'=1" in table.to_csv()


def test_jinja2_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"pip install -e .\.\[report\]"):
        render([], [], [row()])
