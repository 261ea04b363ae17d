"""The house: a room imports only from those above it, starts light, stays small, runs no file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "nfbmr"

# From top to bottom: a room imports from itself and from those above it, nothing else.
# docs/architecture.md says what is in each. A room of one line is a module.
ROOMS = (
    "errors",
    "system",
    "settings",
    "data",
    "networks",
    "features",
    "scoring",
    "model",
    "runtimes",
    "inspection",
    "learning",
    "deployment",
    "evaluation",
    "fitting",
    "",  # the root package: the public names, loaded late
    "paper",
    "benchmark",
    "station",
    "fleet",
    "cli",
    "__main__",
)
PLANNED: set[str] = set()
"""Rooms that have a place and no module yet."""
MODULES_OUTSIDE_ROOMS = {"", "__main__", "errors", "fitting"}
MOST_ROOMS = 17

# What computes figures from labels, and who may look at them: nothing that learns or calibrates.
LABELLED = ("evaluation.metrics", "evaluation.pixel_metrics")
SEE_LABELS = {"evaluation", "paper", "benchmark"}

# Packages that one room alone knows.
KNOWN_TO_ONE = {
    "typer": "cli",
    "click": "cli",
    "rich": "cli",
    "fastapi": "station",
    "starlette": "station",
    "uvicorn": "station",
    "sqlalchemy": "station",
    "alembic": "station",
    "psycopg": "station",
    "aiomqtt": "station",
    "ray": "fleet",
}

# Rooms that start without what is heavy: each of its modules can be imported on a line's computer.
LIGHT = (
    "errors",
    "settings",
    "data",
    "scoring",
    "model",
    "runtimes",
    "inspection",
    "station",
    "",
    "cli",
)
HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "matplotlib",
    "sklearn",
    "pyarrow",
    "ray",
    "onnx",
    "onnxruntime",
    "openvino",
)

RUNS_CODE = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _every_module() -> frozenset[str]:
    return frozenset(_name_of(path) for path in ROOT.rglob("*.py"))


@cache
def _modules() -> dict[str, Path]:
    """Name within nfbmr -> file; packages whose __init__.py is empty are left out."""
    files = {_name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
    assert files, f"no modules under {ROOT}"
    return {name: path for name, path in files.items() if path.read_text("utf-8").strip()}


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_modules()[name].read_text("utf-8"))


def _imported(name: str) -> Iterator[str]:
    """Yields full names of all that a module imports, wherever the import stands."""
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _imports(name: str) -> frozenset[str]:
    """Returns the modules of nfbmr, by their names within it, that a module imports."""
    found = set()
    for full in _imported(name):
        top, _, inside = full.partition(".")
        if top != "nfbmr":
            continue
        while inside and inside not in _modules():
            inside = inside.rpartition(".")[0]  # a name in a module -> the module
        found.add(inside)
    return frozenset(found - {name})


def _reachable(name: str) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for imported in _imports(waiting.pop()) - found:
            found.add(imported)
            waiting.append(imported)
    return found


def _functions(name: str) -> Iterator[tuple[Function, int]]:
    """Yields each function and its lines, from `def` to its end, docstring and all."""
    for node in ast.walk(_tree(name)):
        if isinstance(node, Function):
            assert node.end_lineno is not None
            yield node, node.end_lineno - node.lineno + 1


def _room(name: str) -> str:
    return name.partition(".")[0]


def test_every_module_is_in_a_room_that_has_a_place() -> None:
    assert len(set(ROOMS)) == len(ROOMS)
    found = {_room(name) for name in _every_module()}
    assert found <= set(ROOMS), f"give these a place in ROOMS: {sorted(found - set(ROOMS))}"
    assert set(ROOMS) - found <= PLANNED, "a place without a module"


def test_every_room_is_described() -> None:
    text = (ROOT.parents[1] / "docs" / "architecture.md").read_text("utf-8")
    described = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert [name.replace("nfbmr", "") for name in described if "/" not in name] == list(ROOMS)


def test_the_house_has_few_rooms_and_nothing_lies_before_the_doors() -> None:
    outside = {name for name in _every_module() if (ROOT / f"{name}.py").is_file()} | {""}
    assert outside <= MODULES_OUTSIDE_ROOMS
    assert len(set(ROOMS) - MODULES_OUTSIDE_ROOMS) <= MOST_ROOMS


def test_a_room_imports_only_from_those_above_it() -> None:
    place = {room: number for number, room in enumerate(ROOMS)}
    wrong = [
        f"{name} imports {other or 'nfbmr'}: {_room(other) or 'nfbmr'} stands below {_room(name)}"
        for name in _modules()
        for other in _imports(name)
        if place[_room(other)] > place[_room(name)]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circles() -> None:
    assert not [name for name in _modules() if name in _reachable(name)]


def test_modules_are_imported_by_name_at_one_place_only() -> None:
    """The public names load late; elsewhere such an import would escape the tests above."""
    by_name = {"import_module", "importlib.import_module", "__import__"}
    found = {
        name
        for name in _modules()
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in by_name
    }
    assert found == {""}


def test_what_learns_never_reaches_a_label() -> None:
    for labelled in LABELLED:
        users = {name for name in _modules() if labelled in _imports(name)}
        assert users, f"{labelled} is used nowhere: is this its name?"
        assert {_room(name) for name in users} <= SEE_LABELS
        blind = [name for name in _modules() if _room(name) not in SEE_LABELS | {"cli", "fleet"}]
        assert not {name for name in blind if labelled in _reachable(name)} - {"", "__main__"}


def test_a_package_is_known_to_its_room_alone() -> None:
    wrong = {
        f"{name} imports {package}, which is {KNOWN_TO_ONE[package]}'s alone"
        for name in _modules()
        for package in {full.partition(".")[0] for full in _imported(name)} & set(KNOWN_TO_ONE)
        if _room(name) != KNOWN_TO_ONE[package]
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_no_room_for_odds_and_ends() -> None:
    last = {name.rpartition(".")[2] for name in _modules()}
    assert not last & {"util", "utils", "helper", "helpers", "common", "misc"}


@pytest.mark.parametrize("name", sorted(_modules()))
def test_files_are_small(name: str) -> None:
    assert len(_modules()[name].read_text("utf-8").splitlines()) < 400


def test_functions_are_small() -> None:
    lines = {
        f"{_modules()[name].relative_to(ROOT)}:{function.lineno} {function.name}": count
        for name in _modules()
        for function, count in _functions(name)
    }
    too_long = {where: count for where, count in lines.items() if count >= 60}
    assert not too_long
    assert sum(count < 40 for count in lines.values()) >= 0.9 * len(lines)


@pytest.mark.parametrize("name", sorted(_modules()))
def test_modules_say_what_they_are_for(name: str) -> None:
    docstring = ast.get_docstring(_tree(name))
    assert docstring
    computes = _room(name) in {"networks", "scoring"} and name != "networks.weights"
    if computes or name in {"learning.stages", "inspection.inspector"}:
        assert "Shapes:" in docstring, "a legend of letters is missing"


@pytest.mark.parametrize("room", LIGHT)
def test_starting_loads_nothing_heavy(room: str) -> None:
    names = [f"nfbmr.{name}".rstrip(".") for name in _modules() if _room(name) == room]
    assert names or room in PLANNED
    code = f"import sys\nfor name in {names}: __import__(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {module.partition(".")[0] for module in done.stdout.split()}
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("name", sorted(_modules()))
def test_reading_a_file_runs_no_code(name: str) -> None:
    assert not {full.partition(".")[0] for full in _imported(name)} & RUNS_CODE
    for node in ast.walk(_tree(name)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        where = f"line {node.lineno}: {called}"
        assert called not in {"eval", "exec", "compile", "__import__"}, where
        assert called not in {"yaml.load", "torch.jit.load", "torch.hub.load"}, where
        assert options.get("allow_pickle", "False") == "False", where
        assert options.get("trust_remote_code", "False") == "False", where
        assert options.get("shell", "False") == "False", where
        if called == "torch.load":
            assert options.get("weights_only") == "True", where
