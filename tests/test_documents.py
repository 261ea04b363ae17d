"""Documents name what is there: paths, names in them, modules, and links with their headings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "nfbmr"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

# A path in backticks, and the names in backticks that follow it: `scoring/heat.py` `heatmap`.
_PATH = re.compile(r"`([\w/.-]+(?:\.py|\.j2|/))`((?: `\w+`)*)")
_MODULE = re.compile(r"(?:`|-m )nfbmr((?:\.\w+)+)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def lines_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def place_of(path: str) -> Path:
    """A path of a document is below the repository's root or below the package."""
    return ROOT / path if (ROOT / path).exists() else SOURCE / path


def paths_in(text: str) -> Iterator[tuple[Path, list[str]]]:
    """Yields each path that a text names, and the names that follow it."""
    for path, names in _PATH.findall(text):
        yield place_of(path), re.findall(r"\w+", names)


@cache
def names_in(path: Path) -> frozenset[str]:
    """Functions, classes, methods and constants of a file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(found)


def answers() -> dict[str, str]:
    """Question -> where the answer is, of the first table of docs/architecture.md."""
    text = ARCHITECTURE.read_text("utf-8").partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {question.strip(): answer.strip() for question, answer in rows[1:]}


def headings_of(path: Path) -> set[str]:
    """What links may name behind #, as GitHub makes it of the headings."""
    titles = [line.lstrip("#").strip().lower() for line in lines_of(path) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def test_every_place_of_the_architecture_is_there_and_has_the_names() -> None:
    for path, names in paths_in(ARCHITECTURE.read_text("utf-8")):
        assert path.exists(), f"{path} is not there"
        missing = set(names) - names_in(path) if names else set()
        assert not missing, f"not in {path}: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules_with_their_rooms_are_there(document: Path) -> None:
    for path in re.findall(r"`(\w+/[\w/]+\.py)`", document.read_text("utf-8")):
        assert place_of(path).is_file(), path


def test_a_newcomers_questions_are_answered_with_a_place() -> None:
    found = answers()
    assert len(found) >= 20
    for question, answer in found.items():
        assert list(paths_in(answer)), f"no path: {question}"


def test_the_architecture_is_short() -> None:
    assert len(lines_of(ARCHITECTURE)) <= 150


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in _LINK.findall(document.read_text("utf-8")):
        address, _, heading = link.partition("#")
        if re.match(r"\w+:", address):
            continue
        target = document if not address else (document.parent / address).resolve()
        assert target.exists(), f"{document.name}: {link}"
        assert not heading or heading in headings_of(target), f"{document.name}: {link}"


def test_modules_that_texts_name_are_there() -> None:
    texts = [*DOCUMENTS, ROOT / "CHANGELOG.md", ROOT / "Makefile", *SOURCE.rglob("*.py")]
    wrong = [
        f"{text.relative_to(ROOT)}: nfbmr{name}"
        for text in texts
        for name in _MODULE.findall(text.read_text("utf-8"))
        if not is_there(name.strip(".").split("."))
    ]
    assert not wrong, "\n".join(wrong)


def is_there(parts: list[str]) -> bool:
    """Whether these are a room, a module, a name in one, or a public name."""
    place = SOURCE
    while parts and (place / parts[0]).is_dir():
        place, parts = place / parts[0], parts[1:]
    if parts and (place / f"{parts[0]}.py").is_file():
        place, parts = place / f"{parts[0]}.py", parts[1:]
    if place == SOURCE and parts:  # public names are loaded late
        return f'"{parts[0]}"' in (SOURCE / "__init__.py").read_text("utf-8")
    return not parts or (place.is_file() and parts[0] in names_in(place))
