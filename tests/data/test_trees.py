"""Trees as people and downloads have them: an unknown word never means good, a mask is no part."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.data.layouts import DataSet, read_data
from nfbmr.data.masks import read_masks
from nfbmr.errors import LayoutError


def draw(root: Path, *names: str) -> None:
    """Writes a picture of a part under each name, each with pixels of its own."""
    for name in names:
        values = np.random.default_rng(list(name.encode())).integers(0, 256, (8, 9), np.uint8)
        save(root / name, values)


def mark(root: Path, *names: str, empty: bool = False) -> None:
    """Writes a mask under each name: two-valued, or of one value where it is empty."""
    for name in names:
        values = np.zeros((8, 9), np.uint8)
        values[2:4, 3:6] = 0 if empty else 255
        save(root / name, values)


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def numbered(folder: str, n: int, form: str = "{:03}.png") -> list[str]:
    return [f"{folder}/{form.format(i)}" for i in range(n)]


def counts(data: DataSet) -> tuple[int, int, int, int]:
    """To learn from; test good, defective, and of those with a mask."""
    defective = [s for s in data.test if s.is_defect]
    masks = sum(s.mask is not None for s in defective)
    return len(data.train_good), len(data.test) - len(defective), len(defective), masks


def types(data: DataSet) -> dict[str, int]:
    return dict(Counter(s.defect for s in data.test if s.is_defect))


# ---- words


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("good_parts", "bad_parts"),
        ("gut", "schlecht"),
        ("01_OK", "02_NG"),
        ("line3/ok", "line3/ng"),
        ("pass", "fail"),
        ("normal_dir", "abnormal_dir"),
        ("bons", "défauts"),
        ("buenos/monday", "malos/monday"),
        ("PartsGood", "PartsDefect"),
        ("良品", "不良品"),
        ("iO", "niO"),
        ("Training/gut", "Testing/schlecht"),
        ("part_1/images/ok", "part_1/images/not_ok"),
        ("defect_free", "defective"),
        ("dobre", "crack"),
        ("good 3", "blob"),
    ],
)
def test_good_is_learnt_and_defective_is_not(tmp_path: Path, good: str, bad: str) -> None:
    draw(tmp_path, *numbered(good, 4), *numbered(bad, 3))
    data = read_data(tmp_path)
    assert counts(data) == (4, 0, 3, 0)
    assert all(s.path.is_relative_to(tmp_path / good) for s in data.train_good)
    assert all(s.is_labelled for s in data.samples)
    where = f" (from {good} 4)" if data.layout == "folder" else ""
    assert f"4 good to learn from{where}; test 0 good, 3 defective" in data.describe()


@pytest.mark.parametrize(
    "form", [("ok_{:03}.png", "ng_{:03}.png"), ("{:03}-good.png", "{:03}-bad.png")]
)
def test_words_in_the_names_of_the_files(tmp_path: Path, form: tuple[str, str]) -> None:
    draw(tmp_path, *numbered("day1", 4, form[0]), *numbered("day1", 3, form[1]))
    data = read_data(tmp_path)
    assert counts(data) == (4, 0, 3, 0)
    assert types(data) == {"defect": 3}


@pytest.mark.parametrize(
    "names",
    [
        ("dobarx/1.png", "losx/1.png"),
        ("bolt/1.png", "nut/1.png"),
        ("1.png", "ausreisser/2.png"),
        ("images/1.png", "zebra/2.png"),
        ("class_0/1.png", "class_1/1.png"),
        ("positive/1.png", "negative/1.png"),
        ("0/1.png", "1/1.png"),
        ("passt/1.png", "passt_nicht/1.png"),
        ("zebra/1.png", "no_zebra/1.png"),
        ("a/b/zebra/1.png", "a/b/yak/1.png"),
        ("P/1.png", "F/1.png"),
        ("D/CD/1.png", "D/UD/1.png"),
        ("a_ware/1.png", "b_ware/1.png"),
        ("grade 1/1.png", "grade 2/1.png"),
    ],
)
def test_unknown_words_side_by_side_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    draw(tmp_path, *names)
    with pytest.raises(LayoutError, match=r"no word says whether they are good.*into 'good'"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("1.png", "2.png"),
        ("1.png", "monday/2.png", "tuesday/late/2.png"),
        ("line 1/1.png", "line 2/1.png"),
        ("bolt_01/1.png", "bolt_02/1.png"),
        ("2024-01-05/1.png", "2024-01-06/1.png"),
        ("zebra/images/1.png", "zebra/images/2.png"),
        ("S0001/1.png", "S0002/1.png"),
        ("left/1.png", "right/1.png"),
        ("A/1.png", "B/1.png", "C/1.png"),
        ("cam_l/1.png", "cam_r/1.png"),
        ("1.png", "A/1.png"),
    ],
)
def test_folders_that_only_count_are_taken_as_they_are_given(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    draw(tmp_path, *names)
    data = read_data(tmp_path)
    assert counts(data) == (len(names), 0, 0, 0)
    assert not any(s.is_labelled for s in data.samples)


@pytest.mark.parametrize(
    ("known", "unknown"),
    [
        ("line3/ok", "line3/zebra"),
        ("good", "images"),
        ("good", "class1"),
        ("good", "2024-01-05"),
        ("ng", "zebra"),
        ("ng", "images"),
        ("scratch", "monday"),
        ("good", "test"),
        ("good", "to review"),
        ("ok", "questionable"),
        ("good", "overlay"),
        ("good", "good_augmented"),
    ],
)
def test_known_and_unknown_words_side_by_side_are_refused(
    tmp_path: Path, known: str, unknown: str
) -> None:
    draw(tmp_path, *numbered(known, 3), *numbered(unknown, 2))
    last = unknown.rpartition("/")[2]
    with pytest.raises(LayoutError, match=rf"no word says .*{last} 2\).*put good pictures into"):
        read_data(tmp_path)


@pytest.mark.parametrize("beside", ["crack", "bad", ""])
@pytest.mark.parametrize(
    ("good", "other"),
    [
        ("good", "good copy"),
        ("good", "Kopie von good"),
        ("good", "good_berlin"),
        ("good", "good_resized"),
        ("OK", "OK_Nacharbeit"),
        ("god", "quasi_god"),
        ("정상", "준정상"),
        ("ok", "almost ok"),
        ("ok", "zebra_ok"),
        ("ok", "ok?"),
        ("gut", "Gutteile nach Nacharbeit"),
        ("train/good", "test/good copy"),
    ],
)
def test_a_word_for_good_beside_an_unknown_one_is_refused_beside_good(
    tmp_path: Path, good: str, other: str, beside: str
) -> None:
    draw(tmp_path, *numbered(good, 3), *numbered(other, 2), *numbered(beside, 2 * bool(beside)))
    found = rf"no word says whether they are good \({re.escape(other)} 2\).*put good pictures into"
    with pytest.raises(LayoutError, match=found):
        read_data(tmp_path)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("정상", "비정상"),
        ("无瑕疵", "有瑕疵"),
        ("無瑕疵", "有瑕疵"),
    ],
)
def test_an_unknown_word_beside_one_for_good_makes_it_no_good_one(
    tmp_path: Path, good: str, bad: str
) -> None:
    draw(tmp_path, *numbered(good, 3), *numbered(bad, 2))
    data = read_data(tmp_path)
    assert {s.path.parent.name for s in data.train_good} == {good}
    assert counts(data) == (3, 0, 2, 0)
    draw(tmp_path / "deeper", *numbered(f"good/quasi_{good}", 2), *numbered("good", 2))
    with pytest.raises(LayoutError, match=f"no word says .*quasi_{good} 2"):
        read_data(tmp_path / "deeper")


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("bottle_good", "bottle_bad"),
        ("bottle-ok", "bottle-scratch"),
        ("bottle/bottle_ok", "bottle/bottle_ng"),
    ],
)
def test_a_word_that_both_have_turns_nothing_around(tmp_path: Path, good: str, bad: str) -> None:
    draw(tmp_path / "both", *numbered(good, 3), *numbered(bad, 2))
    assert counts(read_data(tmp_path / "both")) == (3, 0, 2, 0)
    draw(tmp_path / "alone", *numbered(good, 3, "bottle_ok_{}.png"))
    assert counts(read_data(tmp_path / "alone")) == (3, 0, 0, 0)


def test_the_type_of_a_defect_is_the_folder_below_the_word_if_that_names_one(
    tmp_path: Path,
) -> None:
    draw(tmp_path, *numbered("normal/train", 3), *numbered("normal/test", 2))
    draw(tmp_path, *numbered("anomaly/test", 2), "anomaly/images/1.png", "anomaly/blob/1.png")
    data = read_data(tmp_path)
    assert counts(data) == (3, 2, 4, 0)
    assert types(data) == {"anomaly": 3, "blob": 1}


def test_files_with_and_without_a_word_side_by_side_are_refused(tmp_path: Path) -> None:
    draw(tmp_path, "1.png", "2_ng.png")
    with pytest.raises(LayoutError, match=r"no word says .*\(the folder itself 1\)"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    ("forms", "words"),
    [
        (("crazing_{:03}.jpg", "patches_{:03}.jpg"), "crazing 4, patches 3"),
        (("0004{:03}_temp.jpg", "0004{:03}_test.jpg"), "temp 4, test 3"),
        (("{:03}_P.png", "{:03}_F.png"), "f 3, p 4"),
        (("{:03}.png", "{:03} fleck.png"), r"\(no word\) 4, fleck 3"),
    ],
)
def test_files_that_unknown_words_sort_are_refused(
    tmp_path: Path, forms: tuple[str, str], words: str
) -> None:
    for folder in ("images", "good"):
        draw(tmp_path / folder, *numbered(".", 4, forms[0]), *numbered(".", 3, forms[1]))
    with pytest.raises(LayoutError, match=rf"found files of which no word says .*\({words}\)"):
        read_data(tmp_path / "images")
    assert counts(read_data(tmp_path / "good")) == (7, 0, 0, 0), "the folder says what they are"


@pytest.mark.parametrize(
    "names",
    [
        [f"{name}_{i}.png" for name in ("IMG", "DSC") for i in range(3)],
        [f"{i}_{side}.png" for side in ("left", "right", "A", "B") for i in range(3)],
        [f"{camera}_{i}.png" for camera in ("camA", "camB", "camC") for i in range(3)],
        [*(f"{i}.png" for i in range(4)), *(f"new_{i}.png" for i in range(4))],
        ["3fabc9.png", "b0dad1.png", "e1bed.png", "0cafe1.png", "12ace3.png", "77.png"],
        [*(f"bolt_{i}.png" for i in range(5)), "Unnamed.png"],
    ],
)
def test_files_whose_names_are_of_chance_are_taken_as_they_are_given(
    tmp_path: Path, names: list[str]
) -> None:
    draw(tmp_path, *names)
    assert counts(read_data(tmp_path)) == (len(names), 0, 0, 0)


@pytest.mark.parametrize(
    ("zero", "one", "said"),
    [
        ("1{}_0.png", "2{}_1.png", "NUMBER_0 3, NUMBER_1 4"),
        ("part_1{}-0.png", "part_2{}-1.png", "NUMBER_0 3, NUMBER_1 4"),
        ("0_1{}.png", "1_2{}.png", "0_NUMBER 3, 1_NUMBER 4"),
        ("img 1{} n.png", "img 2{} y.png", ""),
        ("x/1{}_0.png", "x/2{}_1.png", "NUMBER_0 3, NUMBER_1 4"),
    ],
)
def test_files_whose_numbers_have_one_answer_each_are_refused(
    tmp_path: Path, zero: str, one: str, said: str
) -> None:
    draw(tmp_path, *(zero.format(i) for i in range(3)), *(one.format(i) for i in range(4)))
    with pytest.raises(LayoutError, match=rf"no word says whether they are good \({said}"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        [f"{i}_{camera}.png" for camera in (0, 1) for i in range(4)],
        [f"{i}_cam_{i % 2}.png" for i in range(8)],
        [f"{i}_{i % 3}.png" for i in range(9)],
        [f"1{i}_0.png" for i in range(9)] + ["7_1.png", "8_1.png"],
        [*(f"{i}.png" for i in range(12)), "---.png", "_.png"],
        [f"good/{i}_{i % 2}.png" for i in range(8)],
    ],
)
def test_files_that_count_by_0_and_1_are_taken_as_they_are_given(
    tmp_path: Path, names: list[str]
) -> None:
    draw(tmp_path, *names)
    assert len(read_data(tmp_path).train_good) == len(names)


@pytest.mark.parametrize(
    "file", ["labels.csv", "annotations.json", "Annotations/000.xml", "lable/1.txt", "train.csv"]
)
def test_pictures_beside_labels_that_are_not_read_are_refused(tmp_path: Path, file: str) -> None:
    draw(tmp_path, *numbered("images", 3))
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("x")
    with pytest.raises(LayoutError, match=r"1 file of labels that is not read, and no word .*good"):
        read_data(tmp_path)
    (tmp_path / "images").rename(tmp_path / "good")
    assert counts(read_data(tmp_path)) == (3, 0, 0, 0)


def test_what_two_names_contradict_is_left_out(tmp_path: Path) -> None:
    draw(tmp_path, "good/1.png", "good/bad_2.png", "ng/3.png", "ok_and_ng/4.png", "ng/good/5.png")
    data = read_data(tmp_path)
    assert [s.path.name for s in data.samples] == ["1.png", "3.png"]
    assert data.warnings == (
        "pictures that one name calls good and another defective, left out: 3 "
        "(good/bad_2.png, ng/good/5.png, ok_and_ng/4.png)",
    )


@pytest.mark.parametrize("name", ["NG", "schlecht", "Masks", "ground_truth", "bad_parts"])
def test_a_folder_that_is_itself_called_bad_is_not_learnt(tmp_path: Path, name: str) -> None:
    draw(tmp_path / name, "1.png", "2.png")
    with pytest.raises(LayoutError, match=f"name '{name}' says that what is in it is not good"):
        read_data(tmp_path / name)
    draw(tmp_path / name / "images", "1.png")
    with pytest.raises(LayoutError, match="not good"):
        read_data(tmp_path / name / "images")


def test_what_nfbmr_writes_is_no_part_and_no_type_of_defect(tmp_path: Path) -> None:
    folders = ("good", "defect", "look", "error", "heatmaps", "results_heatmaps")
    draw(tmp_path, *(f"{folder}/1.png" for folder in folders))
    data = read_data(tmp_path)
    assert [s.path.parent.name for s in data.samples] == ["good", "defect"]
    assert data.warnings == (
        "pictures in error, look or heatmaps, as nfbmr writes them, left out: 4 "
        "(error/1.png, heatmaps/1.png, look/1.png, results_heatmaps/1.png)",
    )
    plain = tmp_path / "plain"
    draw(plain, "1.png", "heatmaps/1.png")
    assert counts(read_data(plain)) == (1, 0, 0, 0)
    mvtec = tmp_path / "mvtec"
    draw(mvtec, "train/good/1.png", "test/good/2.png", "test/error/3.png", "test/dent/4.png")
    assert types(read_data(mvtec)) == {"dent": 1}


@pytest.mark.parametrize("name", ["good", "01_OK", "Gutteile", "good/images"])
def test_a_folder_that_is_itself_called_good_is_labelled(tmp_path: Path, name: str) -> None:
    draw(tmp_path / name, "1.png", "2.png")
    data = read_data(tmp_path / name)
    assert [s.is_labelled for s in data.train_good] == [True, True]


# ---- masks


def test_images_and_masks_without_a_word_are_refused(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("images", 6))
    mark(tmp_path, *numbered("masks", 3))
    with pytest.raises(LayoutError, match=r"folder masks and 3 masks, and no word .*\(masks 3\)"):
        read_data(tmp_path)


def test_where_every_picture_has_a_mask_the_empty_ones_are_good(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("images", 6))
    mark(tmp_path, *numbered("masks", 2))
    mark(tmp_path, *numbered("masks", 6)[2:], empty=True)
    data = read_data(tmp_path)
    assert counts(data) == (4, 0, 2, 2)
    assert sorted(s.path.name for s in data.test) == ["000.png", "001.png"]


@pytest.mark.parametrize("end", ["_mask", "_GT", "_label", "-gt", " mask", "Mask", "_seg"])
def test_masks_beside_their_pictures_are_no_parts(tmp_path: Path, end: str) -> None:
    draw(tmp_path, *numbered("good", 3), *numbered("bad", 2))
    mark(tmp_path, *(f"bad/{i:03}{end}.png" for i in range(2)))
    mark(tmp_path, *(f"good/{i:03}{end}.bmp" for i in range(3)), empty=True)
    assert counts(read_data(tmp_path)) == (3, 0, 2, 2)


def test_a_good_picture_whose_mask_marks_something_is_not_learnt(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("good", 3), "bad/1.png")
    mark(tmp_path, "good/001_mask.png")
    data = read_data(tmp_path)
    assert [s.path.name for s in data.train_good] == ["000.png", "002.png"]
    assert data.warnings == ("good pictures whose mask marks a defect, left out: 1 (good/001.png)",)


@pytest.mark.parametrize(
    ("picture", "mask"),
    [("ng/{}.jpg", "ng/{}.png"), ("ng/{}.png", "ng/{}_zone.png"), ("ng/{}.png", "marked/{}.png")],
)
def test_two_valued_pictures_in_pairs_are_masks(tmp_path: Path, picture: str, mask: str) -> None:
    draw(tmp_path, *numbered("ok", 3), *(picture.format(i) for i in range(3)))
    mark(tmp_path, *(mask.format(i) for i in range(3)))
    data = read_data(tmp_path)
    found = counts(data)
    assert found[:3] == (3, 0, 3)
    assert {s.path.relative_to(tmp_path).as_posix() for s in data.test} == {
        picture.format(i) for i in range(3)
    }


@pytest.mark.parametrize(
    ("good", "drawn"),
    [
        ("good", "roi/crack_{:03}.png"),
        ("good", "binary/b_{}.png"),
        ("ok", "ng/zones/z_{}.png"),
        ("train/good", "test/regions/r_{}.png"),
        ("train/good", "test/crack/shapes/s_{}.png"),
    ],
)
def test_two_valued_pictures_in_a_folder_of_their_own_are_no_defects(
    tmp_path: Path, good: str, drawn: str
) -> None:
    crack = "test/crack" if "train" in good else "crack"
    draw(tmp_path, *numbered(good, 4), *numbered(crack, 4))
    mark(tmp_path, *(drawn.format(i) for i in range(3)), empty=True)
    mark(tmp_path, drawn.format(3), drawn.format(1))
    folder = drawn.rpartition("/")[0]
    with pytest.raises(LayoutError, match=rf"look like masks, of two values, .*\({folder} 4\)"):
        read_data(tmp_path)


def test_two_valued_defects_beside_two_valued_good_ones_and_dark_ones_are_parts(
    tmp_path: Path,
) -> None:
    mark(tmp_path / "a", *numbered("good", 3), *numbered("crack", 3, "c{}.png"))
    assert counts(read_data(tmp_path / "a")) == (3, 0, 3, 0)
    draw(tmp_path / "b", *numbered("good", 3))
    mark(tmp_path / "b", *numbered("dark", 3, "d{}.png"), empty=True)
    assert counts(read_data(tmp_path / "b")) == (3, 0, 3, 0)


def test_where_a_name_says_more_than_mask_the_looks_decide(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("train/good", 3), *numbered("test/good", 2))
    draw(tmp_path, *numbered("test/solder_mask_gap", 2), *numbered("test/crack", 2))
    mark(tmp_path, *numbered("test/crack_mask", 2))
    mark(tmp_path, *numbered("ground_truth/solder_mask_gap", 2))
    data = read_data(tmp_path)
    assert counts(data) == (3, 2, 4, 4)
    assert types(data) == {"crack": 2, "solder_mask_gap": 2}


def test_a_mask_may_lie_alone_beside_its_picture(tmp_path: Path) -> None:
    draw(tmp_path, "good/1/image.png", "good/2/image.png", "bad/3/image.png")
    mark(tmp_path, "bad/3/mask.png")
    data = read_data(tmp_path)
    assert counts(data) == (2, 0, 1, 1)
    assert data.test[0].mask == tmp_path / "bad/3/mask.png"
    draw(tmp_path / "plain", "1/image.png", "2/image.png")
    mark(tmp_path / "plain", "2/gt.png")
    with pytest.raises(LayoutError, match="1 mask, and no word"):
        read_data(tmp_path / "plain")


def test_parts_that_are_labels_are_no_masks(tmp_path: Path) -> None:
    draw(tmp_path, "label_1.png", "label_2.png")
    assert counts(read_data(tmp_path)) == (2, 0, 0, 0)


def test_pictures_of_one_number_in_two_folders_are_no_masks(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("monday", 3), *numbered("tuesday", 3))
    assert counts(read_data(tmp_path)) == (6, 0, 0, 0)


def test_parts_that_are_two_valued_themselves_are_parts(tmp_path: Path) -> None:
    mark(tmp_path, *numbered("monday", 3), *numbered("tuesday", 3))
    assert counts(read_data(tmp_path)) == (6, 0, 0, 0)


def test_a_mask_that_cannot_be_read_makes_no_picture_good(tmp_path: Path) -> None:
    draw(tmp_path, "1.png", "2.png")
    mark(tmp_path, "1_mask.png", empty=True)
    (tmp_path / "2_mask.png").write_bytes(b"no picture")
    with pytest.raises(LayoutError, match=r"no word says .*\(the folder itself 1\)"):
        read_data(tmp_path)


# ---- sets as they are downloaded


def test_visa(tmp_path: Path) -> None:
    root = tmp_path / "candle"
    draw(root, *numbered("Data/Images/Normal", 5), *numbered("Data/Images/Anomaly", 3))
    mark(root, *numbered("Data/Masks/Anomaly", 3))
    (root / "image_anno.csv").write_text("image,label,mask\n")
    data = read_data(root)
    assert counts(data) == (5, 0, 3, 3)
    assert "5 good to learn from (from Data/Images/Normal 5)" in data.describe()
    draw(tmp_path / "capsules", "Data/Images/Normal/0.png")
    with pytest.raises(LayoutError, match=r"several products \(candle, capsules\)"):
        read_data(tmp_path)


def test_kolektor_sdd(tmp_path: Path) -> None:
    for item in ("kos01", "kos02", "kos03"):
        draw(tmp_path, *numbered(item, 4, "Part{}.jpg"))
        mark(tmp_path, *numbered(item, 3, "Part{}_label.bmp"), empty=True)
        mark(tmp_path, f"{item}/Part3_label.bmp")
    data = read_data(tmp_path)
    assert counts(data) == (9, 0, 3, 3)
    assert {s.path.name for s in data.test} == {"Part3.jpg"}


def test_kolektor_sdd_2(tmp_path: Path) -> None:
    for split, n in (("train", 6), ("test", 5)):
        draw(tmp_path, *numbered(split, n, "2{:04}.png"))
        mark(tmp_path, *numbered(split, n - 2, "2{:04}_GT.png"), empty=True)
        mark(tmp_path, *numbered(split, n, "2{:04}_GT.png")[-2:])
    data = read_data(tmp_path)
    assert data.layout == "folder"
    assert counts(data) == (4, 3, 2, 2)
    assert data.warnings[0].startswith("defective pictures of the training split, left out: 2")


def test_btad(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("01/train/ok", 4, "{:04}.bmp"), *numbered("01/test/ok", 2, "{}.bmp"))
    draw(tmp_path, *numbered("01/test/ko", 3, "{:04}.bmp"))
    mark(tmp_path, *numbered("01/ground_truth/ko", 3, "{:04}.png"))
    data = read_data(tmp_path / "01")
    assert counts(data) == (4, 2, 3, 3)
    assert types(data) == {"ko": 3}
    draw(tmp_path, "02/train/ok/1.png")
    with pytest.raises(LayoutError, match=r"several products \(01, 02\)"):
        read_data(tmp_path)


def test_mvtec_3d(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("train/good/rgb", 4), *numbered("train/good/xyz", 4, "{:03}.tiff"))
    draw(tmp_path, *numbered("validation/good/rgb", 2), *numbered("test/good/rgb", 2))
    mark(tmp_path, *numbered("test/good/gt", 2), empty=True)
    draw(tmp_path, *numbered("test/crack/rgb", 3), *numbered("test/crack/xyz", 3, "{:03}.tiff"))
    mark(tmp_path, *numbered("test/crack/gt", 3))
    data = read_data(tmp_path)
    assert counts(data) == (4, 2, 3, 3)
    assert {s.path.parent.name for s in data.samples} == {"rgb"}
    assert [w.partition(":")[0] for w in data.warnings] == [
        "pictures of depth and the like beside rgb, left out",
        "pictures of a validation or private split, left out",
    ]


def test_mvtec_loco(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("train/good", 4), *numbered("validation/good", 2))
    draw(tmp_path, *numbered("test/good", 2), *numbered("test/logical_anomalies", 2))
    draw(tmp_path, *numbered("test/structural_anomalies", 1))
    mark(tmp_path, "ground_truth/logical_anomalies/000/000.png")
    mark(tmp_path, *numbered("ground_truth/logical_anomalies/001", 2))
    mark(tmp_path, "ground_truth/structural_anomalies/000/000.png")
    data = read_data(tmp_path)
    assert counts(data) == (4, 2, 3, 3)
    assert types(data) == {"logical_anomalies": 2, "structural_anomalies": 1}
    assert [w.partition(":")[0] for w in data.warnings] == [
        "pictures of a validation or private split, left out"
    ]


def test_several_masks_of_one_picture_are_joined(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("train/good", 2), "test/good/0.png", "test/a/0.png", "test/b/1.png")
    for number in range(3):
        values = np.zeros((8, 9), np.uint8)
        values[number, number] = 1 + number
        save(tmp_path / f"ground_truth/a/0/{number}.png", values)
    save(tmp_path / "ground_truth/a/0/9.png", np.zeros((3, 3), np.uint8))
    mark(tmp_path, "ground_truth/b/1_mask.png", "ground_truth/b/1_mask_2.png")
    data = read_data(tmp_path)
    masks = {s.defect: read_masks(s.masks) for s in data.test if s.is_defect}
    assert np.argwhere(masks["a"]).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert masks["b"].sum() == 6
    assert data.warnings == (
        "masks of another size than their picture, not used: 1 (ground_truth/a/0/9.png)",
    )


def test_where_every_picture_has_masks_one_that_marks_something_is_enough(tmp_path: Path) -> None:
    draw(tmp_path, "1.png", "2.png")
    mark(tmp_path, "1_mask.png", "1_mask_2.png", "2_mask.png", empty=True)
    mark(tmp_path, "2_mask_2.png")
    assert counts(read_data(tmp_path)) == (1, 0, 1, 1)


def test_mvtec_ad_2(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("train/good", 4, "{:03}_regular.png"))
    draw(tmp_path, *numbered("validation/good", 2, "{:03}_regular.png"))
    draw(tmp_path, *numbered("test_public/good", 2, "{:03}_regular.png"))
    draw(tmp_path, *numbered("test_public/bad", 3, "{:03}_overexposed.png"))
    mark(tmp_path, *numbered("test_public/ground_truth/bad", 3, "{:03}_overexposed_mask.png"))
    draw(tmp_path, *numbered("test_private", 5), *numbered("test_private_mixed", 5))
    data = read_data(tmp_path)
    assert counts(data) == (4, 2, 3, 3)
    assert types(data) == {"bad": 3}
    assert [w.partition(" (")[0] for w in data.warnings] == [
        "pictures of a validation or private split, left out: 12"
    ]


def test_mpdd_and_types_that_are_called_like_anything(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("train/good", 4), *numbered("test/good", 2))
    draw(
        tmp_path, *numbered("test/hole", 2), *numbered("test/color", 1), "test/missing_label/1.png"
    )
    for name in ("hole/000", "hole/001", "color/000", "missing_label/1"):
        mark(tmp_path, f"ground_truth/{name}_mask.png")
    data = read_data(tmp_path)
    assert counts(data) == (4, 2, 4, 4)
    assert types(data) == {"hole": 2, "color": 1, "missing_label": 1}
    assert data.warnings == ()


def test_real_iad(tmp_path: Path) -> None:
    root = tmp_path / "audiojack"
    for part in ("S0001", "S0002"):
        draw(root, *numbered(f"OK/{part}", 5, "audiojack_0001_OK_C{}_2023.jpg"))
    for number in range(5):
        stem = f"NG/AK/S0003/audiojack_0003_NG_AK_C{number}_2023"
        draw(root, f"{stem}.jpg")
        mark(root, f"{stem}.png")
    data = read_data(root)
    assert counts(data) == (10, 0, 5, 5)
    assert types(data) == {"AK": 5}


def test_magnetic_tile_as_it_is_downloaded(tmp_path: Path) -> None:
    for folder, n in (("MT_Free", 4), ("MT_Blowhole", 2), ("MT_Uneven", 2)):
        draw(tmp_path, *numbered(f"{folder}/Imgs", n, "exp1_num_{}.jpg"))
        mark(
            tmp_path,
            *numbered(f"{folder}/Imgs", n, "exp1_num_{}.png"),
            empty=folder == "MT_Free",
        )
    data = read_data(tmp_path)
    assert counts(data) == (4, 0, 4, 4)
    assert types(data) == {"MT_Blowhole": 2, "MT_Uneven": 2}


def test_train_and_test_without_a_label_folder_are_no_dagm(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("train", 3), *numbered("test", 3))
    with pytest.raises(LayoutError, match="found the folder test, train and no word"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "of"),
    [
        ("{}.xml", "<annotation><object><name>dent</name></object></annotation>", 4),
        ("{}.json", '{"version": "5", "shapes": [{"label": "dent"}]}', 4),
        ("{}.txt", "0 0.51 0.42 0.1 0.2\n", 4),
        ("{}.txt", "seen by hand", 2),
    ],
)
def test_texts_beside_pictures_that_say_what_is_seen_are_not_passed_over(
    tmp_path: Path, name: str, text: str, of: int
) -> None:
    draw(tmp_path, *numbered("x", 4, "{}.png"))
    for number in range(of):
        (tmp_path / "x" / name.format(number)).write_text(text)
    found = rf"found {of} files of labels that are not read, and no word that says what is good"
    with pytest.raises(LayoutError, match=found):
        read_data(tmp_path)
    (tmp_path / "x").rename(tmp_path / "good")
    assert counts(read_data(tmp_path)) == (4, 0, 0, 0)


def test_what_a_camera_writes_of_each_of_its_pictures_says_nothing_of_them(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("x", 4, "{}.png"))
    for number in range(4):
        (tmp_path / "x" / f"{number}.xml").write_text("<exposure>0.002</exposure>")
    data = read_data(tmp_path)
    assert counts(data) == (4, 0, 0, 0)
    assert data.warnings[0].startswith("files that are not pictures, left out: 4")
