"""`nfbmr paper` from the command line: data on disk to rows, tables, figures and one page."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from nfbmr.benchmark.dagm_like import write_tree
from nfbmr.cli.app import app, main
from nfbmr.errors import SettingsError
from nfbmr.evaluation import evaluate
from nfbmr.paper import command
from nfbmr.paper.command import Data, publish, read_sources
from nfbmr.paper.ledger import Ledger, alone_in
from nfbmr.paper.plan import Request, make_tasks
from nfbmr.settings.text import parse_changes

TINY = [
    "--backbone=fast",
    "--device=cpu",
    "--set=size=[64,64]",
    "--set=backbone.stages=[3,2]",
    "--set=flow.hidden=16",
    "--set=flow.blocks=2",
    "--set=mapping.latent=16",
    "--set=mapping.inner=8",
    "--set=stage_one.steps=4",
    "--set=stage_one.batch=64",
    "--set=stage_two.steps=2",
    "--set=stage_two.batch=2",
    "--set=pair.steps=2",
    "--set=pair.batch=64",
]


def run(*words: object) -> Result:
    """Runs the command; its end is the test's to judge."""
    result = CliRunner().invoke(app, ["paper", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def message_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> str:
    """Runs the program as a shell does; returns what it says when it gives up."""
    monkeypatch.setattr(sys, "argv", ["nfbmr", "paper", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def rows_of(results: Path) -> list[dict[str, object]]:
    lines = (results / "results.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def dagm(once: Callable[..., Path]) -> Path:
    return once(
        "cli_dagm", lambda root: write_tree(root, classes=(2, 8), n_good=11, n_defective=3, size=64)
    )


@pytest.fixture(scope="module")
def done(once: Callable[..., Path], dagm: Path) -> Path:
    """Results of two classes and the systems of Tables 3 and 4."""

    def build(out: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluate, "_TIMED", 2)  # pictures that show how long one takes
            result = run("--dagm", dagm, "-o", out, "--seeds=0", *TINY)
        assert result.exit_code == 0, result.output

    return once("cli_results", build)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure is drawn again: that takes seconds."""
    monkeypatch.setattr(command, "draw_figures", lambda *_: [])


def test_every_table_figure_and_the_page_are_written(done: Path) -> None:
    rows = rows_of(done)
    keys = {(row["dataset"], row["category"], row["system"], row["seed"]) for row in rows}
    systems = {"nf-bmr-2", "nfbmr", "pfm", "b-pfm", "mb-pfm"}
    assert keys == {
        ("dagm", name, system, 0) for name in ("Class2", "Class8") for system in systems
    }
    assert len(rows) == len(keys), "each row once"
    page = (done / "paper.html").read_text("utf-8")
    assert "<script" not in page
    assert "Class8" in page
    for name in ("table_3.md", "table_3.csv", "table_4.md", "tables.md"):
        assert "98.5" in (done / "tables" / name).read_text("utf-8") or name.startswith("table_4")
    for file in (done / "figures").glob("*.png"):
        with Image.open(file) as picture:
            assert min(picture.size) > 100
    assert {path.stem for path in (done / "figures").glob("*.svg")} == {
        path.stem for path in (done / "figures").glob("*.png")
    }
    assert not (done / ".work" / "dagm" / "Class2").exists(), "features are deleted"


@pytest.mark.usefixtures("undrawn")
def test_a_second_run_computes_nothing_and_another_seed_only_itself(
    done: Path, dagm: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(done, tmp_path / "results"))
    before = (out / "results.jsonl").read_bytes()
    plan = run("--dagm", dagm, "-o", out, "--seeds=0,1", "--dry-run", *TINY).stdout
    assert plan.count("there already") == 10
    assert "20 rows, 10 to compute" in plan
    assert run("--dagm", dagm, "-o", out, "--seeds=0", *TINY).exit_code == 0
    assert (out / "results.jsonl").read_bytes() == before


@pytest.mark.usefixtures("undrawn")
def test_rows_of_other_settings_are_not_shown(done: Path, dagm: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    shutil.copytree(done, out)
    changes = parse_changes([word.removeprefix("--set=") for word in TINY if "--set" in word])
    request = Request(backbone="fast", seeds=(0,), tables=(3,), weights={}, changes=changes)
    ledger = Ledger(out / "results.jsonl")
    sources, _ = read_sources(Data(dagm=dagm))
    tasks = make_tasks(sources, request)
    changed = [
        replace(task, mark="other") if task.key.category == "Class8" else task for task in tasks
    ]
    for chosen, shown in ((tasks, ["Class2", "Class8"]), (changed, ["Class2"])):
        publish(chosen, ledger, out, request)
        text = (out / "tables" / "table_3.md").read_text("utf-8")
        assert [name for name in ("Class2", "Class8") if f"| {name} |" in text] == shown


def test_any_data_set_joins_by_name_and_a_broken_category_fails_alone(
    mvtec_tree: object, mvtec: Path, tmp_path: Path
) -> None:
    assert callable(mvtec_tree)
    root = mvtec_tree(tmp_path / "tree", categories=("bottle", "carpet"))
    first = next((root / "carpet" / "train" / "good").iterdir())
    first.write_bytes(first.read_bytes()[:60])
    words = ["--mvtec", root, "--data", f"widget={mvtec}", "-o", tmp_path / "out", "--seeds=0"]
    result = run(*words, "--systems=nf,nf-bmr-1", *TINY)
    assert result.exit_code == 1
    assert "failed: mvtec carpet" in result.stdout
    found = {(row["dataset"], row["category"], row["system"]) for row in rows_of(tmp_path / "out")}
    assert found == {
        (dataset, name, system)
        for dataset, name in (("mvtec", "bottle"), ("other", "widget"))
        for system in ("nf", "nf-bmr-1")
    }
    assert "bottle" in (tmp_path / "out" / "tables" / "tables.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no data: give --mvtec DIR"),
        (["--categories=bottle,cup"], "not found: bottle, cup"),
        (["--tables=6"], "no such table"),
        (["--systems=nf-bmr-4"], "nf-bmr-4: unknown"),
        (["--seeds=a"], "--seeds a: expected whole numbers"),
        (["--data=x"], "--data x: expected NAME=VALUE"),
        (["--data=../x=y"], "expected NAME=VALUE"),
        (["--weights=a.pth", "--weights=b.pth"], "each network once"),
        (["--weights=absent.pth"], "absent.pth: cannot be read"),
        (["--set=flow.blocks=0"], "flow.blocks"),
        (["--set=tiles.overlap=0.25"], "expected no tiles"),
        (["--systems=nf,nf-bmr-1"], "system nf is left out: no row of it is in tables 3, 4"),
        (["--tables=1,2,5"], "found nothing to do"),
    ],
)
def test_what_cannot_be_done_is_said(
    words: list[str],
    said: str,
    dagm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--dagm", dagm] if words else []
    out = tmp_path / "out"
    assert said in message_of(monkeypatch, capsys, *given, "-o", out, *words)
    assert not out.exists(), "nothing is left behind"


def test_a_plan_needs_no_folder_and_a_run_does(
    dagm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = run("--dagm", dagm, "--seeds=0", "--systems=nf-bmr-2", "--dry-run", *TINY).stdout
    assert "2 rows, 2 to compute" in plan
    assert "no -o RESULTS" in message_of(monkeypatch, capsys, "--dagm", dagm, "--seeds=0", *TINY)
    assert not list(tmp_path.iterdir())


def test_a_system_left_out_is_named_and_the_others_run(dagm: Path) -> None:
    result = run("--dagm", dagm, "--systems=nf,nf-bmr-2", "--seeds=0", "--dry-run", *TINY)
    assert result.exit_code == 0
    assert "Warning: system nf is left out: no row of it is in tables 3, 4" in result.stderr
    assert "2 rows, 2 to compute" in result.stdout
    planned = run("--systems=nf,pfm", "--tables=1", "--seeds=0", "--dry-run", *TINY)
    assert "Warning: system nf is left out: no row of it is in table 1" in planned.stderr


def test_auto_looks_at_the_network_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def choose(_: str, *, small: bool) -> None:
        seen.append(small)
        raise SettingsError("that is all")

    monkeypatch.setattr(command, "choose_device", choose)
    other = {"backbone": {"name": "resnet18.a1_in1k", "stages": ["layer2"]}}
    for changes in ({}, other):
        with pytest.raises(SettingsError, match="that is all"):
            command.describe_plan(
                Data(), None, Request(backbone="fast", weights={}, changes=changes), "auto"
            )
    assert seen == [True, False]


HELD = """
import sys
from nfbmr.cli.app import main
from nfbmr.paper import command

def held(*_):
    print("held", flush=True)
    sys.stdin.readline()
    return []

command.run_tasks = command.publish = held
sys.argv = ["nfbmr", *sys.argv[1:]]
main()
"""
"""A run that stops where it would compute, and where it would publish, until it reads a line."""


def test_a_second_process_is_kept_out_until_the_first_has_published(
    dagm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "results"
    words = ["--dagm", str(dagm), "-o", str(out), "--seeds=0", *TINY]
    with subprocess.Popen(
        [sys.executable, "-c", HELD, "paper", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        for _ in ("run_tasks", "publish"):
            assert first.stdout.readline() == "held\n"
            said = message_of(monkeypatch, capsys, *words)
            assert f"{out}: another run is writing there" in said
            first.stdin.write("\n")
            first.stdin.flush()
        first.stdin.close()
        assert first.wait() == 0
    with alone_in(out):
        pass


def test_without_data_the_official_sets_are_planned_for(tmp_path: Path) -> None:
    plan = run("-o", tmp_path / "out", "--dry-run", "--seeds=0", *TINY).stdout
    assert "MVTec AD: 15 categories, 3629 pictures" in plan
    assert "DAGM 2007: 10 categories" in plan
    assert "the whole of the paper: about" in plan
    assert not (tmp_path / "out").exists()
