"""Names that say good and something else: what denies or leaves it open is never learnt."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.data.layouts import DataSet, read_data
from nfbmr.errors import LayoutError

MARKED = """
    good_x x_good good(x) OK_X ok_xx good_A ok_L ok_is good_х gut_in 良_x okay_ｘ
    good* *ok good_* good… good... good.. ok/ /ok ok\\ ok|
    good_- good(-) good_– -_good good_+ good() good[_] good_( ok: ok; ok& ok:_0 ok=0
    ok:_0.98 ok:_0,5 good_0.02 good_.98 ok_3/10 ok_10_/_10 good:0:1
    good_# #good ok_★ 50%_good good_~ good_± good_× good_❌ good_☓ good_👎 good_⚠ good_🙂 good‽
    g̶o̶o̶d̶ 合格* 良×
"""


def draw(root: Path, *names: str) -> None:
    """Writes a picture of a part under each name, each with pixels of its own."""
    for name in names:
        values = np.random.default_rng(list(name.encode())).integers(0, 256, (8, 9), np.uint8)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(root / name)


def numbered(folder: str, n: int = 4) -> list[str]:
    """Names `n` files of a folder; or by a form of their own, as `{}_ok.png`."""
    return [folder.format(i) if "{" in folder else f"{folder}/{i:03}.png" for i in range(n)]


def learnt(data: DataSet) -> set[str]:
    return {s.path.relative_to(data.root).as_posix() for s in data.train_good}


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("ok", "ok_no"),
        ("good", "good-NOT"),
        ("gut", "gut nicht"),
        ("gut", "Gut_Nein"),
        ("bon", "bon_pas"),
        ("ok", "oknot"),
        ("OK", "ok falsch"),
        ("{:03}_OK.png", "{:03}_OK_no.png"),
        ("2024/good", "2024/good not"),
        ("정상", "정상 아님"),
    ],
)
def test_a_denial_behind_a_word_for_good_makes_it_a_defect(
    tmp_path: Path, good: str, bad: str
) -> None:
    draw(tmp_path, *numbered(good), *numbered(bad, 3))
    data = read_data(tmp_path)
    assert learnt(data) == {*numbered(good)}
    assert "good" not in {s.defect for s in data.test}


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("01 i.O.", "02 n.i.O."),
        ("Teile i.O.", "Teile n.i.O."),
        ("O.K. 1", "N.O.K. 1"),
        ("i_o_1", "n_i_o_1"),
        ("Teil {} i.O.png", "Teil {} n.i.O.png"),
        ("Teil {} O.K.png", "Teil {} N.G.png"),
    ],
)
def test_letters_of_one_word_are_read_in_a_longer_name(tmp_path: Path, good: str, bad: str) -> None:
    draw(tmp_path, *numbered(good), *numbered(bad, 3))
    data = read_data(tmp_path)
    assert learnt(data) == {*numbered(good)}
    assert len(data.test) == 3


@pytest.mark.parametrize(
    "bad", ["good/n.i.O. 3", "good/Teil {} n.i.O.png", "train/good/Teil {} N.G.png"]
)
def test_letters_of_one_word_below_good_ones_contradict_them(tmp_path: Path, bad: str) -> None:
    good = numbered("train/good" if "train" in bad else "good")
    draw(tmp_path, *good, *numbered(bad, 2))
    data = read_data(tmp_path)
    assert learnt(data) == {*good}
    assert data.warnings[0].startswith("pictures that one name calls good and another defective")


@pytest.mark.parametrize(
    "names",
    [
        ("ok_yes", "ok_no"),
        ("ok_true", "ok_false"),
        ("ok", "ok_yes", "ok_no"),
        ("ok_ja", "ok_nein"),
        ("ok_sí", "ok_no"),
        ("good_1", "good_0"),
        ("1_good", "0_good"),
        ("ok_t", "ok_f"),
        ("good_P", "good_F"),
        ("train/good_1", "train/good_0"),
        ("{:03}_ok_1.png", "9{:03}_ok_0.png"),
        ("good+", "good-"),
        ("ok_no_1{}.png", "ok_yes_1{}.png"),
        ("ok_no_1{}.png",),
        ("passt_1", "passt_0"),
    ],
)
def test_what_may_deny_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    draw(tmp_path, *(file for name in names for file in numbered(name)))
    with pytest.raises(LayoutError, match="into 'good'"):
        read_data(tmp_path)


@pytest.mark.parametrize("name", ["gut_ohne_deckel", "ok_n", "!ok", "ok_not_painted", "okay ✗"])
def test_what_may_deny_is_refused_beside_good_ones(tmp_path: Path, name: str) -> None:
    draw(tmp_path, *numbered("ok"), *numbered(name))
    with pytest.raises(LayoutError, match="no word says whether they are good"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("part_no_1{}_ok.png", "part_no_2{}_ng.png"),
        ("ok_no_1{}.png", "ng_no_2{}.png"),
        ("{:03}_ok_0.png", "ng"),
        ("ok/cam_0", "ng"),
        ("class_ok", "class_ng"),
        ("quality good", "quality bad"),
        ("defect_no", "defect_yes"),
        ("Si_ok", "Si_ng"),
    ],
)
def test_words_that_turn_nothing_around_are_passed_over(
    tmp_path: Path, good: str, bad: str
) -> None:
    draw(tmp_path, *numbered(good), *numbered(bad))
    assert learnt(read_data(tmp_path)) == {*numbered(good)}


def test_two_cameras_are_no_answers(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("{:03}_ok_0.png"), *numbered("{:03}_ok_1.png"), "ng/1.png")
    draw(tmp_path, *numbered("ok_2", 3), *numbered("cam_0_ok", 3), *numbered("cam_1_ok", 3))
    assert len(read_data(tmp_path).train_good) == 17


@pytest.mark.parametrize("label", ["ok no", "ok-not", "gut nicht"])
def test_labels_of_a_table_that_deny_are_not_good(tmp_path: Path, label: str) -> None:
    draw(tmp_path, "a.png", "b.png")
    (tmp_path / "t.csv").write_text(f"path,label\na.png,good\nb.png,{label}\n")
    data = read_data(tmp_path / "t.csv")
    assert [s.path.name for s in data.train_good] == ["a.png"]
    assert data.test[0].defect != "good"


@pytest.mark.parametrize(
    "label", ["good copy", "ok yes", "OK Nacharbeit", "Kopie von gut", "ok n", "good-", "!ok"]
)
def test_labels_of_a_table_that_hold_a_word_for_good_and_others_are_refused(
    tmp_path: Path, label: str
) -> None:
    draw(tmp_path, "a.png", "b.png")
    (tmp_path / "t.csv").write_text(f"path,label\na.png,good\nb.png,{label}\n")
    with pytest.raises(LayoutError, match=rf"labels {label} 1, a word for good beside others"):
        read_data(tmp_path / "t.csv")


@pytest.mark.parametrize("label", [*MARKED.split(), "good\tx"])
def test_labels_of_a_table_that_hold_a_mark_beside_a_word_for_good_are_refused(
    tmp_path: Path, label: str
) -> None:
    label = label.replace("_", " ")
    draw(tmp_path, "a.png", "b.png")
    text = f'path,label\na.png,good\nb.png,"{label}"\n'
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(LayoutError, match=r" 1, a word for good beside others or signs"):
        read_data(tmp_path / "t.csv")


@pytest.mark.parametrize("label", ["not good", "no good", "good no", "good - not", "un-good"])
def test_labels_of_a_table_that_deny_a_word_for_good_are_defects(
    tmp_path: Path, label: str
) -> None:
    draw(tmp_path, "a.png", "b.png")
    (tmp_path / "t.csv").write_text(f"path,label\na.png,good\nb.png,{label}\n")
    assert [s.defect for s in read_data(tmp_path / "t.csv").test] == ["defect"]


@pytest.mark.parametrize(
    "label",
    [
        *("Good.", "(ok)", "'good'", "in Ordnung", "i.O.", "i. O.", "O.K.", "good part", "01_OK"),
        *(
            "line 3/ok",
            "train/good",
            "7 - ok",
            "ok #3",
            "✓ ok",
            "OK ✅",
            "合格。",
            "（合格）",
            "良○",
        ),
        *("good & clean", "good\u200b", "ok 640×480", "2024-01-05 gut", "годный", "sans défaut"),
    ],
)
def test_labels_of_a_table_that_say_good_and_no_more_are_good(tmp_path: Path, label: str) -> None:
    draw(tmp_path, "a.png", "b.png")
    (tmp_path / "t.csv").write_text(f"path,label\na.png,{label}\nb.png,dent\n", encoding="utf-8")
    assert [s.path.name for s in read_data(tmp_path / "t.csv").train_good] == ["a.png"]


def test_folders_that_count_by_letters_are_good(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("good A"), *numbered("good B"), *numbered("good_-10"), "ng/1.png")
    assert len(read_data(tmp_path).train_good) == 12


@pytest.mark.parametrize("name", ["good*", "ok...", "good (-)", "ok 👎"])
@pytest.mark.skipif(os.name == "nt", reason="such names are not allowed there")
def test_marks_in_the_names_of_folders_are_refused_beside_good_ones(
    tmp_path: Path, name: str
) -> None:
    draw(tmp_path, *numbered("ok"), *numbered(name))
    with pytest.raises(LayoutError, match="no word says whether they are good"):
        read_data(tmp_path)


def test_labels_of_a_table_that_differ_by_0_and_1_are_refused(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    (tmp_path / "t.csv").write_text("path,label\na.png,ok 1\nb.png,ok 0\n")
    with pytest.raises(LayoutError, match=r"labels ok 0, ok 1, which may be yes and no; expected"):
        read_data(tmp_path / "t.csv")


# ---- doubt


@pytest.mark.parametrize(
    ("good", "doubtful"),
    [
        ("good", "good_unsure"),
        ("ok", "ok_suspect"),
        ("ok", "ok_rest"),
        ("good", "good_other"),
        ("good", "good (unlabeled)"),
        ("{:03}_ok.png", "{:03}_ok_unsure.png"),
        ("good", "good/unsure"),
        ("good", "good/line 1/unsure"),
        ("2024/good", "2024/good/quarantine"),
        ("train/good", "train/good/unsure"),
        ("good", "good/{:03}_unsure.png"),
        ("good", "good/{:03}_ok_rest.png"),
        ("{:03}.png", "{:03}_suspicious.png"),
        ("train/good", "train/good/{:03}_unsure.png"),
    ],
)
def test_what_a_name_leaves_open_is_left_out_and_named(
    tmp_path: Path, good: str, doubtful: str
) -> None:
    draw(tmp_path, *numbered(good), *numbered(doubtful, 2))
    data = read_data(tmp_path)
    assert learnt(data) == {*numbered(good)}
    assert data.test == ()
    first, second = numbered(doubtful, 2)
    assert data.warnings == (
        f"pictures whose names leave open whether they are good, left out: 2 ({first}, {second})",
    )


def test_the_test_of_a_category_takes_nothing_that_is_left_open(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("train/good"), *numbered("test/good_unsure", 2), "test/dent/1.png")
    draw(tmp_path, "test/good/1.png", "test/good/unsure/2.png")
    data = read_data(tmp_path)
    assert [s.path.name for s in data.test] == ["1.png", "1.png"]
    assert data.warnings[-1].startswith("pictures whose names leave open whether they are good")
    assert "left out: 3 " in data.warnings[-1]


def test_where_nothing_but_doubt_is_found_it_is_refused(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("ok_unsure", 2))
    with pytest.raises(LayoutError, match=r"no good pictures .*leave open.*add pictures of good"):
        read_data(tmp_path)


# ---- below a folder of good pictures


@pytest.mark.parametrize(
    "names",
    [
        ("good", "good/returned"),
        ("good/line1", "good/returned"),
        ("good/late", "good/foo"),
        ("train/good", "train/good/rework"),
        ("train/good/a", "train/good/customer_returns"),
        ("2024/good", "2025/good/returned"),
        ("good/painted", "good/not_painted"),
        ("good/P", "good/F"),
        ("good/images", "good/normals"),
    ],
)
@pytest.mark.parametrize("beside", ["test/dent", "ng"])
def test_unknown_words_that_sort_good_pictures_are_refused(
    tmp_path: Path, names: tuple[str, ...], beside: str
) -> None:
    draw(tmp_path, *(file for name in names for file in numbered(name)), f"{beside}/1.png")
    found = r"below good ones of which no word says .*\(.* 4\); expected folders that only count"
    with pytest.raises(LayoutError, match=found):
        read_data(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("good", "good/line 1", "good/2024-01-05", "good/cam_a", "good/late"),
        ("good/bolt_1", "good/bolt_2"),
        ("good/type_a", "good/type_b"),
        ("good/A", "good/B", "good/C"),
        ("good/0", "good/1"),
        ("good/widget",),
        ("good/2306881-210020u", "good/2311694-2040n7u"),
        ("train/good/line 1", "train/good/line 2"),
        ("good/left", "good/l", "good/r"),
    ],
)
def test_sub_folders_of_good_pictures_may_count(tmp_path: Path, names: tuple[str, ...]) -> None:
    files = {file for name in names for file in numbered(name)}
    draw(tmp_path, *files, "test/dent/1.png")
    assert learnt(read_data(tmp_path)) == files


def test_words_that_good_and_defective_ones_are_sorted_by_alike_sort_nothing(
    tmp_path: Path,
) -> None:
    files = {*numbered("ok/berlin"), *numbered("ok/ulm")}
    draw(tmp_path, *files, "ng/berlin/1.png", "ng/ulm/1.png")
    assert learnt(read_data(tmp_path)) == files


def test_learnt_sub_folders_are_named_with_their_numbers_in_a_category_too(tmp_path: Path) -> None:
    draw(tmp_path, *numbered("train/good"), *numbered("train/good/line 2", 3), "test/dent/1.png")
    said = "7 good to learn from (from train/good 4, train/good/line 2 3); test 0 good"
    assert said in read_data(tmp_path).describe()
