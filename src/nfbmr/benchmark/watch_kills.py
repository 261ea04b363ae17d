"""What kills cost a hot folder: `python -m nfbmr.benchmark.watch_kills MODEL`.

Many small pictures, each with other pixels, are put into a hot folder, under few names that come
again as soon as they are free. The process that watches it is killed with SIGKILL at random moments
and started anew each time. Then is counted: is each picture in the log exactly once, is it where
its row says, and was each defect's alarm heard at least once?
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from PIL import Image

from nfbmr.inspection.inspector import Inspector, load
from nfbmr.inspection.watch import Watch, watch
from nfbmr.system import provenance

Row = dict[str, Any]

_NAMES = 200  # of files in the folder at a time, at most
_DEFECT_EACH = 7
_AFTER = 0.01  # seconds within which the kill comes after the row that it waits for
_PATIENCE = 120.0  # seconds without a row: then something hangs


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is put in, and how often the watch is killed."""

    pictures: int
    kills: int
    seed: int = 0
    move: bool = True
    size: int = 48
    """Pixels of a side."""


def measure(inspector: Inspector, plan: Plan, folder: Path) -> Row:
    """Watches, kills, starts again, until all that was put in is inspected; then counts.

    Args:
        inspector: the model; its process is forked.
        plan: how much and how often.
        folder: made anew.

    Returns:
        A row: `pictures, kills, missing, twice, misplaced, left, unheard` and more.

    Raises:
        RuntimeError: a watch failed or did nothing any more.
    """
    shutil.rmtree(folder, ignore_errors=True)
    hot = folder / "hot"
    hot.mkdir(parents=True)
    dice = random.Random(plan.seed)
    moments = sorted(dice.randrange(plan.pictures) for _ in range(plan.kills))
    put_in: dict[str, str] = {}
    feed = _feed(plan, hot, put_in)
    commit, began = provenance.commit(), time.monotonic()
    killed_at = []
    for moment in moments:
        with _watching(inspector, plan, hot, signal.SIGKILL):
            _until_logged(hot, moment, feed)
            time.sleep(dice.uniform(0, _AFTER))
        killed_at.append(_logged(hot))
    with _watching(inspector, plan, hot, signal.SIGTERM):
        _until_logged(hot, plan.pictures, feed)
    with _watching(inspector, plan, hot, None):
        pass
    seconds = time.monotonic() - began
    return {
        "row": "watch kills",
        "pictures": plan.pictures,
        "kills": plan.kills,
        "move": plan.move,
        "seed": plan.seed,
        **counted(hot, put_in),
        "killed_at": killed_at,
        "seconds": round(seconds, 1),
        "runtime": inspector.runtime.name,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": commit,
        "time": provenance.now(),
    }


def counted(hot: Path, put_in: dict[str, str]) -> Row:
    """Compares what was put in, by content, with the log, the folders and the alarms.

    Args:
        hot: the folder, with its log in it.
        put_in: the names of the pictures by their sha256.
    """
    rows = [json.loads(line) for line in _lines(hot)]
    times = Counter(row["sha256"] for row in rows)
    heard = set(_alarms(hot).read_text().split()) if _alarms(hot).exists() else set()
    misplaced = [row for row in rows if not _is(row["place"], row["sha256"])]
    moved = any(row["place"] != row["path"] for row in rows)
    return {
        "missing": len(set(put_in) - set(times)),
        "twice": sum(count > 1 for count in times.values()),
        "unknown": len(set(times) - set(put_in)),
        "misplaced": len(misplaced),
        "left": sum(1 for _ in hot.glob("*.png")) if moved else 0,
        "unheard": sum(row.get("is_defect", False) and row["id"] not in heard for row in rows),
        "defects": sum(row.get("is_defect", False) for row in rows),
        "errors": sum("error" in row for row in rows),
    }


def is_clean(row: Row) -> bool:
    """Tells whether each picture is in the log once, where it is, and no alarm was lost."""
    faults = ("missing", "twice", "unknown", "misplaced", "left", "unheard", "errors")
    return not any(row[fault] for fault in faults)


def describe(row: Row) -> str:
    """Says what a row holds."""
    return (
        f"{row['pictures']} pictures, {row['kills']} kills: {row['missing']} missing in the log, "
        f"{row['twice']} twice, {row['misplaced']} not where it says, {row['left']} left, "
        f"{row['unheard']} of {row['defects']} alarms lost; {row['seconds']} s"
    )


def _feed(plan: Plan, hot: Path, put_in: dict[str, str]) -> Iterator[None]:
    """Puts a picture in each time it is asked to, where a name is free; ends with the last."""
    noise = np.random.default_rng(plan.seed)
    for number in range(plan.pictures):
        picture = noise.integers(100, 140, (plan.size, plan.size, 3), np.uint8)
        if number % _DEFECT_EACH == 0:
            picture[plan.size // 4 : plan.size // 2, plan.size // 4 : plan.size // 2] = 255
        name = f"{number % _NAMES if plan.move else number}.png"
        while (hot / name).exists():
            yield
        beside = hot / f".{name}"
        Image.fromarray(picture).save(beside, "PNG")
        sha256 = hashlib.sha256(beside.read_bytes()).hexdigest()
        put_in[sha256] = name
        if number % 2:
            beside.rename(hot / name)
        else:  # written in two parts, as by a slow program
            data = beside.read_bytes()
            beside.unlink()
            with (hot / name).open("wb") as stream:
                stream.write(data[: len(data) // 2])
                stream.flush()
                stream.write(data[len(data) // 2 :])
        yield


def _until_logged(hot: Path, rows: int, feed: Iterator[None]) -> None:
    last, changed = -1, time.monotonic()
    while (found := _logged(hot)) < rows:
        if found != last:
            last, changed = found, time.monotonic()
        if time.monotonic() - changed > _PATIENCE:
            raise RuntimeError(f"{found} of {rows} rows after {_PATIENCE:.0f} s: something hangs")
        for _ in range(20):
            next(feed, None)
        time.sleep(0.002)


def _logged(hot: Path) -> int:
    return sum(log.read_bytes().count(b"\n") for log in hot.glob("nfbmr*.jsonl"))


def _lines(hot: Path) -> list[str]:
    return [line for log in hot.glob("nfbmr*.jsonl") for line in log.read_text().splitlines()]


@contextmanager
def _watching(
    inspector: Inspector, plan: Plan, hot: Path, sent: signal.Signals | None
) -> Iterator[None]:
    """Has a process of its own watch, which a signal ends; without one it ends when all is done."""
    child = os.fork()
    if not child:
        _watch(inspector, plan, hot, once=sent is None)
    try:
        yield
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    if sent is not None:
        os.kill(child, sent)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a watch ended with {status}; its trace stands above")


def _watch(inspector: Inspector, plan: Plan, hot: Path, *, once: bool) -> NoReturn:
    try:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        alarms = os.open(_alarms(hot), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

        def alarm(row: Row) -> None:
            if row.get("is_defect"):
                os.write(alarms, f"{row['id']}\n".encode())

        job = Watch(
            folder=hot, log=hot / "nfbmr.jsonl", move=plan.move, settle=0.2, every=0.05, once=once
        )
        watch(inspector, job, alarm=alarm)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _alarms(hot: Path) -> Path:
    return hot.with_name("alarms.txt")


def _is(place: str | None, sha256: str) -> bool:
    path = Path(place or "")
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def main() -> None:
    """Parses the command line, measures, and adds a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model directory; a small one will do")
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stay", action="store_true", help="without moving")
    parser.add_argument("-f", "--folder", type=Path, default=Path("out/watch_kills"))
    parser.add_argument("-o", "--out", type=Path, help="JSONL that the row is added to")
    arguments = parser.parse_args()
    inspector = load(arguments.model, device="cpu", threads=1)
    plan = Plan(
        pictures=arguments.pictures,
        kills=arguments.kills,
        seed=arguments.seed,
        move=not arguments.stay,
    )
    row = measure(inspector, plan, arguments.folder)
    print(describe(row), flush=True)
    if arguments.out is not None:
        with arguments.out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
    sys.exit(not is_clean(row))


if __name__ == "__main__":
    main()
