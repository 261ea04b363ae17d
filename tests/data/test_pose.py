"""The pose: found where good pictures ask for it, and pictures turned to it and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nfbmr.data.images import load_image, resize_map
from nfbmr.data.pose import FEWEST, FIRST, Pose, Turn, study_pose

PILLS = Path(__file__).parents[3] / "shared" / "data" / "pill" / "train" / "good"
SIDE = 96
BACKGROUND = 40

Paint = Callable[[ImageDraw.ImageDraw, np.random.Generator], None]


def notched(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """An oval with a dark mark at one end, on a canvas of 400."""
    draw.ellipse((90, 140, 310, 260), fill=180)
    draw.ellipse((255, 175, 295, 215), fill=90)


def blank(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """An oval, the same after half a turn."""
    draw.ellipse((90, 140, 310, 260), fill=180)


def disc(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    draw.ellipse((100, 100, 300, 300), fill=180)


def marked_disc(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    disc(draw, rng)
    draw.ellipse((230, 180, 270, 220), fill=90)


def squiggle(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Long, and each another one."""
    steps = np.cumsum(rng.normal(0, 40, (7, 2)), axis=0)
    steps += 200 - steps.mean(axis=0)
    draw.line([(x, y) for x, y in steps.tolist()], fill=180, width=24)


def photograph(
    paint: Paint, number: int, angle: float, size: tuple[int, int] = (SIDE, SIDE), shift: int = 8
) -> NDArray[np.uint8]:
    """A part turned by `angle` (x to y), shifted by up to `shift` pixels, with noise: (H, W, 3)."""
    rng = np.random.default_rng([number, 0])
    canvas = Image.new("L", (400, 400), BACKGROUND)
    paint(ImageDraw.Draw(canvas), rng)
    turned = canvas.rotate(-angle, Image.Resampling.BICUBIC, fillcolor=BACKGROUND)
    small = turned.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    whole = Image.new("L", (size[1], size[0]), BACKGROUND)
    y, x = (rng.integers(-shift, shift + 1, 2) + (np.array(size) - SIDE) // 2).tolist()
    whole.paste(small, (x, y))
    gray = np.asarray(whole, np.float64) + rng.normal(0, 2, size)
    return np.repeat(np.clip(gray, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def photographs(
    paint: Paint, spread: float = 360, count: int = 32, size: tuple[int, int] = (SIDE, SIDE)
) -> tuple[list[NDArray[np.uint8]], NDArray[np.float64]]:
    """Parts within `spread` degrees, and their angles."""
    angles = np.random.default_rng(7).uniform(-spread / 2, spread / 2, count)
    return [photograph(paint, n, angle, size) for n, angle in enumerate(angles)], angles


def apart(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far angles are apart, but for one turn that is common to all."""
    difference = np.exp(1j * np.deg2rad(one - two))
    return np.asarray(np.abs(np.rad2deg(np.angle(difference / difference.mean()))))


@pytest.fixture(scope="module")
def pose() -> Pose:
    found = study_pose(photographs(notched)[0]).pose
    assert found is not None
    return found


def test_turned_parts_have_a_pose_and_new_ones_get_their_angle(pose: Pose) -> None:
    angles = np.random.default_rng(1).uniform(0, 360, 20)
    pictures = [photograph(notched, 100 + n, angle) for n, angle in enumerate(angles)]
    found = np.array([pose.align(picture)[1].angle for picture in pictures])
    assert apart(found, angles).max() < 1
    assert pose.arc > 200
    assert pose.describe().startswith("Parts lie turned: each picture is turned to one pose first")


def test_aligned_pictures_are_alike_and_lie_along_the_longer_side(pose: Pose) -> None:
    pictures, _ = photographs(notched)
    aligned = np.stack([pose.align(picture)[0] for picture in pictures]).astype(np.float64)
    assert aligned.shape == (len(pictures), SIDE, SIDE, 3)
    raw = np.stack(pictures).astype(np.float64)
    assert aligned.std(axis=0).mean() < 0.3 * raw.std(axis=0).mean()
    part = aligned.mean(axis=0)[..., 0] > 110
    rows, columns = (np.flatnonzero(part.any(axis=axis)) for axis in (1, 0))
    assert np.ptp(columns) > 1.5 * np.ptp(rows)
    assert (rows.mean(), columns.mean()) == pytest.approx((SIDE / 2, SIDE / 2), abs=2)


def test_what_comes_from_outside_is_the_pictures_background(pose: Pose) -> None:
    picture = photograph(notched, 3, 45.0)
    picture[..., 2] //= 2
    aligned, turn = pose.align(picture)
    assert pose.seen is not None
    everywhere = Pose(pose.template, pose.stretch, pose.arc)
    aligned, turn = everywhere.align(picture)
    outside = turn.of(np.zeros_like(picture), (1, 1, 1)) == 1
    assert outside.any()
    assert set(aligned[..., 0][outside[..., 0]].tolist()) <= set(range(37, 44))
    assert set(aligned[..., 2][outside[..., 2]].tolist()) <= set(range(17, 23))


@pytest.mark.parametrize("size", [(SIDE, SIDE), (SIDE, 2 * SIDE), (160, 112)])
def test_a_map_comes_back_to_where_the_place_was(size: tuple[int, int]) -> None:
    pictures, _ = photographs(notched, size=size)
    pose = study_pose(pictures).pose
    assert pose is not None
    for number in range(4):
        picture = photograph(notched, 50 + number, 77.0 * number, size)
        aligned, turn = pose.align(picture)
        back = turn.back(aligned[..., 0].astype(np.float32))
        assert back.shape == size
        part = picture[..., 0] > 110
        assert np.abs(back - picture[..., 0])[part].mean() < 6
        coarse = resize_map(aligned[..., 0].astype(np.float32), (size[0] // 4, size[1] // 4))
        small = resize_map(picture[..., 0].astype(np.float32), (size[0] // 4, size[1] // 4))
        inside = small > 170
        assert np.abs(turn.back(coarse) - small)[inside].mean() < 12


def test_a_turn_moves_a_place_about_the_parts_centre() -> None:
    turn = Turn(90.0, (30.5, 40.5), (61, 101))
    picture = np.zeros((61, 101, 3), np.uint8)
    picture[40, 40] = 255  # ten below the centre: by a quarter from the right to the bottom
    turned = turn.of(picture, (0, 0, 0))
    assert turned[30, 60].tolist() == [255, 255, 255]
    back = turn.back(turned[..., 0].astype(np.float32))
    assert np.argwhere(back == back.max()).tolist() == [[40, 40]]
    assert turn.back(np.ones((61, 101), np.float32))[30, 100] == 0  # not in the turned picture


def test_a_stretched_picture_is_turned_as_the_camera_saw_it() -> None:
    turn = Turn(90.0, (30.5, 40.5), (61, 101), stretch=2.0)
    picture = np.zeros((61, 101, 3), np.uint8)
    picture[40, 40] = 255  # ten pixels below are twenty widths
    assert turn.of(picture, (0, 0, 0))[30, 70].min() > 250


def test_squeezed_pictures_have_the_pose_of_whole_ones() -> None:
    whole, angles = photographs(notched)
    squeezed = [np.ascontiguousarray(p[:, ::2]) for p in whole]
    pose = study_pose(squeezed, stretch=0.5).pose
    assert pose is not None
    found = np.array([pose.align(picture)[1].angle for picture in squeezed])
    assert apart(found, angles).max() < 3


@pytest.mark.parametrize(
    ("paint", "spread"), [(notched, 16), (blank, 16), (blank, 0), (marked_disc, 16), (notched, 0)]
)
def test_parts_in_one_pose_have_none(paint: Paint, spread: float) -> None:
    studied = study_pose(photographs(paint, spread)[0])
    assert studied.pose is None
    assert studied.warning is None


@pytest.mark.parametrize("paint", [notched, blank, marked_disc])
def test_parts_within_a_third_of_a_turn_have_one(paint: Paint) -> None:
    assert study_pose(photographs(paint, 120)[0]).pose is not None


def test_round_parts_without_a_mark_have_none_and_nothing_is_said_of_it() -> None:
    studied = study_pose(photographs(disc)[0])
    assert studied.pose is None
    assert studied.warning is None


def test_long_parts_that_are_all_different_are_warned_of() -> None:
    studied = study_pose(photographs(squiggle)[0])
    assert studied.pose is None
    assert studied.warning is not None
    assert studied.warning.startswith("Parts look turned")


def test_textures_have_none_and_are_known_for_it_by_a_few_pictures() -> None:
    rng = np.random.default_rng(0)
    read = 0

    def textures() -> object:
        nonlocal read
        for _ in range(2 * FIRST):
            read += 1
            yield rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)

    assert study_pose(textures()).pose is None  # type: ignore[arg-type]
    assert read == FIRST


def test_too_few_pictures_have_none() -> None:
    assert study_pose(photographs(notched)[0][: FEWEST - 1]).pose is None
    assert study_pose([]).pose is None


def test_a_picture_without_a_part_stays_as_it_is(pose: Pose) -> None:
    plain = np.full((SIDE, SIDE, 3), 90, np.uint8)
    aligned, turn = pose.align(plain)
    assert pose.seen is not None
    assert (aligned[pose.seen] == 90).all()
    heat = np.random.default_rng(0).normal(size=(24, 24)).astype(np.float32)
    np.testing.assert_allclose(turn.back(heat), heat, atol=1e-6)


def test_what_not_all_good_pictures_show_is_the_same_in_each(pose: Pose) -> None:
    assert pose.seen is not None
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2
    assert not pose.seen[np.hypot(y, x) > SIDE / 2 + 3].any(), "the corners come from outside"
    assert pose.seen[np.hypot(y, x) < SIDE / 2 - 14].all(), "parts are shifted by up to 8 pixels"
    assert max(abs(one - BACKGROUND) for one in pose.ground) <= 1
    bright = np.clip(photograph(notched, 3, 45.0).astype(int) + 20, 0, 255).astype(np.uint8)
    for picture in (photograph(notched, 4, 200.0), bright, np.full_like(bright, 90)):
        aligned, turn = pose.align(picture)
        assert (aligned[~pose.seen] == pose.ground).all()
        np.testing.assert_array_equal(turn.counts(), pose.seen)


def test_where_too_little_would_count_all_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfbmr.data.pose.LEAST_SEEN", 0.99)
    found = study_pose(photographs(notched)[0]).pose
    assert found is not None
    assert found.seen is None
    picture = photograph(notched, 3, 45.0)
    aligned, turn = found.align(picture)
    np.testing.assert_array_equal(aligned, turn.of(picture, (40, 40, 40)))
    assert turn.counts() is None


def test_equal_poses_have_equal_keys_and_others_have_others(pose: Pose) -> None:
    bare = Pose(pose.template, pose.stretch, pose.arc)
    assert Pose(pose.template.copy(), pose.stretch, 1.0).key == bare.key
    assert Pose(pose.template, 1.1, pose.arc).key != bare.key
    assert Pose(pose.template + 1, pose.stretch, pose.arc).key != bare.key
    assert pose.seen is not None
    seen = pose.seen.copy()
    assert replace(pose, seen=seen).key == pose.key != bare.key
    seen[0, 0] ^= True
    assert replace(pose, seen=seen).key != pose.key
    assert replace(pose, ground=(1, 2, 3)).key != pose.key


@pytest.mark.skipif(not PILLS.is_dir(), reason="the pills are not here")
def test_pills_get_a_pose_once_they_are_turned() -> None:
    paths = sorted(PILLS.iterdir())[:40]
    lying = [load_image(path, (160, 160)) for path in paths]
    assert study_pose(lying).pose is None
    angles = np.random.default_rng(0).uniform(0, 360, len(lying))
    fill = tuple(np.median(lying[0][:4].reshape(-1, 3), axis=0).astype(int).tolist())
    turned = [
        np.array(Image.fromarray(p).rotate(-a, Image.Resampling.BICUBIC, fillcolor=fill))
        for p, a in zip(lying, angles, strict=True)
    ]
    pose = study_pose(turned).pose
    assert pose is not None
    found = np.array([pose.align(picture)[1].angle for picture in turned])
    assert apart(found, angles).max() < 2
