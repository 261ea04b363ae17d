"""A calibration's name is that of its file in a model directory."""

from __future__ import annotations

from pathlib import Path

from nfbmr.model.bundle import read_bundle
from nfbmr.model.calibrations import calibration_hash, calibration_text
from nfbmr.system.files import sha256_of


def test_its_text_and_its_hash_are_those_of_the_file(model: Path) -> None:
    file, calibration = model / "calibration.json", read_bundle(model).calibration
    assert calibration_text(calibration) == file.read_text("utf-8")
    assert calibration_hash(calibration) == sha256_of(file)
