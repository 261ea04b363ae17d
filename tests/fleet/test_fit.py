"""A plan by processes on this machine: retried, never twice, none stops the others."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from nfbmr.cli.app import app
from nfbmr.data.layouts import read_data
from nfbmr.errors import FleetError, MissingExtraError
from nfbmr.fleet import fit, local
from nfbmr.fleet.fit import fit_fleet
from nfbmr.fleet.place import Place, State
from nfbmr.fleet.plan import FleetPlan, Product, Resources
from nfbmr.fleet.product import Order
from nfbmr.settings.schema import Settings
from nfbmr.system.locks import locked_file

WORKER = """
import json, os, shutil, signal, sys
from dataclasses import replace
from pathlib import Path
from nfbmr.fleet.place import Place, State
order = json.loads(Path(sys.argv[1]).read_text())
place, name = Place(Path(order["models"])), order["name"]
state = place.read(name)
state = place.write(replace(state, status="running", attempts=state.attempts + 1))
assert os.environ["OMP_NUM_THREADS"] == "1"
assert int(sys.argv[2]) == os.getppid()
deaths = json.loads(os.environ["DEATHS"]).get(name, 0)
if state.attempts <= deaths:
    os.kill(os.getpid(), signal.SIGKILL)
if name == "oak":
    place.write(replace(state, status="failed", error="too few"))
else:
    shutil.copytree(os.environ["MODEL"], place.model(name), dirs_exist_ok=True)
    place.write(replace(state, status="done", fitted=place.fitted(name), seconds=2.0))
"""
"""What stands for `nfbmr.fleet.product`: a product is a copy of a model; some processes die."""


def plan_of(root: Path, settings: Settings, *names: str) -> FleetPlan:
    """Products of ten small pictures."""
    products = []
    for number, name in enumerate(names):
        folder = root / name
        if not folder.exists():
            folder.mkdir(parents=True)
            for picture in range(10):
                color = 20 * number + picture
                Image.new("L", (8, 8), color).save(folder / f"{picture}.png")
        products.append(
            Product(
                name=name,
                data=folder,
                test=folder,
                ignore=None,
                settings=settings,
                resources=Resources(memory_gb=0.01),
            )
        )
    return FleetPlan(products=tuple(products))


@pytest.fixture
def deaths(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(local, "COMMAND", (sys.executable, str(script)))
    monkeypatch.setenv("MODEL", str(model))
    monkeypatch.setenv("DEATHS", "{}")
    return lambda text: monkeypatch.setenv("DEATHS", text)


def attempts(states: list[State]) -> dict[str, tuple[str, int]]:
    return {state.product: (state.status, state.attempts) for state in states}


def test_who_dies_is_tried_again_and_who_fails_stops_nobody(
    tmp_path: Path,
    tiny: Settings,
    deaths: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    deaths('{"fig": 2, "elm": 9}')
    plan = plan_of(tmp_path / "data", tiny, "elm", "fig", "oak", "ash")
    heard: list[tuple[int, int]] = []
    states = fit_fleet(
        plan,
        tmp_path / "models",
        cpus=2,
        progress=lambda what, done, total, loss=None: heard.append((done, total)),
    )
    assert [state.product for state in states] == ["elm", "fig", "oak", "ash"]
    assert attempts(states) == {
        "elm": ("failed", 3),
        "fig": ("done", 3),
        "oak": ("failed", 1),
        "ash": ("done", 1),
    }
    assert "SIGKILL, SIGKILL, SIGKILL" in states[0].error
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]

    # The same command: what is done is not done again, what failed is.
    deaths("{}")
    again = fit_fleet(plan, tmp_path / "models", cpus=2)
    assert attempts(again) == {
        "elm": ("done", 4),
        "fig": ("done", 3),
        "oak": ("failed", 2),
        "ash": ("done", 1),
    }


def test_other_settings_and_other_pictures_are_named_and_learnt_again(
    tmp_path: Path,
    tiny: Settings,
    deaths: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan = plan_of(tmp_path / "data", tiny, "one", "two", "three")
    fit_fleet(plan, tmp_path / "models", cpus=2)
    one, two, three = plan.products
    Image.new("L", (8, 8)).save(two.data / "more.png")
    changed = FleetPlan(products=(replace(one, settings=replace(tiny, seed=4)), two, three))
    with caplog.at_level(logging.INFO, "nfbmr"):
        states = fit_fleet(changed, tmp_path / "models", cpus=2)
    assert attempts(states) == dict.fromkeys(("one", "two", "three"), ("done", 1))
    said = [record.getMessage() for record in caplog.records]
    assert "one is learnt again: seed 0 -> 4" in said
    assert "two is learnt again: other pictures to learn from (10 then, 11 now)" in said
    assert not [line for line in said if line.startswith("three is learnt")]


def test_a_product_whose_pictures_or_model_are_amiss_fails_by_itself(
    tmp_path: Path, tiny: Settings, deaths: Callable[[str], None], model_copy: Path
) -> None:
    plan = plan_of(tmp_path / "data", tiny, "gone", "mine", "ash")
    gone, mine, right = plan.products
    plan = FleetPlan(products=(replace(gone, data=tmp_path / "nowhere"), mine, right))
    place = Place(tmp_path / "models")
    place.models.mkdir()
    model_copy.rename(place.model("mine"))
    states = fit_fleet(plan, place.models, cpus=1)
    assert [state.status for state in states] == ["failed", "failed", "done"]
    assert str(tmp_path / "nowhere") in states[0].error
    assert "a model that no fleet made" in states[1].error
    assert place.fitted("mine")


def test_a_product_whose_files_cannot_be_written_stops_no_other(
    tmp_path: Path,
    tiny: Settings,
    deaths: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of(tmp_path / "data", tiny, "elm", "fig", "ash", "yew", "box")
    place = Place(tmp_path / "models")
    place.folder("elm").parent.mkdir(parents=True)
    place.folder("elm").write_text("no folder")
    (place.folder("yew") / "log.txt").mkdir(parents=True)
    written = Order.write

    def write(order: Order, path: Path) -> None:
        if order.product.name == "fig":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written(order, path)

    monkeypatch.setattr(Order, "write", write)
    states = fit_fleet(plan, place.models, cpus=1)
    assert [state.status for state in states] == ["failed", "failed", "done", "failed", "done"]
    assert str(place.folder("elm")) in states[0].error
    assert states[1].error == f"{place.folder('fig') / 'order.json'}: No space left on device"
    assert "log.txt" in states[3].error
    known = place.read("fig")
    assert known is not None
    assert known.error == states[1].error


def test_a_product_whose_table_needs_what_is_not_installed_stops_no_other(
    tmp_path: Path,
    tiny: Settings,
    deaths: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of(tmp_path / "data", tiny, "elm", "ash")

    def read(path: Path) -> Any:
        if path.name == "elm":
            raise MissingExtraError("pyarrow is not installed")
        return read_data(path)

    monkeypatch.setattr(fit, "read_data", read)
    states = fit_fleet(plan, tmp_path / "models", cpus=1)
    assert [(state.status, state.error) for state in states] == [
        ("failed", "pyarrow is not installed"),
        ("done", ""),
    ]


def test_two_commands_do_not_work_on_one_folder(
    tmp_path: Path, tiny: Settings, deaths: Callable[[str], None]
) -> None:
    plan = plan_of(tmp_path / "data", tiny, "one")
    place = Place(tmp_path / "models")
    with locked_file(place.lock), pytest.raises(FleetError, match="another nfbmr fleet fit"):
        fit_fleet(plan, place.models)
    (tmp_path / "file").write_text("")
    with pytest.raises(FleetError, match="models cannot be kept there"):
        fit_fleet(plan, tmp_path / "file")


def test_the_commands_say_how_far_all_are(
    tmp_path: Path, tiny: Settings, deaths: Callable[[str], None]
) -> None:
    plan_of(tmp_path / "data", tiny, "oak", "ash")
    models = str(tmp_path / "models")
    run = CliRunner().invoke(app, ["fleet", "fit", str(tmp_path / "data"), "-o", models])
    assert run.exit_code == 1, "one failed"
    for words in (run.stdout, CliRunner().invoke(app, ["fleet", "status", models]).stdout):
        assert "oak failed: too few" in words
        assert "2 products: 1 done, 1 failed; 2.0 s of work" in words
    page = str(tmp_path / "report.html")
    done = CliRunner().invoke(app, ["fleet", "report", models, "-o", page])
    assert done.stdout == f"report: {page}\n"
    assert "too few" in Path(page).read_text("utf-8")


def test_an_address_is_for_a_cluster(tmp_path: Path) -> None:
    words = ["fleet", "fit", str(tmp_path), "-o", str(tmp_path / "m"), "--address", "auto"]
    run = CliRunner().invoke(app, words)
    assert "give --engine ray" in str(run.exception)


@pytest.mark.slow
def test_two_products_by_real_processes(
    tmp_path: Path, tiny: Settings, mvtec_tree: Callable[..., Path]
) -> None:
    root = mvtec_tree(tmp_path / "root")
    products = tuple(
        Product(
            name=name,
            data=root / name,
            test=root / name,
            ignore=None,
            settings=tiny,
            resources=Resources(memory_gb=0.1),
        )
        for name in ("bottle", "carpet")
    )
    states = fit_fleet(FleetPlan(products=products), tmp_path / "models")
    assert attempts(states) == {"bottle": ("done", 1), "carpet": ("done", 1)}
    assert all(state.figures["image_auroc"] > 0.9 for state in states)
    assert all(state.peak_mb for state in states)
