"""The process that learns, called here within the test: what it says, learnt or not."""

from __future__ import annotations

import base64
import errno
import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.survey import look
from nfbmr.errors import TrainingError
from nfbmr.inspection.inspector import load
from nfbmr.settings.changes import to_dict
from nfbmr.settings.schema import Settings
from nfbmr.station.services import heat
from nfbmr.station.worker.learn import IN_USE, explained, main
from nfbmr.station.worker.place import Good, Job, Place, Said

Draw = Callable[..., NDArray[np.uint8]]
Encoded = Callable[..., bytes]


@pytest.fixture(autouse=True)
def _as_urgent_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 0)


def place_with(folder: Path, settings: Settings, pictures: list[bytes]) -> Place:
    """The folder of a learning whose picture n is called `good n`."""
    place = Place(folder)
    place.pictures.mkdir(parents=True)
    goods = []
    for number, data in enumerate(pictures):
        file = f"{number:032x}.png"
        (place.pictures / file).write_bytes(data)
        goods.append(Good(file=file, name=f"good {number}", pixels=look(data, "").pixel_hash))
    job = Job(
        name="widget",
        settings=to_dict(settings),
        pictures=tuple(goods),
        device="cpu",
        export=False,
    )
    place.write(job)
    return place


def test_it_says_what_was_learnt(tmp_path: Path, tiny: Settings, png: Encoded) -> None:
    place = place_with(tmp_path / "one", tiny, [png(seed) for seed in range(12)])
    assert main(place.folder) == 0
    said = place.said()
    assert said is not None
    assert (said.state, said.share, said.left) == ("learnt", 1.0, 0.0)
    result = said.result
    assert result is not None
    inspector = load(place.model("widget"), device="cpu")
    assert inspector.facts.name == "widget"
    assert result["scores"] == list(inspector.calibration.scores)
    called = {one.pixels: one.name for one in place.job().pictures}
    assert inspector.calibration.names == called, "as people know them"
    assert result["trained"] + result["held_out"] == 12
    known = {one.pixels for one in place.job().pictures}
    assert {one["pixels"] for one in result["heats"]} <= known
    assert [one["kind"] for one in result["heats"]] == ["highest"] * 2 + ["typical"] * 2
    for one in result["heats"]:
        assert one["score"] in result["scores"]
        png_kept = None if one["png"] is None else base64.b64decode(one["png"])
        assert heat.drawn(png_kept).startswith(b"\x89PNG")
    left = {path.name for path in place.folder.rglob("*")}
    assert "cache" not in left
    assert ".widget.fit" not in left


def test_pictures_that_are_all_alike_are_refused_in_plain_words(
    tmp_path: Path, tiny: Settings, draw: Draw
) -> None:
    pictures = []
    for number in range(12):
        pixels = draw(1, size=(256, 256))
        pixels[number, 0] ^= 1  # another file, and the same to look at
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    place = place_with(tmp_path / "one", tiny, pictures)
    assert main(place.folder) == 1
    said = place.said()
    assert said is not None
    assert "is the camera stuck" in said.reason


def test_it_says_why_nothing_was_learnt_by_the_names_that_people_know(
    tmp_path: Path, tiny: Settings, png: Encoded
) -> None:
    place = place_with(tmp_path / "one", tiny, [png(seed) for seed in range(9)])
    assert main(place.folder) == 1
    said = place.said()
    assert said is not None
    assert said.state == "failed"
    assert said.reason.startswith("9 good pictures to learn from; at least 10 are needed")
    (place.pictures / f"{3:032x}.png").write_bytes(b"no picture")
    assert main(place.folder) == 1
    said = place.said()
    assert said is not None
    assert "'good 3'" in said.reason
    assert "000003.png" not in said.reason


def test_a_learning_has_one_process(
    tmp_path: Path, tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfbmr.station.worker.learn._PATIENCE", 0.0)
    place = place_with(tmp_path / "one", tiny, [])
    assert not place.is_worked_on()
    with place.held() as free:
        assert free
        assert place.is_worked_on()
        assert main(place.folder) == IN_USE
    assert not place.is_worked_on()
    assert place.said() is None


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (TrainingError("too few"), "too few"),
        (ModuleNotFoundError("no", name="torch"), r"torch is not installed.*pip install.*train"),
        (MemoryError(), "memory of this machine did not suffice"),
        (RuntimeError("CUDA out of memory: 3 GiB"), "memory of this machine did not suffice"),
        (OSError(errno.ENOSPC, "No space left"), "disk of .* is full; free space"),
        (ZeroDivisionError("x"), r"the program failed \(ZeroDivisionError: x\); .*log.txt says"),
    ],
)
def test_a_failure_is_told_in_plain_words(tmp_path: Path, error: Exception, says: str) -> None:
    assert re.search(says, explained(error, tmp_path / "log.txt"))


def test_what_was_said_of_an_earlier_job_is_forgotten(tmp_path: Path, tiny: Settings) -> None:
    place = place_with(tmp_path / "one", tiny, [])
    place.say(Said(pid=1, time=0.0, state="failed", reason="x"))
    place.write(place.job())
    assert place.said() is None
    (tmp_path / "one" / "said.json").write_text("half", encoding="utf-8")
    assert place.said() is None
