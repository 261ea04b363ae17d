"""How far products are, as files that are whole at any moment; what a model no longer rests on."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from nfbmr.errors import DataError
from nfbmr.fleet import place as places
from nfbmr.fleet.place import Marks, Place, State, differences

MARKS = Marks(
    settings={"seed": 0, "flow": {"hidden": 8}}, pictures=4, learnt="a", tests=2, tested="b"
)


def test_a_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    place = Place(tmp_path / "models")
    given = State(
        product="a b",
        status="done",
        marks=MARKS,
        figures={"image_auroc": 0.5, "false_alarm_interval": [0.0, 0.1], "aupro": None},
        warnings=("one", "two"),
        seconds=3.5,
    )
    written = place.write(given)
    assert written.changed > 0
    assert place.read("a b") == written
    assert replace(written, changed=0.0) == given
    assert place.states() == [written]
    left = [path.name for path in place.folder("a b").iterdir()]
    assert left == ["state.json"], "nothing half-written stays"


def test_names_that_are_no_utf_8_are_escaped(tmp_path: Path) -> None:
    """Such a name in an error or a warning kept the state from being written at all."""
    name = os.fsdecode(b"st\xfcck.png")
    place = Place(tmp_path)
    written = place.write(State(product="a", warnings=(f"{name} is odd",), what=name))
    assert place.read("a") == written
    assert written.warnings == ("st\\udcfcck.png is odd",)
    assert place.fail("a", FileNotFoundError(2, "No such file", name)).status == "failed"
    known = place.read("a")
    assert known is not None
    assert "st\\udcfcck.png" in known.error


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"product": 1}', b"\xff"])
def test_a_damaged_state_is_none(tmp_path: Path, content: bytes) -> None:
    place = Place(tmp_path)
    place.write(State(product="a"))
    (place.folder("a") / "state.json").write_bytes(content)
    assert place.read("a") is None


def test_a_folder_without_a_fleet_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no fleet there"):
        Place(tmp_path / "absent").states()


def test_one_at_work_that_says_nothing_for_long_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Place(tmp_path).write(State(product="a", status="running"))
    said = [state.is_silent]
    later = state.changed + places.SILENT_SECONDS + 1
    monkeypatch.setattr("nfbmr.fleet.place.time.time", lambda: later)
    said.append(state.is_silent)
    assert said == [False, True]
    assert not replace(state, status="done").is_silent


def test_what_a_model_no_longer_rests_on_is_named() -> None:
    assert differences(MARKS, MARKS) == []
    other = replace(
        MARKS, settings={"seed": 1, "flow": {"hidden": 8, "blocks": 2}}, pictures=5, learnt="c"
    )
    assert differences(MARKS, other) == [
        "seed 0 -> 1",
        "flow.blocks null -> 2",
        "other pictures to learn from (4 then, 5 now)",
    ]
    assert differences(MARKS, replace(MARKS, tested="c", tests=3)) == [
        "other pictures of the test (2 then, 3 now)"
    ]
