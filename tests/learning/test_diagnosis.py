"""What `doctor` says of a data set: one product with its fit, or several and how complete."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nfbmr.benchmark.dagm_like import write_tree
from nfbmr.errors import LayoutError, TrainingError
from nfbmr.learning import diagnosis


@pytest.fixture(autouse=True)
def _no_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_estimate", lambda *_: 90.0)


def test_one_product_of_ones_own(mvtec: Path) -> None:
    lines = diagnosis.data_set(mvtec, "fast")
    assert lines[0].startswith("MVTec AD category 'widget': 16 good to learn from")
    assert lines[-1] == "A fit with preset fast will take about 90 s on this machine"
    assert not any("official" in line for line in lines)


def test_one_official_category_is_compared(tmp_path: Path, mvtec_tree: Callable[..., Path]) -> None:
    lines = diagnosis.data_set(mvtec_tree(tmp_path) / "bottle", "fast")
    assert lines[1] == (
        "bottle: DIFFERS; train good 16 of 209, test good 4 of 20, "
        "test defective 4 of 63, masks 4 of 63"
    )
    assert lines[-1].startswith("A fit with preset fast")


def test_several_products_get_their_completeness_and_the_next_steps(
    tmp_path: Path, mvtec_tree: Callable[..., Path]
) -> None:
    lines = diagnosis.data_set(mvtec_tree(tmp_path), "fast")
    assert [line.partition(":")[0] for line in lines[:3]] == ["bottle", "carpet", "MVTec AD"]
    assert lines[3].endswith(f"nfbmr doctor {tmp_path / 'bottle'}")
    assert lines[4].endswith(f"nfbmr paper --mvtec {tmp_path} -o RESULTS")
    assert len(lines) == 5


def test_a_class_in_a_folder_of_its_own_name(tmp_path: Path) -> None:
    write_tree(tmp_path / "Class1", classes=(1,), n_good=2, n_defective=1, size=16)
    lines = diagnosis.data_set(tmp_path / "Class1", "fast")
    assert lines[-2].endswith(f"nfbmr doctor {tmp_path / 'Class1' / 'Class1'}")
    assert lines[-1].endswith(f"nfbmr paper --dagm {tmp_path / 'Class1'} -o RESULTS")


def test_archives_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "Class1.zip").touch()
    with pytest.raises(LayoutError, match=r"archives not yet unpacked \(Class1\.zip\)"):
        diagnosis.data_set(tmp_path, "fast")


def test_a_plain_folder_of_pictures(good_folder: Path) -> None:
    shutil.copy(good_folder / "003.png", good_folder / "x-copy.png")
    heard: list[object] = []
    lines = diagnosis.data_set(good_folder, "fast", lambda *given: heard.append(given))
    assert lines[0].endswith("13 good to learn from; no test pictures")
    assert lines[1:4] == [
        "Warning: 1 picture is a copy of others and left out: x-copy.png",
        "All pictures have 80 x 80 (H x W)",
        "8 bits a channel",
    ]
    assert lines[4].startswith("Pictures are resized to ")
    assert lines[5].startswith("7 good pictures to train on, 5 held out; all 12 calibrate")
    assert heard[-1] == ("survey", 13, 13)


def test_a_cache_that_cannot_be_kept_is_said_among_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert diagnosis.machine()[-1].startswith("feature cache /")
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("NFBMR_CACHE", str(tmp_path / "file"))
    *others, last = diagnosis.machine()
    assert last.startswith("feature cache: MISSING: ")
    assert last.endswith("or set NFBMR_CACHE to another folder")
    assert any(line.startswith("inspects with: ") for line in others)


def test_one_picture_is_one_and_a_fit_is_not_for_it(tmp_path: Path, good_folder: Path) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(good_folder / "000.png", tmp_path / "one")
    with pytest.raises(TrainingError, match=r"^1 good picture to learn from; at least 10 are"):
        diagnosis.data_set(tmp_path / "one", "fast")
