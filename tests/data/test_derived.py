"""Pictures that were made of others are no parts, wherever they lie beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfbmr.data.derived import DERIVED, derived_of_others
from nfbmr.data.layouts import read_data


def draw(root: Path, *names: str) -> Path:
    """Writes a picture of a part under each name, each with pixels of its own."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(list(name.encode())).integers(0, 256, (8, 9), np.uint8)
        Image.fromarray(values).save(root / name)
    return root


def left_out(*names: str) -> list[str]:
    found = derived_of_others([Path("/data") / name for name in names])
    return sorted(path.relative_to("/data").as_posix() for path in found)


@pytest.mark.parametrize(
    "name",
    [
        *("7_overlay.png", "7_heatmap.jpg", "7-annotated.png", "7 preview.png", "7.thumb.jpg"),
        *("7_overlay_2.png", "7_mask_overlay.png", "7_anomaly_map.png", "7Overlay.png"),
        *("overlay_7.png", "HEATMAP-7.PNG", "7_result.png", "7_pred.png", "7_augmented_01.png"),
        *("7.png_vis.png", "7_Vorschau.png", "7_aperçu.png", "7_缩略图.png", "7_ヒートマップ.png"),
        *("7_heat.png", "heat_7.jpg", "7-Heat-2.png", "7_colormap.png", "7_reconstruction.png"),
    ],
)
def test_what_a_word_says_was_made_of_a_picture_beside_it(name: str) -> None:
    assert left_out("7.bmp", name, "8.bmp") == [name]
    assert left_out("8.bmp", name) == []  # nothing it was made of


@pytest.mark.parametrize(
    "name",
    [
        *("7_1.png", "7_left.png", "7 (1).png", "70_overlay.png", "7_crop.png", "7_scratch.png"),
        *("overlay.png", "heatmap_70.png", "6_7.png", "7_wheat.png", "heat 8.png"),
    ],
)
def test_other_pictures_stay(name: str) -> None:
    assert left_out("7.bmp", name) == []


def test_words_that_all_names_share_say_nothing() -> None:
    assert left_out("output 1.png", "output 2.png", "map.png", "map1.png", "map 2.png") == []


def test_folders_of_them(tmp_path: Path) -> None:
    good = [f"good/{i}.png" for i in range(3)]
    assert left_out(*good, "good/overlays/1.png", "good/thumbs/2_thumb.jpg") == [
        "good/overlays/1.png",
        "good/thumbs/2_thumb.jpg",
    ]
    assert left_out(*good, "good/overlays/9.png", "good/late/1.png") == []
    assert left_out("a/images/1.png", "a/previews/1.png") == ["a/previews/1.png"]
    assert left_out("good/1.png", "overlay/1.png") == ["overlay/1.png"]
    # In the root of a data set names say what is good, so that is refused: see test_trees.
    paths = [Path("good/1.png"), Path("overlay/1.png")]
    assert derived_of_others(paths, Path()) == set()


@pytest.mark.parametrize("folder", ["", "good/", "train/good/", "test/crack/"])
def test_none_is_learnt_or_tested_and_their_number_is_said(tmp_path: Path, folder: str) -> None:
    draw(
        tmp_path, *(f"train/good/{i}.png" for i in range(3)), "test/good/4.png", "test/crack/5.png"
    )
    if folder in {"", "good/"}:
        tmp_path = tmp_path / "flat"
        draw(tmp_path, *(f"{folder}{i}.png" for i in range(3)))
    before = [sample.path for sample in read_data(tmp_path).samples]
    base = "5" if folder.startswith("test") else "2"
    draw(tmp_path, f"{folder}{base}_overlay.png", f"{folder}{base}_heatmap.png")
    data = read_data(tmp_path)
    assert [sample.path for sample in data.samples] == before
    assert data.warnings == (
        f"{DERIVED}: 2 ({folder}{base}_heatmap.png, {folder}{base}_overlay.png)",
    )


def test_what_stores_and_systems_keep_beside_pictures_is_not_read(tmp_path: Path) -> None:
    draw(tmp_path, "good/1.png", "good/2.png")
    hidden = ("@eaDir/1.png", ".thumbs", "__MACOSX", "#recycle", "$RECYCLE.BIN", "lost+found")
    draw(tmp_path, *(f"good/{name}/x.png" for name in hidden), "good/._1.png")
    data = read_data(tmp_path)
    assert [sample.path.name for sample in data.samples] == ["1.png", "2.png"]
    assert data.warnings == ()


def test_a_table_that_names_them_is_followed_and_it_is_said(tmp_path: Path) -> None:
    draw(tmp_path, "1.png", "1_overlay.png", "2.png")
    (tmp_path / "t.csv").write_text("path,label\n1.png,good\n1_overlay.png,good\n2.png,good\n")
    data = read_data(tmp_path / "t.csv")
    assert len(data.train_good) == 3
    assert data.warnings == (
        "pictures that by their names were made of others in the table, kept: 1 (1_overlay.png)",
    )
