"""What kills and a full disk cost a station: `python -m nfbmr.benchmark.station_kills MODEL`.

Clients send pictures, each with other pixels and a part id of its own, while `nfbmr serve` is
killed with SIGKILL at random moments and started anew each time, on SQLite and, where Debian's
PostgreSQL is installed, on a cluster of its own. Then is counted: is each verdict that a client got
in the record exactly once, as it was answered, and is its picture there? Then a station writes to a
small disk until that is full: is each answer either a recorded verdict or an error that holds it?
"""

from __future__ import annotations

import argparse
import http.client
import io
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nfbmr.benchmark import postgresql
from nfbmr.benchmark.child import say_row
from nfbmr.benchmark.served import Answer, Client, Served, served

Row = dict[str, Any]

_AFTER = 0.05  # seconds within which a kill comes after the answers that it waits for
_EACH = 40  # answers between two kills, at most
_SAME = ("id", "part_id", "picture", "score", "verdict", "time", "bundle", "calibration")
_PATIENCE = 120.0  # seconds without an answer: then something hangs
_BALLAST = 2_000_000  # bytes that are deleted from the full disk in the end
_AFTER_FULL = 10  # pictures that are sent to a full disk


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is sent, and how often the station is killed."""

    kills: int
    clients: int
    seed: int = 0
    size: int = 96
    """Pixels of a picture's side."""


class Sender:
    """Sends pictures from several threads until it is told to stop; keeps every verdict."""

    def __init__(self, model: str, plan: Plan) -> None:
        """Takes the model's name."""
        self.answered: dict[str, Row] = {}
        """Part id -> the verdict that its client got."""
        self.others: Counter[str] = Counter()
        """What else was answered, but for 503."""
        self._model, self._plan = model, plan
        self._number = 0
        self._lock = threading.Lock()

    @contextmanager
    def sending(self, port: int) -> Iterator[None]:
        """Sends while the body runs; a client ends with its connection."""
        ended = threading.Event()
        with ThreadPoolExecutor(self._plan.clients) as pool:
            running = [
                pool.submit(self._send, Client(port), ended) for _ in range(self._plan.clients)
            ]
            try:
                yield
            finally:
                ended.set()
        for one in running:
            one.result()

    def _send(self, client: Client, ended: threading.Event) -> None:
        while not ended.is_set():
            with self._lock:
                number, self._number = self._number, self._number + 1
            part = f"part {number}"
            try:
                answer = client.inspect(self._model, part, picture(self._plan, number))
            except (OSError, http.client.HTTPException):  # killed
                return
            with self._lock:
                if answer.status == 200:
                    (self.answered[part],) = answer.json()["inspections"]
                elif answer.status != 503:
                    self.others[str(answer.status)] += 1
        client.close()


def picture(plan: Plan, number: int) -> bytes:
    """Returns the file of a picture that no other number has: noise, each seventh with a spot."""
    noise = np.random.default_rng([plan.seed, number])
    pixels = noise.integers(100, 140, (plan.size, plan.size, 3), np.uint8)
    if number % 7 == 0:
        pixels[plan.size // 4 : plan.size // 2, plan.size // 4 : plan.size // 2] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def measure(model: Path, plan: Plan, database: str, pictures: Path) -> Row:
    """Kills a station under load again and again, then compares its record with what it answered.

    Args:
        model: a model directory.
        plan: how much and how often.
        database: an address for `nfbmr serve`; an empty one.
        pictures: a folder for it.

    Raises:
        RuntimeError: a station did not start, or gave no verdict any more.
    """
    dice = random.Random(plan.seed)
    options = ["--database", database, "--pictures", str(pictures)]
    sender = Sender(model.name, plan)
    killed_at = []
    for _ in range(plan.kills):
        wanted = len(sender.answered) + dice.randint(1, _EACH)
        with served(model, *options) as station, sender.sending(station.port):
            _wait_for(sender, wanted)
            time.sleep(dice.uniform(0, _AFTER))
            station.kill()
        killed_at.append(len(sender.answered))
    with served(model, *options) as station:
        client = Client(station.port)
        found = compared(sender.answered, client.record(), client)
        client.close()
    audit = [sys.executable, "-m", "nfbmr", "audit", "--database", database, "--verify"]
    sound = subprocess.run(audit, capture_output=True).returncode == 0
    return {
        "row": "station kills",
        "database": database.partition(":")[0],
        "kills": plan.kills,
        "clients": plan.clients,
        "seed": plan.seed,
        **found,
        "others": dict(sender.others),
        "chain": sound,
        "killed_at": killed_at,
    }


def _wait_for(sender: Sender, answers: int) -> None:
    last, changed = -1, time.monotonic()
    while (found := len(sender.answered)) < answers:
        if found != last:
            last, changed = found, time.monotonic()
        if time.monotonic() - changed > _PATIENCE:
            raise RuntimeError(f"{found} of {answers} verdicts, {_PATIENCE:.0f} s without another")
        time.sleep(0.002)


def compared(answered: dict[str, Row], recorded: Sequence[Row], client: Client | None) -> Row:
    """Compares what clients were answered with the record.

    Args:
        answered: part id -> row, of each verdict that a client got.
        recorded: all rows.
        client: asks for the pictures; without one they are not looked at.
    """
    rows: dict[str, list[Row]] = {}
    for row in recorded:
        rows.setdefault(row["part_id"], []).append(row)
    there = {part: rows[part][0] for part in answered if part in rows}
    kept = [row for part, row in there.items() if answered[part].get("picture_kept", True)]
    gone = 0 if client is None else sum(not _is_kept(client, row) for row in kept)
    return {
        "answered": len(answered),
        "recorded": len(recorded),
        "missing": len(answered) - len(there),
        "twice": sum(len(found) > 1 for found in rows.values()),
        "changed": sum(
            any(row[name] != answered[part][name] for name in _SAME) for part, row in there.items()
        ),
        "without_picture": gone,
    }


def _is_kept(client: Client, row: Row) -> bool:
    return client.ask("GET", f"/v1/inspections/{row['id']}/picture").status == 200


def full_disk(model: Path, plan: Plan, disk: Path) -> Row:
    """Has a station write to a small disk until it is full, and goes on; then makes room again.

    Args:
        model: a model directory.
        plan: the pictures.
        disk: a folder on a file system of its own, of a few megabytes.
    """
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(_BALLAST))
    options = ["--database", f"sqlite:///{disk / 'station.db'}", "--pictures", str(disk / "kept")]
    answered: dict[str, Row] = {}
    refused: dict[str, Answer] = {}
    with served(model, *options) as station:
        client = Client(station.port)
        number = 0
        while len(refused) < _AFTER_FULL:
            part = f"part {number}"
            answer = client.inspect(model.name, part, picture(plan, number))
            if answer.status == 200:
                (answered[part],) = answer.json()["inspections"]
            else:
                refused[part] = answer
            number += 1
        ballast.unlink()
        again = _until_recorded(station, model.name, plan, number)
        found = compared(answered, client.record(), client)
        parts = {row["part_id"] for row in client.record()}
        client.close()
    return {
        "row": "station full disk",
        "megabytes": round(os.statvfs(disk).f_blocks * os.statvfs(disk).f_frsize / 1e6, 1),
        **found,
        "without_room_for_picture": sum(not row["picture_kept"] for row in answered.values()),
        "refused": dict(Counter(str(answer.status) for answer in refused.values())),
        "refused_with_verdict": sum("unrecorded" in one.json() for one in refused.values()),
        "refused_and_recorded": len(parts & set(refused)),
        "goes_on": again,
    }


def _until_recorded(station: Served, model: str, plan: Plan, number: int) -> bool:
    """Whether a station takes pictures again once there is room."""
    client = Client(station.port)
    answers = [client.inspect(model, f"again {n}", picture(plan, number + n)) for n in range(3)]
    client.close()
    return answers[-1].status == 200


def is_clean(row: Row) -> bool:
    """Tells whether no answered verdict is lost, changed or there twice, and all errors say all."""
    faults = ["missing", "twice", "changed", "without_picture"]
    if row["row"] == "station kills":
        return row["chain"] and not row["others"] and not any(row[fault] for fault in faults)
    refused = sum(row["refused"].values())
    faults.append("refused_and_recorded")
    return (
        row["goes_on"]
        and row["refused"] == {"507": refused}
        and row["refused_with_verdict"] == refused
        and not any(row[fault] for fault in faults)
    )


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Yields a file system of its own in memory; only root can make one.

    Raises:
        subprocess.CalledProcessError: it cannot be made.
    """
    with tempfile.TemporaryDirectory(prefix="nfbmr-disk-") as made:
        options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", made]
        subprocess.run(["mount", *options], check=True, capture_output=True)
        try:
            yield Path(made)
        finally:
            subprocess.run(["umount", made], check=True)


def main() -> None:
    """Parses the command line, measures, and adds the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model directory; a small one will do")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, help="JSONL that the rows are added to")
    arguments = parser.parse_args()
    plan = Plan(kills=arguments.kills, clients=arguments.clients, seed=arguments.seed)
    rows = []
    with tempfile.TemporaryDirectory(prefix="nfbmr-station-") as made:
        place = Path(made)
        rows.append(measure(arguments.model, plan, f"sqlite:///{place / 'a.db'}", place / "a"))
        if why := postgresql.missing():
            print(f"not on PostgreSQL: {why}", flush=True)
        else:
            with postgresql.throw_away() as address:
                rows.append(measure(arguments.model, plan, address, place / "b"))
    if os.getuid():
        print("without a full disk: only root can make a small one", flush=True)
    else:
        with small_disk(megabytes=8) as disk:
            rows.append(full_disk(arguments.model, plan, disk))
    for row in rows:
        say_row(row, arguments.out)
    sys.exit(not all(is_clean(row) for row in rows))


if __name__ == "__main__":
    main()
