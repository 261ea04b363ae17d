"""Folders of many products: found in a fixed order, and compared with the official sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nfbmr.benchmark.dagm_like import write_tree
from nfbmr.data import collections
from nfbmr.data.collections import (
    DAGM_2007,
    MVTEC_AD,
    OFFICIAL,
    TEXTURES,
    Category,
    Counts,
    categories,
    compared,
    completeness,
    find_products,
)
from nfbmr.data.layouts import is_product, read_data
from nfbmr.errors import LayoutError

Tree = Callable[..., Path]

TINY = Counts(train_good=16, test_good=4, test_defective=4)


@pytest.fixture
def tiny_official(monkeypatch: pytest.MonkeyPatch) -> None:
    """Official sets whose first two categories are as small as the tests' trees."""
    tiny_dagm = Counts(train_good=6, test_good=6, test_defective=2)
    for known, small in ((MVTEC_AD, TINY), (DAGM_2007, tiny_dagm)):
        counts = dict.fromkeys(list(known.counts)[:2], small)
        monkeypatch.setitem(collections.OFFICIAL, known.title, replace(known, counts=counts))


# ---- the official counts


def test_mvtec_ad_sums_to_the_published_totals() -> None:
    counts = MVTEC_AD.counts.values()
    assert len(counts) == 15
    assert sum(c.train_good for c in counts) == 3629
    assert sum(c.test_good for c in counts) == 467
    assert sum(c.test_defective for c in counts) == 1258
    assert set(TEXTURES) < set(MVTEC_AD.counts)
    assert MVTEC_AD.counts["screw"] == Counts(train_good=320, test_good=41, test_defective=119)


def test_dagm_2007_sums_to_its_totals() -> None:
    assert list(DAGM_2007.counts) == [f"Class{k}" for k in range(1, 11)]
    for number, count in enumerate(DAGM_2007.counts.values(), 1):
        of_a_split = 575 if number <= 6 else 1150
        assert count.test_good + count.test_defective == of_a_split
        # A class has 150 or 300 defective pictures in both splits together.
        defective_in_train = of_a_split - count.train_good
        assert defective_in_train + count.test_defective == (150 if number <= 6 else 300)
    assert OFFICIAL == {"MVTec AD": MVTEC_AD, "DAGM 2007": DAGM_2007}


# ---- finding products


def test_official_categories_come_in_their_order_and_others_by_the_alphabet(
    tmp_path: Path, mvtec_tree: Tree
) -> None:
    mvtec_tree(tmp_path, categories=("widget", "Zipper", "bolt", "bottle"))
    write_tree(tmp_path, classes=(10, 2), n_good=2, n_defective=1, size=16)
    assert list(categories(tmp_path)) == ["bottle", "zipper", "Class2", "Class10", "bolt", "widget"]
    assert categories(tmp_path)["zipper"] == tmp_path / "Zipper"


@pytest.mark.parametrize("between", [".", "DAGM2007", "DAGM2007/Class1", "Class1"])
def test_folders_in_between(tmp_path: Path, between: str) -> None:
    write_tree(tmp_path / between, classes=(1,), n_good=2, n_defective=1, size=16)
    folder = tmp_path / between / "Class1"
    assert categories(tmp_path) == {"Class1": folder}
    assert categories(folder) == {"Class1": folder}


def test_names_of_dagm_are_compared_without_case(tmp_path: Path) -> None:
    write_tree(tmp_path, classes=(1,), n_good=2, n_defective=1, size=16)
    (tmp_path / "Class1").rename(tmp_path / "class1")
    assert categories(tmp_path) == {"Class1": tmp_path / "class1"}


def test_a_link_to_a_product_is_not_a_second_one(tmp_path: Path, mvtec_tree: Tree) -> None:
    mvtec_tree(tmp_path, categories=("bottle",))
    (tmp_path / "again").symlink_to(tmp_path)
    assert categories(tmp_path) == {"bottle": tmp_path / "bottle"}


def test_two_products_of_one_name_are_refused(tmp_path: Path, mvtec_tree: Tree) -> None:
    for copy in ("first", "second"):
        mvtec_tree(tmp_path / copy, categories=("bottle",))
    with pytest.raises(LayoutError, match=r"found bottle twice.*the folder that holds the right"):
        categories(tmp_path)


def test_a_folder_of_an_official_name_is_listed_though_it_is_broken(
    tmp_path: Path, mvtec_tree: Tree
) -> None:
    mvtec_tree(tmp_path, categories=("bottle", "widget"))
    (tmp_path / "zipper" / "test").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    assert list(categories(tmp_path)) == ["bottle", "zipper", "widget"]
    (tmp_path / "widget").rename(tmp_path / "zipper" / "widget")  # now it is a folder of products
    assert list(categories(tmp_path)) == ["bottle", "widget"]


def test_a_folder_that_cannot_be_read_does_not_hide_the_others(
    tmp_path: Path, mvtec_tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    mvtec_tree(tmp_path, categories=("bottle",))
    (tmp_path / "lost+found").mkdir()

    def refuse(folder: Path) -> bool:
        if folder.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(folder))
        return is_product(folder)

    monkeypatch.setattr(collections, "is_product", refuse)
    assert list(categories(tmp_path)) == ["bottle"]
    with pytest.raises(LayoutError, match=r"lost\+found: found no way to read it"):
        categories(tmp_path / "lost+found")


def test_nothing_found_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="none: found nothing at this path; expected folders of"):
        categories(tmp_path / "none")
    with pytest.raises(LayoutError, match=r"found no product in it \(no folders\)"):
        categories(tmp_path)
    for number in range(10):
        (tmp_path / f"day{number}").mkdir()
    with pytest.raises(LayoutError, match=r"\(day0, .*, day7 and 2 more\); expected folders"):
        categories(tmp_path)
    assert find_products(tmp_path) == {}
    (tmp_path / "parts.csv").touch()
    with pytest.raises(LayoutError, match=r"found a file.*give the folder"):
        categories(tmp_path / "parts.csv")
    assert find_products(tmp_path / "parts.csv") == {}


@pytest.mark.parametrize(
    "names", [("Class1.zip", "Class2.ZIP"), ("mvtec_anomaly_detection.tar.xz",), ("bottle.tar.xz",)]
)
def test_archives_not_yet_unpacked(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).touch()
    message = rf"archives not yet unpacked \({', '.join(names)}\).*unpack the archives"
    with pytest.raises(LayoutError, match=message):
        find_products(tmp_path)
    with pytest.raises(LayoutError, match=message):
        categories(tmp_path)


def test_pictures_beside_an_archive_are_a_plain_folder(good_folder: Path) -> None:
    (good_folder / "backup.zip").touch()
    assert find_products(good_folder) == {}


# ---- completeness


@pytest.mark.usefixtures("tiny_official")
def test_complete_sets(tmp_path: Path, mvtec_tree: Tree) -> None:
    mvtec_tree(tmp_path, categories=("bottle", "cable"))
    write_tree(tmp_path, classes=(1, 2), n_good=6, n_defective=2, size=16)
    assert completeness(tmp_path) == [
        "bottle: complete; train good 16, test good 4, test defective 4, masks 4",
        "cable: complete; train good 16, test good 4, test defective 4, masks 4",
        "Class1: complete; train good 6, test good 6, test defective 2, masks 2",
        "Class2: complete; train good 6, test good 6, test defective 2, masks 2",
        "MVTec AD: 2 of 2 categories complete",
        "DAGM 2007: 2 of 2 categories complete",
    ]


@pytest.mark.usefixtures("tiny_official")
def test_what_differs_is_counted_and_one_broken_category_is_its_line(
    tmp_path: Path, mvtec_tree: Tree
) -> None:
    mvtec_tree(tmp_path, categories=("bottle", "cable"))
    (tmp_path / "bottle" / "test" / "blob" / "000.png").unlink()
    extra = tmp_path / "bottle" / "train" / "good" / "extra.png"
    (tmp_path / "bottle" / "test" / "good" / "000.png").rename(extra)
    for path in (tmp_path / "cable" / "train" / "good").iterdir():
        path.unlink()
    lines = completeness(tmp_path)
    assert lines[0] == (
        "bottle: DIFFERS; train good 17 instead of 16, test good 3 of 4, "
        "test defective 3 of 4, masks 3 of 4"
    )
    assert lines[1].startswith("  Warning: masks without a picture of that name, not used: 1")
    assert lines[2].startswith("cable: cannot be used: ")
    assert "no good pictures to learn from" in lines[2]
    assert lines[3:] == [
        "MVTec AD: 0 of 2 categories complete; cable cannot be used; bottle: train good 17 "
        "instead of 16, test good 3 of 4, test defective 3 of 4, masks 3 of 4"
    ]


@pytest.mark.usefixtures("tiny_official")
def test_missing_categories_masks_and_waiting_archives(tmp_path: Path, mvtec_tree: Tree) -> None:
    mvtec_tree(tmp_path, categories=("bottle",))
    (tmp_path / "bottle" / "ground_truth" / "blob" / "000_mask.png").unlink()
    (tmp_path / "cable.tar.xz").touch()
    lines = completeness(tmp_path)
    assert lines[1].startswith("  Warning: defective pictures without a mask, kept: 1")
    assert lines[2:] == [
        "MVTec AD: 0 of 2 categories complete; bottle: masks 3 of 4; cable is missing",
        "Warning: archives, perhaps not yet unpacked: cable.tar.xz",
    ]
    assert completeness(tmp_path / "bottle") == lines[:2]


def test_several_missing_ones_share_a_verb(tmp_path: Path, mvtec_tree: Tree) -> None:
    lines = completeness(mvtec_tree(tmp_path, categories=("bottle",)))
    assert "train good 16 of 209" in lines[0]
    assert lines[-1].endswith("wood, zipper are missing")


def test_a_summary_of_many_that_differ_names_them_alone(tmp_path: Path, mvtec_tree: Tree) -> None:
    lines = completeness(mvtec_tree(tmp_path, categories=("bottle", "cable", "carpet", "grid")))
    start = "MVTec AD: 0 of 15 categories complete; bottle, cable, carpet, grid differ; capsule, "
    assert lines[-1].startswith(start)


def test_products_of_ones_own_are_described_without_expectation(
    tmp_path: Path, mvtec_tree: Tree
) -> None:
    mvtec_tree(tmp_path, categories=("gadget", "widget"))
    counts = "train good 16, test good 4, test defective 4, masks 4"
    assert completeness(tmp_path) == [
        f"{name}: no official counts to compare with; {counts}" for name in ("gadget", "widget")
    ]


def test_an_official_name_in_another_layout_is_not_the_official_one(tmp_path: Path) -> None:
    write_tree(tmp_path, classes=(1,), n_good=2, n_defective=1, size=16)
    (tmp_path / "Class1").rename(tmp_path / "screw")
    (line, warning) = completeness(tmp_path)
    assert line.startswith("screw: no official counts to compare with")
    assert warning.startswith("  Warning: defective pictures of the training split, left out: 1")


def test_compared_names_the_counts(tmp_path: Path) -> None:
    write_tree(tmp_path, classes=(7,), n_good=2, n_defective=1, size=16)
    category = compared(read_data(tmp_path / "Class7"))
    assert category.found == Counts(train_good=2, test_good=2, test_defective=1)
    assert category.expected == DAGM_2007.counts["Class7"]
    assert category.warnings == ()
    assert not category.is_complete
    assert category.differences()[0] == "train good 2 of 1000"


def test_a_category_that_cannot_be_read_has_no_counts() -> None:
    category = Category(name="x", found=None, masks=0, expected=TINY, warnings=(), error="gone")
    assert not category.is_complete
    assert category.differences() == []
    assert category.describe() == "x: cannot be used: gone"
