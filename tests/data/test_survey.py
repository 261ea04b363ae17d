"""The survey: what is known of each picture, found in one reading; copies; who is to blame."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data import survey as surveys
from nfbmr.data.images import ImageInput, read_image
from nfbmr.data.layouts import Sample, read_data
from nfbmr.data.same import fingerprint
from nfbmr.data.survey import Surveyed, looked_at, survey
from nfbmr.errors import ImageError


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 200, shape, dtype=np.uint8)


def one(picture: Any) -> Surveyed:
    (found,) = survey("part", [picture]).pictures
    return found


# ---- what is known of a picture


def test_what_is_known_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "part.png"
    Image.fromarray(noise(20, 30, 3)).save(path)
    found = one(path)
    assert (found.picture, found.path, found.name) == (path, path, "part.png")
    assert (found.defect, found.split, found.mask) == ("good", "train", None)
    assert (found.size, found.depth, found.highest) == ((20, 30), 8, noise(20, 30, 3).max())
    assert found.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest() == fingerprint(path)
    assert one(str(path)) == found


def test_labels_are_the_samples_own(tmp_path: Path) -> None:
    path, mask = tmp_path / "part.png", tmp_path / "mask.png"
    Image.fromarray(noise(20, 30)).save(path)
    found = one(Sample(path=path, split="test", defect="crack", mask=mask))
    assert (found.path, found.defect, found.split, found.mask) == (path, "crack", "test", mask)


@pytest.mark.parametrize(
    ("picture", "depth", "highest"),
    [
        (Image.fromarray(np.full((4, 6), 4095, np.uint16)), 16, 4095),
        (Image.fromarray(np.full((4, 6), 4095, np.int32)), 16, 4095),
        (Image.fromarray(np.full((4, 6), 0.25, np.float32)), 32, 0.25),
        (Image.fromarray(np.eye(4, 6, dtype=bool)), 1, 1),
        (Image.new("RGBA", (6, 4), (10, 20, 30, 255)), 8, 30),
        (Image.new("LA", (6, 4), (10, 255)), 8, 10),
        (Image.new("P", (6, 4), 3), 8, 3),
    ],
)
def test_depth_and_highest_value_are_as_stored_and_alpha_does_not_count(
    picture: Image.Image, depth: int, highest: float, tmp_path: Path
) -> None:
    if picture.mode == "P":
        picture.putpalette([min(c, 3) for c in range(256) for _ in "rgb"])
    picture.save(tmp_path / "part.tif")
    found = one(tmp_path / "part.tif")
    assert (found.size, found.depth, found.highest) == ((4, 6), depth, highest)


def test_a_turned_picture_has_its_upright_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(20, 30)).save(tmp_path / "turned.png", exif=exif)
    found = one(tmp_path / "turned.png")
    assert found.size == (30, 20)
    assert found.pixel_hash == one(np.rot90(noise(20, 30), -1)).pixel_hash


def test_pixels_are_equal_where_a_network_sees_the_same(tmp_path: Path) -> None:
    gray = noise(20, 30)
    colours = np.repeat(gray[..., None], 3, axis=2)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(colours).save(tmp_path / "colours.bmp")
    Image.fromarray(colours).convert("RGBA").save(tmp_path / "alpha.tif")
    forms: list[ImageInput] = [*sorted(tmp_path.iterdir()), Image.fromarray(gray), gray, colours]
    forms += [gray / 255, gray.astype(np.uint16) * 257, (tmp_path / "gray.png").read_bytes()]
    assert len({one(form).pixel_hash for form in forms}) == 1
    for form in forms:
        np.testing.assert_array_equal(read_image(form), colours)
    others = [gray.reshape(30, 20), gray[:, ::-1], noise(20, 30, 3)]
    assert len({one(form).pixel_hash for form in [gray, *others]}) == 4
    tinted = [colours.copy() for _ in range(3)]
    for channel, picture in enumerate(tinted):
        picture[3, 4, channel] += 1
    assert len({one(form).pixel_hash for form in [gray, *tinted]}) == 4


def test_what_has_no_file_is_named_by_its_pixels() -> None:
    found = survey("part", [noise(8, 8), Image.fromarray(noise(8, 8, seed=1))]).pictures
    assert [picture.fingerprint for picture in found] == [p.pixel_hash for p in found]
    assert [picture.name for picture in found] == ["picture 1", "picture 2"]
    assert [picture.path for picture in found] == [None, None]
    assert found[0].picture is not None
    assert "array" not in repr(found[0])


def test_bytes_of_a_file_have_the_fingerprint_of_the_file(tmp_path: Path) -> None:
    Image.fromarray(noise(8, 8)).save(tmp_path / "part.png")
    assert one((tmp_path / "part.png").read_bytes()).fingerprint == fingerprint(
        tmp_path / "part.png"
    )


# ---- all of them


def test_each_file_is_opened_once(good_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Counter[Path] = Counter()

    def counting(original: Any) -> Any:
        def count(path: Any, *args: Any, **kwargs: Any) -> Any:
            opened[Path(os.fsdecode(path))] += 1
            return original(path, *args, **kwargs)

        return count

    for place, name in ((Path, "open"), (os, "open")):
        monkeypatch.setattr(place, name, counting(getattr(place, name)))
    heard: list[tuple[object, ...]] = []
    samples = read_data(good_folder).train_good
    found = survey("product", samples, lambda *given: heard.append(given))
    assert opened == {sample.path: 1 for sample in samples}
    assert list(found.paths) == [sample.path for sample in samples]
    assert heard == [("survey", done, 12) for done in range(1, 13)]
    assert found.name == "product"
    assert found.seconds > 0


def test_of_copies_the_first_stays(good_folder: Path) -> None:
    shutil.copy(good_folder / "003.png", good_folder / "x-copy.png")
    shutil.copy(good_folder / "003.png", good_folder / "000-copy.png")
    paths = sorted(good_folder.iterdir())
    found = survey("product", paths)
    assert [picture.name for picture in found.copies] == ["003.png", "x-copy.png"]
    assert len(found.pictures) == 12
    assert list(found.paths) == [
        path for path in paths if path.name not in ("003.png", "x-copy.png")
    ]
    assert found.warnings == ("2 pictures are copies of others and left out: 003.png, x-copy.png",)
    assert survey("product", []).warnings == ()


def test_the_same_pixels_in_another_file_are_a_copy(tmp_path: Path) -> None:
    for name in ("one.png", "two.bmp"):
        Image.fromarray(noise(8, 8)).save(tmp_path / name)
    found = survey("part", sorted(tmp_path.iterdir()))
    assert [picture.name for picture in found.copies] == ["two.bmp"]
    assert found.copies[0].fingerprint != found.pictures[0].fingerprint


def test_what_it_says() -> None:
    alike = survey("part", [noise(8, 9, seed=seed) for seed in range(3)])
    assert alike.describe() == ["All pictures have 8 x 9 (H x W)", "8 bits a channel"]
    deep = [np.full((20, 5), 300 * number, np.uint16) for number in (1, 2)]
    mixed = survey("part", [*(noise(8, 9, seed=seed) for seed in range(3)), *deep, noise(4, 4)])
    assert mixed.describe() == [
        "3 of 6 pictures have 8 x 9 (H x W); the smallest 4 x 4, the largest 20 x 5"
        "; 2 of other proportions are stretched",
        "8 bits a channel; 2 pictures have 16; the highest value is 600 of 65535",
    ]
    assert survey("part", []).describe() == []


def test_gray_pictures_among_others_in_colour_are_said() -> None:
    gray, colour = ([noise(8, 9, *of, seed=n) for n in range(3)] for of in ((), (3,)))
    assert survey("part", colour).describe()[1] == survey("part", gray).describe()[1]
    mixed = survey("part", [*gray[:1], *colour])
    assert mixed.describe()[1].startswith("8 bits a channel; 1 of 4 pictures is gray, the others")


def test_a_range_that_is_not_used_is_said(tmp_path: Path) -> None:
    def said(*values: int, white: int | None = None, kind: type[np.generic] = np.uint16) -> str:
        pictures = [np.full((4, 5), value).astype(kind) for value in values]
        return "; ".join(survey("part", pictures, white=white).warnings)

    assert said(300, 4095).startswith(
        "the highest value of 2 pictures with 16 bits is 4095 of 65535, so few of the 256 levels"
    )
    assert said(300, 4095).endswith("if white is 4095, give data.white=4095")
    assert said(900).endswith("give data.white=1023")
    assert said(16_000).endswith("give data.white=16383")
    assert said(16_384) == ""
    assert said(4095, white=4095) == ""
    assert said(5000, white=4095) == "the highest value is 5000; above data.white 4095 all is white"
    assert said(10, 20, kind=np.uint8) == ""
    assert said(10, 20, white=4095, kind=np.uint8) == (
        "data.white 4095 does nothing: no picture has more than 8 bits"
    )
    colours = np.full((4, 5, 3), 1000, np.uint16)
    assert "is 1000 of 65535" in survey("part", [colours]).warnings[0]


@pytest.mark.parametrize("hot", [1, 4])
def test_a_few_hot_pixels_hide_no_range_that_is_not_used(hot: int) -> None:
    pictures = []
    for seed in range(12):
        picture = np.random.default_rng(seed).integers(200, 3800, (80, 80)).astype(np.uint16)
        picture.flat[:hot] = 65535
        pictures.append(picture)
    pictures[3][:] = 65535  # one that is white
    (said,) = survey("part", pictures).warnings
    assert said.startswith("nearly all values of 12 pictures with 16 bits are at most 37")
    assert said.endswith("give data.white=4095")
    used = [picture * np.uint16(16) for picture in pictures[4:]]
    assert survey("part", used).warnings == ()


def test_a_range_that_is_not_used_is_said_where_white_is_zero(tmp_path: Path) -> None:
    for seed in range(3):
        values = np.random.default_rng(seed).integers(200, 3800, (20, 20)).astype(np.uint16)
        file = tmp_path / f"{seed}.tif"
        tifffile.imwrite(file, 4095 - values, photometric="miniswhite", metadata=None)
    files = sorted(tmp_path.iterdir())
    (said,) = survey("part", files).warnings
    assert said.endswith("give data.white=4095")
    found = survey("part", files, white=4095)
    assert (found.warnings, len(found.pictures)) == ((), 3)
    expected = np.rint(values * 255.0 / 4095)
    np.testing.assert_array_equal(read_image(files[-1], 4095)[..., 0], expected)


def test_white_decides_what_is_the_same() -> None:
    pictures = [np.full((4, 5), value, np.uint16) for value in (1000, 1001, 1100)]
    assert len(survey("part", pictures).pictures) == 1
    found = survey("part", pictures, white=4095)
    assert len(found.pictures) == 2
    assert found.white == 4095


def test_whether_it_is_labelled(good_folder: Path) -> None:
    samples = read_data(good_folder).train_good
    assert not survey("part", samples).is_labelled
    known = [Sample(path=s.path, split="train", defect="good") for s in samples]
    assert survey("part", known).is_labelled
    assert not survey("part", [*known, noise(8, 8)]).is_labelled


# ---- trouble


def test_broken_pictures_are_named_together(good_folder: Path) -> None:
    for name in ("a.png", "b.png"):
        (good_folder / name).write_bytes(b"not a picture")
    cut = good_folder / "003.png"
    cut.write_bytes(cut.read_bytes()[:500])
    paths = sorted([*good_folder.iterdir(), good_folder / "none.png", good_folder / "zz.png"])
    with pytest.raises(ImageError) as caught:
        survey("product", paths)
    text = str(caught.value)
    assert text.startswith(f"5 of 16 pictures cannot be read: {cut}: found an unreadable")
    assert text.endswith("; and 2 more")
    for name in ("a.png", "b.png"):
        with pytest.raises(ImageError) as alone:
            read_image(good_folder / name)
        assert str(alone.value) in text
    with pytest.raises(ImageError, match=r"^1 of .*none\.png: found no such file; expected [^;]*;"):
        survey("product", [good_folder / "none.png"])


def test_what_has_no_file_is_named_by_its_place() -> None:
    with pytest.raises(ImageError, match=r"1 of 3 .*: picture 2: found 1 axes"):
        survey("part", [noise(8, 8), np.zeros(3), noise(8, 8, 3)])
    with pytest.raises(ImageError, match=r"1 of 1 picture .*found a int"):
        survey("part", [3])  # type: ignore[list-item]


def test_ctrl_c_ends_it(good_folder: Path) -> None:
    def stop(what: str, done: int, total: int, loss: float | None = None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey("product", sorted(good_folder.iterdir()), stop)


def test_of_many_pictures_few_are_begun_before_the_first_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []
    original = surveys._try_look

    def noted(white: int | None, given: Any, number: int) -> Surveyed | ImageError:
        begun.append(number)
        return original(white, given, number)

    monkeypatch.setattr(surveys, "_try_look", noted)
    monkeypatch.setattr(surveys, "_AHEAD", 5)
    pictures = [noise(4, 4, seed=number) for number in range(40)]
    found = looked_at(pictures)
    assert isinstance(next(found), Surveyed)
    assert len(begun) <= 6
    names = [one.name for one in found if isinstance(one, Surveyed)]
    assert names == [f"picture {number}" for number in range(2, 41)]
