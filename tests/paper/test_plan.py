"""The plan: which rows, which of them are there, and how long the others take."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from nfbmr.errors import DataError, LayoutError, SettingsError
from nfbmr.learning.estimates import Parts
from nfbmr.paper import plan
from nfbmr.paper.ledger import Key, Ledger
from nfbmr.paper.pairs import Pair
from nfbmr.paper.plan import (
    Estimator,
    Request,
    Source,
    Task,
    left_to_do,
    make_tasks,
    read_source,
)
from nfbmr.paper.systems import SYSTEMS, PairSettings, make_system

Ask = Callable[..., Request]
CPU = torch.device("cpu")


# ---- rows


def test_a_set_is_read_with_its_name(mvtec: Path) -> None:
    source = read_source("other", "mine", mvtec)
    assert (source.dataset, source.category) == ("other", "mine")
    assert len(source.found.train_good) == 16
    assert len(source.found.test) == 8


def test_a_set_that_gives_no_auroc_is_refused(good_folder: Path, mvtec: Path) -> None:
    with pytest.raises(LayoutError, match=r"product: found folder .*no test pictures; expected"):
        read_source("other", "mine", good_folder)
    shutil.rmtree(mvtec / "test" / "good")
    with pytest.raises(LayoutError, match=r"0 good, 4 defective.*expected good and defective"):
        read_source("mvtec", "widget", mvtec)


def test_a_set_without_defects_in_the_test_is_refused(mvtec: Path) -> None:
    shutil.rmtree(mvtec / "test" / "blob")
    shutil.rmtree(mvtec / "ground_truth")
    with pytest.raises(LayoutError, match=r"4 good, 0 defective.*an AUROC compares the two"):
        read_source("mvtec", "widget", mvtec)


def test_rows_run_by_category_then_seed_then_system(sources: list[Source], ask: Ask) -> None:
    tasks = make_tasks(sources, ask(seeds=(3, 1)))
    baselines = ("nf-bmr-2", "nfbmr", "pfm", "b-pfm", "mb-pfm")
    assert [task.key for task in tasks] == [
        *(Key("mvtec", "bottle", key, seed) for seed in (3, 1) for key in SYSTEMS),
        *(Key("dagm", "Class2", key, seed) for seed in (3, 1) for key in baselines),
    ]
    assert [task.source for task in tasks] == [sources[0]] * 18 + [sources[1]] * 10
    assert len({task.mark for task in tasks}) == len(tasks)
    for task in tasks:
        assert task.system == ask().system(task.key.system, task.key.seed)


def test_only_what_was_asked_for(sources: list[Source], ask: Ask) -> None:
    tasks = make_tasks(sources, ask(systems=("mb-pfm", "nf")))
    assert [(task.key.category, task.key.system) for task in tasks] == [
        ("bottle", "nf"),
        ("bottle", "mb-pfm"),
        ("Class2", "mb-pfm"),
    ]


def test_nothing_to_do_is_said(sources: list[Source], ask: Ask) -> None:
    others = replace(ask(systems=("nf",)), tables=(1, 2, 5))
    for wanted, request in ((sources[1:], others), ([], ask())):
        with pytest.raises(DataError, match=r"found nothing to do.*3 and 4 about --dagm"):
            make_tasks(wanted, request)
    reason = r"nothing to do: system nf .* no row of it is in tables 3, 4; it is in table 5 \(--mv"
    with pytest.raises(DataError, match=reason):
        make_tasks(sources[1:], ask(systems=("nf",)))


def test_a_system_that_no_table_has_rows_of_is_named(
    sources: list[Source], ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    request = replace(ask(systems=("nf", "nf-bmr-2", "nf")), tables=(1,))
    tasks = make_tasks(sources[:1], request)
    assert [task.key.system for task in tasks] == ["nf-bmr-2"]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "system nf is left out: no row of it is in table 1; it is in table 5 (--mvtec or --data)"
    )
    caplog.clear()
    request = replace(ask(systems=("pfm", "nf")), tables=(2, 5))
    make_tasks(sources[:1], request)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "system pfm is left out: no row of it is in tables 2, 5; "
        "it is in table 1 (--mvtec or --data) and 3 (--dagm)"
    )
    caplog.clear()
    make_tasks(sources, ask(systems=("nf", "mb-pfm")))
    assert not caplog.records, "each has rows of one of the sets"


def test_tiles_are_refused(sources: list[Source], ask: Ask) -> None:
    for tiles in ({"overlap": 0.5}, {}):
        with pytest.raises(SettingsError, match=r"--set tiles: .* whole pictures.*no tiles"):
            make_tasks(sources, ask(changes={"tiles": tiles}))
    assert make_tasks(sources, ask(changes={"tiles": None}))


def test_a_pose_is_refused(sources: list[Source], ask: Ask) -> None:
    with pytest.raises(SettingsError, match=r"--set pose=auto: .* as they lie.*expected off"):
        make_tasks(sources, ask(changes={"pose": "auto"}))
    assert make_tasks(sources, ask(changes={"pose": "off"}))


def test_what_cannot_be_asked_for_is_said(sources: list[Source], ask: Ask) -> None:
    with pytest.raises(SettingsError, match=r"flow\.blocks"):
        make_tasks(sources, ask(changes={"flow": {"blocks": 0}}))
    with pytest.raises(SettingsError, match="bmr: unknown"):
        make_tasks(sources, ask(systems=("bmr",)))


# ---- marks


@pytest.fixture
def marks(mvtec: Path, ask: Ask) -> Callable[..., list[str]]:
    """The marks of two rows on a category that may have changed meanwhile, or moved."""

    def found(root: Path = mvtec, **options: Any) -> list[str]:
        request = ask(systems=("nf", "pfm"), **options)
        return [task.mark for task in make_tasks([read_source("mvtec", "w", root)], request)]

    return found


def test_marks_stay_where_nothing_changed_and_where_the_data_moved(
    marks: Callable[..., list[str]], mvtec: Path, tmp_path: Path
) -> None:
    before = marks()
    assert len(set(before)) == 2
    assert marks() == before
    assert marks(Path(shutil.move(mvtec, tmp_path / "elsewhere"))) == before


@pytest.mark.parametrize("part", ["train/good", "test/good", "test/blob", "ground_truth/blob"])
def test_a_picture_of_another_length_changes_every_mark(
    part: str, marks: Callable[..., list[str]], mvtec: Path
) -> None:
    before = marks()
    picture = min((mvtec / part).iterdir())
    length = picture.stat().st_size
    Image.new("RGB" if part != "ground_truth/blob" else "L", (80, 80), 255).save(picture)
    assert picture.stat().st_size != length
    assert set(marks()).isdisjoint(before)


def test_another_name_and_one_picture_less_change_every_mark(
    marks: Callable[..., list[str]], mvtec: Path
) -> None:
    before = marks()
    picture = min((mvtec / "train" / "good").iterdir())
    renamed = picture.rename(picture.with_name("renamed.png"))
    between = marks()
    renamed.unlink()
    assert len({*before, *between, *marks()}) == 6


def test_seeds_and_settings_change_marks(marks: Callable[..., list[str]]) -> None:
    found = [marks(), marks(seeds=(1,)), marks(changes={"calibration": {"held_out": 0.1}})]
    assert len({mark for pair in found for mark in pair}) == 6


def test_left_to_do_is_what_has_no_row_of_its_mark(tasks: list[Task], tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "results.jsonl")
    assert left_to_do(tasks, ledger) == tasks
    for task, mark in ((tasks[2], tasks[2].mark), (tasks[4], "of other settings")):
        ledger.add({**task.key._asdict(), "mark": mark})
    assert left_to_do(tasks, ledger) == [task for task in tasks if task is not tasks[2]]


# ---- time


@pytest.fixture(scope="module")
def built() -> dict[int, Pair]:
    """Pairs by their number of levels; direction and stage change nothing that is built."""
    return {}


@pytest.fixture
def estimator(built: dict[int, Pair], monkeypatch: pytest.MonkeyPatch) -> Estimator:
    """One that has measured nothing yet."""

    def pair(settings: PairSettings, seed: int) -> Pair:
        n = len(settings.levels)
        if n not in built:
            built[n] = Pair(settings, seed)
        return copy.deepcopy(built[n])

    monkeypatch.setattr(plan, "Pair", pair)
    return Estimator("fast", CPU)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every part takes a time that is easy to count with; returns the parts as they are taken.

    A picture through SNN takes 1 s, a step of the flow 100, of BMR 10,000 for each residual block;
    a picture through each network of a pair 10 s, and a step of its nets 1000.
    """
    measured = []

    def parts(network: object, settings: Any, size: tuple[int, int]) -> Parts:
        assert size == (64, 64)
        mapping = settings.mapping
        measured.append(mapping.kind)
        step = {"bmr": 10_000.0 * mapping.n, "b-pfm": 70_000.0, "none": 0.0}[mapping.kind]
        return Parts(image_seconds=1.0, flow_step=100.0, mapping_step=step, grid=(8, 8))

    monkeypatch.setattr(plan, "measure_parts", parts)
    monkeypatch.setattr(plan, "seconds", lambda run, device: 10.0)
    monkeypatch.setattr(plan, "step_seconds", lambda step, how, device: 1000.0)
    return measured


def test_times_count_shared_work_once(
    counted: list[str], estimator: Estimator, sources: list[Source], ask: Ask
) -> None:
    tasks = make_tasks(sources, ask(seeds=(0, 1)))
    times = dict(zip((task.key for task in tasks), estimator.rows(tasks), strict=True))
    assert counted == ["none", "bmr", "bmr", "bmr", "b-pfm"], "each part is measured once"
    features, flow, step = 16 + 8, 20 * 100, 5 * 10_000
    level, both = 5 * 1000, 2 * 10 * (16 + 8)
    first = [features + flow, 2 * step, 0, 1 * step, 3 * step, 5 * 70_000]
    first += [level + both, level, 2 * (level + both)]
    again = [flow, 2 * step, 0, 1 * step, 3 * step, 5 * 70_000, level, level, 2 * level]
    assert [times[Key("mvtec", "bottle", key, 0)] for key in SYSTEMS] == first
    assert [times[Key("mvtec", "bottle", key, 1)] for key in SYSTEMS] == again
    features, both = 12 + 16, 2 * 10 * (12 + 16)
    of_class = ("nf-bmr-2", "nfbmr", "pfm", "b-pfm", "mb-pfm")
    expected = [features + flow + 2 * step, 0, level + both, level, 2 * (level + both)]
    assert [times[Key("dagm", "Class2", key, 0)] for key in of_class] == expected


def test_times_grow_with_pictures_and_epochs(counted: list[str], estimator: Estimator) -> None:
    changes = {
        "size": [64, 64],
        "stage_one": {"epochs": 2, "batch": 4, "batch_of": "images", "least_steps": 1},
        "stage_two": {"epochs": 1, "batch": 2},
        "pair": {"epochs": 3, "batch": 8, "batch_of": "images"},
    }
    times = [
        estimator.of(make_system(key, "fast", 0, changes=changes), 40, 5, ("a", 0), set())
        for key in ("nf-bmr-1", "b-pfm")
    ]
    n_train = 40 - 10  # a quarter is held out where 1 % of false alarms are asked for
    assert times[0] == 45 + 2 * 8 * 100 + n_train // 2 * 10_000
    assert times[1] == 2 * 10 * 45 + 3 * 4 * 1000


@pytest.mark.usefixtures("counted")
def test_a_flow_that_learns_other_pictures_counts_for_itself(
    estimator: Estimator, ask: Ask
) -> None:
    """As in `paper`, where all train but for the row of our own score."""
    every = {"calibration": {"held_out": 0}, "scoring": {"statistics": ["max"]}}
    shared: set[tuple[object, ...]] = set()
    times = [
        estimator.of(request.system(key, 0), 16, 8, ("a", 0), shared)
        for request, key in ((ask(changes=every), "nf-bmr-2"), (ask(), "nfbmr"))
    ]
    training = 20 * 100 + 5 * 20_000
    assert times == [16 + 8 + training, training]


def test_measured_times_are_positive_and_shared(
    estimator: Estimator, sources: list[Source], ask: Ask
) -> None:
    request = ask(seeds=(0, 1), systems=("nf-bmr-2", "nfbmr", "pfm"))
    tasks = make_tasks(sources[:1], request)
    first, own, pfm, first_again, own_again, pfm_again = times = estimator.rows(tasks)
    assert estimator.rows(tasks) == times, "measured once, then counted"
    more = estimator.of(tasks[0].system, 16, 108, ("another", 0), set())
    assert own == own_again == 0, "the score alone differs"
    image = (more - first) / 100
    assert image > 0
    assert first - first_again == pytest.approx(24 * image)
    assert 0 < first_again < first
    assert 0 < pfm_again < pfm
