"""The house: a module imports only from a lower floor, starts light, stays small, runs no file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "nfbmr"

# docs/architecture.md says what is on each floor. The root package is what users import: it names
# `fit`, `load` and `evaluate`, so it stands above them. Empty __init__.py files are on no floor.
FLOORS: tuple[tuple[str, ...], ...] = (
    # 0: words that everything shares
    ("errors", "files", "progress", "provenance"),
    # 1: settings, pixels, files
    (
        "config",
        "damage",
        "devices",
        "webhook",
        "console",
        "checkpoint",
        "exports",
        "feature_store",
        "data.images",
        "data.sizes",
        "data.video",
        "data.tables",
        "data.tiles",
        "networks.cutting",
        "networks.folding",
        "pixel_metrics",
        "reporting.pictures",
        "reporting.templates",
    ),
    # 2: one step of the method each
    (
        "bundle_folder",
        "data.folders",
        "facts",
        "feature_cache",
        "feature_chunks",
        "metrics",
        "networks.backbone",
        "networks.flow",
        "networks.gaussian",
        "networks.mapping",
        "networks.subspace",
        "optimisation",
        "scoring",
    ),
    # 3: steps joined
    (
        "bundle",
        "data.layouts",
        "features",
        "graph_runtimes",
        "networks.detector",
        "networks.weights",
        "reporting.plots",
    ),
    # 4: learning, inspecting, showing
    ("data.collections", "graphs", "reporting.report", "runtimes", "training"),
    ("inference", "learning"),
    # 6: what a user asks for
    ("evaluation", "relearning", "results"),
    ("exporting", "watch"),
    ("fitting",),
    # 9: the public names, and what plans or feeds a fit
    ("", "benchmark.dagm_like", "benchmark.solar_cells", "estimates"),
    # 10: measuring and showing the whole
    ("benchmark.figures", "benchmark.kills", "benchmark.result_picture", "diagnosis"),
    # 11: the paper's experiments: what is asked for and stated, and the command line's words
    (
        "arguments",
        "benchmark.ledger",
        "benchmark.paper.published",
        "benchmark.paper.systems",
        "benchmark.peers.catalogue",
        "benchmark.peers.environment",
        "benchmark.peers.exported",
        "benchmark.peers.ours",
        "benchmark.peers.worker",
        "benchmark.speed",
    ),
    ("benchmark.deployed", "benchmark.paper.aggregates", "benchmark.paper.pairs"),
    # 13: one category, one drawing, one table
    (
        "benchmark.paper.drawing",
        "benchmark.paper.plan",
        "benchmark.paper.product",
        "benchmark.paper.readings",
        "benchmark.paper.table",
    ),
    (
        "benchmark.mapping_curve",
        "benchmark.paper.charts",
        "benchmark.paper.exhibits",
        "benchmark.paper.grids",
        "benchmark.paper.measurement",
        "benchmark.paper.tables",
        "benchmark.peers.race",
        "benchmark.peers.report",
    ),
    (
        "benchmark.paper.figures",
        "benchmark.paper.page",
        "benchmark.paper.runner",
        "benchmark.peers.deployment",
    ),
    ("benchmark.paper.command",),
    ("cli_bench", "cli_deploy", "cli_paper"),
    # 18: the command line
    ("cli",),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}

# Whoever imports labels' figures looks at test results; nothing that learns may be among them.
USERS_OF_METRICS = {
    "benchmark.deployed",
    "benchmark.figures",
    "benchmark.mapping_curve",
    "benchmark.paper.charts",
    "benchmark.paper.measurement",
    "benchmark.peers.race",
    "evaluation",
    "reporting.plots",
}
LEARNS = {
    "bundle",
    "features",
    "fitting",
    "inference",
    "learning",
    "relearning",
    "scoring",
    "training",
}

LIGHT = (
    "nfbmr",
    "nfbmr.cli",
    "nfbmr.inference",
    "nfbmr.results",
    "nfbmr.console",
    "nfbmr.feature_store",
    "nfbmr.data.layouts",
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


def test_every_module_has_one_floor() -> None:
    on_floors = [name for names in FLOORS for name in names]
    assert sorted(on_floors) == sorted(set(on_floors)), "a module is on two floors"
    assert sorted(FLOOR_OF) == sorted(_modules())


def test_a_module_imports_only_from_a_lower_floor() -> None:
    wrong = [
        f"{name} (floor {FLOOR_OF[name]}) imports {other or 'nfbmr'} (floor {FLOOR_OF[other]})"
        for name in _modules()
        for other in _imports(name)
        if FLOOR_OF[other] >= FLOOR_OF[name]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circles() -> None:
    # Floors exclude them already; this also holds while a floor is being argued about.
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
    for labelled in ("metrics", "pixel_metrics"):
        users = {name for name in _modules() if labelled in _imports(name)}
        assert users <= USERS_OF_METRICS | {"metrics"}
        assert not {name for name in LEARNS if labelled in _reachable(name)}


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
    computes = name.startswith("networks.") and name != "networks.weights"
    if computes or name in {"scoring", "training", "inference"}:
        assert "Shapes:" in docstring, "a legend of letters is missing"


@pytest.mark.parametrize("name", LIGHT)
def test_starting_loads_nothing_heavy(name: str) -> None:
    code = f"import sys, {name}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {module.partition(".")[0] for module in done.stdout.split()}
    assert "nfbmr" in loaded
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
