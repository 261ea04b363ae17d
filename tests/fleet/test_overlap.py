"""Sources that would list a picture twice are refused; those that cannot are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from nfbmr.errors import DataError
from nfbmr.fleet.overlap import refuse_overlap


@pytest.fixture(autouse=True)
def _archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("d/a.png", "d/b.jpg", "d/sub/c.png", "e/list.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("d")
    (tmp_path / "a.png").symlink_to("d/a.png")


@pytest.mark.parametrize(
    "words",
    [
        ("d", "d"),
        ("d", "d/sub"),
        ("d", "d/*.png"),
        ("d/*.png", "d"),
        ("d/*.png", "d/*.png"),
        ("d/*.png", "d/a*.png"),
        ("d/*.png", "d/a.png"),
        ("d/sub", "d/**"),
        ("d/sub", "d/s*/c.png"),
        ("d/**/*.png", "d/sub/*"),
        ("d/**/c.png", "d/sub/?.png"),
        ("d", "link"),
        ("d", "link/*.png"),
        ("link/*.png", "d/*.png"),
        ("d", "a.png"),
        ("d/*.png", "a.png"),
        ("s3://b/line", "s3://b/line/*.png"),
        ("s3://b/line/*.png", "s3://b/line/a*.png"),
        ("s3://b/line/7.png", "s3://b/line/*.png"),
    ],
)
def test_what_names_a_picture_twice_is_refused(words: tuple[str, str]) -> None:
    with pytest.raises(DataError, match=r"judged twice; give one of the two"):
        refuse_overlap(words)


@pytest.mark.parametrize(
    "words",
    [
        ("d", "e"),
        ("d/*.png", "d/*.jpg"),
        ("d/*.png", "d/sub"),
        ("d/*.png", "d/sub/*.png"),
        ("d/a*", "d/b*"),
        ("d/**/*.png", "d/**/*.jpg"),
        ("d/sub/*.png", "e/*.png"),
        ("d/**/*.png", "e/list.csv"),
        ("d/**/*.png", "d/b.jpg"),
        ("s3://b/line/00[12].png", "s3://b/list.csv", "s3://b/line/night"),
    ],
)
def test_what_cannot_meet_is_taken(words: tuple[str, ...]) -> None:
    refuse_overlap(words)
    refuse_overlap(words[::-1])


def test_many_pictures_are_compared_in_no_time(tmp_path: Path) -> None:
    refuse_overlap([f"{tmp_path}/d/{number}.png" for number in range(20_000)])
