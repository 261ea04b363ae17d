"""Thresholds anew: what is given is looked at, and pictures go by file or by name."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import Draw

from nfbmr.errors import CalibrationError
from nfbmr.inspection.inspector import Inspector


def test_a_picture_goes_by_the_name_that_is_shown(
    inspector: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    now = inspector.calibration
    highest = now.pictures[-1]
    fewer = inspector.recalibrated(without=[now.names[highest]]).calibration
    assert len(fewer.pictures) == len(now.pictures) - 1
    assert highest not in fewer.pictures


def test_a_name_that_none_has_is_said(
    inspector: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CalibrationError, match=r"none\.png: found no such picture among the"):
        inspector.recalibrated(without=["none.png"])
    unnamed = inspector.with_calibration(replace(inspector.calibration, names={}))
    highest = inspector.calibration.pictures[-1]
    fewer = unnamed.recalibrated(without=[f"sha256 {highest[:12]}..."])
    assert highest not in fewer.calibration.pictures


def test_what_was_left_out_already_is_said_with_what_brings_it_back(
    inspector: Inspector, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = tmp_path / "good"
    good.mkdir()
    for seed in range(300, 312):
        Image.fromarray(draw(seed)).save(good / f"{seed}.png")
    files = sorted(good.iterdir())
    now = inspector.recalibrated(0.2, files)
    fewer = now.recalibrated(without=["305.png"])
    for again in ("305.png", good / "305.png"):
        with pytest.raises(CalibrationError, match=r"305\.png: found no .* among the 11") as caught:
            fewer.recalibrated(without=[again])
        assert "left out before is no longer among them; it comes back with" in str(caught.value)
    assert fewer.recalibrated(0.2, files).calibration == now.calibration


def test_a_name_that_several_have_is_refused(
    inspector: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    now = inspector.calibration
    twice = replace(now, names=dict.fromkeys(now.pictures[-2:], "same.png"))
    with pytest.raises(CalibrationError, match=r"same\.png: found 2 pictures of this name"):
        inspector.with_calibration(twice).recalibrated(without=["same.png"])


def test_good_pictures_that_were_defects_until_now_are_asked_about(
    inspector: Inspector, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    good = [draw(seed) for seed in range(300, 312)]
    inspector.recalibrated(0.2, good)
    assert "until now" not in caplog.text
    other = [np.rot90(255 - one).copy() for one in good]
    with caplog.at_level(logging.WARNING):
        inspector.recalibrated(0.2, other)
    assert "12 of the 12 pictures were defects by the thresholds until now" in caplog.text


def test_good_pictures_of_other_proportions_are_named(
    inspector: Inspector, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    wide = [Image.fromarray(draw(seed)).resize((200, 80)) for seed in range(300, 306)]
    with caplog.at_level(logging.WARNING):
        inspector.recalibrated(0.2, wide)
    assert "stretched" in caplog.text
