"""A model copied whole, with a calibration of its past."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nfbmr.errors import BundleError, BundleTamperedError
from nfbmr.inspection.inspector import load
from nfbmr.model.bundle import read_bundle, write_bundle
from nfbmr.model.copies import copy_model, same_but_calibrated
from nfbmr.system.locks import locked_folder


def test_a_copy_is_the_model_with_another_calibration(model: Path, tmp_path: Path) -> None:
    before = load(model, runtime="torch")
    changed = before.recalibrated(0.5, look_rate=0.7)
    place = tmp_path / "copy"
    copy_model(model, place, before.identity, changed.calibration)
    found = load(place, runtime="torch")
    assert found.identity == before.identity
    assert found.calibration == changed.calibration
    assert same_but_calibrated(model, place)
    (place / "mine.txt").write_text("a note")
    copy_model(model, place, before.identity)
    assert load(place, runtime="torch").calibration == before.calibration
    assert (place / "mine.txt").read_text() == "a note"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["copy"]


def test_what_is_not_the_model_is_not_copied(model: Path, model_copy: Path, tmp_path: Path) -> None:
    identity = load(model, runtime="torch").identity
    bundle = read_bundle(model_copy)
    other = replace(bundle, facts=bundle.facts.model_copy(update={"name": "another"}))
    write_bundle(model_copy, other)
    place = tmp_path / "copy"
    with pytest.raises(BundleError, match="another model by now"):
        copy_model(model_copy, place, identity)
    assert not same_but_calibrated(model, model_copy)
    (model_copy / "calibration.json").write_text("{}")
    with pytest.raises(BundleTamperedError):
        copy_model(model_copy, place, read_bundle(model).identity)
    assert not place.exists()


def test_a_model_that_is_being_changed_stays(model: Path, model_copy: Path) -> None:
    identity = load(model, runtime="torch").identity
    with locked_folder(model_copy), pytest.raises(BundleError, match="being changed"):
        copy_model(model, model_copy, identity)
