"""The hot folder: each picture once, whole ones only, and nothing lost or done twice."""

from __future__ import annotations

import json
import os
import platform
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
from nfbmr.inspection import moves
from nfbmr.inspection.arrivals import NotNowError, mark_of
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.journal import Journal
from nfbmr.inspection.watch import Watch, watch, watch_by

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
    given: dict[str, Any] = {"settle": 0.0, "every": 0.01, "patience": 0.0}
    return Watch(folder=folder, log=folder / "log.jsonl", **(given | options))


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


class Killed(BaseException):
    """Stands for the end of the program."""


STEPS = {
    "before anything": ("journal", "turn", 1, False),
    "before it is written down where to": ("journal", "begin", 1, False),
    "before the move": ("watch", "move", 1, False),
    "after the move": ("watch", "move", 1, True),
    "before the row": ("journal", "append", 1, False),
    "after the row": ("journal", "append", 1, True),
}


def kill_at(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Has the second picture end the program at a step."""
    from nfbmr.inspection import watch as module

    owner_name, name, wanted, after = STEPS[step]
    owner: Any = module if owner_name == "watch" else Journal
    original, calls = getattr(owner, name), [0]

    def killed(*words: Any) -> Any:
        calls[0] += 1
        found = original(*words) if calls[0] <= wanted or after else None
        if calls[0] > wanted:
            raise Killed
        return found

    monkeypatch.setattr(owner, name, killed)


@pytest.mark.parametrize("move", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_moment_a_kill_comes_at_each_picture_is_logged_once_and_where_it_is(
    inspector: Inspector, hot: Path, draw: Draw, step: str, move: bool
) -> None:
    for number in range(3):
        os.utime(put(hot, f"{number}.png", draw(number, defect=number == 1)), ns=(1, number))
    alarms: list[Row] = []
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, step)
        if move or STEPS[step][1] in ("turn", "append"):
            with pytest.raises(Killed):
                watch(inspector, job(hot, move=move), until=lambda: True, alarm=alarms.append)
    watch(inspector, job(hot, move=move), until=lambda: True, alarm=alarms.append)
    found = {Path(row["path"]).name: row for row in rows(hot)}
    assert len(rows(hot)) == len(found) == 3
    for name, row in found.items():
        folder = hot / ("defect" if name == "1.png" else "good") if move else hot
        assert row["place"] == str(folder / name)
        assert (folder / name).is_file()
    heard = [alarm["id"] for alarm in alarms if alarm["is_defect"]]
    assert set(heard) == {found["1.png"]["id"]}, "at least once, with one id"
    assert once(inspector, hot, move=move) == 0


def test_a_picture_that_takes_the_name_while_it_is_inspected_has_its_turn_yet(
    inspector: Inspector, hot: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hot, "latest.png", draw(0))
    (hot / "next.tmp").write_bytes(put(hot.parent, "next.png", draw(1, defect=True)).read_bytes())
    inspect = Inspector.inspect

    def overtaken(self: Inspector, image: Any) -> Any:
        found = inspect(self, image)
        if (hot / "next.tmp").exists():
            (hot / "next.tmp").replace(hot / "latest.png")
        return found

    monkeypatch.setattr(Inspector, "inspect", overtaken)
    assert once(inspector, hot, move=True) == 1
    assert rows(hot)[0]["place"] is None, "what it was is gone"
    assert once(inspector, hot, move=True) == 1
    assert rows(hot)[1]["place"] == str(hot / "defect" / "latest.png")
    assert not list((hot / "good").iterdir())


@pytest.mark.parametrize("move", [True, False])
def test_another_picture_of_the_same_name_size_and_time_is_judged_by_itself(
    inspector: Inspector, hot: Path, draw: Draw, move: bool
) -> None:
    """Uncompressed pictures of one camera all have one size; copies may keep a time."""
    for number in range(2):
        path = hot / "part.bmp"
        Image.fromarray(draw(number, defect=number == 1)).save(path)
        os.utime(path, ns=(10**18, 10**18))
        assert once(inspector, hot, move=move) == 1
    assert [row["verdict"] for row in rows(hot)] == ["good", "defect"]
    assert len({row["id"] for row in rows(hot)}) == 2
    if move:
        moved = [Path(row["place"]) for row in rows(hot)]
        assert moved == [hot / "good" / "part.bmp", hot / "defect" / "part.bmp"]
        np.testing.assert_array_equal(np.array(Image.open(moved[1])), draw(1, defect=True))


def test_the_same_picture_put_in_again_after_its_move_is_a_new_part(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    for _ in range(2):
        put(hot, "a.png", draw(0))
        assert once(inspector, hot, move=True) == 1
    assert [Path(row["place"]).name for row in rows(hot)] == ["a.png", "a-1.png"]


def test_a_name_that_is_no_unicode_is_a_name_as_any_other(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    name = os.fsdecode(b"part\xff.png")
    try:
        (hot / name).write_bytes(put(hot.parent, "a.png", draw(0)).read_bytes())
    except OSError:
        pytest.skip("no such names here")
    assert once(inspector, hot) == 1
    assert once(inspector, hot) == 0
    assert rows(hot)[0]["place"] == rows(hot)[0]["path"] == str(hot / r"part\udcff.png")
    assert once(inspector, hot, move=True) == 0
    assert (hot / "good" / name).is_file()


def test_a_touched_file_is_no_new_picture(inspector: Inspector, hot: Path, draw: Draw) -> None:
    path = put(hot, "a.png", draw(0))
    assert once(inspector, hot) == 1
    os.utime(path, ns=(1, 1))
    path.chmod(0o600)
    assert once(inspector, hot) == 0
    assert len(rows(hot)) == 1


def test_what_was_inspected_before_moving_was_asked_for_is_moved_unseen(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    put(hot, "a.png", draw(0))
    put(hot, "b.png", draw(1, defect=True))
    (hot / "c.png").write_bytes(b"no picture")
    assert once(inspector, hot) == 3
    assert once(inspector, hot, move=True) == 0
    assert sorted(p.parent.name + "/" + p.name for p in hot.glob("*/*.png")) == [
        "defect/b.png",
        "error/c.png",
        "good/a.png",
    ]
    later = [row for row in rows(hot) if "moved" in row]
    assert {row["place"] for row in later} == {str(path) for path in hot.glob("*/*.png")}
    assert once(inspector, hot, move=True) == 0


def test_a_row_of_an_older_version_is_never_another_pictures(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    path = put(hot, "part.bmp", draw(1, defect=True))
    state = path.stat()
    old = {
        "path": str(path),
        "is_defect": False,
        "file": ["part.bmp", state.st_size, state.st_mtime_ns],
        "time": "2020-01-01T00:00:00+00:00",
    }
    (hot / "log.jsonl").write_text(json.dumps(old) + "\n")
    assert once(inspector, hot, move=True) == 1, "it came after that row"
    assert (hot / "defect" / "part.bmp").is_file()
    kept = json.loads((hot / "log-2020-01-01.jsonl").read_text())
    assert kept == old, "logs are kept by day"


def test_what_cannot_be_read_yet_is_tried_again_before_it_goes_to_error(
    inspector: Inspector, hot: Path, draw: Draw, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = put(tmp_path, "a.png", draw(1, defect=True)).read_bytes()
    caplog.set_level("INFO")
    (hot / "empty.png").write_bytes(b"")
    (hot / "cut.png").write_bytes(whole[: len(whole) // 2])
    assert once(inspector, hot, move=True, patience=600.0) == 0
    assert rows(hot) == []
    assert caplog.text.count("cut.png cannot be read yet and is looked at again") == 1
    assert all(message.count("cut.png") < 2 for message in caplog.messages), "no path twice"
    (hot / "empty.png").write_bytes(whole)
    with (hot / "cut.png").open("ab") as stream:
        stream.write(whole[len(whole) // 2 :])
    assert once(inspector, hot, move=True, patience=600.0) == 2
    assert [row["verdict"] for row in rows(hot)] == ["defect", "defect"]


def test_a_file_in_error_that_is_still_written_to_is_looked_at_once_more(
    inspector: Inspector, hot: Path, draw: Draw, tmp_path: Path
) -> None:
    whole = put(tmp_path, "a.png", draw(1, defect=True)).read_bytes()
    with (hot / "a.png").open("wb") as stream:
        stream.write(whole[:99])
        stream.flush()
        assert once(inspector, hot, move=True) == 1
        assert (hot / "error" / "a.png").is_file()
        stream.write(whole[99:])
    (hot / "error" / "other.png").write_bytes(whole)
    assert once(inspector, hot, move=True) == 1
    assert rows(hot)[1]["verdict"] == "defect"
    assert rows(hot)[1]["place"] == str(hot / "defect" / "a.png")
    assert (hot / "error" / "other.png").is_file(), "what a person put there stays"
    assert once(inspector, hot, move=True) == 0


@pytest.fixture
def listens() -> None:
    """Skips where the file system says nothing by itself."""
    pytest.importorskip("watchdog", reason="watchdog is not installed")
    if platform.system() != "Linux":
        pytest.skip("only Linux says when a file is closed")


def until_rows(folder: Path, wanted: int, then: Callable[[int], object]) -> Callable[[], bool]:
    """Says yes once there are so many rows, or after long; does something at each look before."""
    looks = iter(range(400))

    def until() -> bool:
        look = next(looks, None)
        if look is not None and len(rows(folder)) < wanted:
            then(look)
            return False
        return True

    return until


@pytest.mark.usefixtures("listens")
@pytest.mark.parametrize("move", [True, False])
def test_a_file_is_inspected_as_soon_as_it_is_closed_or_moved_in(
    inspector: Inspector, hot: Path, draw: Draw, move: bool
) -> None:
    def then(look: int) -> None:
        if look == 2:
            put(hot, "a.png", draw(0))
            put(hot.parent, "b.png", draw(1)).rename(hot / "b.png")
            (hot / "c.tmp").write_bytes((hot / "b.png").read_bytes())
            (hot / "c.tmp").rename(hot / "c.png")

    given = job(hot, settle=600.0, every=0.05, move=move)
    watch(inspector, given, until=until_rows(hot, 3, then))
    assert sorted(Path(row["path"]).name for row in rows(hot)) == ["a.png", "b.png", "c.png"]


@pytest.mark.usefixtures("listens")
def test_a_folder_that_is_made_anew_is_listened_to_again(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    log = hot.parent / "log.jsonl"

    def then(look: int) -> None:
        if look == 2:
            hot.rename(hot.with_name("away"))
        if look == 4:
            hot.mkdir()
        if look == 40:
            put(hot, "a.png", draw(0))

    given = Watch(folder=hot, log=log, settle=600.0, every=0.02)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nfbmr.inspection.watch._LOOK_ANYWAY", 0.02)
        watch(inspector, given, until=until_rows(hot.parent, 1, then))
    assert len(rows(hot.parent)) == 1


@pytest.mark.usefixtures("listens")
def test_where_nothing_is_said_after_all_the_folder_is_looked_at(
    inspector: Inspector,
    hot: Path,
    draw: Draw,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in (("_LOOK_ANYWAY", 0.01), ("_LATE", -60.0)):
        monkeypatch.setattr(f"nfbmr.inspection.watch.{name}", value)
    monkeypatch.setattr("nfbmr.inspection.events.Events.take", lambda self: {})
    looks, said = iter(range(400)), "does not say what happens there"

    def until() -> bool:
        look = next(looks, None)
        if look is None or said in caplog.text:
            return True
        put(hot, f"{look}.png", draw(look))
        return False

    watch(inspector, job(hot, settle=0.02), until=until)
    assert caplog.text.count(said) == 1
    once(inspector, hot)
    assert len(rows(hot)) == len(list(hot.glob("*.png"))), "and each of them once"


def test_once_waits_for_what_can_still_be_read_and_ends(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    (hot / "a.png").write_bytes(b"")
    (hot / "b.png").write_bytes(b"no picture")
    put(hot, "c.png", draw(0))
    assert watch(inspector, job(hot, once=True, move=True, patience=0.05)) == 3
    assert sorted(path.name for path in (hot / "error").iterdir()) == ["a.png", "b.png"]


def test_memory_holds_only_what_lies_in_the_folder(
    inspector: Inspector, hot: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nfbmr.inspection import watch as module

    lines: list[Any] = []
    start = module._Line.__init__

    def remembered(self: Any, *words: Any) -> None:
        start(self, *words)
        lines.append(self)

    monkeypatch.setattr(module._Line, "__init__", remembered)
    rounds = iter(range(6))

    def until() -> bool:
        number = next(rounds)
        put(hot, f"{number}.png", draw(number))
        return number == 5

    assert watch(inspector, job(hot, move=True), until=until) == 6
    assert (len(lines[0]._done), len(lines[0]._arrivals)) == (0, 0)


def test_sub_folders_are_looked_into_if_asked(inspector: Inspector, hot: Path, draw: Draw) -> None:
    (hot / "line 1" / "cam").mkdir(parents=True)
    put(hot / "line 1" / "cam", "a.png", draw(0))
    put(hot, "b.png", draw(0))
    (hot / "good").mkdir()
    put(hot / "good", "done.png", draw(2))
    assert once(inspector, hot) == 1
    assert once(inspector, hot, recursive=True) == 1
    assert [Path(row["path"]).name for row in rows(hot)] == ["b.png", "a.png"]
    put(hot / "line 1" / "cam", "c.png", draw(1, defect=True))
    assert once(inspector, hot, recursive=True, move=True) == 1
    assert (hot / "defect" / "line 1" / "cam" / "c.png").is_file()
    assert (hot / "good" / "line 1" / "cam" / "a.png").is_file()
    assert once(inspector, hot, recursive=True, move=True) == 0


def test_heatmaps_lie_beside_the_log_and_are_no_pictures(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    put(hot, "a.png", draw(1, defect=True))
    (hot / "b.png").write_bytes(b"no picture")
    options = {"heatmaps": True, "recursive": True, "move": True}
    assert once(inspector, hot, **options) == 2
    (row,) = [row for row in rows(hot) if "heatmap" in row]
    drawn = np.array(Image.open(row["heatmap"]))
    assert Path(row["heatmap"]).is_relative_to(hot / "log_heatmaps")
    assert np.abs(drawn.astype(int) - draw(1, defect=True)).max() > 50
    assert once(inspector, hot, **options) == 0


def test_trouble_in_who_listens_ends_nothing(
    inspector: Inspector, hot: Path, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    put(hot, "a.png", draw(0))
    put(hot, "b.png", draw(1, defect=True))

    def broken(_: Row) -> None:
        raise UnicodeEncodeError("cp1252", "零", 0, 1, "no such letter")

    assert watch(inspector, job(hot), until=lambda: True, tell=broken, alarm=broken) == 2
    assert len(rows(hot)) == 2
    assert "telling of it failed" in caplog.text


def test_the_alarm_is_heard_before_the_row_is_told(
    inspector: Inspector, hot: Path, draw: Draw
) -> None:
    put(hot, "a.png", draw(1, defect=True))
    heard: list[str] = []
    watch(
        inspector,
        job(hot),
        until=lambda: True,
        alarm=lambda _: heard.append(f"alarm, {len(rows(hot))} in the log"),
        tell=lambda _: heard.append(f"told, {len(rows(hot))} in the log"),
    )
    assert heard == ["alarm, 0 in the log", "told, 1 in the log"]


def test_a_folder_that_is_away_is_said_once_and_watched_again_when_it_is_back(
    inspector: Inspector, hot: Path, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    put(hot, "a.png", draw(0))
    steps = iter(range(9))

    def until() -> bool:
        step = next(steps)
        if step == 2:
            hot.rename(hot.with_name("away"))
        if step == 6:
            hot.with_name("away").rename(hot)
            put(hot, "b.png", draw(1))
        return step == 8

    assert watch(inspector, job(hot, poll=True), until=until) == 2
    assert caplog.text.count("hot cannot be read") == 1
    assert [Path(row["path"]).name for row in rows(hot)] == ["a.png", "b.png"]


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


def test_who_is_put_off_comes_again_after_the_others(hot: Path, draw: Draw) -> None:
    for name in ("a.png", "b.png", "c.png"):
        put(hot, name, draw(1))
        os.utime(hot / name, (ord(name[0]), ord(name[0])))
    tried: list[str] = []

    def judge(path: Path, data: bytes, identity: str) -> Row:
        tried.append(path.name)
        if tried.count("a.png") < 3 and path.name == "a.png":
            raise NotNowError("the network failed", 0.05)
        return {"path": str(path), "verdict": "good", "is_defect": False}

    def done() -> bool:
        return tried.count("a.png") == 3

    assert watch_by(judge, job(hot), until=done) == 3
    assert tried == ["a.png", "b.png", "c.png", "a.png", "a.png"]
    assert [row["file"][0] for row in rows(hot)] == ["b.png", "c.png", "a.png"]


def test_a_mended_file_that_is_put_off_is_looked_at_again(hot: Path, draw: Draw) -> None:
    (hot / "a.png").write_bytes(b"half")
    later = [True]

    def judge(path: Path, data: bytes, identity: str) -> Row:
        if data == b"half":
            return {"path": str(path), "error": "no picture"}
        if later:
            later.clear()
            raise NotNowError("the network failed", 0.0)
        return {"path": str(path), "verdict": "good", "is_defect": False}

    moving = job(hot, move=True)
    assert watch_by(judge, moving, until=lambda: True) == 1

    def mended() -> bool:
        if (hot / "error" / "a.png").read_bytes() == b"half":
            put(hot / "error", "a.png", draw(1))
        return not later

    assert watch_by(judge, moving, until=mended) == 1
    assert (hot / "good" / "a.png").is_file()


@pytest.mark.parametrize("content", ["picture", "no picture", "too large"])
def test_a_link_that_cannot_be_moved_is_inspected_once(
    inspector: Inspector,
    hot: Path,
    draw: Draw,
    content: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = hot.parent / "store"
    store.mkdir()
    put(store, "a.png", draw(0))
    if content != "picture":
        (store / "a.png").write_bytes(b"no picture")
    (hot / "a.png").symlink_to(Path("..", "store", "a.png"))
    most = 5 if content == "too large" else 10**6
    rounds = iter(range(30))
    heard: list[Row] = []
    given = job(hot, move=True, most_bytes=most)
    count = watch(inspector, given, until=lambda: next(rounds) == 29, alarm=heard.append)
    assert (count, len(heard), len(rows(hot))) == (1, 1, 1)
    assert rows(hot)[0]["place"] == str(hot / "a.png")
    assert caplog.text.count("stays where it is") == 1
    assert once(inspector, hot, move=True, most_bytes=most) == 0, "nor by the next start"


def test_a_file_that_cannot_be_read_where_it_was_moved_is_inspected_once(
    inspector: Inspector, hot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see = mark_of
    monkeypatch.setattr(moves, "mark_of", lambda one: see(one) if one.parent == hot else None)
    (hot / "a.png").write_bytes(b"too large")
    rounds = iter(range(30))
    given = job(hot, move=True, most_bytes=5)
    assert watch(inspector, given, until=lambda: next(rounds) == 29) == 1
    assert rows(hot)[0]["place"] == str(hot / "a.png")
