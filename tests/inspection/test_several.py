"""What is seen otherwise than a sender may think is said: pages, bits, proportions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.inspection.decoding import Named
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.result import Inspection
from nfbmr.inspection.several import Several

Draw = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def files(tmp_path: Path, draw: Draw) -> list[Path]:
    """A file of one page and two of two."""
    pages = [Image.fromarray(draw(i)) for i in range(2)]
    pages[0].save(tmp_path / "a.png")
    for name in ("b.tif", "c.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    return sorted(tmp_path.iterdir())


def several(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "other pages or frames" in text]


def test_those_of_a_stream_are_named_at_once(
    inspector: Inspector, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    fresh = inspector.with_calibration(inspector.calibration)
    with caplog.at_level(logging.WARNING):
        stream = fresh.inspect_many(files)
        results = [next(stream), next(stream)]
        (said,) = several(caplog)
        assert said.startswith("1 picture holds other pages or frames than the first")
        assert f"looked at: {files[1]};" in said
        results += list(stream)
    again = f"{files[2]}, too, holds other pages or frames than the first; 2 such pictures so far"
    assert several(caplog) == [said, again]
    assert [isinstance(r, Inspection) and r.has_more for r in results] == [False, True, True]
    scores = {r.score for r in results if isinstance(r, Inspection)}
    assert max(scores) - min(scores) < 1e-4 * max(1.0, abs(max(scores)))  # all by the first page


def test_a_name_with_line_breaks_is_said_in_one_line(
    inspector: Inspector, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    found, ours = inspector.inspect(files[1]), Several(inspector.facts)
    caplog.clear()
    for name in ("a.tif", "b\nINFO forged.tif"):
        ours.hear(replace(found, path=name))
    first, again = several(caplog)
    assert "\n" not in first + again
    assert again.startswith("b?INFO forged.tif, too,")


def test_however_many_come_later_ones_are_named_and_few_lines_are_said(
    inspector: Inspector, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    found = inspector.inspect(files[1])
    caplog.clear()
    ours = Several(inspector.facts)
    with caplog.at_level(logging.WARNING):
        for number in range(1, 1001):
            ours.hear(replace(found, path=f"{number}.tif"))
    named = [text.split(", too,")[0] for text in several(caplog)[1:]]
    assert named == [f"{n}.tif" for n in (2, 3, 6, 12, 24, 48, 96, 192, 384, 768)]
    assert "looked at: 1.tif;" in several(caplog)[0]
    assert several(caplog)[-1].endswith("; 768 such pictures so far")
    caplog.clear()
    for _ in range(100):  # streams of one inspector, such as parts of an archive
        list(ours.heard([replace(found, path="once more.tif")]))
    assert caplog.messages == ["1001 pictures hold other pages or frames than the first"]


def test_a_picture_that_came_as_bytes_is_called_what_its_sender_calls_it(
    inspector: Inspector, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    fresh = inspector.with_calibration(inspector.calibration)
    data = files[1].read_bytes()
    with caplog.at_level(logging.WARNING):
        assert fresh.inspect(Named(data, "part 7")).path == "part 7"
        (second, broken) = fresh.inspect_many([Named(data, "part 8"), Named(b"broken", "part 9")])
    assert (second.path, broken.path) == ("part 8", "part 9")
    one, two = several(caplog)
    assert "looked at: part 7;" in one
    assert two.startswith("part 8, too, holds")


def test_one_picture_is_said_too_and_nothing_of_others(
    inspector: Inspector, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    fresh = inspector.with_calibration(inspector.calibration)
    with caplog.at_level(logging.WARNING):
        fresh.inspect(files[0])
        assert several(caplog) == []
        assert fresh.inspect(files[2].read_bytes()).has_more
    (said,) = several(caplog)
    assert said.startswith("1 picture holds ")


def test_pictures_of_another_depth_are_said_and_once_without_names(
    inspector: Inspector, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    assert inspector.facts.depth == 8
    fresh = inspector.with_calibration(inspector.calibration)
    deep = draw(0).astype(np.uint16) * 16  # 12 of 16 bits
    with caplog.at_level(logging.WARNING):
        list(fresh.inspect_many([draw(0), deep, deep]))
        fresh.inspect(deep)
    (said,) = [text for text in caplog.messages if "bits a channel" in text]
    assert said.startswith("one without a name has 16 bits a channel, the good pictures had 8, and")
    caplog.clear()
    facts = inspector.facts.model_copy(update={"depth": 16})
    with caplog.at_level(logging.WARNING):
        results = list(fresh.inspect_many([draw(0), deep]))
        assert list(Several(facts).heard(results[1:])) == results[1:]
        assert caplog.messages == []
        list(Several(facts).heard(results))
    (said,) = caplog.messages
    assert "has 8 bits a channel, the good pictures had 16: it may look unusual" in said


def test_pictures_of_another_shape_are_said(
    inspector: Inspector, draw: Draw, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ratio = inspector.facts.ratio
    assert ratio is not None
    picture = draw(0)
    assert ratio == pytest.approx(picture.shape[0] / picture.shape[1])
    Image.fromarray(picture[: len(picture) // 2]).save(tmp_path / "half.png")
    fresh = inspector.with_calibration(inspector.calibration)
    nearly = picture[: round(0.95 * len(picture))]
    with caplog.at_level(logging.WARNING):
        list(fresh.inspect_many([picture, nearly]))
        assert caplog.messages == []
        list(fresh.inspect_many([tmp_path / "half.png", tmp_path / "half.png"]))
    said, again = caplog.messages
    assert again.endswith(
        f"half.png, too, has other proportions: {picture.shape[1]} x "
        f"{len(picture) // 2} pixels; 2 such pictures so far"
    )
    height, width = len(picture) // 2, picture.shape[1]
    assert (
        f"half.png is {width} x {height} pixels, the good pictures were {ratio:.2f} times" in said
    )
