"""The drawn tree is what the reader expects of DAGM 2007, and its labels lie on its defects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.benchmark import dagm_like
from nfbmr.benchmark.dagm_like import KINDS, draw, write_tree
from nfbmr.data.layouts import read_data


def test_the_tree_is_read_as_dagm(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "new", classes=(1, 10), n_good=9, n_defective=3, size=32)
    assert sorted(folder.name for folder in root.iterdir()) == ["Class1", "Class10"]
    for folder in root.iterdir():
        data = read_data(folder)
        assert data.layout == "dagm"
        assert len(data.train_good) == 9
        assert [s.is_defect for s in data.test].count(True) == 3
        assert [s.is_defect for s in data.test].count(False) == 9
        assert all((s.mask is not None) == s.is_defect for s in data.test)
        (warning,) = data.warnings
        assert warning.startswith("defective pictures of the training split, left out: 3 (")


def test_names_and_numbers_are_the_real_sets(tmp_path: Path) -> None:
    write_tree(tmp_path, classes=(4,), n_good=3, n_defective=1, size=16)
    names = {
        split: sorted(path.name for path in (tmp_path / "Class4" / split).glob("*.PNG"))
        for split in ("Test", "Train")
    }
    assert names == {
        "Test": ["0001.PNG", "0002.PNG", "0003.PNG", "0004.PNG"],
        "Train": ["0005.PNG", "0006.PNG", "0007.PNG", "0008.PNG"],
    }
    text = (tmp_path / "Class4" / "Train" / "Label" / "Labels.txt").read_bytes().decode()
    header, *rows = text.split("\r\n")[:-1]
    assert header == "1"
    assert [row.split()[:4] for row in rows if "label" not in row] == [
        [str(n), "0", f"{n:04}.PNG", "0"]
        for n in range(5, 9)
        if not (tmp_path / "Class4" / "Train" / "Label" / f"{n:04}_label.PNG").exists()
    ]
    assert any(" " in row for row in rows)
    assert any("\t" in row for row in rows)


def test_pictures_are_gray_and_of_the_asked_size(tmp_path: Path) -> None:
    write_tree(tmp_path, classes=(2,), n_good=1, n_defective=1, size=48)
    paths = list((tmp_path / "Class2").rglob("*.PNG"))
    assert len(paths) == 6
    for path in paths:
        with Image.open(path) as picture:
            assert (picture.mode, picture.size) == ("L", (48, 48))


@pytest.mark.parametrize("of_class", KINDS)
def test_labels_lie_on_the_defects(of_class: int) -> None:
    for number in range(1, 6):
        good, nothing = draw(number, of_class=of_class, split="Test", defective=False, size=128)
        bad, label = draw(number, of_class=of_class, split="Test", defective=True, size=128)
        assert good.dtype == label.dtype == np.uint8
        assert not nothing.any()
        assert set(np.unique(label)) == {0, 255}
        assert 0.005 < (label > 0).mean() < 0.1
        changed = np.abs(bad.astype(int) - good.astype(int))
        assert changed[label == 0].max() == 0
        assert changed[label > 0].max() > 20


def test_classes_are_kinds_of_their_own() -> None:
    pictures = [draw(1, of_class=k, split="Test", defective=False, size=96)[0] for k in KINDS]
    assert len(pictures) == 10
    for picture, kind in zip(pictures, KINDS.values(), strict=True):
        assert abs(float(picture.mean()) - kind.level) < 3
        assert 0.8 < float(picture.std()) / kind.contrast < 1.1
    spectra = [np.abs(np.fft.rfft2(p - p.mean())) for p in pictures]
    flat = np.array([(s / np.linalg.norm(s)).ravel() for s in spectra])
    likeness = flat @ flat.T - np.eye(10)
    assert likeness.max() < 0.95


def test_a_picture_follows_from_its_key_alone(tmp_path: Path) -> None:
    few = write_tree(tmp_path / "few", classes=(1,), n_good=2, n_defective=1, size=32)
    again = write_tree(tmp_path / "again", classes=(3, 1), n_good=2, n_defective=1, size=32)
    for path in (few / "Class1").rglob("*.*"):
        assert path.read_bytes() == (again / path.relative_to(few)).read_bytes()
    first = draw(1, of_class=1, split="Test", defective=False, size=32)[0]
    for number, of_class, split, seed in ((2, 1, "Test", 0), (1, 3, "Test", 0), (1, 1, "Test", 1)):
        other = draw(number, of_class=of_class, split="Test", defective=False, size=32, seed=seed)
        assert not np.array_equal(first, other[0]), split
    other = draw(1, of_class=1, split="Train", defective=False, size=32)
    assert not np.array_equal(first, other[0])


def test_an_unknown_class_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="1 to 10"):
        write_tree(tmp_path, classes=(11,))


def test_as_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--classes=2,5", "--size=16", "--good=2", "--defective=1", "--seed=3"]
    monkeypatch.setattr("sys.argv", ["dagm_like", str(tmp_path), *words])
    dagm_like.main()
    assert capsys.readouterr().out.strip() == str(tmp_path)
    assert len(list(tmp_path.glob("Class[25]/*/*.PNG"))) == 2 * 2 * 3
    monkeypatch.setattr("sys.argv", ["dagm_like", str(tmp_path), "--classes=two"])
    with pytest.raises(SystemExit):
        dagm_like.main()
    assert "found the classes two; expected numbers of 1 to 10" in capsys.readouterr().err
