"""The station's document has every setting and page; its rooms know what they may know."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from nfbmr.station.pages.render import PAGES
from nfbmr.station.settings import StationSettings

ROOT = Path(__file__).parents[2]
STATION = ROOT / "src" / "nfbmr" / "station"
TEXT = (ROOT / "docs" / "station.md").read_text("utf-8")
WEB = {"fastapi", "starlette", "uvicorn", "jinja2"}
DATABASE = {"sqlalchemy", "alembic", "psycopg"}


def rows_of(heading: str) -> dict[str, str]:
    """First cell -> second cell of the table below a heading."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return {line[0].strip(): line[1].strip() for line in lines[1:]}


def test_every_setting_is_documented_with_its_default() -> None:
    said: dict[str, str] = {}
    for names, defaults in rows_of("Settings").items():
        pairs = zip(names.split(", "), defaults.split(", "), strict=True)
        said |= {name.strip("`"): default.strip("`") for name, default in pairs}
    expected = {}
    for field in fields(StationSettings):
        default = field.default
        if isinstance(default, float):
            default = f"{default:g}"
        expected[field.name] = "none" if default in (None, ()) else str(default)
    assert said == expected


def test_every_page_is_documented() -> None:
    assert list(rows_of("The page")) == [name for _, name in PAGES]


def packages_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("room", ["services", "engine", "store", "outputs", "sources"])
def test_what_does_the_work_knows_no_web(room: str) -> None:
    files = sorted((STATION / room).rglob("*.py"))
    assert files
    assert {path.name for path in files if set(packages_of(path)) & WEB} == set()


def test_sql_is_in_the_store_alone() -> None:
    knows = {path for path in STATION.rglob("*.py") if set(packages_of(path)) & DATABASE}
    assert knows
    assert {path.relative_to(STATION).parts[0] for path in knows} == {"store"}


def test_every_option_of_the_command_is_a_setting() -> None:
    from nfbmr.cli.serve import serve

    options = set(serve.__annotations__) - {"return", "engine", "address", "workers"}
    assert options == {field.name for field in fields(StationSettings)} - {"batch", "most_pictures"}
    assert re.findall(r"\(no option\)", TEXT) == ["(no option)"] * 2
