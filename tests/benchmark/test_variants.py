"""Variants of the recipe: what a file asks for, and that a finished row is not computed again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nfbmr.benchmark import variants
from nfbmr.benchmark.child import Measured
from nfbmr.benchmark.variants import measure, one, read_plan, table, thinned
from nfbmr.data.layouts import read_data
from nfbmr.data.survey import survey
from nfbmr.errors import DataError, SettingsError
from nfbmr.inspection.inspector import Inspector
from nfbmr.settings.changes import to_dict, with_changes
from nfbmr.settings.schema import Settings


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def plan(tmp_path: Path, mvtec: Path) -> Path:
    text = (
        f'seeds = [3, 4]\n[sets]\nwidget = "{mvtec.name}"\n[variants]\nfast = {{}}\n'
        '"no dropout" = { flow = { dropout = 0.0 } }\n'
    )
    assert mvtec.parent == tmp_path
    return write(tmp_path / "plan.toml", text)


def test_a_plan_names_sets_variants_and_seeds(plan: Path, mvtec: Path) -> None:
    found = read_plan(plan)
    assert found.sets == {"widget": mvtec}
    assert {k: v.flow.dropout for k, v in found.variants.items()} == {"fast": 0.1, "no dropout": 0}
    assert list(found.rows()) == [
        *(("fast", "widget", 3), ("no dropout", "widget", 3)),
        *(("fast", "widget", 4), ("no dropout", "widget", 4)),
    ]


def test_sets_of_the_command_line_take_the_place_of_the_files(plan: Path, mvtec: Path) -> None:
    found = read_plan(plan, {"mine": mvtec}, "cpu")
    assert (found.sets, found.device) == ({"mine": mvtec}, "cpu")
    with pytest.raises(DataError, match=r"no data at .*nowhere"):
        read_plan(plan, {"mine": mvtec / "nowhere"})


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("seeds = [", DataError, "cannot be read as TOML"),
        ("[sets]\na = '.'\n", SettingsError, "no sets or no variants"),
        ("sead = 1\n[sets]\na = '.'\n[variants]\nb = {}\n", SettingsError, "found sead"),
        ("seeds = ['x']\n[sets]\na = '.'\n[variants]\nb = {}\n", SettingsError, "whole numbers"),
        ("good = 1\n[sets]\na = '.'\n[variants]\nb = {}\n", SettingsError, "good 1: expected"),
        ("[sets]\na = 'nowhere'\n[variants]\nb = {}\n", DataError, "no data at .*nowhere"),
        ("[sets]\na = '.'\n[variants]\nb = 3\n", SettingsError, "variant 'b': found 3; expected"),
        ("[sets]\na='.'\n[variants]\nb={preset='paper'}\n", SettingsError, "other than preset"),
        (
            "[sets]\na = '.'\n[variants]\nb = { flow = { hiden = 1 } }\n",
            SettingsError,
            "variant 'b': .*flow.hiden",
        ),
    ],
)
def test_a_plan_that_is_none_says_why(
    tmp_path: Path, text: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        read_plan(write(tmp_path / "plan.toml", text))


def test_few_pictures_are_taken_from_all_over_a_set(mvtec: Path) -> None:
    samples = read_data(mvtec).to_learn_from()
    assert len(samples) >= 6
    taken = thinned(samples, 3)
    places = [samples.index(one) for one in taken]
    assert places == [0, len(samples) // 3, 2 * len(samples) // 3]
    assert thinned(samples, None) == thinned(samples, len(samples)) == tuple(samples)


def test_finished_rows_are_kept_and_not_computed_again(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def child(module: str, job: dict[str, object]) -> Measured:
        asked.append(job)
        test = dict.fromkeys(("aupro", "fit_seconds", "inspect_ms"), 1.0)
        score = {"image_auroc": 0.9 + 0.01 * len(asked)}
        good = {"separation": 0.8, "likelihood": -3.0}
        return Measured(row={"good": good, "test": test | score}, peak_mb=1, seconds=1)

    monkeypatch.setattr(variants, "in_child", child)
    monkeypatch.setattr("nfbmr.system.provenance.commit", lambda: "abc")
    rows = measure(read_plan(plan), tmp_path / "out")
    assert len(asked) == len(rows) == 4
    assert measure(read_plan(plan), tmp_path / "out") == rows
    assert len(asked) == 4
    kept = (tmp_path / "out" / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == rows
    # Mean and sample deviation by hand: 0.91 and 0.93, 0.92 and 0.94.
    good = "| widget | {} | 80.00 ± 0.00 | -3.00 ± 0.00 | 1.00 ± 0.00 | 1.00 ± 0.00 |"
    assert good.format("fast") + " 2 |" in table(rows)
    assert "AUROC" not in table(rows)
    assert good.format("fast") + " 92.00 ± 1.41 |" in table(rows, test=True)
    assert good.format("no dropout") + " 93.00 ± 1.41 |" in table(rows, test=True)
    monkeypatch.setattr("nfbmr.system.provenance.commit", lambda: "other")
    measure(read_plan(plan), tmp_path / "out")
    assert len(asked) == 8


def test_held_out_pictures_score_as_if_no_gaussian_had_learnt_from_them(
    model: Path, inspector: Inspector
) -> None:
    calibration, known = inspector.calibration, set(inspector.facts.held_out_pixels)
    good = survey("widget", sorted((model.parent / "widget" / "train" / "good").iterdir())).pictures
    held_out = [one for one in good if one.pixel_hash in known]
    scores = variants._as_new(inspector.maps(one.picture for one in held_out), inspector)
    stored = dict(zip(calibration.pictures, calibration.scores, strict=True))
    expected = [stored[one.pixel_hash] for one in held_out]
    assert len(expected) == 5
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    assert (scores > inspector.scores(one.picture for one in held_out)).all(), "not too near"


def test_a_row_says_what_good_pictures_and_what_the_test_say(
    mvtec: Path, tmp_path: Path, tiny: Settings
) -> None:
    row = one(str(mvtec), to_dict(tiny), str(tmp_path / "work"))
    assert row["good"]["n_held_out"] == 5
    assert 0 <= row["good"]["separation"] <= 1
    assert row["good"]["likelihood"] == pytest.approx(row["good"]["likelihood"])  # a number
    assert 0.5 < row["test"]["image_auroc"] <= 1


def test_variants_that_share_their_training_have_the_rows_of_those_that_do_not(
    mvtec: Path, tmp_path: Path, tiny: Settings
) -> None:
    alone = one(str(mvtec), to_dict(tiny), str(tmp_path / "alone"))
    shared = str(tmp_path / "shared")
    first = one(str(mvtec), to_dict(tiny), str(tmp_path / "a"), shared=shared)
    work = {path: path.stat().st_mtime_ns for path in (tmp_path / "shared").rglob("*.safetensors")}
    other = with_changes(tiny, {"scoring": {"statistics": ["max"]}})
    second = one(str(mvtec), to_dict(other), str(tmp_path / "b"), shared=shared)
    figures = ("image_auroc", "recall", "aupro")
    assert [first["test"][k] for k in figures] == [alone["test"][k] for k in figures]
    assert first["good"] == alone["good"]
    assert second["good"]["likelihood"] == first["good"]["likelihood"]
    assert work
    assert all(path.stat().st_mtime_ns == time for path, time in work.items())
    assert first["test"]["fit_seconds"] is None


@pytest.mark.parametrize("name", ["kept", "judges"])
def test_the_plans_of_the_documents_can_be_read(name: str, mvtec: Path) -> None:
    path = Path(__file__).parents[2] / "docs" / "research" / f"{name}.toml"
    assert "fast" in read_plan(path, {"widget": mvtec}).variants


def test_changes_of_the_base_are_shared_and_those_of_a_variant_go_further(
    tmp_path: Path, mvtec: Path
) -> None:
    text = "[sets]\na = '.'\n[base]\nflow = { hidden = 32 }\n[variants]\none = {}\n"
    text += "two = { flow = { hidden = 64 } }\n"
    found = read_plan(write(tmp_path / "plan.toml", text), {"a": mvtec}).variants
    assert {name: how.flow.hidden for name, how in found.items()} == {"one": 32, "two": 64}
    with pytest.raises(SettingsError, match=r"base: .*flow\.hiden"):
        read_plan(write(tmp_path / "bad.toml", text.replace("hidden", "hiden")), {"a": mvtec})
