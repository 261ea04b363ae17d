"""The race: rows by the same code for all, resume, a peer that fails, nfbmr's own part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nfbmr.benchmark.peers import ours, race
from nfbmr.benchmark.peers.catalogue import LITE0, OURS, PEERS, peer
from nfbmr.benchmark.peers.race import Race
from nfbmr.data.layouts import read_data
from nfbmr.errors import LayoutError
from nfbmr.evaluation.metrics import image_auroc
from nfbmr.settings.changes import with_changes
from nfbmr.settings.presets import preset

# Stands in for a peer: its score is the brightest pixel, its map the picture's gray values.
FAKE = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image
job = json.loads(Path(sys.argv[1]).read_text())
if job["model"] == "Dfm":
    sys.exit("no room for the memory bank")
out = Path(job["out"])
assert (Path(job["weights"]).stat().st_size > 1e6) and job["train"]
assert job["seconds"] == (12.0 if job["model"] == "Patchcore" else 6.0)
pictures = [np.asarray(Image.open(name).convert("L"), np.float32) for name in job["test"]]
np.save(out / "scores.npy", np.array([np.median(p) for p in pictures]))
with (out / "maps.f32").open("wb") as stream:
    for picture in pictures:
        stream.write(picture.tobytes())
facts = {"fit_seconds": 2.0, "inspect_ms": 3.0, "peak_mb": 4.0, "model_mb": 5.0,
         "map_size": [80, 80], "epochs": 1, "coreset": None, "weights": [job["backbone"]],
         "versions": {}}
(out / "facts.json").write_text(json.dumps(facts))
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Peers run `FAKE` by the Python of the tests."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE, encoding="utf-8")
    monkeypatch.setattr("nfbmr.benchmark.peers.worker.__file__", str(script))
    monkeypatch.setattr(race, "_python", lambda: Path(sys.executable))
    return script


def a_race(mvtec: Path, *peers: str) -> Race:
    return Race(data=(("widget", mvtec),), peers=peers, seeds=(0,), seconds=6.0)


def without_ours(race_: Race, monkeypatch: pytest.MonkeyPatch) -> Race:
    """Leaves nfbmr's own rows out, which take a fit each."""
    keys = [key for key in race_.rows() if key.system != OURS]
    monkeypatch.setattr(Race, "rows", lambda _: keys)
    return race_


def test_order_is_ours_first_and_seed_by_seed(mvtec: Path) -> None:
    wanted = replace(a_race(mvtec, "padim"), seeds=(0, 1))
    assert [(key.system, key.seed) for key in wanted.rows()] == [
        *((OURS, 0), ("padim", 0)),
        *((OURS, 1), ("padim", 1)),
    ]


def test_a_peer_looks_at_its_own_size_and_at_ours_and_one_timed_alone_at_its_own(
    mvtec: Path,
) -> None:
    wanted = replace(a_race(mvtec, "padim", "csflow"), sizes=("default", "nfbmr"))
    systems = [key.system for key in wanted.rows()]
    assert systems == [OURS, "padim", "padim@nfbmr", "csflow"]


def test_the_size_is_the_one_that_nfbmr_chooses(
    mvtec: Path, tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del fake
    wide = replace(preset("fast"), pixel_budget=4 * 64 * 64)
    monkeypatch.setattr(race, "preset", lambda _: wide)
    wanted = replace(a_race(mvtec, "padim"), sizes=("default", "nfbmr"))
    rows, _ = race.run(without_ours(wanted, monkeypatch), tmp_path / "out")
    assert [(row["system"], row["size"]) for row in rows] == [
        ("padim", [256, 256]),
        ("padim@nfbmr", [128, 128]),
    ]


def test_figures_come_from_the_files_of_a_peer(
    mvtec: Path, tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del fake
    wanted = without_ours(a_race(mvtec, "padim"), monkeypatch)
    (row,), lost = race.run(wanted, tmp_path / "out")
    assert not lost
    samples = read_data(mvtec).test
    from PIL import Image

    medians = np.array([np.median(np.asarray(Image.open(s.path).convert("L"))) for s in samples])
    assert row["image_auroc"] == image_auroc(
        medians.astype(float), np.array([s.is_defect for s in samples])
    )
    assert row["pixel_auroc"] > 0.99, "the defect is the brightest place"
    assert row["aupro"] > 0.9
    assert (row["fit_seconds"], row["weights"], row["n_train"]) == (2.0, [LITE0], 16)
    assert not list((tmp_path / "out" / ".work").iterdir())


def test_patchcore_gets_twice_the_seconds_and_a_row_says_what_it_had(
    mvtec: Path, tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del fake
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    wanted = without_ours(a_race(mvtec, "patchcore", "padim", "stfpm"), monkeypatch)
    rows, lost = race.run(wanted, tmp_path / "out")
    assert not lost
    assert {row["system"]: row["seconds_allowed"] for row in rows} == {
        "patchcore": 12.0,
        "padim": 6.0,
        "stfpm": 6.0,
    }
    assert {row["threads"] for row in rows} == {3}, "the cores that the process may use"


def test_patience_is_part_of_what_a_row_is_measured_by(
    mvtec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, data = a_race(mvtec, "patchcore"), read_data(mvtec)
    ours, patchcore = (race._mark(wanted, key, data) for key in wanted.rows())
    longer = replace(wanted, seconds=7.0)
    assert race._mark(longer, longer.rows()[0], data) == ours, "nfbmr has no limit"
    assert race._mark(longer, longer.rows()[1], data) != patchcore
    impatient = replace(peer("patchcore"), patience=1.0)
    monkeypatch.setattr(race, "peer", lambda _: impatient)
    assert race._mark(wanted, wanted.rows()[1], data) != patchcore


def test_finished_rows_stay_and_a_longer_time_runs_anew(
    mvtec: Path, tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = without_ours(a_race(mvtec, "padim"), monkeypatch)
    first, _ = race.run(wanted, tmp_path / "out")

    def refuse(*_: object) -> None:
        raise race._FailedError("must not run")

    monkeypatch.setattr(race, "_measure", refuse)
    assert race.run(wanted, tmp_path / "out") == (first, [])
    _, lost = race.run(replace(wanted, seconds=7.0), tmp_path / "out")
    assert [one.reason for one in lost] == ["must not run"]
    with fake.open("a", encoding="utf-8") as stream:
        stream.write("# another version of what runs a peer\n")
    _, lost = race.run(wanted, tmp_path / "out")
    assert [one.reason for one in lost] == ["must not run"]


def test_a_peer_that_fails_does_not_stop_the_others(
    mvtec: Path, tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del fake
    wanted = without_ours(a_race(mvtec, "dfm", "padim"), monkeypatch)
    rows, lost = race.run(wanted, tmp_path / "out")
    assert [row["system"] for row in rows] == ["padim"]
    assert [(one.key.system, one.reason) for one in lost] == [
        ("dfm", "ended with 1: no room for the memory bank")
    ]


def test_our_own_row(mvtec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    changes = {
        "size": [64, 64],
        "stage_one": {"steps": 3},
        "flow": {"hidden": 16, "blocks": 2},
        "gaussian": {"rank": 8},
    }
    quick = with_changes(preset("fast"), changes)

    run = subprocess.run

    def here(command: list[str], **options: Any) -> Any:
        """Runs here what the process would, with fewer steps: what is tested is the way."""
        if command[:3] != [sys.executable, "-m", "nfbmr.benchmark.peers.ours"]:
            return run(command, **options)
        calls.append(json.loads(Path(command[-1]).read_text(encoding="utf-8")))
        ours.main(Path(command[-1]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("nfbmr.benchmark.peers.race.subprocess.run", here)
    monkeypatch.setattr("nfbmr.settings.presets.preset", lambda _: quick)
    (row,), lost = race.run(a_race(mvtec), tmp_path / "out")
    assert not lost
    assert len(calls[0]["train"]) == 16
    assert row["system"] == OURS
    assert row["threads"] == calls[0]["threads"] >= 1
    assert row["seconds_allowed"] is None, "nfbmr ends by itself"
    assert row["map_size"] == [64, 64]
    assert 0 <= row["image_auroc"] <= 1
    assert 0 <= row["aupro"] <= 1
    assert row["model_mb"] > 1
    assert row["peak_mb"] > 100


def test_a_set_without_defects_is_refused(good_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="good and defective test pictures"):
        race.run(a_race(good_folder), tmp_path / "out")


def test_what_is_measured_for_speed_alone_runs_once(mvtec: Path) -> None:
    wanted = replace(a_race(mvtec, "padim", "uflow"), seeds=(3, 4))
    assert [(key.system, key.seed) for key in wanted.rows()] == [
        (OURS, 3),
        ("padim", 3),
        ("uflow", 3),
        (OURS, 4),
        ("padim", 4),
    ]


def test_the_catalogue_is_consistent() -> None:
    keys = [one.key for one in PEERS]
    assert len(set(keys)) == len(keys)
    assert OURS not in keys
    assert all(peer(key).key == key for key in keys)
    measured = [one for one in PEERS if not one.times_only]
    assert {one.key: one.patience for one in measured if one.patience != 1} == {"patchcore": 2}
    assert all(one.patience < 1 for one in PEERS if one.times_only)
    assert {one.key for one in PEERS if one.times_only} == {
        "reverse_distillation",
        "uflow",
        "efficientad",
        "csflow",
    }
    joined = {"Patchcore", "Padim", "Fastflow", "Cflow", "ReverseDistillation", "Dfm", "Patchflow"}
    assert joined <= {one.model for one in PEERS}
    assert peer("patchflow").backbone == LITE0, "with weights that are at hand, so not timed alone"
