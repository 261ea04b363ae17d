"""Rows from pictures on disk: complete, computed once, kept through Ctrl-C and broken files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from nfbmr.errors import DataError
from nfbmr.paper import runner
from nfbmr.paper.ledger import Key, Ledger, Row
from nfbmr.paper.plan import Estimator, Request, Source, Task, make_tasks, read_source
from nfbmr.paper.product import Learnt, Product
from nfbmr.paper.runner import Failed, run_tasks
from nfbmr.paper.systems import FLOW_SYSTEMS, SYSTEMS, System
from nfbmr.system.progress import Progress, silent

Ask = Callable[..., Request]
Learnings = list[tuple[str, str, int]]

SHARES = {
    *("image_auroc", "image_ap", "precision", "recall", "f1"),
    *("f1_max", "precision_at_f1_max", "recall_at_f1_max"),
    *("auroc_max", "auroc_top", "auroc_mean", "false_alarm_rate_observed"),
    *("pixel_auroc", "aupro"),
}
OTHERS = {
    *("dataset", "category", "system", "seed", "mark", "backbone", "device", "created"),
    *("weights", "losses", "fit_seconds", "inspect_ms", "settings_hash", "commit", "versions"),
    *("n_good", "n_defective", "n_train", "n_held_out"),
    *("false_alarm_rate_asked", "threshold_extrapolated"),
}
TIMES = ("fit_seconds", "inspect_ms", "created")


@pytest.fixture(autouse=True)
def _untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Estimator, "rows", lambda self, tasks: [1.0] * len(tasks))


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> Learnings:
    """What is learnt from now on: category, system and seed."""
    seen: Learnings = []
    original = Product.learn

    def learn(self: Product, system: System) -> Learnt:
        seen.append((self.name, system.key, system.settings.seed))
        return original(self, system)

    monkeypatch.setattr(Product, "learn", learn)
    return seen


def run(
    tasks: list[Task], request: Request, folder: Path, progress: Progress = silent
) -> tuple[list[Failed], list[Row]]:
    """Runs tasks into a folder; returns what failed, and the rows as the file has them then."""
    ledger = Ledger(folder / "results.jsonl")
    failed = run_tasks(tasks, request, ledger, folder, torch.device("cpu"), progress)
    again = Ledger(folder / "results.jsonl").rows(task.key for task in tasks)
    assert again == ledger.rows(task.key for task in tasks)
    return failed, again


def timeless(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in TIMES}


def lines(folder: Path) -> int:
    return len((folder / "results.jsonl").read_text("utf-8").splitlines())


# ---- finished


def test_every_row_is_there_with_every_figure(
    rows: dict[Key, Row], tasks: list[Task], results: Path
) -> None:
    assert lines(results) == len(tasks) == 12
    assert {key.system for key in rows if key.dataset == "mvtec"} == set(SYSTEMS)
    for task in tasks:
        row = rows[task.key]
        assert set(row) == SHARES | OTHERS
        assert (row["mark"], row["backbone"], row["device"]) == (task.mark, "fast", "cpu")
        bottle = task.key.category == "bottle"
        counts = row["n_good"], row["n_defective"], row["n_train"], row["n_held_out"]
        assert counts == ((4, 4, 11, 5) if bottle else (12, 4, 7, 5))
        assert row["false_alarm_rate_asked"] == 0.2
        assert row["threshold_extrapolated"] is False
        assert row["inspect_ms"] > 0
        assert row["fit_seconds"] > 0
        assert {"nfbmr", "torch", "timm"} <= set(row["versions"])


def test_figures_are_shares(rows: dict[Key, Row]) -> None:
    for key, row in rows.items():
        absent = {name for name in SHARES if row[name] is None}
        single = {"auroc_max", "auroc_top", "auroc_mean"} if key.system == "nfbmr" else set()
        alarms = row["recall"] + row["false_alarm_rate_observed"]
        assert absent == single | (set() if alarms else {"precision"})
        assert all(0 <= row[name] <= 1 for name in SHARES - absent)
        assert row["f1"] <= row["f1_max"]


def test_systems_differ_where_they_should(rows: dict[Key, Row]) -> None:
    of = {key.system: row for key, row in rows.items() if key.category == "bottle"}
    assert set(of["nf"]["losses"]) == {"flow"}
    assert {of[key]["losses"]["flow"] for key in FLOW_SYSTEMS} == {of["nf"]["losses"]["flow"]}
    assert of["nf-bmr-2"]["losses"] == of["nfbmr"]["losses"], "one network, two scores"
    mapped = ("nf-bmr-1", "nf-bmr-2", "nf-bmr-3", "nf-b-pfm")
    assert len({of[key]["losses"]["mapping"] for key in mapped}) == 4
    assert of["nf"]["weights"].startswith("embedded efficientnet-lite0")
    assert " and embedded efficientnet-lite2" in of["pfm"]["weights"]
    assert len({of[key]["settings_hash"] for key in FLOW_SYSTEMS}) == 6


def test_files_lie_where_the_rows_say(results: Path, tasks: list[Task]) -> None:
    scores = {
        f"{task.key.dataset}/{task.key.category}/{task.key.system}-{task.key.seed}.csv"
        for task in tasks
    }
    found = {p.relative_to(results / "scores").as_posix() for p in results.rglob("*.csv")}
    assert found == scores
    exhibits = sorted(p.relative_to(results).as_posix() for p in results.rglob("*.npz"))
    assert exhibits == ["exhibits/dagm/Class2.npz", "exhibits/mvtec/bottle.npz"]
    assert not [path for path in (results / ".work").rglob("*") if path.is_file()]
    assert not (results / ".work" / "mvtec" / "bottle").exists()


# ---- again


def test_finished_rows_are_not_computed_again(
    results: Path, tasks: list[Task], ask: Ask, learnt: Learnings
) -> None:
    before = (results / "results.jsonl").read_bytes()
    failed, _ = run(tasks, ask(), results)
    assert failed == []
    assert learnt == []
    assert (results / "results.jsonl").read_bytes() == before


def test_rows_of_other_settings_are_computed_again_and_only_those(
    tasks: list[Task], ask: Ask, learnt: Learnings, tmp_path: Path
) -> None:
    sources = [tasks[0].source]
    request = ask(systems=("nf", "nf-bmr-1"))
    _, first = run(make_tasks(sources, request), request, tmp_path)
    changed = ask(systems=("nf", "nf-bmr-1"), changes={"stage_two": {"steps": 4, "batch": 2}})
    changed_tasks = make_tasks(sources, changed)
    learnt.clear()
    only_one = [changed_tasks[1]]
    _, (second,) = run(only_one, changed, tmp_path)
    assert learnt == [("bottle", "nf-bmr-1", 0)]
    assert lines(tmp_path) == 3
    assert second["losses"]["flow"] == first[1]["losses"]["flow"]
    assert second["losses"]["mapping"] != first[1]["losses"]["mapping"]
    assert second["settings_hash"] != first[1]["settings_hash"]
    learnt.clear()
    run([make_tasks(sources, request)[0], *only_one], changed, tmp_path)
    assert learnt == []


def test_another_seed_is_another_row_and_shows_no_exhibits(
    tasks: list[Task], rows: dict[Key, Row], ask: Ask, tmp_path: Path
) -> None:
    request = ask(systems=("nf-bmr-2",), seeds=(5, 0))
    wanted = make_tasks([tasks[0].source], request)
    (tmp_path / "exhibits").write_text("a file in the way: only the first seed writes there")
    failed, found = run(wanted[1:], request, tmp_path)
    assert failed == []
    assert timeless(found[0]) == timeless(rows[wanted[1].key])


# ---- trouble


def test_ctrl_c_keeps_finished_rows_and_the_next_run_goes_on(
    tasks: list[Task], rows: dict[Key, Row], ask: Ask, learnt: Learnings, tmp_path: Path
) -> None:
    request = ask(systems=("nf", "nf-bmr-2"))
    wanted = make_tasks([tasks[0].source], request)
    heard: list[tuple[str, int]] = []
    stops = [("flow", 7), ("mapping", 3)]

    def progress(what: str, done: int, total: int, loss: float | None = None) -> None:
        heard.append((what, done))
        if (what, done) in stops:
            stops.remove((what, done))
            raise KeyboardInterrupt

    for finished in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            run(wanted, request, tmp_path, progress)
        assert len(Ledger(tmp_path / "results.jsonl").rows(t.key for t in wanted)) == finished
        assert (tmp_path / ".work" / "mvtec" / "bottle").is_dir()
    heard.clear()
    failed, found = run(wanted, request, tmp_path, progress)
    assert failed == []
    steps = [step for step in heard if step[0] not in ("survey", "features")]
    assert steps == [("mapping", 4), ("mapping", 5)]
    assert [system for _, system, _ in learnt] == ["nf", "nf", "nf-bmr-2", "nf-bmr-2"]
    assert not (tmp_path / ".work" / "mvtec" / "bottle").exists()
    assert [timeless(row) for row in found] == [timeless(rows[task.key]) for task in wanted]


def test_a_broken_picture_fails_its_category_alone_until_it_is_mended(
    mvtec_tree: Callable[..., Path],
    ask: Ask,
    learnt: Learnings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    root, request = mvtec_tree(tmp_path / "tree"), ask(systems=("nf",))
    broken = min((root / "bottle" / "test" / "good").iterdir())
    whole = broken.read_bytes()

    def wanted() -> list[Task]:
        sources = [read_source("mvtec", name, root / name) for name in ("bottle", "carpet")]
        return make_tasks(sources, request)

    broken.write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.INFO, "nfbmr"):
        failed, found = run(wanted(), request, tmp_path / "out")
    assert [one.name for one in failed] == ["mvtec bottle"]
    assert broken.name in failed[0].reason
    assert [(row["category"], row["system"]) for row in found] == [("carpet", "nf")]
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "2 rows, 0 there already"
    assert [line for line in said if line.startswith("mvtec bottle failed: ")]
    assert said[-1].startswith("[2 of 2] carpet, nf, seed 0: AUROC ")
    assert said[-1].endswith("about 0 s left")
    broken.write_bytes(whole)
    learnt.clear()
    failed, found = run(wanted(), request, tmp_path / "out")
    assert failed == []
    assert learnt == [("bottle", "nf", 0)]
    assert [row["category"] for row in found] == ["bottle", "carpet"]


def test_what_is_white_reaches_the_pictures(
    sources: list[Source], ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int | None, int | None]] = []

    class Seen(Product):
        def learn(self, system: System) -> Learnt:
            seen.append((self.white, system.settings.data.white))
            raise DataError("no more is asked")

    monkeypatch.setattr(runner, "Product", Seen)
    request = ask(systems=("nf",), changes={"data": {"white": 4095}})
    failed, rows = run(make_tasks(sources[:1], request), request, tmp_path)
    assert (seen, len(failed), rows) == ([(4095, 4095)], 1, [])


def test_too_few_pictures_fail_their_category(mvtec: Path, ask: Ask, tmp_path: Path) -> None:
    for picture in sorted((mvtec / "train" / "good").iterdir())[9:]:
        picture.unlink()
    request = ask(systems=("nf", "pfm"))
    tasks = make_tasks([read_source("other", "few", mvtec)], request)
    failed, found = run(tasks, request, tmp_path)
    assert [one.name for one in failed] == ["other few"]
    assert "9 good pictures to learn from; at least 10" in failed[0].reason
    assert found == []


def test_pictures_without_masks_have_no_pixel_figures(
    mvtec: Path, ask: Ask, tmp_path: Path
) -> None:
    for mask in (mvtec / "ground_truth" / "blob").iterdir():
        mask.unlink()
    Image.new("RGB", (80, 80)).save(mvtec / "test" / "blob" / "black.png")
    request = ask(systems=("nf",))
    failed, (row,) = run(
        make_tasks([read_source("other", "plain", mvtec)], request), request, tmp_path
    )
    assert failed == []
    assert row["pixel_auroc"] is row["aupro"] is None
    assert row["n_defective"] == 5


# ---- time left


def test_time_left_is_the_estimate_corrected_by_what_went_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter([1000.0, 1020.0, 1100.0, 1110.0])
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: next(now)))
    clock = runner._Clock([10.0, 30.0, 500.0, 500.0, 10.0, 50.0])
    assert clock.tick() == "about 36 min left", "1090 s of work, twice as slow"
    clock.skip(4)
    assert clock.tick() == "about 4 min left", "50 s of work, five times as slow"
    assert clock.tick() == "about 0 s left"
