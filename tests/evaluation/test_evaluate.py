"""Evaluation: the figures, the table of scores and the report of one test run."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.layouts import read_data
from nfbmr.data.same import fingerprint
from nfbmr.data.survey import survey
from nfbmr.errors import LayoutError, MissingExtraError, SettingsError
from nfbmr.evaluation.evaluate import _cautions, evaluate
from nfbmr.evaluation.headline import headline
from nfbmr.inspection.inspector import Inspector
from nfbmr.settings.changes import settings_hash

Draw = Callable[..., NDArray[np.uint8]]

KEYS = {
    "image_auroc",
    "image_ap",
    "f1",
    "precision",
    "recall",
    "threshold",
    "false_alarm_rate_asked",
    "false_alarm_rate_observed",
    "pixel_auroc",
    "aupro",
    "per_defect",
    "n_good",
    "n_defective",
    "seed",
    "settings_hash",
    "commit",
    "versions",
    "fit_seconds",
    "inspect_ms",
    "n_unreadable",
}


def metrics_of(folder: Path) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    found = json.loads((folder / "metrics.json").read_text(), parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def expected_alarms(n: int, rank: int, new: int) -> list[int]:
    """95 % of how many of `new` lie above the rank-th of n, where each order is as likely."""
    chances = [
        comb(n - rank + over, over) * comb(rank - 1 + new - over, new - over) / comb(n + new, new)
        for over in range(new + 1)
    ]
    assert sum(chances) == pytest.approx(1)
    low, high = (int(np.searchsorted(np.cumsum(chances), q)) for q in (0.025, 0.975))
    return [low, high]


def test_figures_scores_and_report(inspector: Inspector, mvtec: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []

    def note(what: str, done: int, total: int, loss: float | None = None) -> None:
        heard.append((what, done, total))

    out = tmp_path / "deep" / "report"
    evaluation = evaluate(inspector, mvtec, out, progress=note)
    metrics = metrics_of(out)
    assert set(metrics) >= KEYS
    assert metrics == evaluation.metrics
    assert (metrics["n_good"], metrics["n_defective"]) == (4, 4)
    assert metrics["n_unreadable"] == 0
    assert evaluation.warnings == ()
    assert metrics["image_auroc"] == metrics["image_ap"] == 1
    assert metrics["recall"] == 1
    assert metrics["pixel_auroc"] > 0.8
    assert 0 < metrics["aupro"] <= 1
    assert metrics["threshold"] == inspector.threshold
    assert metrics["false_alarm_rate_asked"] == 0.2
    n, rank = len(inspector.calibration.scores), inspector.calibration.rank
    assert metrics["false_alarms_expected_interval"] == expected_alarms(n, rank, 4)
    assert metrics["settings_hash"] == settings_hash(inspector.settings)
    assert metrics["seed"] == inspector.settings.seed
    assert metrics["inspect_ms"] > 0
    assert "torch" in metrics["versions"]
    assert heard == [("inspect", done, 8) for done in range(1, 9)]
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.json",
        "report.html",
        "scores.csv",
    ]
    report = (out / "report.html").read_text()
    assert "blob" in report
    assert "widget" in report


def test_one_row_of_scores_for_each_picture(
    inspector: Inspector, mvtec: Path, tmp_path: Path
) -> None:
    evaluation = evaluate(inspector, mvtec, tmp_path / "report")
    with (tmp_path / "report" / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["path", "label", "verdict", "score", "p_value", "is_defect"]
    assert [row["label"] for row in rows] == ["blob"] * 4 + ["good"] * 4
    for row in rows:
        alone = inspector.inspect(row["path"])
        assert float(row["score"]) == pytest.approx(alone.score, rel=1e-3)
        assert row["is_defect"] == str(alone.is_defect)
    assert [float(row["score"]) for row in rows] == evaluation.scores.tolist()
    assert [float(row["p_value"]) for row in rows] == evaluation.p_values.tolist()
    alarms = sum(row["is_defect"] == "True" for row in rows[4:])
    assert evaluation.metrics["false_alarm_rate_observed"] == alarms / 4


def test_good_pictures_alone_can_be_evaluated(
    inspector: Inspector, mvtec: Path, tmp_path: Path
) -> None:
    shutil.rmtree(mvtec / "test" / "blob")
    shutil.rmtree(mvtec / "ground_truth")
    metrics = evaluate(inspector, mvtec, tmp_path / "report").metrics
    absent = ("image_auroc", "image_ap", "pixel_auroc", "aupro")
    assert [metrics[key] for key in absent] == [None] * 4
    assert (metrics["n_good"], metrics["n_defective"]) == (4, 0)
    assert metrics["false_alarm_rate_observed"] is not None
    assert (tmp_path / "report" / "report.html").is_file()
    assert headline(metrics)[0].startswith("image AUROC -   AP -")


def test_a_folder_that_is_called_good_is_of_good_pictures(
    inspector: Inspector, good_folder: Path, tmp_path: Path
) -> None:
    good_folder.rename(tmp_path / "good")
    metrics = evaluate(inspector, tmp_path / "good", tmp_path / "report").metrics
    assert (metrics["n_good"], metrics["n_defective"]) == (12, 0)
    assert metrics["false_alarm_rate_observed"] is not None


@pytest.mark.parametrize("folder", [".", "test"])
def test_a_set_without_good_pictures_to_learn_from_can_be_evaluated(
    inspector: Inspector, mvtec: Path, tmp_path: Path, folder: str
) -> None:
    whole = evaluate(inspector, mvtec, tmp_path / "whole").metrics
    shutil.rmtree(mvtec / "train")
    metrics = evaluate(inspector, mvtec / folder, tmp_path / "report").metrics
    alike = ("image_auroc", "n_good", "n_defective", "false_alarm_rate_observed")
    assert [metrics[key] for key in alike] == [whole[key] for key in alike]


def test_without_labels_no_false_alarm_is_counted(
    inspector: Inspector, good_folder: Path, tmp_path: Path, draw: Draw
) -> None:
    Image.fromarray(draw(900, defect=True)).save(good_folder / "900.png")
    evaluation = evaluate(inspector, good_folder, tmp_path / "report")
    metrics = evaluation.metrics
    assert "no label says which of 13 pictures are good" in evaluation.warnings[-1]
    assert (metrics["n_good"], metrics["n_unlabelled"]) == (0, 13)
    assert metrics["n_called_defects"] >= 1
    for name in ("false_alarm_rate_observed", "false_alarm_interval", "image_auroc", "recall"):
        assert metrics[name] is None
    (line,) = headline(metrics)
    assert line.startswith("no label: of 13 pictures ")
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "No label says which of these 13 pictures are good" in page
    for word in ("False alarm", "Worst misses", "good pictures raised", "in line with"):
        assert word not in page
    assert "called a defect" in page


def test_rows_without_a_label_are_no_good_pictures(
    inspector: Inspector, good_folder: Path, tmp_path: Path
) -> None:
    names = sorted(path.name for path in good_folder.iterdir())
    rows = [f"{name},,test" for name in names]
    table = good_folder / "parts.csv"
    table.write_text("\n".join(["path,label,split", *rows]))
    metrics = evaluate(inspector, table, tmp_path / "none").metrics
    assert (metrics["n_good"], metrics["n_unlabelled"]) == (0, 12)
    assert metrics["false_alarm_rate_observed"] is None
    with (tmp_path / "none" / "scores.csv").open(newline="") as stream:
        assert {row["label"] for row in csv.DictReader(stream)} == {""}
    rows[:4] = [f"{name},good,test" for name in names[:4]]
    table.write_text("\n".join(["path,label,split", *rows]))
    evaluation = evaluate(inspector, table, tmp_path / "some")
    assert evaluation.metrics["n_good"] == len(evaluation.scores) == 4
    assert "8 of 12 test pictures have no label, left out of all figures" in evaluation.warnings


def test_what_would_stop_the_report_is_said_before_the_work(
    inspector: Inspector, mvtec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a picture was looked at")

    monkeypatch.setattr(Inspector, "inspect_many", never)
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match=r"file/report: the report cannot be written there"):
        evaluate(inspector, mvtec, tmp_path / "file" / "report")
    monkeypatch.setattr("nfbmr.evaluation.evaluate.lacking", lambda *names: ["jinja2"])
    with pytest.raises(MissingExtraError, match=r"needs jinja2, not installed here.*\[report\]"):
        evaluate(inspector, mvtec, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_pictures_that_the_model_knows_are_said(
    inspector: Inspector, mvtec: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    facts = inspector.facts
    hashes = {fingerprint(path): path for path in (mvtec / "train" / "good").iterdir()}
    hashes[facts.trained_on[0]].rename(mvtec / "test" / "good" / "trained.png")
    hashes[facts.held_out[0]].rename(mvtec / "test" / "good" / "held-out.png")
    with caplog.at_level(logging.WARNING, "nfbmr"):
        evaluation = evaluate(inspector, mvtec, tmp_path / "report")
    caution = (
        "2 of 10 test pictures were learnt from or calibrated with, so the figures flatter "
        "the model: held-out.png, trained.png"
    )
    assert evaluation.warnings == (caution,)
    assert caution in caplog.messages
    assert caution in (tmp_path / "report" / "report.html").read_text()
    assert evaluation.metrics["n_good"] == 6


def test_what_calibrates_now_and_copies_in_another_file_are_known_too(
    inspector: Inspector, mvtec: Path
) -> None:
    good = mvtec / "test" / "good"
    later = min(good.iterdir())
    (one,) = survey("later", [later]).pictures
    calibration = inspector.calibration
    calibration = replace(calibration, pictures=(one.pixel_hash, *calibration.pictures[1:]))
    trained = next(
        path
        for path in (mvtec / "train" / "good").iterdir()
        if fingerprint(path) in inspector.facts.trained_on
    )
    Image.open(trained).save(good / "again.bmp")
    samples = read_data(mvtec).test
    assert _cautions(inspector, samples)[0].endswith("the model: again.bmp")
    (caution,) = _cautions(inspector.with_calibration(calibration), samples)
    assert caution.startswith("2 of 9 test pictures were learnt from or calibrated with")
    assert {later.name, "again.bmp"} == set(caution.partition("model: ")[2].split(", "))


def test_defects_alone_can_be_evaluated(
    inspector: Inspector, mvtec: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(mvtec / "test" / "good")
    with caplog.at_level(logging.WARNING, "nfbmr"):
        evaluation = evaluate(inspector, mvtec, tmp_path / "report")
    metrics = evaluation.metrics
    caution = "there are no good test pictures: neither AUROC nor false alarms can be measured"
    assert evaluation.warnings == (caution,)
    assert caution in caplog.messages
    assert caution in (tmp_path / "report" / "report.html").read_text()
    assert metrics["precision"] is metrics["f1"] is None
    assert metrics["image_auroc"] is None
    assert metrics["false_alarm_rate_observed"] is None
    assert metrics["recall"] == 1
    assert not [line for line in headline(metrics) if "false alarms" in line]


def test_files_of_several_pages_are_said(
    inspector: Inspector, mvtec: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("000.png", "001.png"):
        with Image.open(mvtec / "test" / "good" / name) as page:
            page.save(mvtec / "test" / "good" / name, save_all=True, append_images=[page.copy()])
    fresh = inspector.with_calibration(inspector.calibration)
    with caplog.at_level(logging.WARNING, "nfbmr"):
        evaluation = evaluate(fresh, mvtec, tmp_path / "report")
    (said,) = evaluation.warnings
    assert said.startswith("2 pictures hold other pages or frames than the first")
    assert "looked at: 000.png and 1 more;" in said
    assert "looked at: 000.png and 1 more;" in (tmp_path / "report" / "report.html").read_text()
    logged = [text for text in caplog.messages if "other pages" in text]
    assert f"looked at: {mvtec / 'test' / 'good' / '000.png'};" in logged[0]
    assert logged[1].startswith(f"{mvtec / 'test' / 'good' / '001.png'}, too, ")


def test_an_unreadable_picture_is_left_out_and_said(
    inspector: Inspector, mvtec: Path, tmp_path: Path
) -> None:
    (mvtec / "test" / "good" / "000.png").write_bytes(b"broken")
    evaluation = evaluate(inspector, mvtec, tmp_path / "report")
    assert (evaluation.metrics["n_good"], evaluation.metrics["n_unreadable"]) == (3, 1)
    assert any("000.png" in warning for warning in evaluation.warnings)
    assert "left out, cannot be read" in (tmp_path / "report" / "report.html").read_text()


def test_nothing_to_evaluate_on_is_said(inspector: Inspector, mvtec: Path, tmp_path: Path) -> None:
    table = mvtec / "train" / "good" / "table.csv"
    table.write_text("path,label,split\n000.png,good,train\n001.png,good,train\n")
    with pytest.raises(LayoutError, match=r"no test pictures.*split = test"):
        evaluate(inspector, table, tmp_path / "report")
    shutil.rmtree(mvtec / "test")
    with pytest.raises(LayoutError, match="no test pictures"):
        evaluate(inspector, mvtec, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_test_without_a_readable_picture_is_said(
    inspector: Inspector, mvtec: Path, tmp_path: Path
) -> None:
    for path in (mvtec / "test").rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(LayoutError, match="of 8 test pictures none can be read"):
        evaluate(inspector, mvtec, tmp_path / "report")


def test_a_name_that_is_no_unicode_is_no_trouble(
    inspector: Inspector, mvtec: Path, tmp_path: Path
) -> None:
    name = os.fsdecode(b"part\xff.png")
    (mvtec / "test" / "good" / "000.png").rename(mvtec / "test" / "good" / name)
    evaluation = evaluate(inspector, mvtec, tmp_path / "report")
    assert evaluation.metrics["n_good"] == 4
    assert r"part\udcff.png" in (tmp_path / "report" / "scores.csv").read_text()


def test_a_hostile_defect_name_stays_text(
    inspector: Inspector, mvtec: Path, tmp_path: Path
) -> None:
    name = "<img src=x onerror=alert(1)>"
    (mvtec / "test" / "blob").rename(mvtec / "test" / name)
    evaluate(inspector, mvtec, tmp_path / "report")
    report = (tmp_path / "report" / "report.html").read_text()
    assert "<img src=x" not in report
    assert "&lt;img src=x" in report


def test_masks_of_another_value_than_255_count(
    inspector: Inspector, mvtec: Path, tmp_path: Path
) -> None:
    expected = evaluate(inspector, mvtec, tmp_path / "one").metrics
    for path in (mvtec / "ground_truth" / "blob").iterdir():
        mask = np.array(Image.open(path))
        Image.fromarray((mask > 0).astype(np.uint8) * 200).save(path)
    changed = evaluate(inspector, mvtec, tmp_path / "two").metrics
    assert changed["pixel_auroc"] == expected["pixel_auroc"]
    assert changed["aupro"] == expected["aupro"]
