"""A row's figures: those of its scores file, and those that `nfbmr evaluate` would give."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from nfbmr import evaluate, fit
from nfbmr.errors import TrainingError
from nfbmr.features.compute import FeatureCache
from nfbmr.paper.ledger import Key, Row
from nfbmr.paper.measurement import measure
from nfbmr.paper.plan import Request, Source, Task
from nfbmr.paper.product import Product

Columns = dict[str, list[str]]


def read_scores(results: Path, key: Key) -> Columns:
    path = results / "scores" / key.dataset / key.category / f"{key.system}-{key.seed}.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        header, *lines = csv.reader(stream)
    return dict(zip(header, map(list, zip(*lines, strict=True)), strict=True))


def numbers(column: list[str]) -> NDArray[np.float64]:
    return np.array(column, dtype=np.float64)


# ---- the scores file


def test_scores_are_those_of_the_test_pictures(
    rows: dict[Key, Row], tasks: list[Task], results: Path
) -> None:
    for task in tasks:
        columns = read_scores(results, task.key)
        single = [] if task.key.system == "nfbmr" else ["max", "top", "mean"]
        assert list(columns) == ["path", "label", "score", "p_value", *single]
        test = task.source.found.test
        assert columns["path"] == [str(sample.path) for sample in test]
        assert columns["label"] == [sample.defect for sample in test]
        n = rows[task.key]["n_held_out"]
        p_values = numbers(columns["p_value"])
        np.testing.assert_allclose(p_values * (n + 1), np.round(p_values * (n + 1)))
        assert ((p_values > 0) & (p_values <= 1)).all()
        if single:
            high, top, mean = (numbers(columns[name]) for name in single)
            assert (high >= top).all()
            assert (top >= mean).all()


def test_figures_are_those_of_the_scores_file(
    rows: dict[Key, Row], tasks: list[Task], results: Path
) -> None:
    for key in (task.key for task in tasks):
        row, columns = rows[key], read_scores(results, key)
        is_defect = np.array([label != "good" for label in columns["label"]])
        scores = numbers(columns["score"])
        assert row["image_auroc"] == pytest.approx(roc_auc_score(is_defect, scores))
        assert row["image_ap"] == pytest.approx(average_precision_score(is_defect, scores))
        best = max(f1_score(is_defect, scores >= threshold) for threshold in scores)
        assert row["f1_max"] == pytest.approx(best)
        for name in set(columns) & {"max", "top", "mean"}:
            auroc = roc_auc_score(is_defect, numbers(columns[name]))
            assert row[f"auroc_{name}"] == pytest.approx(auroc)


def test_a_score_of_one_map_rises_with_its_statistics(rows: dict[Key, Row], results: Path) -> None:
    """`fast` averages the three, each standardised: a line through them gives the score."""
    for key in rows:
        columns = read_scores(results, key)
        if "max" not in columns:
            continue
        table = np.stack([numbers(columns[name]) for name in ("max", "top", "mean")], axis=1)
        table = np.column_stack([table, np.ones(len(table))])
        weights, *_ = np.linalg.lstsq(table, numbers(columns["score"]), rcond=None)
        np.testing.assert_allclose(table @ weights, numbers(columns["score"]), rtol=1e-6, atol=1e-6)


# ---- the same as `nfbmr fit` and `nfbmr evaluate`


def test_a_row_says_what_fit_and_evaluate_say(
    rows: dict[Key, Row],
    results: Path,
    sources: list[Source],
    ask: Callable[..., Request],
    tmp_path: Path,
) -> None:
    settings = ask().system("nf-bmr-2", 0).settings
    root, cache = sources[1].found.root, FeatureCache(tmp_path / "cache")
    inspector = fit(root, tmp_path / "model", settings=settings, device="cpu", cache=cache)
    found = evaluate(inspector, root, tmp_path / "report")
    key = Key("dagm", "Class2", "nf-bmr-2", 0)
    row, metrics, columns = rows[key], found.metrics, read_scores(results, key)
    assert columns["path"] == [str(sample.path) for sample in found.samples]
    np.testing.assert_allclose(numbers(columns["score"]), found.scores, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(numbers(columns["p_value"]), found.p_values)
    same = (
        *("image_auroc", "image_ap", "precision", "recall", "f1", "false_alarm_rate_observed"),
        *("false_alarm_rate_asked", "threshold_extrapolated", "n_good", "n_defective"),
        *("n_train", "n_held_out", "settings_hash", "commit", "versions"),
    )
    assert {name: row[name] for name in same} == {name: metrics[name] for name in same}
    assert 0 < row["image_auroc"] < 1, "figures that could differ"
    assert row["losses"] == inspector.facts.losses
    assert row["weights"] == inspector.facts.weights
    assert row["aupro"] == pytest.approx(metrics["aupro"], abs=1e-4)
    assert row["pixel_auroc"] == pytest.approx(metrics["pixel_auroc"], abs=1e-4)


# ---- trouble


def test_a_map_that_is_not_finite_gives_no_row(
    sources: list[Source], ask: Callable[..., Request], tmp_path: Path
) -> None:
    product = Product(sources[0].found, "fast", tmp_path / "work", torch.device("cpu"))
    system = ask().system("nf", 0)
    learnt = product.learn(system)
    maps = learnt.maps.copy()
    maps[3, 2, 0, 0] = np.nan
    scores = tmp_path / "scores" / "nf-0.csv"
    with pytest.raises(TrainingError, match=r"bottle, nf: .*not finite; the row would leave out"):
        measure(product, system, replace(learnt, maps=maps), scores)
    assert not scores.exists()
    row = measure(product, system, learnt, scores)
    assert row["image_auroc"] is not None
    assert len(scores.read_text("utf-8").splitlines()) == 1 + 8


def test_without_held_out_pictures_there_are_no_figures_of_a_threshold(
    sources: list[Source], ask: Callable[..., Request], tmp_path: Path
) -> None:
    changes = {"calibration": {"held_out": 0}, "scoring": {"statistics": ["max"]}}
    request = replace(ask(), changes={**ask().changes, **changes})
    product = Product(sources[0].found, "fast", tmp_path / "work", torch.device("cpu"))
    for key in ("nf-bmr-2", "b-pfm"):
        system = request.system(key, 0)
        learnt = product.learn(system)
        row = measure(product, system, learnt, tmp_path / "scores.csv")
        assert (row["n_train"], row["n_held_out"]) == (16, 0)
        assert {row[name] for name in ("precision", "recall", "f1")} == {None}
        assert row["false_alarm_rate_observed"] is None
        assert 0 <= row["image_auroc"] <= 1
        assert 0 <= row["f1_max"] <= 1
        with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as stream:
            assert {line["p_value"] for line in csv.DictReader(stream)} == {""}
