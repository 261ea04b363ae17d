"""The model directory: whole or not at all, checked part by part, and it cannot run code."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import pickle
import resource
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from nfbmr.data.ignore import Ignored
from nfbmr.data.pose import Pose
from nfbmr.data.rings import ANGLES, RINGS, rings_of, waves_of
from nfbmr.errors import (
    BundleError,
    BundleNotFoundError,
    BundleTamperedError,
    BundleVersionError,
)
from nfbmr.model.bundle import (
    Bundle,
    Identity,
    add_exports,
    for_export,
    read_bundle,
    replace_calibration,
    write_bundle,
)
from nfbmr.model.exports import CALIBRATION, LEARNT_AGAIN, Export, Gate
from nfbmr.model.facts import Facts
from nfbmr.model.folder import (
    CARD,
    CONFIG,
    EXAMPLES,
    IGNORE,
    MANIFEST,
    POSE,
    TENSORS,
    is_bundle,
    refuse_to_replace_other_things,
)
from nfbmr.model.ignore import write_ignored
from nfbmr.model.place import changed
from nfbmr.scoring.calibrate import calibrate, recalibrate
from nfbmr.scoring.calibration_json import calibration_to_dict
from nfbmr.scoring.maps import MAPS
from nfbmr.settings.presets import preset
from nfbmr.system.files import sha256_of
from nfbmr.system.locks import locked_folder

PARTS = (CONFIG, TENSORS, CALIBRATION, CARD)
TOKEN = "0123456789abcdef" * 2


def facts(**changes: Any) -> Facts:
    values = {
        "name": "bottle",
        "size": (64, 96),
        "weights": "embedded",
        "n_train": 40,
        "n_held_out": 10,
        "trained_on": ["a" * 64],
        "held_out": ["b" * 64],
        "fit_seconds": 1.5,
        "created": "2024-01-01T00:00:00+00:00",
        "commit": None,
        "versions": {"python": "3.11"},
        "losses": {"flow": 0.5},
    }
    return Facts.model_validate(values | changes)


def content(**changes: Any) -> Bundle:
    rng = np.random.default_rng(0)
    maps = rng.gamma(2.0, 1.0, (10, len(MAPS), 3, 4)).astype(np.float32)
    settings = preset("fast")
    made = Bundle(
        settings=settings,
        facts=facts(),
        calibration=calibrate(maps, settings.scoring, 0.1),
        tensors={
            "flow.weight": rng.normal(size=(4, 3)).astype(np.float32),
            "flow.permutation": np.arange(5),
            "transposed": rng.normal(size=(2, 3)).astype(np.float32).T,
        },
    )
    return replace(made, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "bottle"
    write_bundle(path, content())
    return path


def test_examples_are_a_part_like_the_others(tmp_path: Path) -> None:
    path = tmp_path / "model"
    pictures = (b"one JPEG", b"another")
    write_bundle(path, content(examples=pictures))
    found = read_bundle(path)
    assert found.examples == pictures
    assert "small copies of 2 of the good pictures" in (path / CARD).read_text()
    changed = recalibrate(found.calibration, 0.3)
    replace_calibration(path, replace(found, calibration=changed))
    assert read_bundle(path).examples == pictures, "they outlive a change of the model"
    (path / EXAMPLES).write_bytes(b"other pictures")
    with pytest.raises(BundleTamperedError, match=r"examples.zip is not the file"):
        read_bundle(path)
    put(path, EXAMPLES, b"other pictures")
    with pytest.raises(BundleTamperedError, match=r"examples.zip is not one that nfbmr wrote"):
        read_bundle(path)
    write_bundle(path, content())
    assert not (path / EXAMPLES).exists()
    assert "good pictures, to show" not in (path / CARD).read_text()


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def put(path: Path, part: str, data: bytes) -> None:
    """Replaces a part and its hash, as one who may write the directory can."""
    (path / part).write_bytes(data)
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["parts"][part] = hashlib.sha256(data).hexdigest()
    (path / MANIFEST).write_text(json.dumps(manifest))


# ---- there and back


def test_round_trip(path: Path) -> None:
    found, expected = read_bundle(path), content()
    assert found.settings == expected.settings
    assert found.facts == expected.facts
    assert found.calibration == expected.calibration
    assert set(found.tensors) == set(expected.tensors)
    for name, value in expected.tensors.items():
        assert found.tensors[name].dtype == value.dtype
        np.testing.assert_array_equal(found.tensors[name], value)
    assert sorted(p.name for p in path.iterdir()) == sorted((MANIFEST, *PARTS))
    assert is_bundle(path)


def test_others_may_read_it(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o755
    assert {part.stat().st_mode & 0o777 for part in path.iterdir()} == {0o644}


def test_same_content_same_bytes(path: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "again", content())
    assert snapshot(tmp_path / "again") == snapshot(path)


def test_replacing_the_calibration_keeps_the_rest(path: Path) -> None:
    before, old = snapshot(path), read_bundle(path)
    replace_calibration(path, replace(old, calibration=recalibrate(old.calibration, 0.4)))
    new = read_bundle(path)
    assert new.calibration.false_alarm_rate == 0.4
    assert new.calibration.scores == recalibrate(old.calibration, 0.4).scores
    after = snapshot(path)
    assert after[TENSORS] == before[TENSORS]
    assert after[CONFIG] == before[CONFIG]
    assert "rate of 0.4" in after[CARD].decode()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


# ---- what is refused on reading


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        (part, damage)
        for part in PARTS
        for damage in ("changed", "truncated", "emptied", "missing", "folder")
        # A note in the card stops nothing: test_note.
        if part != "README.md" or damage in ("missing", "folder")
    ],
)
def test_a_damaged_part_is_named(path: Path, part: str, damage: str) -> None:
    file = path / part
    data = file.read_bytes()
    middle = len(data) // 2
    if damage == "changed":
        file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif damage == "truncated":
        file.write_bytes(data[:-1])
    elif damage == "emptied":
        file.write_bytes(b"")
    else:
        file.unlink()
    if damage == "folder":
        file.mkdir()
    with pytest.raises(BundleTamperedError, match=part):
        read_bundle(path)


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"format": 1}',
        b'{"format": 0, "parts": {}}',
        b'{"format": "1", "parts": {}}',
        b'{"format": 1, "parts": {"config.json": "x"}}',
    ],
)
def test_a_damaged_manifest_is_named(path: Path, manifest: bytes) -> None:
    (path / MANIFEST).write_bytes(manifest)
    with pytest.raises(BundleTamperedError, match=MANIFEST):
        read_bundle(path)


@pytest.mark.parametrize("older", [1, 2, 3])
def test_an_older_format_is_read(path: Path, older: int) -> None:
    manifest = json.loads((path / MANIFEST).read_bytes())
    assert manifest["format"] == 4
    expected = read_bundle(path)
    (path / MANIFEST).write_text(json.dumps({**manifest, "format": older}))
    found = read_bundle(path)
    assert (found.settings, found.facts) == (expected.settings, expected.facts)


def test_a_newer_format_asks_for_an_update(path: Path) -> None:
    (path / MANIFEST).write_text('{"format": 5, "parts": {}, "more": 1}')
    with pytest.raises(BundleVersionError, match=r"format 5.*up to 4; update nfbmr"):
        read_bundle(path)


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="does not exist"):
        read_bundle(tmp_path / "nothing")
    with pytest.raises(BundleNotFoundError, match=r"holds no nfbmr model.*nfbmr fit"):
        read_bundle(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleNotFoundError, match="file is a file: a folder with"):
        read_bundle(tmp_path / "file")


def test_a_model_without_its_manifest_is_one_to_restore(path: Path) -> None:
    (path / MANIFEST).unlink()
    with pytest.raises(BundleNotFoundError, match=r"holds parts of a model, but no manifest\.json"):
        read_bundle(path)


def test_tensors_that_are_not_finite_are_refused_on_reading(path: Path) -> None:
    from safetensors.numpy import save

    put(path, TENSORS, save({"flow.weight": np.array([1.0, np.nan], np.float32)}))
    with pytest.raises(BundleTamperedError, match=r"'flow\.weight' holds values that are not"):
        read_bundle(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_tensors_that_are_not_finite_are_refused_on_writing(tmp_path: Path, value: float) -> None:
    tensors = {"flow.weight": np.array([1.0, value], np.float32)}
    with pytest.raises(BundleTamperedError, match="not finite"):
        write_bundle(tmp_path / "model", content(tensors=tensors))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (CONFIG, {"facts": {}}),
        (CONFIG, {"settings": {"flow": {"hiden": 3}}}),
        (CONFIG, {"settings": 3}),
        (CONFIG, {"settings": {"flow": {"kernel": "x"}}}),
        (CONFIG, {"settings": {"mapping": {"ends": "x"}}}),
        (CALIBRATION, {"threshold": float("nan")}),
        (CALIBRATION, {"rank": -1}),
        (CALIBRATION, {"colour": 1}),
    ],
)
def test_impossible_values_are_refused_whatever_the_hash(
    path: Path, part: str, change: dict[str, Any]
) -> None:
    values = json.loads((path / part).read_text()) | change
    put(path, part, json.dumps(values).encode())
    with pytest.raises(BundleTamperedError):
        read_bundle(path)


def test_pixels_beyond_what_a_picture_has_are_named_with_what_was_expected(path: Path) -> None:
    values = json.loads((path / CONFIG).read_text())
    assert values["settings"]["mm_per_pixel"] is None
    for value, said in ((0.05, None), (1e300, r"mm_per_pixel: .*equal to 1000, found 1e\+300")):
        values["settings"]["mm_per_pixel"] = value
        put(path, CONFIG, json.dumps(values).encode())
        if said is None:
            assert read_bundle(path).settings.mm_per_pixel == value
        else:
            with pytest.raises(BundleTamperedError, match=rf"config\.json .*{said}.*fit again"):
                read_bundle(path)


def test_a_huge_json_is_not_loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfbmr.model.folder._JSON_LIMIT", 100)
    with pytest.raises(BundleTamperedError, match="larger than any"):
        read_bundle(path)


class Payload:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("part", PARTS)
def test_a_pickle_is_never_executed(path: Path, tmp_path: Path, part: str) -> None:
    proof = tmp_path / "executed"
    poison = pickle.dumps(Payload(proof))
    put(path, part, poison)
    if part == CARD:  # nobody reads it
        read_bundle(path)
    else:
        with pytest.raises(BundleTamperedError, match=f"{part} is not readable"):
            read_bundle(path)
    assert not proof.exists()
    pickle.loads(poison)
    assert proof.exists(), "the payload is to be a real one"


# ---- what is not overwritten


def test_other_things_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "holiday.jpg").write_text("x")
    with pytest.raises(BundleError, match=r"holds other things \(holiday\.jpg\)"):
        write_bundle(folder, content())
    assert snapshot(folder) == {"holiday.jpg": b"x"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_users_notes_beside_the_parts_outlive_a_new_model(path: Path) -> None:
    (path / "notes.txt").write_text("mine")
    write_bundle(path, content(facts=facts(name="jar")))
    assert (path / "notes.txt").read_text() == "mine"
    assert read_bundle(path).facts.name == "jar"


def test_a_readme_alone_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / CARD).write_text("mine")
    with pytest.raises(BundleError, match="no complete model"):
        write_bundle(tmp_path, content())
    assert (tmp_path / CARD).read_text() == "mine"


def test_a_file_and_a_link_are_left_alone(path: Path, tmp_path: Path) -> None:
    file, link, broken = tmp_path / "file", tmp_path / "link", tmp_path / "broken"
    file.write_text("mine")
    link.symlink_to(path)
    broken.symlink_to(tmp_path / "nowhere")
    for place in (file, link, broken):
        with pytest.raises(BundleError, match=r"is not a folder|is a link to"):
            write_bundle(place, content())
    assert file.read_text() == "mine"
    assert link.is_symlink()
    assert broken.is_symlink()
    assert read_bundle(link).facts.name == "bottle"  # reading through a link is fine


def test_an_empty_folder_and_an_older_model_are_replaced(path: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    refuse_to_replace_other_things(empty)
    write_bundle(empty, content())
    assert is_bundle(empty)
    write_bundle(path, content(facts=facts(name="jar")))
    assert read_bundle(path).facts.name == "jar"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_damaged_model_can_be_replaced(path: Path) -> None:
    (path / TENSORS).unlink()
    write_bundle(path, content())
    assert read_bundle(path).facts.name == "bottle"


# ---- trouble while writing


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    "where",
    ["place.write_manifest", "place.swap_into_place", "bundle.model_card"],
)
def test_trouble_while_writing_leaves_the_old_model(
    path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    def fail(*args: object) -> None:
        raise error

    before = snapshot(path)
    monkeypatch.setattr(f"nfbmr.model.{where}", fail)
    expected = BundleError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_bundle(path, content(facts=facts(name="jar")))
    assert snapshot(path) == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_failed_rename_puts_the_old_model_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if target == path and not self.name.endswith(".old"):
            raise OSError(16, "Device or resource busy")
        return original(self, target)

    before = snapshot(path)
    with monkeypatch.context() as patch:
        patch.setattr("nfbmr.system.files.exchange", lambda *_: False)
        patch.setattr(Path, "rename", rename)
        with pytest.raises(BundleError, match="busy"):
            write_bundle(path, content(facts=facts(name="jar")))
    assert snapshot(path) == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_ctrl_c_between_the_renames_puts_the_old_model_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.rename

    def rename(self: Path, target: Path) -> Path:
        done = original(self, target)
        if self == path:
            raise KeyboardInterrupt
        return done

    before = snapshot(path)
    with monkeypatch.context() as patch:
        patch.setattr("nfbmr.system.files.exchange", lambda *_: False)
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            write_bundle(path, content(facts=facts(name="jar")))
    assert snapshot(path) == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_full_disk_leaves_the_old_model(path: Path) -> None:
    before = snapshot(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    try:
        with pytest.raises(BundleError, match="cannot write a model"):
            write_bundle(path, content(tensors={"flow.weight": np.zeros(2**18, np.float32)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert snapshot(path) == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="cannot write a model to"):
        write_bundle(tmp_path / "file" / "model", content())


# ---- the pose


def a_pose() -> Pose:
    rings = np.random.default_rng(0).normal(size=(RINGS, ANGLES)).astype(np.float32)
    seen = np.random.default_rng(0).random(content().facts.size) > 0.3
    return Pose(rings_of(waves_of(rings)), 1.25, 292.0, seen, ground=(3, 4, 5))


def test_a_pose_comes_back_and_is_kept_by_what_changes_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content(pose=a_pose()))
    assert POSE in json.loads((path / MANIFEST).read_text())["parts"]
    bundle = read_bundle(path)
    replace_calibration(path, replace(bundle, calibration=recalibrate(bundle.calibration, 0.3)))
    again = read_bundle(path, tensors=False)
    assert again.calibration.false_alarm_rate == 0.3
    for found in (bundle.pose, again.pose):
        assert found is not None
        assert found.key == a_pose().key
        assert (found.stretch, found.arc) == (1.25, 292.0)
    said = "Parts lie turned: each picture is turned to one pose first (nine tenths of the good "
    said += "parts lay within 292 degrees); "
    assert said in (path / CARD).read_text("utf-8")


def test_a_pose_of_before_there_was_what_counts_is_read(tmp_path: Path) -> None:
    path, old = tmp_path / "model", replace(a_pose(), seen=None)
    write_bundle(path, content(pose=old))
    assert set(load_file(path / POSE)) == {"template", "stretch", "arc"}
    found = read_bundle(path).pose
    assert found is not None
    assert found.seen is None
    assert found.key == old.key


def test_a_model_of_parts_in_one_pose_has_none(path: Path) -> None:
    assert not (path / POSE).exists()
    assert read_bundle(path).pose is None
    assert "Parts lie turned" not in (path / CARD).read_text("utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"template": np.zeros((3, 4), np.float32)}, "holds no pose"),
        ({"template": np.full((RINGS, ANGLES), np.nan, np.float32)}, "holds no pose"),
        ({"stretch": np.zeros((), np.float32)}, "holds no pose"),
        ({"stretch": np.zeros(())}, "impossible"),
        ({"arc": np.full((), 400.0)}, "impossible"),
        ({"more": np.zeros(())}, "holds no pose"),
        ({"seen": np.ones((3, 4), np.uint8)}, "holds no pose"),
        ({"ground": np.zeros(4, np.uint8)}, "holds no pose"),
    ],
)
def test_a_pose_with_impossible_values_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "model"
    write_bundle(path, content(pose=a_pose()))
    values = load_file(path / POSE) | change
    put(path, POSE, save(values))
    with pytest.raises(BundleTamperedError, match=said):
        read_bundle(path)


def test_a_pose_that_is_cut_short_or_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content(pose=a_pose()))
    whole = (path / POSE).read_bytes()
    (path / POSE).write_bytes(whole[:-5])
    with pytest.raises(BundleTamperedError, match=r"pose\.safetensors is not the file"):
        read_bundle(path)
    put(path, POSE, whole[:-5])
    with pytest.raises(BundleTamperedError, match=r"pose\.safetensors is not readable"):
        read_bundle(path)
    (path / POSE).unlink()
    with pytest.raises(BundleTamperedError, match=r"pose\.safetensors is missing"):
        read_bundle(path)


# ---- what is ignored


def an_ignored() -> Ignored:
    mask = np.zeros(facts().size, bool)
    mask[: len(mask) // 4] = True
    return Ignored(mask)


def test_what_is_ignored_comes_back_and_is_kept_by_what_changes_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content(ignore=an_ignored()))
    assert IGNORE in json.loads((path / MANIFEST).read_text())["parts"]
    bundle = read_bundle(path)
    replace_calibration(path, replace(bundle, calibration=recalibrate(bundle.calibration, 0.3)))
    again = read_bundle(path, tensors=False)
    for found in (bundle.ignore, again.ignore):
        assert found is not None
        assert found.key == an_ignored().key
    said = "25.0 % of the picture is ignored: what lies there never counts."
    assert said in (path / CARD).read_text("utf-8")
    write_bundle(path, content())
    assert read_bundle(path).ignore is None
    assert "ignored" not in (path / CARD).read_text("utf-8")


def test_a_mask_that_is_no_longer_what_was_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content(ignore=an_ignored()))
    whole = (path / IGNORE).read_bytes()
    (path / IGNORE).write_bytes(whole[:-20])
    with pytest.raises(BundleTamperedError, match=r"ignore\.png is not the file"):
        read_bundle(path)
    put(path, IGNORE, b"no picture")
    with pytest.raises(BundleTamperedError, match=r"ignore\.png.*restore the file or fit again"):
        read_bundle(path)
    write_ignored(path / IGNORE, Ignored(np.ones((8, 8), bool)))
    put(path, IGNORE, (path / IGNORE).read_bytes())
    with pytest.raises(BundleTamperedError, match=r"is of 8 x 8, the model of"):
        read_bundle(path)


# ---- the model card


def test_card_says_what_the_model_is() -> None:
    card = content().card()
    assert card.startswith("# bottle: a defect detector by nfbmr\n")
    assert "Learnt from 40 good pictures; 10 more were held out" in card
    assert "| pictures are resized to | 64 x 96 (H x W) |" in card
    assert content().calibration.describe()[0] in card
    assert "highest value" not in card, "of an older version"
    deep = content(facts=facts(depth=16, highest=4000.0)).card()
    assert "| the good pictures have | 16 bits, highest value 4000 |" in deep


def test_card_says_what_the_fit_chose() -> None:
    before = replace(content().calibration, rims={}, own={})
    assert "Rims" not in content(calibration=before).card(), "of an older version"
    rims = {"fine": ((3.0, 2.0, 2.0), (1.0, 1.5, 1.0)), "finest": ((2.0, 2.0), (1.0, 1.0))}
    chosen = replace(before, rims=rims, own={"distance": 0.495, "fine": 0.4})
    card = content(calibration=chosen).card()
    assert "Rims of the fine distance: 2 rings of cells along the edge looked at" in card
    assert "scaled to the inside: 1, 2 (1 is the outermost)" in card
    assert "Rims of the finest distance stay as they are" in card
    assert "covariance of the distance 50% is its own and 50% the same for all" in card
    assert "covariance of the fine" not in card, "its weight is another thing"


def test_card_has_no_markup_from_a_hostile_name() -> None:
    hostile = "<script>alert(1)</script>\n# [x](javascript:y) | `rm` ![i](http://e) *b* &lt;"
    card = content(facts=facts(name=hostile, weights=hostile)).card()
    plain = content().card()
    assert len(card.splitlines()) == len(plain.splitlines())
    for sign in "<>[]`*&!#|:":
        assert card.count(sign) == plain.count(sign), sign


def test_a_folder_that_only_looks_like_a_model_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "extension"
    (path / "README.md").mkdir(parents=True)
    (path / "README.md" / "thesis.txt").write_text("mine")
    (path / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match="holds other things"):
        refuse_to_replace_other_things(path)
    (path / "README.md" / "thesis.txt").unlink()
    (path / "README.md").rmdir()
    with pytest.raises(BundleError, match="no complete model"):
        refuse_to_replace_other_things(path)


# ---- graphs


def exported(path: Path, text: bytes = b"graph", **changes: Any) -> Export:
    """Adds a graph of that content to a model; returns how it was proved."""
    file = path.parent / "graph"
    file.write_bytes(text)
    gate = Gate(
        good=1,
        drawn=1,
        maps=0,
        maps_allowed=1e-3,
        scores=0,
        scores_allowed=1e-4,
        p_values=0,
        milliseconds=1,
        versions={},
    )
    values: dict[str, Any] = {"target": "onnx", "precision": "fp32"} | changes
    if values["precision"] in LEARNT_AGAIN:
        gate = gate.model_copy(update={"probe": (1.0,) * len(MAPS)})
    export = Export(graph=sha256_of(file), gate=gate, **values)
    own = {} if export.calibration == CALIBRATION else {export.calibration: content().calibration}
    add_exports(path, {export.file: file}, (export,), read_bundle(path).identity, own)
    file.unlink()
    return export


def test_what_is_not_opened_is_not_hashed_unless_all_is_to_be_checked(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content())
    exported(path)
    for part in ("model.onnx", "model.safetensors"):
        whole = (path / part).read_bytes()
        (path / part).write_bytes(whole[:-1] + b"!")
        with pytest.raises(BundleTamperedError, match=part):
            read_bundle(path, tensors=False)
        assert read_bundle(path, tensors=False, unopened=False).facts.name == "bottle"
        if part == "model.safetensors":
            with pytest.raises(BundleTamperedError, match=part):
                read_bundle(path, unopened=False)
        (path / part).unlink()
        with pytest.raises(BundleTamperedError, match=f"{part} is missing"):
            read_bundle(path, tensors=False, unopened=False)
        (path / part).write_bytes(whole)
    (path / "calibration.json").write_text("{}")
    with pytest.raises(BundleTamperedError, match=r"calibration\.json"):
        read_bundle(path, tensors=False, unopened=False)


def test_graphs_are_added_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content())
    one = exported(path)
    two = exported(path, b"coarse", precision="int8")
    found = read_bundle(path)
    assert found.exports == (one, two)
    assert (path / "model.onnx").read_bytes() == b"graph"
    assert "onnx int8" in (path / "README.md").read_text("utf-8")
    replace_calibration(path, found)
    assert read_bundle(path).exports == (one, two)
    assert not read_bundle(path, tensors=False).tensors


def test_a_calibration_of_its_own_goes_with_its_graph_alone(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content())
    export = exported(path, precision="int8")
    bundle = read_bundle(path)
    own = for_export(path, bundle, export)
    assert (bundle.of, own.of) == (CALIBRATION, "calibration.onnx.int8.json")
    assert own.identity == replace(bundle.identity, graph=export.graph)
    assert own.identity != bundle.identity == read_bundle(path, tensors=False).identity
    changed_one = recalibrate(own.calibration, 0.4)
    replace_calibration(path, replace(own, calibration=changed_one))
    assert for_export(path, bundle, export).calibration == changed_one
    assert read_bundle(path).calibration == bundle.calibration != changed_one
    exported(path, b"learnt once more", precision="int8")
    before = snapshot(path)
    with pytest.raises(BundleError, match="holds another model or graph by now"):
        replace_calibration(path, own)
    assert snapshot(path) == before
    replace_calibration(
        path, replace(bundle, calibration=changed_one)
    )  # torch's: no graph's concern
    assert read_bundle(path).calibration == changed_one


def test_what_is_not_complete_is_passed_over_and_the_model_stands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model"
    write_bundle(path, content())
    single, coarse = exported(path), exported(path, b"coarse", precision="int8")
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["parts"][coarse.calibration]
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert read_bundle(path).exports == (single,)
    assert "onnx int8 is passed over, it is not complete; export again" in caplog.text


def test_a_calibration_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content())
    other = replace(content().calibration, statistic_mean=(1.0,), statistic_std=(1.0,), table=())
    before = snapshot(path)
    with pytest.raises(BundleTamperedError, match="has 1 statistics, the settings have 8"):
        replace_calibration(path, replace(read_bundle(path), calibration=other))
    assert snapshot(path) == before
    put(path, CALIBRATION, json.dumps(calibration_to_dict(other)).encode())
    with pytest.raises(BundleTamperedError, match=r"calibration\.json: .* has 1 statistics"):
        read_bundle(path)


def test_the_card_of_another_version_leaves_no_note(path: Path) -> None:
    put(path, CARD, b"# A model\n\nAs an older version said it.\n")
    bundle = read_bundle(path)
    replace_calibration(path, replace(bundle, calibration=recalibrate(bundle.calibration, 0.3)))
    assert (path / CARD).read_text() == read_bundle(path).card()
    (path / CARD).write_text("For line 3.\n\n" + (path / CARD).read_text())
    for rate in (0.2, 0.3):
        bundle = read_bundle(path)
        changed_one = recalibrate(bundle.calibration, rate)
        replace_calibration(path, replace(bundle, calibration=changed_one))
        assert (path / CARD).read_text().startswith("For line 3.\n\n" + read_bundle(path).card())


def test_two_programs_do_not_change_a_model_at_once(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no such locks here")
    path = tmp_path / "model"
    write_bundle(path, content())
    bundle = read_bundle(path)
    with changed(path), pytest.raises(BundleError, match="being changed by another program"):
        replace_calibration(path, bundle)
    replace_calibration(path, bundle)


def test_a_replaced_graph_takes_the_proofs_of_the_old_one_with_it(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content())
    exported(path)
    same = exported(path, target="openvino")
    assert [e.target for e in read_bundle(path).exports] == ["onnx", "openvino"]
    other = exported(path, b"another graph", target="openvino")
    assert read_bundle(path).exports == (other,)
    assert other != same


def test_a_graph_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content())
    (tmp_path / "graph").write_bytes(b"graph")
    before = snapshot(path)
    with pytest.raises(BundleError, match="holds another model by now; nothing was kept"):
        add_exports(path, {"model.onnx": tmp_path / "graph"}, (), Identity(tensors="0" * 64))
    assert snapshot(path) == before


def test_a_graph_that_was_not_proved_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content())
    exported(path)
    (path / "model.onnx").write_bytes(b"hostile")
    with pytest.raises(BundleTamperedError, match="its sha256 differs"):
        read_bundle(path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["parts"]["model.onnx"] = sha256_of(path / "model.onnx")
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleTamperedError, match="the graph that was proved is not there"):
        read_bundle(path)


@pytest.mark.parametrize("start", [read_bundle, lambda path: write_bundle(path, content())])
def test_a_model_that_a_kill_left_between_two_renames_is_put_back(
    tmp_path: Path, start: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model"
    write_bundle(path, content())
    path.rename(tmp_path / f".model.{TOKEN}.old")
    (tmp_path / ".model.xyz.old").mkdir()  # somebody's own
    start(path)
    assert read_bundle(path).facts.name == "bottle"
    assert f"a kill had left it as .model.{TOKEN}.old" in caplog.text
    assert {p.name for p in tmp_path.iterdir()} == {"model", ".model.xyz.old"}


def test_a_model_that_is_being_replaced_is_left_to_its_program(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content())
    left = path.rename(tmp_path / f".model.{TOKEN}.old")
    with locked_folder(left), pytest.raises(BundleNotFoundError, match="being replaced right now"):
        read_bundle(path)
    assert left.is_dir()


def test_the_models_place_is_never_empty(path: Path) -> None:
    """A reader that asks all the time while the model is replaced again and again."""
    write_bundle(path, content())
    empty, stop = 0, threading.Event()

    def ask() -> None:
        nonlocal empty
        while not stop.is_set():
            empty += not os.path.lexists(path)

    reader = threading.Thread(target=ask)
    reader.start()
    try:
        for number in range(100):
            write_bundle(path, content(facts=facts(name=f"jar {number}")))
    finally:
        stop.set()
        reader.join()
    if not exchanges(path.parent):
        pytest.skip("this file system cannot exchange two names")
    assert empty == 0
    assert read_bundle(path).facts.name == "jar 99"


@pytest.mark.parametrize("can", [True, False])
def test_a_fit_that_ends_during_a_calibration_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    if not can:
        monkeypatch.setattr("nfbmr.system.files.exchange", lambda *_: False)

    def calibrate_slowly() -> None:
        with changed(path) as folder:
            (folder / CARD).write_text("stale")
            write_bundle(path, content(facts=facts(name="new fit")))

    with pytest.raises(BundleError, match="something else there meanwhile"):
        calibrate_slowly()
    assert read_bundle(path).facts.name == "new fit"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_is_put_back_is_of_this_name_and_no_other(tmp_path: Path) -> None:
    """Names with dots, a user's own copies, and links are left where they are."""
    path = tmp_path / "part"
    write_bundle(path, content())
    names = (f".part.v2.{TOKEN}.old", ".part.backup.old", ".part.abcd1234.old")
    for name in names:
        shutil.copytree(path, tmp_path / name)
    (tmp_path / f".part.{TOKEN}.old").symlink_to(path.rename(tmp_path / "elsewhere"))
    with pytest.raises(BundleNotFoundError, match="does not exist"):
        read_bundle(path)
    assert all((tmp_path / name).is_dir() for name in names)


def test_a_model_behind_a_link_is_put_back_too(tmp_path: Path) -> None:
    path, link = tmp_path / "model", tmp_path / "current"
    write_bundle(path, content())
    link.symlink_to(path)
    path.rename(tmp_path / f".model.{TOKEN}.old")
    assert read_bundle(link).facts.name == "bottle"
    assert link.is_symlink()


def test_a_calibration_is_not_put_on_other_settings_of_the_same_tensors(path: Path) -> None:
    before = read_bundle(path)
    settings = replace(before.settings, seed=before.settings.seed + 1)
    write_bundle(path, replace(before, settings=settings, identity=Identity()))
    with pytest.raises(BundleError, match="holds another model or graph by now"):
        replace_calibration(path, before)


def exchanges(folder: Path) -> bool:
    """Whether the system can exchange two names there: asked of itself, not of what is tested."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    one, other = folder / "one", folder / "other"
    one.mkdir()
    other.mkdir()
    here, by_exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    names = os.fsencode(one), os.fsencode(other)
    return bool(renameat2 and renameat2(here, names[0], here, names[1], by_exchange) == 0)


def test_other_peoples_files_and_links_outlive_a_calibration(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bundle(path, content())
    link = tmp_path / "current"
    link.symlink_to(path)
    replace_calibration(link, read_bundle(link))
    assert link.is_symlink()
    (path / "notes.txt").write_text("mine")
    replace_calibration(path, read_bundle(path))
    exported(path)
    assert (path / "notes.txt").read_text() == "mine"
    assert len(read_bundle(path).exports) == 1
