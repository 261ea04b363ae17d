"""Large pictures brought to a small size: read whole to the last bit, or nearly so from a share."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from PIL.JpegImagePlugin import JpegImageFile

from nfbmr.data.images import load_image, load_with_size, read_image, resize_image
from nfbmr.errors import ImageError
from nfbmr.settings.changes import from_dict
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import DataSettings

SCALED = DataSettings(reading="scaled")
FULL = (403, 509)
"""(H, W) of a large picture, no multiple of 8, so that its last blocks are not full."""
SMALL = (48, 64)


def scene(size: tuple[int, int] = FULL, *, gray: bool = False) -> Image.Image:
    """A picture with large shapes, small ones and noise."""
    rng = np.random.default_rng(0)
    height, width = size
    values = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    large = Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST)
    blurred = np.asarray(large.filter(ImageFilter.GaussianBlur(2)), np.int16)
    noisy = (blurred + rng.normal(0, 5, blurred.shape)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(noisy).convert("L") if gray else Image.fromarray(noisy)


def as_jpeg(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=92, **options)
    return stream.getvalue()


def turned(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.fixture
def decoded_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The (H, W) at which JPEGs are decoded from now on."""
    seen: list[tuple[int, int]] = []
    load = JpegImageFile.load

    def noted(image: JpegImageFile) -> Any:
        if image.tile:
            seen.append(image.size[::-1])
        return load(image)

    monkeypatch.setattr(JpegImageFile, "load", noted)
    return seen


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(
    ("size", "share"),
    [((48, 64), 2), ((24, 32), 4), ((16, 16), 8), ((48, 60), 4), ((200, 250), 1), ((102, 64), 1)],
)
def test_a_large_jpeg_is_decoded_at_a_share_twice_as_large_as_asked(
    decoded_sizes: list[tuple[int, int]], size: tuple[int, int], share: int, gray: bool
) -> None:
    file = as_jpeg(scene(gray=gray))
    whole = load_image(file, size).astype(int)
    found, full, *_ = load_with_size(file, size, SCALED)
    assert decoded_sizes == [FULL, (-(-FULL[0] // share), -(-FULL[1] // share))]
    assert full == FULL
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert found.flags.writeable
    difference = np.abs(found - whole)
    assert difference.mean() < 1
    assert difference.max() <= 8
    if share == 1:
        assert not difference.any()
    if gray:
        assert (found == found[..., :1]).all()


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("how", [DataSettings(), SCALED])
def test_a_turned_jpeg_is_upright_both_ways(number: int, how: DataSettings) -> None:
    file = as_jpeg(scene(), exif=turned(number))
    expected = read_image(file)
    found, full, *_ = load_with_size(file, SMALL, how)
    assert full == expected.shape[:2]
    difference = np.abs(found.astype(int) - resize_image(expected, SMALL))
    assert difference.mean() < 1
    if how.reading == "whole":
        assert not difference.any()


def test_the_edge_of_a_picture_stays_at_the_edge() -> None:
    """The last column of a decoded share stands for fewer pixels than the others."""
    values = np.zeros((256, 1025, 3), np.uint8)
    values[:, 513:] = 255
    file = as_jpeg(Image.fromarray(values), subsampling=0)
    whole, found = (load_image(file, (32, 64), how).astype(int) for how in (DataSettings(), SCALED))
    np.testing.assert_allclose(found, whole, atol=12)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif"])
@pytest.mark.parametrize("gray", [False, True])
def test_other_formats_are_read_as_ever_both_ways(tmp_path: Path, suffix: str, gray: bool) -> None:
    path = tmp_path / f"a.{suffix}"
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    scene(gray=gray).save(path, **options)
    expected = resize_image(read_image(path), SMALL)
    for how in (DataSettings(), SCALED):
        found, full, *_ = load_with_size(path, SMALL, how)
        np.testing.assert_array_equal(found, expected)
        assert full == FULL
        assert found.flags.writeable


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_deep_and_transparent_pngs_are_read_as_ever(tmp_path: Path, mode: str) -> None:
    image = scene(gray=mode == "L")
    deep = np.asarray(image, np.uint16) * 13
    pictures: dict[str, Image.Image | NDArray[Any]] = {"alpha.png": image.convert(f"{mode}A")}
    if mode == "L":
        pictures["deep.png"] = Image.fromarray(deep)
    for name, made in pictures.items():
        assert isinstance(made, Image.Image)
        made.save(tmp_path / name)
        how = DataSettings(reading="scaled", white=4095)
        expected = resize_image(read_image(tmp_path / name, 4095), SMALL)
        np.testing.assert_array_equal(load_image(tmp_path / name, SMALL, how), expected)


def test_a_pillow_image_is_not_changed_beyond_being_loaded() -> None:
    with Image.open(io.BytesIO(as_jpeg(scene()))) as image:
        found = load_image(image, SMALL, SCALED)
        assert image.size == FULL[::-1]
        np.testing.assert_array_equal(found, resize_image(read_image(image), SMALL))


@pytest.mark.parametrize("kept", [0.2, 0.9])
def test_a_truncated_jpeg_is_refused_though_it_is_read_at_a_share(kept: float) -> None:
    file = as_jpeg(scene())
    with pytest.raises(ImageError, match="truncated"):
        load_image(file[: int(kept * len(file))], SMALL, SCALED)


def test_a_progressive_jpeg_and_one_of_four_inks() -> None:
    progressive = as_jpeg(scene(), progressive=True)
    inks = as_jpeg(scene().convert("CMYK"))
    for file in (progressive, inks):
        whole, found = (
            load_image(file, SMALL, how).astype(int) for how in (DataSettings(), SCALED)
        )
        assert np.abs(found - whole).mean() < 1


def test_models_say_how_they_read_and_older_ones_read_whole() -> None:
    assert preset("fast").data.reading == preset("accurate").data.reading == "scaled"
    assert preset("paper").data.reading == "whole"
    assert from_dict({"data": {"white": 4095}}).data.reading == "whole"
