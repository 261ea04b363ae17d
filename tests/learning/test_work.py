"""The work folder of a fit: for one fit alone, gone when nothing is in it, and what it notes."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nfbmr.data.ignore import Ignored
from nfbmr.data.survey import survey
from nfbmr.errors import BundleError
from nfbmr.learning.work import (
    forget,
    is_finished,
    mark_of,
    note_finished,
    work_folder,
    workplace,
)
from nfbmr.model.bundle import read_bundle, replace_calibration, write_bundle
from nfbmr.networks.weights import embedded_file
from nfbmr.scoring.calibrate import recalibrate
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import Settings

CPU = torch.device("cpu")


def hold(out: Path, fresh: bool = False) -> set[str]:
    """What is in the work folder of a fit that just starts."""
    with workplace(out, fresh=fresh) as work:
        return {path.name for path in work.iterdir()}


def test_a_second_fit_is_told_so_and_what_the_first_one_keeps_stays(tmp_path: Path) -> None:
    out = tmp_path / "model"
    with workplace(out, fresh=False) as work:
        (work / "flow.safetensors").write_text("learnt")
        for fresh in (False, True):
            with pytest.raises(BundleError, match="another fit is writing it; wait"):
                hold(out, fresh)
        assert hold(tmp_path / "other") == {".lock"}
        assert (work / "flow.safetensors").read_text() == "learnt"
    assert hold(out) == {".lock", "flow.safetensors"}


def test_a_link_in_its_place_is_refused_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "own.txt").write_text("mine")
    work_folder(tmp_path / "model").symlink_to(elsewhere)
    for fresh in (False, True):
        with pytest.raises(BundleError, match="found a link"):
            hold(tmp_path / "model", fresh)
    assert [path.name for path in elsewhere.iterdir()] == ["own.txt"]


def test_a_folder_in_which_nothing_is_kept_goes(tmp_path: Path) -> None:
    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt), workplace(out, fresh=False):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with workplace(out, fresh=False) as work:
        (work / "flow.safetensors").write_text("learnt")
        forget(work)
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_one_fit_leaves_the_next_one_its_lock(tmp_path: Path) -> None:
    """The first one has done all, and is just loading what it wrote."""
    out = tmp_path / "model"
    with ExitStack() as second:
        with workplace(out, fresh=False) as work:
            forget(work)
            second.enter_context(workplace(out, fresh=False))
        with pytest.raises(BundleError, match="another fit is writing it"):
            hold(out)
    assert list(tmp_path.iterdir()) == []


def test_fresh_forgets_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "model"
    (work_folder(out) / "part").mkdir(parents=True)
    (work_folder(out) / "z.f32").write_text("z")
    assert hold(out, fresh=True) == {".lock"}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleError, match="cannot write a model to"):
        hold(tmp_path / "file" / "model")


def test_a_model_is_finished_where_it_is_this_very_fits(model: Path, tmp_path: Path) -> None:
    bundle, out, work = read_bundle(model), tmp_path / "out", tmp_path / "work"
    work.mkdir()
    assert not is_finished(work, "fit", out)
    note_finished(work, "fit", bundle)
    assert not is_finished(work, "fit", out), "it was killed before the model came to its place"
    write_bundle(out, bundle)
    assert is_finished(work, "fit", out)
    assert not is_finished(work, "another fit", out)
    replace_calibration(out, replace(bundle, calibration=recalibrate(bundle.calibration, 0.4)))
    assert is_finished(work, "fit", out), "another threshold is no other fit"
    (out / "model.safetensors").write_bytes(b"damaged")
    assert not is_finished(work, "fit", out)
    shutil.rmtree(out)
    write_bundle(out, replace(bundle, facts=bundle.facts.model_copy(update={"fit_seconds": 1.0})))
    assert not is_finished(work, "fit", out), "of the same settings, but of another fit"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fit": "fit"}', '{"fit": "fit", "config": 1}'])
def test_a_damaged_note_says_nothing(text: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "finished.json").write_text(text)
    assert not is_finished(tmp_path, "fit", model)


def test_a_mark_names_pictures_settings_and_weights(
    good_folder: Path, tiny: Settings, tmp_path: Path
) -> None:
    good = survey("product", sorted(good_folder.iterdir()))
    weights = tmp_path / f"w{embedded_file('tf_efficientnet_lite0').suffix}"
    shutil.copy(embedded_file("tf_efficientnet_lite0"), weights)
    own = with_changes(tiny, {"backbone": {"weights": str(weights)}})
    marks = [
        mark_of(good, tiny, CPU),
        mark_of(replace(good, pictures=good.pictures[1:]), tiny, CPU),
        mark_of(replace(good, pictures=good.pictures[::-1]), tiny, CPU),
        mark_of(good, with_changes(tiny, {"seed": 1}), CPU),
        mark_of(good, tiny, torch.device("meta")),
        mark_of(good, own, CPU),
        mark_of(good, tiny, CPU, Ignored(np.eye(64, dtype=bool))),
        mark_of(good, tiny, CPU, Ignored(~np.eye(64, dtype=bool))),
    ]
    assert mark_of(replace(good, seconds=0.0), tiny, CPU) == marks[0]
    weights.write_bytes(b"other weights at the same path")
    marks.append(mark_of(good, own, CPU))
    assert len(set(marks)) == len(marks)
