"""Hints how to install what is missing: extras that there are, and nothing from a package index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from nfbmr.system.packages import how_to_install, lacking

ROOT = Path(__file__).parents[2]
TEXTS = [
    *(ROOT / "src").rglob("*.py"),
    *(ROOT / "src").rglob("*.j2"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", "constraints.txt")),
]


def extras() -> set[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return {*tomllib.load(file)["project"]["optional-dependencies"]}


def test_a_hint_names_an_extra_that_there_is_and_where_else_to_read() -> None:
    named = {
        extra
        for text in TEXTS
        for extra in re.findall(r"how_to_install\([\"'](\w+)", text.read_text("utf-8"))
    }
    assert {"train", "report", "openvino", "video", "parquet"} <= named <= extras()
    assert how_to_install("train").startswith("run, in the folder of nfbmr's checkout: pip install")
    assert "## Install\n" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_claims_that_nfbmr_comes_from_a_package_index(text: Path) -> None:
    for line in text.read_text("utf-8").splitlines():
        assert not re.search(r"pip install[^`#]*\bnfbmr\b(?!'s)", line), line


def test_extras_that_the_readme_names_are_there() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    named = {*re.findall(r"\.\[(\w+)\]|nfbmr\[(\w+)\]|whl\)\[(\w+)\]", readme)}
    words = {word for group in named for word in group if word}
    assert words
    assert words <= extras()


def test_what_is_not_installed_is_told_without_importing() -> None:
    assert lacking("json", "no_such_package", "pathlib") == ["no_such_package"]
