"""Commands and options that messages, help and documents name are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from nfbmr.cli.app import app

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "nfbmr"
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

_QUOTED = re.compile(r"[`']nfbmr ([a-z][\w-]*)")
"""Words in quotes are a command's, whatever follows."""
_USED = re.compile(r"\bnfbmr ([a-z]\w+)(?= (?:[A-Z{%]|-))")
"""So are those with what looks like an argument or an option behind them."""
_WHOLE = re.compile(r"\bnfbmr ((?:bench |fleet )?[a-z]\w+)([^`'#|;]*?)(?=nfbmr |[`'#|;]|\n|$)")
_OPTION = re.compile(r"(?<![\w-])(--?[a-z][\w-]*)")
_OTHERS = {"--version", "--verbose", "--head", "--always", "--abbrev", "--dirty"}
"""Of nfbmr without a command, and of ray and git."""


@cache
def options_of() -> dict[str, frozenset[str]]:
    """Command -> its options, as a user types them."""
    found = {}
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            found[name] = frozenset({"--help", "-h"})
            inner = {f"{name} {below}": one for below, one in command.commands.items()}
        else:
            inner = {name: command}
        for whole, one in inner.items():
            words = [word for p in one.params for word in (*p.opts, *p.secondary_opts)]
            found[whole] = frozenset(w for w in words if w.startswith("-")) | {"--help", "-h"}
    return found


def texts_in(code: str) -> Iterator[str]:
    """Yields the strings of a module; `{}` stands where one has a value put in."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else "{}" for v in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def commands_wrong_in(text: str) -> list[str]:
    """Returns what a text names that the command line does not have."""
    known = options_of()
    named = {match[1] for form in (_QUOTED, _USED) for match in form.finditer(text)}
    wrong = [f"nfbmr {word}" for word in sorted(named - {name.split()[0] for name in known})]
    for match in _WHOLE.finditer(text):
        if match[1] in known:
            used = set(_OPTION.findall(match[2]))
            wrong += [f"nfbmr {match[1]} {one}" for one in sorted(used - known[match[1]])]
    return wrong


def all_texts() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        for text in texts_in(path.read_text("utf-8")):
            yield str(path.relative_to(ROOT)), text
    for path in (*sorted(SOURCE.rglob("*.j2")), *DOCUMENTS):
        yield str(path.relative_to(ROOT)), path.read_text("utf-8")


def test_commands_that_are_named_are_there_with_their_options() -> None:
    wrong = [f"{where}: {one}" for where, text in all_texts() for one in commands_wrong_in(text)]
    assert not wrong, "\n".join(wrong)


def test_options_that_messages_name_are_those_of_a_command() -> None:
    known = {one for options in options_of().values() for one in options}
    wrong = [
        f"{path.relative_to(ROOT)}: {option}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).parts[0] != "benchmark"  # those have words of their own
        for text in texts_in(path.read_text("utf-8"))
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]+", text)
        if option not in known | _OTHERS
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("make one with 'nfbmr fit'", []),
        ("make one with 'nfbmr learn'", ["nfbmr learn"]),
        ("run 'nfbmr export {} --to {} --fast' there", ["nfbmr export --fast"]),
        ("learn tiles: nfbmr fit DATA -o MODEL --tiles", []),
        ("learn tiles: nfbmr teach DATA -o MODEL", ["nfbmr teach"]),
        ("```sh\nnfbmr watch m in --move -x\n```", ["nfbmr watch -x"]),
        ("`nfbmr fleet fit PLAN -o M`, `nfbmr fleet report M --to`", ["nfbmr fleet report --to"]),
        ("all that nfbmr wrote; not --this", []),
    ],
)
def test_what_is_wrong_is_found(text: str, wrong: list[str]) -> None:
    assert commands_wrong_in(text) == wrong
