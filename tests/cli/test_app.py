"""The command line: every command once, its forms, its exit codes, its errors in one line."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from nfbmr.cli.app import app, main
from nfbmr.data.same import fingerprint
from nfbmr.errors import CalibrationError, NfbmrError, SettingsError, WeightsError
from nfbmr.inspection.inspector import load
from nfbmr.inspection.result import Inspection
from nfbmr.inspection.rows import COLUMNS
from nfbmr.model.bundle import read_bundle, replace_calibration
from nfbmr.scoring.odd import oddest
from nfbmr.settings.text import parse_size

Draw = Callable[..., NDArray[np.uint8]]

KEYS = list(COLUMNS[:-1])
TINY = [
    "--size=64",
    "--device=cpu",
    "--set=backbone.stages=[3,2]",
    "--set=backbone.scale_stages=[[3],[3]]",
    "--set=backbone.detail=2",
    "--set=backbone.finest=1",
    "--set=flow.hidden=16",
    "--set=flow.blocks=2",
    "--set=gaussian.rank=8",
    "--set=mapping.latent=16",
    "--set=mapping.inner=8",
    "--set=stage_one.steps=4",
    "--set=stage_one.batch=64",
    "--set=stage_two.steps=2",
]


def run(*words: object) -> Result:
    """Runs a command that is to succeed."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def run_main(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Runs the program as a shell does; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["nfbmr", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.fixture
def pictures(mvtec: Path) -> Path:
    """A folder with one good picture, one defect and one that is broken."""
    folder = mvtec / "mixed"
    folder.mkdir()
    (mvtec / "test" / "good" / "000.png").rename(folder / "0-good.png")
    (mvtec / "test" / "blob" / "000.png").rename(folder / "1-blob.png")
    (folder / "2-broken.png").write_bytes(b"broken")
    return folder


# ---- fit, evaluate, calibrate, info, doctor, cache


def test_fit_and_evaluate(mvtec: Path, tmp_path: Path) -> None:
    model, report = tmp_path / "model", tmp_path / "report"
    result = run("fit", mvtec, "-o", model, *TINY, "--seed=3", "--false-alarm-rate=0.2")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "MVTec AD category 'widget': 16 good to learn from" in result.stderr
    learnt, *steps = result.stderr[result.stderr.index("Learnt in ") :].splitlines()
    assert re.fullmatch(rf"Learnt in \d+ s: {model}", learnt)
    assert steps[0] == "Next:"
    assert steps[1].startswith(f"  nfbmr inspect {model} PICTURES -o results.csv --heatmaps")
    assert f"nfbmr evaluate {model} LABELLED" in steps[2]
    for word in ("TNF", "BMR", "SNN", "loss"):
        assert word not in result.stderr
    settings = load(model, device="cpu").settings
    assert (settings.seed, settings.size, settings.flow.hidden) == (3, (64, 64), 16)
    assert settings.calibration.false_alarm_rate == 0.2
    result = run("evaluate", model, mvtec, "-o", report, "--device=cpu")
    assert result.exit_code == 0
    assert result.stdout.startswith("image AUROC ")
    assert result.stdout.splitlines()[-1] == f"report: {report / 'report.html'}"
    assert json.loads((report / "metrics.json").read_text())["seed"] == 3


def test_fit_takes_a_preset_a_backbone_and_weights(good_folder: Path, tmp_path: Path) -> None:
    words = [*TINY, "--preset=accurate", "--backbone=tf_efficientnet_lite1", "--weights=random"]
    assert run("fit", good_folder, "-o", tmp_path / "model", *words).exit_code == 0
    settings = load(tmp_path / "model", device="cpu").settings
    assert settings.preset == "accurate"
    assert settings.backbone.name == "tf_efficientnet_lite1"
    assert settings.backbone.weights == "random"
    assert settings.backbone.stages == (3, 2)
    assert settings.backbone.scale_stages == ((3,), (3,))
    assert settings.backbone.detail == 2


@pytest.mark.parametrize(
    ("backbone", "preset", "stage"),
    [
        ("resnet18", "paper", "layer4"),
        ("test_resnet", "fast", "layer4"),
        ("mobilenetv3_small_050", "accurate", "blocks.5"),
        ("test_convnext", "fast", "stages.3"),
        ("test_vit", "fast", "blocks.3"),
        ("test_vit", "paper", "blocks.3"),
    ],
)
def test_fit_takes_any_network_and_chooses_its_stages(
    good_folder: Path, tmp_path: Path, backbone: str, preset: str, stage: str
) -> None:
    words = [
        *(f"--backbone={backbone}", f"--preset={preset}", "--weights=random", "--size=64"),
        *("--set=flow.hidden=16", "--set=flow.blocks=2", "--set=stage_one.steps=2"),
        *("--set=stage_one.batch=2", "--set=stage_two.steps=1", "--set=stage_two.batch=2"),
        *("--set=mapping.latent=16", "--set=mapping.inner=8", "--set=local.rank=4"),
        *("--set=gaussian.rank=8", "--device=cpu"),
    ]
    result = run("fit", good_folder, "-o", tmp_path / "model", *words)
    assert result.exit_code == 0
    assert f"Features of {backbone}, chosen by its strides: {stage} (stride " in result.stderr
    inspector = load(tmp_path / "model", device="cpu")
    assert inspector.settings.backbone.stages == (stage,)
    (found,) = inspector.inspect_many([good_folder / "000.png"])
    assert isinstance(found, Inspection)
    assert np.isfinite(found.score)


def test_weights_that_are_not_here_are_said_before_any_picture_is_looked_at(
    tmp_path: Path,
) -> None:
    for words, said in (
        (["--backbone=resnet18"], "--weights hub"),
        (["--weights=none.pth"], "none.pth: no such file"),
    ):
        refused = CliRunner().invoke(app, ["fit", str(tmp_path), "-o", str(tmp_path / "m"), *words])
        assert isinstance(refused.exception, WeightsError)
        assert said in str(refused.exception)


def test_fit_takes_a_mask_of_what_never_counts_and_info_says_so(
    good_folder: Path, tmp_path: Path
) -> None:
    mask = np.zeros((80, 80), np.uint8)
    mask[:20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    words = [*TINY, "--ignore", tmp_path / "mask.png"]
    result = run("fit", good_folder, "-o", tmp_path / "model", *words)
    assert result.exit_code == 0
    said = "26.6 % of the picture is ignored: what lies there never counts"  # 17 of 64 rows
    assert said in " ".join(result.stderr.split())
    assert said in run("info", tmp_path / "model").stdout


def test_fit_takes_the_seed_as_any_other_setting(good_folder: Path, tmp_path: Path) -> None:
    for number, words in enumerate((["--set=seed=5"], ["--seed=5"], [])):
        run("fit", good_folder, "-o", tmp_path / str(number), *TINY, *words)
    seeds = [load(tmp_path / str(number), device="cpu").settings.seed for number in range(3)]
    assert seeds == [5, 5, 0]


@pytest.fixture
def new_pictures(tmp_path: Path, draw: Draw) -> Path:
    """A folder of 6 good pictures that no model has seen."""
    folder = tmp_path / "new"
    folder.mkdir()
    for seed in range(500, 506):
        Image.fromarray(draw(seed)).save(folder / f"{seed}.png")
    return folder


def test_calibrate_with_and_without_pictures(model_copy: Path, new_pictures: Path) -> None:
    result = run("calibrate", model_copy, "--false-alarm-rate=0.5")
    before, moved, now, *_ = result.stdout.splitlines()
    assert before.startswith("Before: threshold ")
    assert " for a false-alarm rate of 0.2, from 16 good images; a person looks above " in before
    assert now.startswith("Threshold ")
    first = load(model_copy, device="cpu").calibration
    assert (first.false_alarm_rate, len(first.scores)) == (0.5, 16)
    assert "from 16 good images, each judged without itself" in now
    said = re.fullmatch(r"What is called .* on that scale now begins at (\S+)\.", moved)
    assert said
    assert float(said[1]) < 1, "the threshold is lower than it was"
    result = run("calibrate", model_copy, new_pictures)
    assert "left out" not in result.stderr
    assert "from 6 good images held out" in result.stdout
    assert "on that scale" not in result.stdout, "other pictures, another scale"
    second = load(model_copy, device="cpu").calibration
    assert (second.false_alarm_rate, len(second.scores)) == (0.5, 6)


def test_calibrate_says_what_it_leaves_unchanged(model_copy: Path) -> None:
    before = (model_copy / "calibration.json").read_bytes()
    said = run("calibrate", model_copy).stdout.splitlines()
    assert said[1] == "Unchanged: all of this is in force already."
    assert (model_copy / "calibration.json").read_bytes() == before
    said = run("calibrate", model_copy, "--look-rate=0.43").stdout.splitlines()
    assert said[1] == "What is called a defect begins at 1 as before."


@pytest.mark.parametrize("held_out", [False, True])
def test_calibrate_refuses_what_was_learnt_from(
    model_copy: Path, new_pictures: Path, good_folder: Path, *, held_out: bool
) -> None:
    facts = load(model_copy, device="cpu").facts
    known = facts.held_out if held_out else facts.trained_on
    learnt = [path for path in good_folder.iterdir() if fingerprint(path) in known]
    assert learnt
    Image.open(learnt[0]).save(new_pictures / "known.bmp")  # the same pixels in another file
    before = (model_copy / "calibration.json").read_bytes()
    refused = CliRunner().invoke(app, ["calibrate", str(model_copy), str(new_pictures)])
    assert isinstance(refused.exception, CalibrationError)
    assert "1 of 7 pictures was learnt from (known.bmp)" in str(refused.exception)
    assert (model_copy / "calibration.json").read_bytes() == before


def test_the_card_says_which_pictures_calibrate(model_copy: Path, new_pictures: Path) -> None:
    said = "5 more were held out of the networks' training, and all of them calibrate it, each"
    assert said in (model_copy / "README.md").read_text()
    run("calibrate", model_copy, new_pictures)
    said = "and all of them calibrated it; 6 good pictures of a later calibration do now."
    assert said in (model_copy / "README.md").read_text()
    assert said in run("info", model_copy).stdout


def test_a_threshold_travels_alone(model_copy: Path, model: Path, tmp_path: Path) -> None:
    other, file = Path(shutil.copytree(model, tmp_path / "other")), tmp_path / "t.json"
    before = (model_copy / "calibration.json").read_bytes()
    result = run("calibrate", model_copy, "--export", file)
    assert (model_copy / "calibration.json").read_bytes() == before, "alone it changes nothing"
    assert f"nfbmr calibrate COPY --import {file}" in " ".join(result.stderr.split())
    run("calibrate", model_copy, "--false-alarm-rate=50%", "--export", file)
    result = run("calibrate", other, "--import", file)
    assert " for a false-alarm rate of 0.5" in result.stdout
    for name in ("calibration.json", "README.md"):
        assert (other / name).read_bytes() == (model_copy / name).read_bytes()
    words = ["calibrate", str(other), "--import", str(file), "--look-rate=0.6"]
    refused = CliRunner().invoke(app, words)
    assert "--import brings a whole calibration" in str(refused.exception)
    words = ["calibrate", str(other), "--import", str(file), "--runtime=torch"]
    refused = CliRunner().invoke(app, words)
    assert "the file says which graph it is of" in str(refused.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--runtime=openvino:int99"], "the precision 'int99' is unknown; choose one of fp32,"),
        (["--runtime=openvno"], "runtime 'openvno' is unknown; choose one of auto,"),
        (["--runtime=openvino:int8"], "was not exported for openvino:int8"),
        (["--false-alarm-rate=0"], "rate"),
    ],
)
def test_an_export_that_cannot_be_is_refused(
    model_copy: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    file = tmp_path / "t.json"
    refused = CliRunner().invoke(app, ["calibrate", str(model_copy), "--export", str(file), *words])
    assert refused.exit_code != 0
    assert said in f"{refused.exception} {refused.output}"
    assert not file.exists()


@pytest.mark.parametrize("command", ["inspect", "calibrate", "evaluate", "watch"])
def test_swapped_arguments_get_a_hint(model: Path, good_folder: Path, command: str) -> None:
    more = ["-o", "report"] if command == "evaluate" else []
    words = [command, str(good_folder), str(model), *more]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, SettingsError)
    said = f"Did you mean: nfbmr {command} {model} {good_folder}"
    assert str(refused.exception).endswith(said)


def test_a_model_is_no_good_picture(model: Path, good_folder: Path) -> None:
    refused = CliRunner().invoke(app, ["fit", str(model), "-o", str(good_folder)])
    assert isinstance(refused.exception, SettingsError)
    assert f"nfbmr fit {good_folder} -o {model}" in str(refused.exception)


@pytest.mark.parametrize("rate", ["0", "1", "-0.1", "nan"])
def test_calibrate_refuses_what_is_no_rate(model_copy: Path, rate: str) -> None:
    before = (model_copy / "calibration.json").read_bytes()
    result = CliRunner().invoke(app, ["calibrate", str(model_copy), f"--false-alarm-rate={rate}"])
    assert isinstance(result.exception, SettingsError)
    assert (model_copy / "calibration.json").read_bytes() == before


def test_info(model: Path) -> None:
    text = run("info", model).stdout
    assert text.startswith("# widget: a defect detector by nfbmr")
    assert "64 x 64" in text
    assert " M; settings " in text
    assert "torch " in text


def test_the_oddest_good_pictures_are_named_by_doctor_and_info(model: Path) -> None:
    bundle = read_bundle(model, tensors=False)
    calibration = bundle.calibration
    highest = oddest(calibration, bundle.settings.scoring)[0]
    assert highest.name == calibration.names[calibration.pictures[-1]]
    told = run("doctor", model).stdout
    said = f"{highest.name}: score {highest.score:.3f}"
    assert f"nfbmr info {model}" in told
    assert f"- {said}" in told
    assert f"without it the threshold would be about {highest.without:.2f}" in told
    assert f"- `{highest.name}`: score {highest.score:.3f}" in run("info", model).stdout
    assert f"- `{highest.name}`: score" in (model / "README.md").read_text(encoding="utf-8")


def test_doctor(good_folder: Path) -> None:
    text = run("doctor", good_folder).stdout
    assert "embedded weights of tf_efficientnet_lite0: here" in text
    assert "12 good to learn from" in text
    assert "A fit with preset fast will take about " in text


def test_cache_shows_and_clears(good_folder: Path, tmp_path: Path) -> None:
    run("fit", good_folder, "-o", tmp_path / "model", *TINY)
    lines = run("cache").stdout.splitlines()
    assert len(lines) == 2
    assert "12 pictures  64 x 64  tf_efficientnet_lite0" in lines[0]
    assert run("cache", "--clear").stdout.endswith(" MB freed\n")
    assert run("cache").stdout.startswith("0.0 MB of ")


# ---- inspect


def test_inspect_as_jsonl(model: Path, pictures: Path) -> None:
    result = run("inspect", model, pictures, "--format=jsonl", "--device=cpu")
    assert result.exit_code == 0
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(row) for row in rows] == [KEYS, KEYS, ["path", "error"]]
    assert [row["path"] for row in rows] == [str(path) for path in sorted(pictures.iterdir())]
    assert [row["is_defect"] for row in rows[:2]] == [False, True]
    assert {row["model"] for row in rows[:2]} == {str(model)}


def test_inspect_as_a_table_is_the_default(model: Path, pictures: Path) -> None:
    lines = run("inspect", model, *sorted(pictures.iterdir())).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["verdict", "good", "DEFECT", "ERROR"]


def test_inspect_into_files(model: Path, pictures: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    result = run("inspect", model, pictures, "-o", tmp_path / "r.csv")
    assert result.stdout == ""
    assert "3 pictures (1 defect, 1 good, 1 unreadable): " in " ".join(result.stderr.split())
    with (tmp_path / "r.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [*KEYS, "error"]
    assert len(rows) == 3
    run("inspect", model, pictures, "-o", tmp_path / "r.parquet")
    assert parquet.read_table(tmp_path / "r.parquet")["score"].to_pylist()[:2] == [
        float(row["score"]) for row in rows[:2]
    ]
    run("inspect", model, pictures, "-o", tmp_path / "folder")
    lines = (tmp_path / "folder" / "results.jsonl").read_text().splitlines()
    assert [list(json.loads(line)) for line in lines] == [KEYS, KEYS, ["path", "error"]]


def test_inspect_writes_heatmaps(model: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("inspect", model, pictures, "-o", out, "--heatmaps").exit_code == 0
    files = sorted((out / "heatmaps").iterdir())
    assert [file.name for file in files] == ["000000_0-good.png", "000001_1-blob.png"]
    changes = []
    for file, source in zip(files, ("0-good.png", "1-blob.png"), strict=True):
        drawn, original = np.array(Image.open(file)), np.array(Image.open(pictures / source))
        assert drawn.shape == original.shape
        changes.append(np.abs(drawn.astype(int) - original).mean(axis=2))
    assert changes[1].mean() > 3 * changes[0].mean()
    assert changes[1][20:50, 20:50].mean() > changes[1][60:, 60:].mean()
    run("inspect", model, pictures, "-o", tmp_path / "r.csv", "--heatmaps")
    assert len(list((tmp_path / "r_heatmaps").iterdir())) == 2


def test_inspect_takes_no_picture_that_was_made_of_another(model: Path, pictures: Path) -> None:
    shutil.copy(pictures / "0-good.png", pictures / "0-good_overlay.png")
    shutil.copy(pictures / "0-good.png", pictures / "1-blob-heatmap.png")
    shutil.copy(pictures / "0-good.png", pictures / "3_overlay.png")
    result = run("inspect", model, pictures, "--format", "jsonl")
    seen = {Path(json.loads(line)["path"]).name for line in result.stdout.splitlines()}
    assert {path.name for path in pictures.iterdir()} - seen == {
        "0-good_overlay.png",
        "1-blob-heatmap.png",
    }
    said = " ".join(result.stderr.split())
    assert "Pictures are not inspected: 2 in " in said
    assert "made of others beside them: 0-good_overlay.png, 1-blob-heatmap.png" in said
    alone = run("inspect", model, pictures / "0-good_overlay.png", "--format", "jsonl")
    assert len(alone.stdout.splitlines()) == 1  # who names it wants it


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", "MODEL", "DATA", "-o", "FILE"), "expected a folder for the report"),
        (("evaluate", "MODEL", "DATA", "-o", "new.csv"), "expected a folder for the report"),
        (("fit", "DATA", "-o", "FILE"), "expected a folder for the model"),
        (("inspect", "MODEL", "DATA", "-o", "FOLDER"), "found a folder of that name"),
        (("drift", "MODEL", "FILE", "-o", "FOLDER"), "found a folder of that name"),
        (("calibrate", "MODEL", "--export", "FOLDER"), "found a folder of that name"),
        (("watch", "MODEL", "DATA", "--heatmaps", "--once"), "expected a folder, or nothing"),
    ],
)
def test_files_and_folders_are_not_taken_for_each_other(
    model: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setattr("nfbmr.inspection.inspector.open_runtime", _no_work)
    (tmp_path / "rows.csv").write_text("mine")
    (tmp_path / "f.csv").mkdir()
    (pictures / "nfbmr_heatmaps").write_text("mine")
    names = {"MODEL": str(model), "DATA": str(pictures), "FILE": "rows.csv", "FOLDER": "f.csv"}
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(app, [names.get(word, word) for word in words])
    assert isinstance(refused.exception, SettingsError)
    assert said in str(refused.exception)
    assert (tmp_path / "rows.csv").read_text() == "mine"
    assert not list((tmp_path / "f.csv").iterdir())


def _no_work(*args: object, **kwargs: object) -> None:
    raise AssertionError("the model was opened, though there is nowhere to write")


def test_inspect_names_what_it_leaves_out(model: Path, pictures: Path) -> None:
    Image.open(pictures / "1-blob.png").save(pictures / "n.pgm")
    (pictures / "1-blob.png").rename(pictures / "IMG4")
    (pictures / "Thumbs.db").touch()
    result = run("inspect", model, pictures, "-o", pictures / "r.csv")
    said = " ".join(result.stderr.split())
    assert "IMG4 is not inspected: by its name it is no picture (.bmp, " in said
    assert "n.pgm is not inspected: nfbmr does not read .pgm; convert it to PNG" in said
    assert "2 pictures (1 good, 1 unreadable): " in said
    for number in range(30):
        (pictures / f"{number}.gif").touch()
    (pictures / "notes.pdf").touch()
    said = " ".join(run("inspect", model, pictures).stderr.split())
    assert " are not inspected: nfbmr does not read .gif, .pgm; convert them to PNG: 0.gif" in said
    assert said.count("31 pictures in ") == 1
    assert "and 21 more" in said
    assert "2 files in " in said
    assert "by their names they are no pictures (.bmp, " in said
    assert said.endswith("IMG4, notes.pdf")


def test_inspect_takes_no_heatmap_for_a_picture(model: Path, pictures: Path) -> None:
    (pictures / "2-broken.png").unlink()
    for place in (pictures, pictures / "r.csv", pictures / "r.csv"):
        result = run("inspect", model, pictures, "-o", place, "--heatmaps")
        assert "2 pictures" in result.stderr
    result = run("inspect", model, pictures, "--format", "jsonl")
    assert len(result.stdout.splitlines()) == 2, "nor another run, that draws none"


def test_heatmaps_are_those_of_the_last_run(model: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("inspect", model, pictures, "-o", out, "--heatmaps")
    run("inspect", model, pictures / "0-good.png", "-o", out, "--heatmaps")
    assert [path.name for path in (out / "heatmaps").iterdir()] == ["000000_0-good.png"]
    assert len((out / "results.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("name", ["results.json", "r.xlsx", "r.jsonl.gz", "r.tsv"])
def test_an_ending_that_no_rows_have_is_refused(
    model: Path, pictures: Path, tmp_path: Path, name: str
) -> None:
    words = ["inspect", str(model), str(pictures), "-o", str(tmp_path / name)]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, SettingsError)
    assert "is none of these endings" in str(refused.exception)
    assert not (tmp_path / name).exists()
    (tmp_path / name).mkdir()
    assert run(*words).exit_code == 0, "a folder is one, whatever its name"
    assert (tmp_path / name / "results.jsonl").is_file()


def test_rows_go_to_a_table_in_a_file_a_dated_folder_and_a_dash(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    run("inspect", model, pictures, "-o", tmp_path / "r.txt")
    table = run("inspect", model, pictures).stdout
    assert (tmp_path / "r.txt").read_text() == table
    run("inspect", model, pictures, "-o", tmp_path / "2026.03.01")
    assert (tmp_path / "2026.03.01" / "results.jsonl").is_file()
    assert run("inspect", model, pictures, "-o", "-").stdout == table
    printed = run("inspect", model, pictures, "-o", "-", "--format=jsonl").stdout
    assert printed == (tmp_path / "2026.03.01" / "results.jsonl").read_text()
    refused = CliRunner().invoke(app, ["inspect", "m", str(pictures), "-o", "-", "--heatmaps"])
    assert "--heatmaps needs a place" in str(refused.exception)


# ---- printing


@pytest.mark.parametrize("form", ["table", "csv", "jsonl"])
def test_letters_that_the_terminal_lacks_are_escaped(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    (pictures / "0-good.png").rename(pictures / "零件.png")
    taken = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(taken, encoding="cp1252"))
    words = ("inspect", model, pictures, "--format", form)
    assert run_main(monkeypatch, *words) == 0
    assert b"\\u96f6\\u4ef6.png" in taken.getvalue()
    assert len(taken.getvalue().splitlines()) == (3 if form == "jsonl" else 4)


@pytest.mark.parametrize(("words", "code"), [([], 0), (["--exit-code"], 3)])
@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_reader_that_leaves_ends_inspect_well(
    model: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    form: str,
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as unread:  # noqa: PTH123 - a pipe
        monkeypatch.setattr(sys, "stdout", unread)
        given = ("inspect", model, pictures, "--format", form, *words)
        assert run_main(monkeypatch, *given) == code


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["0-good.png"], 0),
        (["0-good.png", "1-blob.png"], 1),
        (["2-broken.png", "1-blob.png"], 3),
    ],
)
def test_inspect_tells_scripts(model: Path, pictures: Path, names: list[str], code: int) -> None:
    paths = [pictures / name for name in names]
    assert run("inspect", model, *paths, "--exit-code").exit_code == code
    assert run("inspect", model, *paths).exit_code == 0


@pytest.mark.parametrize(
    ("name", "code"),
    [("x.gif", 3), ("sub/X.HEIC", 3), ("x.dng", 3), ("x.txt", 0), ("x.pdf", 0), ("r.csv", 0)],
)
def test_a_script_hears_of_pictures_that_nobody_looked_at(
    model: Path, pictures: Path, name: str, code: int
) -> None:
    for other in ("1-blob.png", "2-broken.png"):
        (pictures / other).unlink()
    (pictures / name).parent.mkdir(exist_ok=True)
    (pictures / name).write_bytes(b"GIF89a")
    assert run("inspect", model, pictures, "--exit-code").exit_code == code
    assert run("inspect", model, pictures).exit_code == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
@pytest.mark.parametrize(("name", "code"), [("pipe.png", 3), ("pipe.gif", 3), ("pipe", 0)])
def test_a_script_hears_of_pipes_that_are_called_as_pictures(
    model: Path, pictures: Path, name: str, code: int
) -> None:
    for other in ("1-blob.png", "2-broken.png"):
        (pictures / other).unlink()
    os.mkfifo(pictures / name)
    result = run("inspect", model, pictures, "--exit-code")
    assert result.exit_code == code
    assert ("Not inspected: 1 pipe, socket or device in" in result.stderr) == (code == 3)


def test_a_picture_for_a_person_has_an_exit_code_of_its_own(
    model_copy: Path, pictures: Path
) -> None:
    inspector = load(model_copy, device="cpu")
    score = inspector.inspect(pictures / "1-blob.png").score
    before = inspector.calibration
    higher = replace(before, one=1.001 * float(before.raw(np.array(score))))
    known = higher.shown(before.raw(np.array(before.scores)))
    higher = replace(higher, scores=tuple(known.tolist()))
    bundle = replace(read_bundle(model_copy), calibration=higher)
    replace_calibration(model_copy, bundle)
    done = run("inspect", model_copy, pictures / "1-blob.png", "--exit-code")
    assert (done.exit_code, done.stdout.splitlines()[1].split()[0]) == (4, "look")


def test_a_path_that_is_not_there_is_said_before_the_work(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [pictures / "0-good.png", pictures / "absent.png"]
    assert run_main(monkeypatch, "inspect", model, *paths) == 2
    said = capsys.readouterr()
    assert "absent.png does not exist" in said.err
    assert not said.out


# ---- what is typed wrong


@pytest.mark.parametrize(
    ("text", "size"),
    [("320", (320, 320)), ("320x448", (320, 448)), ("64X96", (64, 96)), ("64×96", (64, 96))],
)
def test_sizes_are_read_as_height_and_width(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "64x", "64x64x3", "-3", "6.5", "big", "0x", "²"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected a number or HEIGHTxWIDTH"):
        parse_size(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "nowhere", "-o", "model"], "found nothing at this path"),
        (["fit", ".", "-o", "model", "--size=big"], "--size big"),
        (["fit", ".", "-o", "model", "--size=0"], "size"),
        (["fit", ".", "-o", "model", "--set=flow"], "--set flow: expected KEY=VALUE"),
        (["fit", ".", "-o", "model", "--set=flow.hiden=3"], "did you mean flow.hidden?"),
        (
            ["fit", ".", "-o", "model", "--set=flow=3", "--set=flow.hidden=3"],
            "flow.hidden: flow was given a value of its own before",
        ),
        (
            ["fit", ".", "-o", "model", "--set=calibration=3", "--false-alarm-rate=.1"],
            "calibration was given a value of its own before",
        ),
        (["fit", ".", "-o", "model", "--set=seed.x=3"], "seed"),
        (["info", "nowhere"], "nowhere does not exist"),
        (["inspect", "nowhere", "a.png"], "a.png does not exist"),
        (["inspect", "nowhere", "a.png", "--heatmaps"], "--heatmaps needs a place"),
        (["inspect", "nowhere", "."], "holds no pictures"),
        (["evaluate", ".", ".", "-o", "report"], "holds no nfbmr model"),
        (["calibrate", "nowhere"], "nowhere does not exist"),
        (["doctor", "nowhere"], "found nothing at this path"),
    ],
)
def test_our_errors_are_one_line_and_exit_code_2(
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_main(monkeypatch, *words) == 2
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if line.startswith("nfbmr: ")]
    assert said in line
    assert "Traceback" not in captured.err
    assert captured.err.splitlines()[-1] == line
    assert list(tmp_path.iterdir()) == []


def test_parquet_needs_a_file(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "inspect", model, pictures, "--format=parquet") == 2
    assert "give a file with -o" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_line_too(
    model: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("x")
    place = tmp_path / "file" / "rows.csv"
    assert run_main(monkeypatch, "inspect", model, pictures, "-o", place) == 2
    error = capsys.readouterr().err
    assert error.startswith("nfbmr: ")
    assert "File exists" in error
    assert "Traceback" not in error


def test_ctrl_c_says_that_the_next_fit_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nfbmr.fitting.fit", interrupt)
    assert run_main(monkeypatch, "fit", "data", "-o", "model") == 130
    assert "a fit, or a run on Ray, goes on when started again" in capsys.readouterr().err


def test_a_service_managers_stop_clears_away_what_is_half_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    half = tmp_path / "half"

    def stopped(*args: object, **kwargs: object) -> None:
        half.mkdir()
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            half.rmdir()

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("nfbmr.fitting.fit", stopped)
    try:
        assert run_main(monkeypatch, "fit", "data", "-o", "model") == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not half.exists()


def test_help_lists_the_commands_and_an_unknown_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    for command in ("fit", "evaluate", "inspect", "calibrate", "info", "doctor", "cache"):
        assert f" {command} " in text
    assert run_main(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("nfbmr 0.")
    assert run_main(monkeypatch, "paint") == 2


def test_the_help_of_set_says_where_all_settings_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("fit", "paper"):
        assert run_main(monkeypatch, command, "--help") == 0
        assert "docs/settings.md" in capsys.readouterr().out


def test_a_programmers_mistake_is_not_hidden_and_no_code_that_says_what_was_found(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not issubclass(OverflowError, NfbmrError)
    errors = [
        OverflowError("too\nlarge \x1b[1m"),
        AssertionError(),
        ModuleNotFoundError(name="nfbmr.x"),
    ]
    for error in (*errors, EOFError("no more")):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("nfbmr.inspection.rows.to_row", fail)
        words = ("inspect", model, pictures / "0-good.png", "--exit-code")
        assert run_main(monkeypatch, *words) == 70
        said = capsys.readouterr().err
        assert "Traceback (most recent call last)" in said
        assert "in fail" in said, "where it happened"
        assert said.splitlines()[-1].startswith(
            f"nfbmr: an error that nfbmr did not expect, {type(error).__name__}"
        )
        assert "\x1b" not in said


def test_a_pipe_that_broke_is_said_and_no_code_of_a_defect(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe", "somewhere")

    monkeypatch.setattr("nfbmr.inspection.rows.to_row", fail)
    words = ("inspect", model, pictures / "0-good.png", "--exit-code")
    assert run_main(monkeypatch, *words) == 2
    assert capsys.readouterr().err.startswith("nfbmr: somewhere: Broken pipe; ")
