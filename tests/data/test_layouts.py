"""Every layout as a tiny tree; every kind of trouble is refused, or counted and named."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.data import layouts
from nfbmr.data.layouts import DataSet, Sample, find_duplicates, read_data
from nfbmr.data.same import fingerprint
from nfbmr.errors import LayoutError, MissingExtraError

SETS = Path(__file__).parents[2].parent / "shared" / "data"


def draw(root: Path, *names: str, size: tuple[int, int] = (4, 6)) -> None:
    """Writes a picture under each name, each with bytes of its own."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = np.frombuffer(os.fsencode(path), np.uint8)
        values = np.random.default_rng(list(seed)).integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(values).save(path)


def known(data: DataSet) -> list[tuple[str, str, str, str | None]]:
    return [
        (
            s.path.relative_to(data.root).as_posix(),
            s.split,
            s.defect,
            s.mask.relative_to(data.root).as_posix() if s.mask else None,
        )
        for s in data.samples
    ]


def mvtec(root: Path) -> Path:
    draw(root, "train/good/000.png", "train/good/001.png", "test/good/000.png")
    draw(root, "test/crack/000.png", "test/crack/001.png", "test/dent/000.png")
    draw(root, "ground_truth/crack/000_mask.png", "ground_truth/crack/001.png")
    draw(root, "ground_truth/dent/000_mask.png")
    return root


def dagm(root: Path, listed: bool = True) -> Path:
    draw(root, *(f"{split}/{n:04}.PNG" for split in ("Train", "Test") for n in (1, 2, 3)))
    for split in ("Train", "Test"):
        draw(root, f"{split}/Label/0002_label.PNG")
        if listed:
            (root / split / "Label" / "Labels.txt").write_text(
                "1\n1\t0 \t0001.PNG\t0\t0\r\n2 1\t0002.PNG\t0\t0002_label.PNG\n3\t0\t0003.PNG 0 0\n"
            )
    return root


def table(root: Path, text: str, name: str = "parts.csv") -> Path:
    draw(root, "a.png", "b.png", "c.png", "m.png")
    path = root / name
    path.write_text(text)
    return path


def test_folder_of_good_pictures(tmp_path: Path) -> None:
    draw(tmp_path, "b.png", "a.JPG", "monday/c.bmp", "monday/late/d.tif")
    data = read_data(str(tmp_path))
    assert data.layout == "folder"
    assert known(data) == [
        (name, "train", "good", None)
        for name in ("a.JPG", "b.png", "monday/c.bmp", "monday/late/d.tif")
    ]
    assert data.train_good == data.samples
    assert data.test == ()
    assert data.warnings == ()
    assert data.describe() == (
        f"folder '{tmp_path.name}': 4 good to learn from "
        "(from monday 1, monday/late 1, the folder itself 2); no test pictures"
    )


@pytest.mark.parametrize("good", ["good", "OK"])
def test_folder_good_beside_types_of_defects(tmp_path: Path, good: str) -> None:
    draw(tmp_path, f"{good}/a.png", "scratch/b.png", "dent/c.png", "ground_truth/dent/c_mask.png")
    draw(tmp_path, "loose.png")
    data = read_data(tmp_path)
    assert known(data) == [
        (f"{good}/a.png", "train", "good", None),
        ("dent/c.png", "test", "dent", "ground_truth/dent/c_mask.png"),
        ("scratch/b.png", "test", "scratch", None),
    ]
    assert data.warnings == (
        "pictures beside the folders, left out: 1 (loose.png)",
        "defective pictures without a mask, kept: 1 (scratch/b.png)",
    )


def test_mvtec(tmp_path: Path) -> None:
    data = read_data(mvtec(tmp_path / "bottle"))
    assert (data.layout, data.name, data.warnings) == ("mvtec", "bottle", ())
    assert known(data) == [
        ("train/good/000.png", "train", "good", None),
        ("train/good/001.png", "train", "good", None),
        ("test/crack/000.png", "test", "crack", "ground_truth/crack/000_mask.png"),
        ("test/crack/001.png", "test", "crack", "ground_truth/crack/001.png"),
        ("test/dent/000.png", "test", "dent", "ground_truth/dent/000_mask.png"),
        ("test/good/000.png", "test", "good", None),
    ]
    assert [s.is_defect for s in data.test] == [True, True, True, False]
    assert data.describe() == (
        "MVTec AD category 'bottle': 2 good to learn from; test 1 good, 3 defective (3 with masks)"
    )


@pytest.mark.parametrize("word", ["good", "Good", "ok", "OK", "normal", "Normal"])
def test_mvtec_good_pictures_of_the_test_have_several_names(tmp_path: Path, word: str) -> None:
    draw(tmp_path, "train/good/a.png", f"test/{word}/b.png", "test/crack/c.png")
    data = read_data(tmp_path)
    assert data.layout == "mvtec"
    assert {s.path.name: s.defect for s in data.test} == {"b.png": "good", "c.png": "crack"}
    assert data.warnings == ()


def test_mvtec_without_masks_or_test(tmp_path: Path) -> None:
    draw(tmp_path, "train/good/a.png", "test/crack/b.png")
    data = read_data(tmp_path)
    assert data.warnings == ()
    assert data.describe().endswith("test 0 good, 1 defective (none with masks)")
    draw(tmp_path / "other", "train/good/a.png")
    assert read_data(tmp_path / "other").test == ()


def test_mvtec_trouble_is_counted_and_named(tmp_path: Path) -> None:
    root = mvtec(tmp_path)
    draw(root, "train/stain/x.png", "train/y.png", "test/z.png")
    draw(root, "ground_truth/good/000_mask.png", "ground_truth/gone/000_mask.png")
    draw(root, "ground_truth/crack/009_mask.png", "test/dent/001.png")
    draw(root, "ground_truth/crack/000_mask.png", size=(5, 6))
    (root / "ground_truth/dent/000_mask.png").write_text("not a picture")
    (root / "test/good/empty.png").touch()
    (root / "test/good/notes.txt").touch()
    (root / "test/good/link.png").symlink_to(root / "nowhere.png")
    (root / "test/bent").mkdir()
    data = read_data(root)
    assert sorted(data.warnings) == [
        "defective pictures without a mask, kept: 3 "
        "(test/crack/000.png, test/dent/000.png, test/dent/001.png)",
        "empty files or broken links, left out: 2 (test/good/empty.png, test/good/link.png)",
        "files that are not pictures, left out: 1 (test/good/notes.txt)",
        "folders without pictures: 1 (test/bent)",
        "masks of another size than their picture, not used: 1 (ground_truth/crack/000_mask.png)",
        "masks of good pictures, not used: 1 (ground_truth/good/000_mask.png)",
        "masks that cannot be read, or whose picture cannot, not used: 1 "
        "(ground_truth/dent/000_mask.png)",
        "masks without a picture of that name, not used: 2 "
        "(ground_truth/crack/009_mask.png, ground_truth/gone/000_mask.png)",
        "pictures of test that are not in a folder, left out: 1 (test/z.png)",
        "pictures of train that are not in train/good, left out: 2 "
        "(train/y.png, train/stain/x.png)",
    ]
    assert len(data.samples) == 7
    assert sum(s.mask is not None for s in data.samples) == 1


def test_no_more_than_five_files_are_named(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    for i in range(7):
        (tmp_path / f"{i}.txt").touch()
    assert read_data(tmp_path).warnings == (
        "files that are not pictures, left out: 7 (0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more)",
    )


@pytest.mark.parametrize("listed", [True, False])
def test_dagm(tmp_path: Path, listed: bool) -> None:
    data = read_data(dagm(tmp_path / "Class1", listed))
    assert data.layout == "dagm"
    assert known(data) == [
        ("Train/0001.PNG", "train", "good", None),
        ("Train/0003.PNG", "train", "good", None),
        ("Test/0001.PNG", "test", "good", None),
        ("Test/0002.PNG", "test", "defect", "Test/Label/0002_label.PNG"),
        ("Test/0003.PNG", "test", "good", None),
    ]
    assert data.warnings == (
        "defective pictures of the training split, left out: 1 (Train/0002.PNG)",
    )
    assert data.describe().startswith("DAGM 2007 class 'Class1': 2 good to learn from; test 2 good")


def test_dagm_rows_decide_and_are_checked_against_the_files(tmp_path: Path) -> None:
    root = dagm(tmp_path)
    draw(root, "Test/0004.PNG", "Test/Label/0008_label.PNG", "Test/Label/0001_label.PNG")
    labels = root / "Test" / "Label" / "Labels.txt"
    labels.write_text(labels.read_text() + "4 1 0004.PNG 0 0004_label.PNG\n7 0 0007.PNG 0 0\n")
    draw(root, "Test/0005.PNG")
    data = read_data(root)
    assert [(s.path.name, s.defect, s.mask is not None) for s in data.test] == [
        ("0001.PNG", "good", False),
        ("0002.PNG", "defect", True),
        ("0003.PNG", "good", False),
        ("0004.PNG", "defect", False),
    ]
    assert sorted(data.warnings) == [
        "defective pictures of the training split, left out: 1 (Train/0002.PNG)",
        "defective pictures without a mask, kept: 1 (Test/0004.PNG)",
        "masks of good pictures, not used: 1 (Test/Label/0001_label.PNG)",
        "masks without a picture of that name, not used: 1 (Test/Label/0008_label.PNG)",
        "pictures that Labels.txt does not list, left out: 1 (Test/0005.PNG)",
        "pictures that Labels.txt lists and that do not exist: 1 (Test/0007.PNG)",
    ]


@pytest.mark.parametrize("header", ["1", " 1 ", "", "1\t2", "\r\n1"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_dagm_labels_as_downloads_have_them(
    tmp_path: Path, header: str, bom: str, ends: str
) -> None:
    root = dagm(tmp_path, listed=False)
    rows = [header, "1\t0\t0001.PNG\t0\t0", "2\t1 0002.png \t0\t0002_LABEL.png ", "3 0 0003.PNG 0"]
    for split in ("Train", "Test"):
        text = bom + ends.join(rows) + ends
        (root / split / "Label" / "LABELS.TXT").write_bytes(text.encode())
    data = read_data(root)
    assert known(data) == [
        ("Train/0001.PNG", "train", "good", None),
        ("Train/0003.PNG", "train", "good", None),
        ("Test/0001.PNG", "test", "good", None),
        ("Test/0002.PNG", "test", "defect", "Test/Label/0002_label.PNG"),
        ("Test/0003.PNG", "test", "good", None),
    ]
    assert data.warnings == (
        "defective pictures of the training split, left out: 1 (Train/0002.PNG)",
    )


def test_dagm_with_rows_for_one_split_alone(tmp_path: Path) -> None:
    root = dagm(tmp_path)
    (root / "Train" / "Label" / "Labels.txt").unlink()
    data = read_data(root)
    assert [s.path.name for s in data.train_good] == ["0001.PNG", "0003.PNG"]
    assert [s.is_defect for s in data.test] == [False, True, False]


def test_dagm_labels_of_another_form(tmp_path: Path) -> None:
    root = dagm(tmp_path)
    (root / "Train" / "Label" / "Labels.txt").write_text("1\n1 maybe 0001.PNG 0 0\n")
    with pytest.raises(LayoutError, match=r"Labels\.txt: found '1 maybe 0001\.PNG 0 0' in line 2"):
        read_data(root)


@pytest.mark.parametrize("build", [mvtec, dagm])
def test_a_root_of_several_products(tmp_path: Path, build: object) -> None:
    assert callable(build)
    for name in ("one", "two"):
        build(tmp_path / name)
    with pytest.raises(LayoutError, match=r"several products \(one, two\).*choose one, such as"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train/crack/a.png", "test/good/b.png"), "found the folder test, train"),
        (("good/a.png", "test/b.png"), "found the folder test"),
        (("ground_truth/a.png", "b.png"), "found the folder ground_truth"),
        (("ng/a.png", "b.png"), "found the folder ng.*put good pictures into 'good'"),
    ],
)
def test_folders_that_fit_no_layout(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    draw(tmp_path, *names)
    with pytest.raises(LayoutError, match=message):
        read_data(tmp_path)


def test_missing_empty_and_unusable_roots(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="none: found nothing at this path; expected a folder"):
        read_data(tmp_path / "none")
    with pytest.raises(LayoutError, match="no good pictures to learn from"):
        read_data(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(LayoutError, match=r"no good .*empty files or broken links.*1 \(a\.png\)"):
        read_data(tmp_path)
    with pytest.raises(LayoutError, match=r"a\.png: found a single file.*give the folder"):
        read_data(tmp_path / "a.png")
    (tmp_path / "train" / "good").mkdir(parents=True)
    with pytest.raises(LayoutError, match=r"folders without pictures: 1 \(train/good\)"):
        read_data(tmp_path)


def test_hidden_files_are_ignored_silently(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", ".b.png", "._a.png", ".cache/c.png", "__MACOSX/d.png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).touch()
    data = read_data(tmp_path)
    assert known(data) == [("a.png", "train", "good", None)]
    assert data.warnings == ()


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    draw(tmp_path, "set/a.png", "elsewhere/b.png")
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "set")
    names = [name for name, *_ in known(read_data(tmp_path / "set"))]
    assert names == ["a.png", "linked/b.png"]


def test_test_pictures_that_are_also_learned_from(tmp_path: Path) -> None:
    root = mvtec(tmp_path)
    (root / "test/good/copy.png").write_bytes((root / "train/good/001.png").read_bytes())
    data = read_data(root)
    assert data.warnings == (
        "test pictures that are also learned from, kept: 1 (test/good/copy.png)",
    )


def test_find_duplicates_compares_bytes_not_lengths(tmp_path: Path) -> None:
    contents = {"a": b"same", "b": b"diff", "c": b"same", "d": b"longer", "e": b"diff", "f": b"x"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    samples = [Sample(path=tmp_path / n, split="train", defect="good") for n in contents]
    groups = [[s.path.name for s in group] for group in find_duplicates(samples)]
    assert groups == [["a", "c"], ["b", "e"]]


def test_only_files_whose_ends_are_the_same_are_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = (b"a" * 4096, b"z" * 4096)
    middles = {"a": b"1", "b": b"2", "c": b"1"}
    contents = {name: ends[0] + middle + ends[1] for name, middle in middles.items()}
    contents |= {"d": b"d" + contents["a"][1:], "e": contents["a"][:-1] + b"e"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    hashed: list[str] = []

    def noted(path: Path) -> str:
        hashed.append(path.name)
        return fingerprint(path)

    monkeypatch.setattr(layouts, "fingerprint", noted)
    samples = [Sample(path=tmp_path / n, split="train", defect="good") for n in contents]
    (group,) = find_duplicates(samples)
    assert [sample.path.name for sample in group] == ["a", "c"]
    assert hashed == ["a", "b", "c"]


def test_table(tmp_path: Path) -> None:
    path = table(tmp_path, "Path,LABEL,mask,extra\nb.png,ok,,1\na.png,OK,,2\nc.png,Crack,m.png,3\n")
    data = read_data(path)
    assert (data.layout, data.name) == ("table", "parts")
    assert [(s.path.name, s.split, s.defect, s.mask) for s in data.samples] == [
        ("a.png", "train", "good", None),
        ("b.png", "train", "good", None),
        ("c.png", "test", "Crack", tmp_path / "m.png"),
    ]
    assert data.warnings == ("columns that are not known, not used: 1 (extra)",)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("label", "defect"),
    [("Good", "good"), ("normal", "good"), ("0", "good")]
    + [(word, "defect") for word in ("1", "defect", "bad", "anomaly", "NG")]
    + [("deep scratch", "deep scratch")],
)
def test_words_and_separators(tmp_path: Path, separator: str, label: str, defect: str) -> None:
    rows = (("path", "label", "split"), ("a.png", "good", "train"), ("b.png", label, "TEST"))
    text = "\ufeff" + "\n".join(separator.join(row) for row in rows)
    data = read_data(table(tmp_path, text))
    assert [(s.path.name, s.defect) for s in data.test] == [("b.png", defect)]


def test_a_set_for_the_test_alone_is_read_where_nothing_learns(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "set")
    shutil.rmtree(root / "train")
    with pytest.raises(LayoutError, match="no good pictures to learn from"):
        read_data(root)
    data = read_data(root, to_learn=False)
    assert known(data) == [
        ("test/crack/000.png", "test", "crack", "ground_truth/crack/000_mask.png"),
        ("test/crack/001.png", "test", "crack", "ground_truth/crack/001.png"),
        ("test/dent/000.png", "test", "dent", "ground_truth/dent/000_mask.png"),
        ("test/good/000.png", "test", "good", None),
    ]
    (root / "train" / "good").mkdir(parents=True)
    assert known(read_data(root, to_learn=False)) == known(data)


def test_a_folder_that_is_itself_the_test_has_all_for_it_where_nothing_learns(
    tmp_path: Path,
) -> None:
    root = mvtec(tmp_path / "set") / "test"
    assert [s.path.name for s in read_data(root).train_good] == ["000.png"]
    assert {s.split for s in read_data(root, to_learn=False).samples} == {"test"}
    other = root.rename(root.with_name("labelled"))
    assert len(read_data(other, to_learn=False).train_good) == 1


def test_a_table_and_dagm_may_be_for_the_test_alone_where_nothing_learns(tmp_path: Path) -> None:
    text = "path,label,split\na.png,crack,train\nb.png,good,test\nc.png,bad,test\n"
    data = read_data(table(tmp_path / "table", text), to_learn=False)
    assert [s.defect for s in data.samples] == ["good", "defect"]
    root = dagm(tmp_path / "Class1")
    test = known(read_data(root))[2:]
    shutil.rmtree(root / "Train")
    assert known(read_data(root, to_learn=False)) == test


def test_where_there_is_nothing_at_all_it_is_refused_without_learning_too(tmp_path: Path) -> None:
    (tmp_path / "test" / "good").mkdir(parents=True)
    with pytest.raises(LayoutError, match="found"):
        read_data(tmp_path, to_learn=False)
    (tmp_path / "test" / "good" / "a.png").touch()
    with pytest.raises(LayoutError, match="no pictures that can be used"):
        read_data(tmp_path, to_learn=False)


def test_test_pictures_without_a_label_are_not_called_good(tmp_path: Path) -> None:
    text = "path,label,split\na.png,good,train\nb.png,,test\nc.png,,test\n"
    assert read_data(table(tmp_path, text)).describe().split("; ")[1] == "test 2 without a label"
    text = "path,split\na.png,train\nb.png,test\n"
    assert read_data(table(tmp_path, text)).describe().endswith("; test 1 without a label")
    text = "path,label,split\na.png,good,train\nb.png,bad,test\nc.png,,test\nm.png,ok,test\n"
    said = "; test 1 good, 1 defective, 1 without a label (none with masks); labels"
    assert said in read_data(table(tmp_path, text)).describe()


def test_an_empty_mask_is_a_label(tmp_path: Path) -> None:
    path = table(tmp_path, "path,mask,split\na.png,,train\nb.png,m.png,test\nc.png,0.png,test\n")
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "0.png")
    Image.fromarray(np.eye(4, 6, dtype=np.uint8) * 255).save(tmp_path / "m.png")
    data = read_data(path)
    assert {s.path.name: (s.defect, s.is_labelled) for s in data.test} == {
        "b.png": ("defect", True),
        "c.png": ("good", True),
    }
    assert "test 1 good, 1 defective (1 with masks)" in data.describe()


@pytest.mark.parametrize("good", ["good", "OK", "gut"])
@pytest.mark.parametrize("answer", ["FALSE", "True"])
def test_true_and_false_beside_words_for_good_are_refused(
    tmp_path: Path, good: str, answer: str
) -> None:
    text = f"path,label,split\na.png,{good},train\nb.png,{answer},test\n"
    found = rf"labels {answer} 1 beside {good} 1: they may answer whether .* expected words alone"
    with pytest.raises(LayoutError, match=found):
        read_data(table(tmp_path, text))


def test_true_and_false_alone_say_what_is_defective(tmp_path: Path) -> None:
    data = read_data(table(tmp_path, "path,label\na.png,FALSE\nb.png,True\nc.png,false\n"))
    assert [(s.path.name, s.defect) for s in data.samples] == [
        ("a.png", "good"),
        ("c.png", "good"),
        ("b.png", "defect"),
    ]


def test_table_trouble_is_counted_and_named(tmp_path: Path) -> None:
    text = "path\tlabel\tmask\tsplit\na.png\tgood\tm.png\ttrain\nb.png\tcrack\tm.png\ttrain\n"
    text += "\na.png\tgood\tm.png\ttrain\nc.png\tcrack\tgone.png\ttest\n"
    text += "m.png\tgood\t\t\n"
    data = read_data(table(tmp_path, text, "parts.tsv"))
    assert [s.path.name for s in data.samples] == ["m.png", "c.png"]
    assert data.warnings == (
        "rows that repeat a picture, left out: 1 (a.png)",
        "masks that do not exist: 1 (gone.png)",
        "good pictures whose mask marks a defect, left out: 1 (a.png)",
        "defective pictures of the training split, left out: 1 (b.png)",
    )


def test_a_table_of_test_rows_alone_is_for_evaluating(tmp_path: Path) -> None:
    data = read_data(table(tmp_path, "path,label,split\na.png,good,test\nb.png,bad,test\n"))
    assert data.train_good == ()
    assert len(data.test) == 2
    with pytest.raises(LayoutError, match=r"no good pictures to learn from.*split is not test"):
        data.to_learn_from()


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("pass", "fail"),
        ("Passed", "FAILED"),
        ("normal", "abnormal"),
        ("i.O.", "n.i.O."),
        ("iO", "niO"),
        ("OK", "NOK"),
        ("ok", "not ok"),
        ("gut", "Schlecht"),
        ("bon", "défaut"),
        ("良品", "不良品"),
        ("0", "1"),
        ("good part", "bad part"),
        ("no defect", "defective"),
        ("accepted", "rejected"),
    ],
)
def test_labels_that_mean_good_and_defective(tmp_path: Path, good: str, bad: str) -> None:
    data = read_data(table(tmp_path, f"path,label\na.png,{good}\nb.png,{bad}\nc.png,{good}\n"))
    assert [(s.path.name, s.defect) for s in data.samples] == [
        ("a.png", "good"),
        ("c.png", "good"),
        ("b.png", "defect"),
    ]
    expected = f"labels: {good} 2, taken for good; {bad} 1, taken for defective"
    assert data.describe().endswith(expected)


def test_labels_that_are_not_known_are_types_of_defect_and_are_named(tmp_path: Path) -> None:
    data = read_data(table(tmp_path, "path,label\na.png,dobarx\nb.png,losx\n"))
    assert data.train_good == ()
    assert {s.defect for s in data.test} == {"dobarx", "losx"}
    with pytest.raises(
        LayoutError, match=r"no good pictures .*labels: dobarx 1, losx 1, taken for types of defect"
    ):
        data.to_learn_from()


def test_empty_labels_are_good_where_none_is_called_so_and_are_said(tmp_path: Path) -> None:
    data = read_data(table(tmp_path, "path,label\na.png,\nb.png,dent 2\nc.png,\n"))
    assert "labels: (empty) 2, taken for good; dent 2 1, taken for types" in data.describe()
    assert read_data(table(tmp_path, "path\na.png\n")).labels == ""


@pytest.mark.parametrize("label", ["", "NaN", "null", "None", "n/a"])
def test_a_row_without_a_label_is_not_good_beside_some_called_good(
    tmp_path: Path, label: str
) -> None:
    data = read_data(table(tmp_path, f"path,label\na.png,good\nb.png,{label}\nc.png,bad\n"))
    assert [s.path.name for s in data.samples] == ["a.png", "c.png"]
    assert data.labels == "labels: good 1, taken for good; bad 1, taken for defective"
    assert data.warnings == ("rows without a label, left out: 1 (b.png)",)


@pytest.mark.parametrize("label", ["?", "-", "--", "...", "\u2014", "？", "N/A"])
def test_a_sign_alone_is_no_label(tmp_path: Path, label: str) -> None:
    rows = f"path,label,split\na.png,good,\nb.png,{label},\nc.png,{label},test\nm.png,crack,\n"
    data = read_data(table(tmp_path, rows))
    assert [s.path.name for s in data.samples] == ["a.png", "m.png"]
    assert data.warnings == ("rows without a label, left out: 2 (b.png, c.png)",)


@pytest.mark.parametrize(
    "label",
    [
        *("unsure", "review", "unknown", "not checked", "nicht geprüft", "ungeprüft", "ok?"),
        *("crack?", "maybe", "vielleicht good", "not sure", "not labelled", "to be reviewed later"),
        *("non vérifié", "no revisado", "non controllato", "未知", "未检", "не известно", "TBD"),
    ],
)
def test_a_label_that_leaves_it_open_is_left_out(tmp_path: Path, label: str) -> None:
    rows = f"path,label,split\na.png,good,\nb.png,{label},\nc.png,{label},test\nm.png,crack,\n"
    data = read_data(table(tmp_path, rows))
    assert [s.path.name for s in data.samples] == ["a.png", "m.png"]
    said = "rows whose label leaves open whether the part is good, left out: 2 (b.png, c.png)"
    assert data.warnings == (said,)
    assert data.labels == "labels: good 1, taken for good; crack 1, taken for types of defect"


def test_what_programs_write_for_nothing_is_no_label_and_no_mask(tmp_path: Path) -> None:
    rows = "path,label,mask\na.png,None,\nb.png,crack,nan\nc.png,,\n"
    data = read_data(table(tmp_path, rows))
    assert [(s.path.name, s.defect) for s in data.samples] == [
        ("c.png", "good"),
        ("b.png", "crack"),
    ]
    assert data.warnings == ("rows without a label, left out: 1 (a.png)",)


@pytest.mark.parametrize(
    ("header", "marked", "empty", "good"),
    [
        ("path,mask", "b.png,m.png", "c.png,0.png", ["a.png", "c.png"]),
        ("path,mask,split", "b.png,m.png,test", "c.png,0.png,test", ["a.png", "c.png"]),
        ("path,mask,label", "b.png,m.png,nan", "c.png,0.png,", ["a.png", "c.png"]),
    ],
)
def test_a_mask_says_what_a_label_does_not(
    tmp_path: Path, header: str, marked: str, empty: str, good: list[str]
) -> None:
    rest = "," * header.count(",")
    Image.new("L", (6, 4)).save(tmp_path / "0.png")
    data = read_data(table(tmp_path, f"{header}\na.png{rest}\n{marked}\n{empty}\n"))
    assert [s.path.name for s in data.samples if not s.is_defect] == good
    defective = data.test[0]
    assert (defective.path.name, defective.defect) == ("b.png", "defect")
    assert defective.mask == tmp_path / "m.png"
    assert defective.is_labelled


@pytest.mark.parametrize("mask", ["gone.png", "broken.png"])
def test_a_row_without_a_label_whose_mask_cannot_be_read_is_left_out(
    tmp_path: Path, mask: str
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    data = read_data(table(tmp_path, f"path,mask\na.png,\nb.png,{mask}\n"))
    assert [s.path.name for s in data.samples] == ["a.png"]
    trouble = "rows without a label whose mask cannot be read, left out: 1 (b.png)"
    assert trouble in data.warnings


@pytest.mark.parametrize(
    ("header", "good", "bad"),
    [
        ("class", "good", "bad"),
        ("Klasse", "1", "2"),
        ("verdict", "OK", "NG"),
        ("target", "0", "1"),
        ("broken", "False", "True"),
        ("comment", "", "scratch"),
    ],
)
def test_labels_in_a_column_of_another_name_are_refused(
    tmp_path: Path, header: str, good: str, bad: str
) -> None:
    rows = f"path,{header}\na.png,{good}\nb.png,{bad}\n"
    with pytest.raises(LayoutError, match=f"no column 'label', and in '{header}' .*{bad} 1"):
        read_data(table(tmp_path, rows))


@pytest.mark.parametrize("name", ["y", "qc", "x", "cls", "verdict", "Urteil", "state", "1", ""])
@pytest.mark.parametrize(
    "codes",
    [
        *("P F P", "yes no yes", "1 -1 1", "0 1 2 1", "1 0 1", "Y N Y", "+ - +", "ja nein ja"),
        *("1 2 1", "1.0 0.0 2.0 0.0", "oui non oui", "G B G", "✓ ✗ ✓", "CD UD CD", "x - -"),
        "はい いいえ はい",
    ],
)
def test_codes_in_a_column_that_may_say_anything_are_refused(
    tmp_path: Path, name: str, codes: str
) -> None:
    draw(tmp_path, *(f"{i}.png" for i in range(4)))
    (tmp_path / "t.csv").write_text(
        "".join([f"path,{name}\n", *(f"{i}.png,{c}\n" for i, c in enumerate(codes.split()))])
    )
    with pytest.raises(LayoutError, match=f"no column 'label', and in '{name}' "):
        read_data(tmp_path / "t.csv")


@pytest.mark.parametrize("tick", ["x", "✓", "yes", "1", "X"])
def test_a_tick_in_some_cells_alone_is_refused(tmp_path: Path, tick: str) -> None:
    with pytest.raises(LayoutError, match="no column 'label', and in 'qc' "):
        read_data(table(tmp_path, f"path,qc\na.png,\nb.png,{tick}\nc.png,\n"))


@pytest.mark.parametrize(
    "column",
    [
        *("id,1,2,3", ",0,1,2", "remark,-,-,-", "shift,1,2,1", "camera,0,1,0", "line,a,b,a"),
        *("side,L,R,L", "exposure,12,15,12", "operator,A,B,C", "y,0.25,0.5,0"),
    ],
)
def test_numbers_and_letters_that_count_are_no_codes(tmp_path: Path, column: str) -> None:
    name, *cells = column.split(",")
    rows = (f"{file}.png,{cell}\n" for file, cell in zip("abc", cells, strict=True))
    assert len(read_data(table(tmp_path, "".join([f"path,{name}\n", *rows]))).samples) == 3


@pytest.mark.parametrize("column", ["camera,0,1", "score,0.5,0.7", "line,a,b", "label,good,good"])
def test_columns_that_say_nothing_of_good_or_defective_are_named(
    tmp_path: Path, column: str
) -> None:
    name, one, other = column.split(",")
    data = read_data(table(tmp_path, f",path,{name}\n0,a.png,{one}\n1,b.png,{other}\n"))
    assert len(data.train_good) == 2
    assert data.warnings[0].startswith("columns that are not known, not used")
    assert "(no name)" in data.warnings[0]


def test_tables_as_windows_and_spreadsheets_write_them(tmp_path: Path) -> None:
    rows = "path,label\r\n.\\a.png,good\r\n,\r\nx\\..\\b.png,bad\r\n,\r\n"
    (tmp_path / "x").mkdir()
    data = read_data(table(tmp_path, rows))
    assert [s.defect for s in data.samples] == ["good", "defect"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"found the columns \(none\).*name the picture's column 'path'"),
        ("file,label\na.png,good\n", "found the columns file, label"),
        ("path,label\n,good\n", "no path in row 1"),
        ("path,split\na.png,train\nb.png,later\n", "the split 'later' in row 2.*train or test"),
        ("path\na,b.png\n", "2 cells in row 1; expected 1"),
        ("path,label\na.png,good\nx.png,good\n", r"1 of 2 pictures missing \(x\.png in row 2\)"),
        ("path,label\na.png,good\n./a.png,crack\n", "again in row 2 with another label"),
        ("path,label,split\na.png,crack,train\nb.png,good,test\n", "no good pictures to learn"),
        ('path\n"a.png\n', "cannot be read as a table"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        read_data(table(tmp_path, text))


def test_table_in_another_encoding(tmp_path: Path) -> None:
    path = table(tmp_path, "")
    path.write_bytes("path,label\na.png,Größe\n".encode("latin-1"))
    with pytest.raises(LayoutError, match="expected CSV or TSV in UTF-8"):
        read_data(path)


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=|", "sep=\t", "sep=,"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_first_line_that_says_what_separates_cells(tmp_path: Path, first: str, end: str) -> None:
    separator = first.strip('"')[-1]
    rows = (("path", "label"), ("a.png", "good"), ("b.png", "bad"))
    text = end.join([first, *map(separator.join, rows), ""])
    data = read_data(table(tmp_path, text))
    assert [s.defect for s in data.samples] == ["good", "defect"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig", "utf-32"])
@pytest.mark.parametrize("separator", ["\t", ";"])
def test_tables_as_a_spreadsheet_writes_unicode(
    tmp_path: Path, encoding: str, separator: str
) -> None:
    text = f"path{separator}label\r\na.png{separator}gut\r\nb.png{separator}défaut\r\n"
    path = table(tmp_path, "")
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path.write_bytes((mark + text).encode(encoding))
    assert [s.defect for s in read_data(path).samples] == ["good", "defect"]


def test_utf_16_without_a_mark_is_said(tmp_path: Path) -> None:
    path = table(tmp_path, "")
    path.write_bytes("path,label\na.png,good\n".encode("utf-16-le"))
    with pytest.raises(LayoutError, match=r"zeros between its letters, as UTF-16 .*export it"):
        read_data(path)


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the parquet extra is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = table(tmp_path, "", "parts.parquet")
    with pytest.raises(LayoutError, match="cannot be read as Parquet"):
        read_data(path)
    columns = {"path": ["a.png", "b.png", "c.png"], "label": [0, 1, None]}
    parquet.write_table(pyarrow.table(columns), path)
    data = read_data(path)
    assert [(s.path.name, s.defect) for s in data.samples] == [
        ("a.png", "good"),
        ("b.png", "defect"),
    ]
    assert data.warnings == ("rows without a label, left out: 1 (c.png)",)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'pip install -e "\.\[parquet\]"'):
        read_data(table(tmp_path, "", "parts.parquet"))


@pytest.mark.parametrize(
    ("name", "train", "good", "defective"),
    [("magnetic_tile", 762, 190, 388), ("kolektorsdd", 261, 86, 52)],
)
def test_real_sets(name: str, train: int, good: int, defective: int) -> None:
    if not (SETS / name).is_dir():
        pytest.skip(f"the data set {name} is not in {SETS}")
    data = read_data(SETS / name)
    assert data.layout == "mvtec"
    assert len(data.train_good) == train
    assert sum(not s.is_defect for s in data.test) == good
    assert sum(s.is_defect and s.mask is not None for s in data.test) == defective
    assert data.warnings == ()


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("bottle/good", "bottle"),
        ("bottle/train/good", "bottle"),
        ("Gehäuse 7/gut", "Gehäuse 7"),
        ("bottle/01_OK", "bottle"),
        ("good bottles", "good bottles"),
        ("bottle", "bottle"),
        ("bottle\udcff", "bottle\\udcff"),
    ],
)
def test_a_product_is_not_called_good(tmp_path: Path, folder: str, name: str) -> None:
    draw(tmp_path / folder, "a.png", "b.png")
    assert read_data(tmp_path / folder).name == name
