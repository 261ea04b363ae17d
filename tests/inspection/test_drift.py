"""Rows to an answer: what is read, what is refused, and the words."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nfbmr.cli.app import app
from nfbmr.errors import DataError
from nfbmr.inspection.drift import in_words, read_rows, watch_rows
from nfbmr.inspection.inspector import Inspector
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.looks import LOOKS


def _rows(
    calibration: Calibration, count: int, *, brighter: float = 0.0, seed: int = 0
) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    most = sum(score < calibration.threshold for score in calibration.scores)
    return [
        {
            "path": f"{seed}-{number}.png",
            "verdict": "good",
            "score": calibration.scores[i],
            "threshold": calibration.threshold,
            "look_threshold": calibration.look_threshold,
            "brightness": calibration.watched["brightness"][i] + brighter,
            "sharpness": calibration.watched["sharpness"][i],
            "feature_distance": calibration.watched["feature_distance"][i],
        }
        for number, i in enumerate(rng.integers(most, size=count))
    ]


def _written(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def test_a_fit_knows_what_is_watched_of_the_pictures_that_calibrate(inspector: Inspector) -> None:
    known = inspector.calibration
    assert set(known.watched) == set(LOOKS)
    assert sorted(known.places) == list(range(len(known.scores)))
    assert all(0 < value < 255 for value in known.watched["brightness"])


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_a_change_is_found_named_and_ends_with_1(
    inspector: Inspector, model: Path, tmp_path: Path, ending: str
) -> None:
    calm = _written(tmp_path / f"calm{ending}", _rows(inspector.calibration, 300))
    bright = _rows(inspector.calibration, 300, brighter=50.0, seed=1)
    after = _written(tmp_path / f"after{ending}", bright)
    out = tmp_path / "drift.json"
    words = ["drift", str(model), str(calm), str(after), "--exit-code", "-o", str(out)]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 1, found.output
    said = json.loads(out.read_text())
    assert said["alarm"]["statistic"] == "brightness"
    assert said["alarm"]["part"] > 300
    assert said["alarm"]["path"] == f"1-{said['alarm']['part'] - 301}.png"
    assert "HAS CHANGED" in found.output
    assert "pictures are brighter" in found.output
    found = CliRunner().invoke(app, ["drift", str(model), str(calm), "--exit-code", "--json"])
    assert found.exit_code == 0
    assert json.loads(found.output)["changed"] is False


def test_only_the_score_is_watched_where_rows_know_no_more(inspector: Inspector) -> None:
    rows = [
        {k: v for k, v in row.items() if k not in LOOKS} for row in _rows(inspector.calibration, 5)
    ]
    monitor = watch_rows(rows, inspector.calibration, 0).monitor
    assert monitor.reference.names == ("score",)
    assert any("Only the score is watched" in sentence for sentence in in_words(monitor))


def test_pictures_without_a_verdict_are_passed_over(inspector: Inspector, tmp_path: Path) -> None:
    failed: dict[str, object] = {"path": "x", "error": "no picture"}
    rows = [failed, *_rows(inspector.calibration, 2)]
    assert len(list(read_rows([_written(tmp_path / "a.jsonl", rows)]))) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "fine"}, "is no verdict"),
        ({"score": "high"}, "could not convert"),
        ({"score": float("nan")}, "not finite"),
    ],
)
def test_strange_rows_are_refused_by_their_number(
    inspector: Inspector, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    first, second = _rows(inspector.calibration, 2)
    path = _written(tmp_path / "a.jsonl", [first, second | change])
    with pytest.raises(DataError, match=f"row 2.*{said}"):
        list(read_rows([path]))


def test_rows_of_another_model_none_at_all_and_other_files_are_refused(
    inspector: Inspector, tmp_path: Path
) -> None:
    (row,) = _rows(inspector.calibration, 1)
    with pytest.raises(DataError, match="another model"):
        watch_rows([row | {"look_threshold": 0.123}], inspector.calibration, 0)
    with pytest.raises(DataError, match="no row with a verdict"):
        watch_rows([], inspector.calibration, 0)
    with pytest.raises(DataError, match=r"\.jsonl"):
        list(read_rows([tmp_path / "a.txt"]))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rows([tmp_path / "absent.csv"]))
