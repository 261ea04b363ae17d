"""Files of several pages or frames: the first one is read, and the others are not kept quiet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from nfbmr.data.images import load_with_size, read_image, stored_values
from nfbmr.data.pages import said_of
from nfbmr.data.survey import survey

FIRST, SECOND = (Image.new("RGB", (9, 8), colour) for colour in ("red", "blue"))


def several(path: Path, **how: Any) -> Path:
    FIRST.save(path, save_all=True, append_images=[SECOND], **how)
    return path


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.tif", {}),
        ("a.tif", {"compression": "tiff_lzw"}),
        ("a.tif", {"big_tiff": True}),
        ("a.png", {}),
        ("a.webp", {"lossless": True}),
    ],
)
def test_other_pages_are_told(tmp_path: Path, name: str, how: dict[str, Any]) -> None:
    path = several(tmp_path / name, **how)
    assert stored_values(path).has_more
    assert stored_values(path.read_bytes()).has_more
    pixels, size, has_more, _ = load_with_size(path, (8, 9))
    assert (size, has_more) == ((8, 9), True)
    np.testing.assert_array_equal(pixels, np.asarray(FIRST))  # the first one, all the same
    FIRST.save(tmp_path / f"one{path.suffix}")
    assert not stored_values(tmp_path / f"one{path.suffix}").has_more
    assert not load_with_size(tmp_path / f"one{path.suffix}", (8, 9)).has_more


@pytest.mark.parametrize(("kind", "has_more"), [(0, True), (1, False), (2, True)])
def test_previews_and_masks_are_no_pages(tmp_path: Path, kind: int, has_more: bool) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.asarray(FIRST), photometric="rgb")
        writer.write(np.asarray(SECOND)[::2, ::3], photometric="rgb", subfiletype=kind)
    assert stored_values(path).has_more is has_more
    np.testing.assert_array_equal(read_image(path), np.asarray(FIRST))


def test_a_page_behind_a_preview_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for kind in (0, 1, 0):
            writer.write(np.asarray(FIRST), photometric="rgb", subfiletype=kind)
    assert stored_values(path).has_more


def test_a_chain_of_pages_that_bites_its_tail_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    start = int.from_bytes(data[4:8], "little")
    n = int.from_bytes(data[start : start + 2], "little")
    data[start + 2 + 12 * n : start + 6 + 12 * n] = data[4:8]  # the first page follows the first
    assert stored_values(bytes(data)).values.shape == (8, 9, 1)


def test_a_survey_counts_them_and_names_the_first(tmp_path: Path) -> None:
    paths = [several(tmp_path / "b.tif"), tmp_path / "c.png"]
    SECOND.save(paths[1])
    one = survey("x", paths).warnings
    assert one == (
        "1 picture holds other pages or frames than the first, which alone is looked at: b.tif; "
        "save each page as a picture of its own if they show parts",
    )
    SECOND.save(tmp_path / "d.tif", save_all=True, append_images=[FIRST])
    (two,) = said_of(["b.tif", "d.tif"])
    assert two.startswith("2 pictures hold other pages")
    assert "looked at: b.tif and 1 more;" in two
    assert two in survey("x", [*paths, tmp_path / "d.tif"]).warnings
    assert survey("x", [paths[1]]).warnings == ()


def test_arrays_and_pictures_of_a_program_are_as_they_are(tmp_path: Path) -> None:
    path = several(tmp_path / "a.tif")
    with Image.open(path) as image:
        image.seek(1)
        values, _, has_more = stored_values(image)
    assert (values[0, 0].tolist(), has_more) == ([0, 0, 255], False)
