"""Folders of heatmaps: one run's alone, and no pictures for the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.folders import list_pictures
from nfbmr.inspection.heatmaps import Heatmaps
from nfbmr.inspection.inspector import Inspector

Draw = Callable[..., NDArray[np.uint8]]


def test_a_run_takes_the_heatmaps_of_the_run_before_away(
    inspector: Inspector, draw: Draw, tmp_path: Path
) -> None:
    result = inspector.inspect(draw(0))
    first = Heatmaps.of_one_run(tmp_path / "heatmaps")
    for name in ("000000_a", "000001_b"):
        first.keep(name, draw(0), result)
    (tmp_path / "heatmaps" / "notes.txt").write_text("mine")
    second = Heatmaps.of_one_run(tmp_path / "heatmaps")
    assert second.keep("000000_c", draw(0), result) == tmp_path / "heatmaps" / "000000_c.png"
    found = sorted(path.name for path in (tmp_path / "heatmaps").iterdir())
    assert found == ["000000_c.png", "notes.txt"]


def test_a_users_own_folder_of_that_name_is_left_alone(
    inspector: Inspector, draw: Draw, tmp_path: Path
) -> None:
    mine = tmp_path / "heatmaps"
    mine.mkdir()
    Image.fromarray(draw(0)).save(mine / "000000_mine.png")
    for _ in range(2):
        heatmaps = Heatmaps.of_one_run(mine)
        heatmaps.keep("000000_a", draw(0), inspector.inspect(draw(0)))
    assert [path.name for path in mine.iterdir()] == ["000000_mine.png"]
    assert (tmp_path / "heatmaps-1" / "000000_a.png").is_file()


def test_what_was_drawn_is_no_picture_to_read(
    inspector: Inspector, draw: Draw, tmp_path: Path
) -> None:
    Image.fromarray(draw(0)).save(tmp_path / "a.png")
    drawn = Heatmaps(tmp_path / "deep" / "heatmaps").keep(
        "2026-03-01/a", draw(0), inspector.inspect(draw(0))
    )
    assert list_pictures(tmp_path, deep=True) == ([tmp_path / "a.png"], [])
    assert list_pictures(drawn.parents[1], deep=True)[0] == [drawn], "asked for by name"


def test_of_a_large_picture_a_smaller_one_is_drawn(
    inspector: Inspector, draw: Draw, tmp_path: Path
) -> None:
    small = draw(3, defect=True)
    Image.fromarray(small).resize((3072, 2304), Image.Resampling.NEAREST).save(tmp_path / "a.png")
    result = inspector.inspect(tmp_path / "a.png")
    drawn = Heatmaps(tmp_path / "drawn").keep("a", tmp_path / "a.png", result)
    with Image.open(drawn) as found:
        assert found.size == (1536, 1152)
        assert found.info["nfbmr:picture"] == "3072 x 2304"
        shown = np.asarray(found.convert("RGB").resize((96, 96)))
    plain = np.asarray(Image.fromarray(small).resize((96, 96)))
    changed = (abs(shown.astype(int) - plain) > 60).any(axis=2)
    rows, columns = np.nonzero(changed)
    (region,) = result.regions[:1]
    assert abs(rows.mean() / 96 - (region.box[1] + region.box[3]) / 2 / 2304) < 0.05
    assert abs(columns.mean() / 96 - (region.box[0] + region.box[2]) / 2 / 3072) < 0.05


def test_those_that_are_written_beside_are_the_same_and_all_there_at_the_end(
    inspector: Inspector, draw: Draw, tmp_path: Path
) -> None:
    heatmaps = Heatmaps(tmp_path / "soon")
    for number in range(12):
        heatmaps.keep_soon(f"{number:06d}", draw(number), inspector.inspect(draw(number)))
    heatmaps.finish()
    for number in range(12):
        at_once = Heatmaps(tmp_path / "at_once").keep(
            f"{number:06d}", draw(number), inspector.inspect(draw(number))
        )
        assert (tmp_path / "soon" / at_once.name).read_bytes() == at_once.read_bytes()


def test_what_cannot_be_written_beside_is_said(
    inspector: Inspector, draw: Draw, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def kept(folder: Path, source: Path) -> None:
        heatmaps = Heatmaps(folder)
        heatmaps.keep_soon("a", source, result)
        heatmaps.finish()

    result = inspector.inspect(draw(0))
    Image.fromarray(draw(0)).save(tmp_path / "a.png")
    with pytest.raises(OSError, match=r"a\.png"):
        kept(tmp_path / "a.png", tmp_path / "a.png")
    kept(tmp_path / "soon", tmp_path / "gone.png")
    (said,) = caplog.messages
    assert said.startswith("No heatmap, though the verdict stands: ")
    assert "gone.png" in said


def test_after_one_that_cannot_be_written_no_more_are(
    inspector: Inspector, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Heatmaps, name: str, *_: object) -> Path:
        began.append(name)
        assert go.wait(60)
        raise OSError("no space left")

    began: list[str] = []
    go = threading.Event()
    monkeypatch.setattr(Heatmaps, "keep", full)
    result = inspector.inspect(draw(0))
    heatmaps = Heatmaps(tmp_path / "full")
    for number in range(4):
        heatmaps.keep_soon(str(number), draw(0), result)
    waiting = list(heatmaps._waiting)
    go.set()
    with pytest.raises(OSError, match="no space left"), heatmaps:
        heatmaps.finish()
    assert all(one.done() for one in waiting)
    assert heatmaps._pool is None
    assert not heatmaps._waiting


def test_an_error_beside_ends_the_threads(inspector: Inspector, draw: Draw, tmp_path: Path) -> None:
    def ends() -> None:
        with heatmaps:
            heatmaps.keep_soon("a", draw(0), inspector.inspect(draw(0)))
            raise KeyError("beside")

    heatmaps = Heatmaps(tmp_path / "soon")
    with pytest.raises(KeyError, match="beside"):
        ends()
    assert heatmaps._pool is None
