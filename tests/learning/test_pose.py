"""The pose is learnt from pictures that train, and what becomes of it is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.data.images import load_image
from nfbmr.data.survey import survey
from nfbmr.learning import pose as learning_pose
from nfbmr.learning.pose import pose_of
from nfbmr.settings.schema import DataSettings

Draw = Callable[..., NDArray[np.uint8]]


def test_the_pose_of_turned_parts_is_said(turned: Draw, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "nfbmr")
    angles = np.random.default_rng(0).uniform(0, 360, 20)
    good = survey("parts", [turned(n, angle) for n, angle in enumerate(angles)]).pictures
    heard: list[tuple[str, int, int]] = []
    pose = pose_of(good, (64, 96), lambda *told: heard.append(told))
    assert pose is not None
    assert pose.stretch == pytest.approx(1.5)
    assert pose.describe() in caplog.text
    assert heard[0] == ("pose", 1, 20)
    assert heard[-1] == ("pose", 20, 20)


def test_pictures_are_drawn_evenly(
    turned: Draw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(learning_pose, "MOST", 16)
    good = survey("parts", [turned(n, 90.0 * n) for n in range(31)]).pictures
    read: list[int] = []

    def noted(
        picture: NDArray[np.uint8], size: tuple[int, int], how: DataSettings
    ) -> NDArray[np.uint8]:
        assert how.white == 4095
        read.append(next(n for n, one in enumerate(good) if one.picture is picture))
        return load_image(picture, size)

    monkeypatch.setattr(learning_pose, "load_image", noted)
    pose_of(good, (96, 96), how=DataSettings(white=4095))
    assert read == list(range(0, 31, 2))


def test_few_pictures_are_not_even_read(turned: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_pose, "load_image", None)
    good = survey("parts", [turned(n, 90.0 * n) for n in range(15)]).pictures
    assert pose_of(good, (96, 96)) is None


def test_a_warning_is_said(
    turned: Draw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nfbmr.data.pose.LEAST_AGREEMENT", 1.1)
    angles = np.random.default_rng(0).uniform(0, 360, 20)
    good = survey("parts", [turned(n, angle) for n, angle in enumerate(angles)]).pictures
    assert pose_of(good, (96, 96)) is None
    assert [r.getMessage()[:17] for r in caplog.records if r.levelname == "WARNING"] == [
        "Parts look turned"
    ]
