"""A calibration in a file of its own: lossless to a copy of the model, refused by any other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nfbmr.errors import CalibrationError
from nfbmr.inspection.inspector import load
from nfbmr.model.bundle import read_bundle, write_bundle
from nfbmr.model.carried import bring_calibration, write_calibration


@pytest.fixture
def carried(model: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A file with another threshold of a copy of the model, and that copy."""
    changed = Path(shutil.copytree(model, tmp_path / "changed"))
    load(changed, device="cpu").recalibrated(0.37, look_rate=0.41).save_calibration()
    write_calibration(tmp_path / "threshold.json", read_bundle(changed))
    return tmp_path / "threshold.json", changed


def test_it_comes_to_a_copy_to_the_last_bit(
    carried: tuple[Path, Path], model_copy: Path, good_folder: Path
) -> None:
    file, changed = carried
    was, now = bring_calibration(model_copy, file)
    assert was.false_alarm_rate == 0.2
    assert now == read_bundle(changed).calibration
    for name in ("calibration.json", "README.md", "manifest.json"):
        assert (model_copy / name).read_bytes() == (changed / name).read_bytes()
    here, there = (
        [one.verdict for one in load(path, device="cpu").inspected(sorted(good_folder.iterdir()))]
        for path in (model_copy, changed)
    )
    assert here == there


def test_another_fit_and_other_settings_refuse_it(
    carried: tuple[Path, Path], model_copy: Path, tmp_path: Path
) -> None:
    file, _ = carried
    bundle = read_bundle(model_copy)
    other = replace(bundle, settings=replace(bundle.settings, mm_per_pixel=0.5))
    write_bundle(tmp_path / "other", other)
    with pytest.raises(CalibrationError, match="same tensors as here but of other settings"):
        bring_calibration(tmp_path / "other", file)
    tensors = {name: value * 2 for name, value in bundle.tensors.items()}
    write_bundle(tmp_path / "fit", replace(bundle, tensors=tensors))
    with pytest.raises(CalibrationError, match="another fit than 'widget' here"):
        bring_calibration(tmp_path / "fit", file)
    assert read_bundle(tmp_path / "fit").calibration == bundle.calibration


def test_a_graph_that_is_not_here_refuses_it(
    carried: tuple[Path, Path], model_copy: Path, tmp_path: Path
) -> None:
    said = json.loads(carried[0].read_text("utf-8"))
    said["model"]["graph"] = "0" * 64
    (tmp_path / "int8.json").write_text(json.dumps(said))
    with pytest.raises(CalibrationError, match="a graph in coarse precision that is not here"):
        bring_calibration(model_copy, tmp_path / "int8.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not readable"),
        ("[]", "is not one that nfbmr wrote"),
        ("{}", "found no version of its form, 1 was expected"),
        ('{"nfbmr calibration": 2}', "found version 2 of its form, 1 was expected"),
        ('{"nfbmr calibration": 1, "model": 3}', "'model': found 3, an object was expected"),
        ('{"nfbmr calibration": 1, "model": {}}', "'calibration': found nothing, an object was"),
    ],
)
def test_what_is_no_calibration_is_refused(
    model_copy: Path, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(CalibrationError, match="no calibration that nfbmr exported") as caught:
        bring_calibration(model_copy, tmp_path / "file.json")
    assert f"({said}" in str(caught.value).replace(f"{tmp_path / 'file.json'} ", "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"nosuch": 1},
            "found an unknown key 'nosuch', name, tensors, config, graph were expected",
        ),
        ({"tensors": 5}, "'model.tensors': found 5, a text was expected"),
        ({"config": None}, "'model.config': found null, a text was expected"),
        ({"name": ["x" * 99]}, "'model.name': found [\"xxx"),
        ({"graph": ...}, "found no key 'graph'"),
    ],
)
def test_what_names_no_model_is_refused(
    carried: tuple[Path, Path],
    model_copy: Path,
    tmp_path: Path,
    change: dict[str, object],
    said: str,
) -> None:
    values = json.loads(carried[0].read_text("utf-8"))
    model = values["model"] | change
    values["model"] = {key: value for key, value in model.items() if value is not ...}
    (tmp_path / "file.json").write_text(json.dumps(values))
    with pytest.raises(CalibrationError, match=r"file\.json is no calibration") as caught:
        bring_calibration(model_copy, tmp_path / "file.json")
    assert said in str(caught.value)


def test_values_that_were_damaged_are_refused(
    carried: tuple[Path, Path], model_copy: Path, tmp_path: Path
) -> None:
    said = json.loads(carried[0].read_text("utf-8"))
    said["calibration"]["rank"] = -1
    (tmp_path / "file.json").write_text(json.dumps(said))
    with pytest.raises(CalibrationError, match=r"file\.json: calibration refused"):
        bring_calibration(model_copy, tmp_path / "file.json")


@pytest.mark.parametrize(
    ("shorter", "change", "said"),
    [
        (("statistic_mean", "statistic_std"), {"table": []}, "statistics, the settings have"),
        (("statistic_mean", "statistic_std"), {}, "contradict one another"),
        ((), {"seen": [True]}, "contradict one another"),
        (("map_mean", "map_std"), {}, "maps, the settings have"),
        (("judge_mean", "judge_std", "judge_peak", "judge_peaks"), {}, "judges, the settings have"),
        ((), {"threshold": 1e9}, "its threshold is 1e[+]09, 1 was expected"),
        ((), {"judge_peaks": [[], []]}, "contradict one another"),
        ((), {"judge_peaks": [[float("nan")], [1.0]]}, "calibration refused"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_and_it_still_opens(
    carried: tuple[Path, Path],
    model_copy: Path,
    tmp_path: Path,
    shorter: tuple[str, ...],
    change: dict[str, object],
    said: str,
) -> None:
    values = json.loads(carried[0].read_text("utf-8"))
    found = values["calibration"]
    values["calibration"] = found | {name: found[name][:-1] for name in shorter} | change
    (tmp_path / "file.json").write_text(json.dumps(values))
    before = read_bundle(model_copy).calibration
    with pytest.raises(CalibrationError, match=rf"file\.json: .*{said}"):
        bring_calibration(model_copy, tmp_path / "file.json")
    assert load(model_copy, device="cpu").calibration == before
