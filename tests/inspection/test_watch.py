"""The hot folder: each picture once, whole ones only, and nothing lost or done twice."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.errors import DataError
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.watch import Watch, watch

Draw = Callable[..., NDArray[np.uint8]]
Row = dict[str, Any]


@pytest.fixture
def hot(tmp_path: Path) -> Path:
    (tmp_path / "hot").mkdir()
    return tmp_path / "hot"


def put(folder: Path, name: str, picture: NDArray[np.uint8]) -> Path:
    Image.fromarray(picture).save(folder / name)
    return folder / name


def job(folder: Path, **options: Any) -> Watch:
    return Watch(folder=folder, log=folder / "log.jsonl", settle=0.0, every=0.01, **options)


def rows(folder: Path) -> list[Row]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def once(inspector: Inspector, folder: Path, **options: Any) -> int:
    return watch(inspector, job(folder, **options), until=lambda: True)


def test_each_picture_is_inspected_once(inspector: Inspector, hot: Path, draw: Draw) -> None:
    good = put(hot, "a.png", draw(0))
    defect = put(hot, "b.png", draw(1, defect=True))
    (hot / "notes.txt").write_text("no picture")
    (hot / ".part.png").write_bytes(b"still being written")
    heard: list[Row] = []
    assert watch(inspector, job(hot), until=lambda: True, tell=heard.append) == 2
    assert heard == rows(hot)
    assert {row["path"]: row["is_defect"] for row in heard} == {str(good): False, str(defect): True}
    assert heard[0]["score"] == inspector.inspect(good).score
    assert heard[0]["time"].startswith("20")
    assert once(inspector, hot) == 0, "a restart inspects nothing again"
    assert len(rows(hot)) == 2


def test_another_picture_under_an_old_name_is_inspected(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    put(hot, "part.png", draw(0))
    assert once(inspector, hot) == 1
    os.utime(put(hot, "part.png", draw(1, defect=True)), ns=(1, 10**18))
    assert once(inspector, hot) == 1
    assert [row["is_defect"] for row in rows(hot)] == [False, True]


def test_what_a_person_is_to_look_at_has_a_folder_of_its_own(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    put(hot, "a.png", draw(1, defect=True))
    score = inspector.inspect(hot / "a.png").score
    higher = replace(inspector.calibration, threshold=score + 1)
    bundle = replace(inspector._bundle, calibration=higher)
    assert once(Inspector(bundle, inspector.runtime), hot, move=True) == 1
    assert [path.name for path in (hot / "look").iterdir()] == ["a.png"]
    assert [row["verdict"] for row in rows(hot)] == ["look"]


def test_a_log_of_an_older_version_without_three_verdicts_goes_on(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    put(hot, "a.png", draw(0))
    assert once(inspector, hot) == 1
    (row,) = rows(hot)
    del row["verdict"], row["look_threshold"]
    (hot / "log.jsonl").write_text(json.dumps(row) + "\n")
    assert once(inspector, hot, move=True) == 0
    assert [path.name for path in (hot / "good").iterdir()] == ["a.png"]


def test_files_are_moved_by_verdict_and_never_over_others(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    for _ in range(2):
        put(hot, "good.png", draw(0))
        put(hot, "defect.png", draw(1, defect=True))
        (hot / "broken.png").write_bytes(b"no picture")
        assert once(inspector, hot, move=True) == 3
    left = sorted(str(p.relative_to(hot)) for p in hot.rglob("*") if p.is_file())
    assert left == [
        "defect/defect-1.png",
        "defect/defect.png",
        "error/broken-1.png",
        "error/broken.png",
        "good/good-1.png",
        "good/good.png",
        "log.jsonl",
    ]
    assert sum("error" in row for row in rows(hot)) == 2


def test_a_file_that_is_half_copied_is_waited_for(
    inspector: Inspector, hot: Path, draw: Draw, tmp_path: Path
) -> None:
    whole = put(tmp_path, "whole.png", draw(0)).read_bytes()
    target = hot / "slow.png"
    stop = threading.Event()
    slow = Watch(folder=hot, log=hot / "log.jsonl", settle=0.4, every=0.02)
    counted: list[int] = []
    watcher = threading.Thread(
        target=lambda: counted.append(watch(inspector, slow, until=stop.is_set))
    )
    watcher.start()
    with target.open("wb") as stream:
        for start in range(0, len(whole), len(whole) // 5 + 1):
            stream.write(whole[start : start + len(whole) // 5 + 1])
            stream.flush()
            time.sleep(0.1)
    deadline = time.monotonic() + 20
    while not (hot / "log.jsonl").read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    stop.set()
    watcher.join()
    assert counted == [1]
    (row,) = rows(hot)
    assert row["score"] == inspector.inspect(target).score


def test_a_crash_between_log_and_move_inspects_nothing_twice(
    inspector: Inspector, hot: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hot, "a.png", draw(0))

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nfbmr.inspection.watch._move", crash)
        with pytest.raises(KeyboardInterrupt):
            once(inspector, hot, move=True)
    assert once(inspector, hot, move=True) == 0
    assert len(rows(hot)) == 1
    assert (hot / "good" / "a.png").is_file(), "what the crash left undone is done"


def test_a_picture_that_takes_the_name_meanwhile_is_not_moved_for_another(
    inspector: Inspector, hot: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hot, "latest.png", draw(0))
    from nfbmr.inspection import watch as module

    append = module._append

    def overwrite(*row: Any) -> None:
        append(*row)
        if len(rows(hot)) == 1:
            os.utime(put(hot, "latest.png", draw(1, defect=True)), ns=(1, 10**18))

    monkeypatch.setattr(module, "_append", overwrite)
    assert once(inspector, hot, move=True) == 1
    assert (hot / "latest.png").is_file()
    assert not list((hot / "good").iterdir())
    assert once(inspector, hot, move=True) == 1
    assert (hot / "defect" / "latest.png").is_file()


def test_whatever_one_picture_does_the_line_goes_on(
    inspector: Inspector, hot: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hot, "a.png", draw(0))
    put(hot, "b.png", draw(2))
    run, calls = inspector.runtime.run, []

    def fails_once(pixels: NDArray[np.uint8]) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("no luck")
        return run(pixels)

    monkeypatch.setattr(inspector.runtime, "run", fails_once)
    assert once(inspector, hot) == 2
    assert sorted("error" in row for row in rows(hot)) == [False, True]


def test_a_line_that_a_crash_cut_short_is_done_again(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    put(hot, "a.png", draw(0))
    put(hot, "b.png", draw(2))
    assert once(inspector, hot) == 2
    log = hot / "log.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    assert once(inspector, hot) == 1
    assert sorted(Path(row["path"]).name for row in rows(hot)) == ["a.png", "b.png"]


def test_a_file_that_vanishes_is_no_error(inspector: Inspector, hot: Path, draw: Draw) -> None:
    path = put(hot, "a.png", draw(0))
    slow = Watch(folder=hot, log=hot / "log.jsonl", settle=60, every=0.01)
    looks = iter([False, False, True])

    def until() -> bool:
        path.unlink(missing_ok=True)
        return next(looks)

    assert watch(inspector, slow, until=until) == 0
    assert rows(hot) == []


def test_no_folder_and_a_strange_log_are_refused(inspector: Inspector, hot: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        once(inspector, hot / "none")
    (hot / "log.jsonl").write_text('{"other": 1}\n')
    with pytest.raises(DataError, match=r"log\.jsonl, line 1, is none that a watch wrote"):
        once(inspector, hot)
    assert (hot / "log.jsonl").read_text() == '{"other": 1}\n'


def test_two_watches_cannot_share_a_log(inspector: Inspector, hot: Path, draw: Draw) -> None:
    pytest.importorskip("fcntl", reason="no such locks here")
    put(hot, "a.png", draw(0))

    def second(_: Row) -> None:
        with pytest.raises(DataError, match="another watch is looking at it"):
            once(inspector, hot)
        elsewhere = Watch(folder=hot, log=hot.parent / "other.jsonl", settle=0.0)
        with pytest.raises(DataError, match="another watch is looking at it"):
            watch(inspector, elsewhere, until=lambda: True)

    assert watch(inspector, job(hot), until=lambda: True, tell=second) == 1
    assert once(inspector, hot) == 0, "the lock ends with the watch"
