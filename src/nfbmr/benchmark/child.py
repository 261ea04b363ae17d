"""One measurement in a process of its own, for its memory and so that it leaves nothing behind.

The process is a new one: a fork of one in which torch has run would inherit locks of threads that
it does not have. A module that measures has a `main` that hands `--job FILE` to `do_job`.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfbmr.system import provenance

Row = dict[str, Any]

_ROW, _ERROR = "row.json", "error.txt"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a process found, and what it took."""

    row: Row
    peak_mb: float
    """Its peak memory; at least what the process that started it had then."""
    seconds: float
    """Wall-clock time, with Python's start."""


def in_child(module: str, job: Row) -> Measured:
    """Runs `python -m MODULE --job FILE` to its end.

    Args:
        module: whose `main` calls `do_job`.
        job: JSON; `do` names what is to be done.

    Raises:
        RuntimeError: it failed; the message says why.
    """
    with tempfile.TemporaryDirectory(prefix="nfbmr-job-") as made:
        path = Path(made) / "job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        started = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", module, "--job", str(path)])
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen did not see it end
        if not path.with_name(_ROW).is_file():
            why = _why(process.returncode, path.with_name(_ERROR))
            raise RuntimeError(f"{job['do']} failed in a process of its own: {why}")
        row = json.loads(path.with_name(_ROW).read_text(encoding="utf-8"))
    return Measured(row=row, peak_mb=usage.ru_maxrss / 1024, seconds=seconds)


def _why(status: int, error: Path) -> str:
    if error.is_file():
        return error.read_text(encoding="utf-8")
    if status < 0:
        return f"{signal.Signals(-status).name} ended it"
    return f"it ended with {status} and left no row; its output may say why"


def do_job(path: Path, works: Mapping[str, Callable[..., Row]]) -> None:
    """Does in this process what the job of a file says, and leaves the row beside the file.

    Args:
        path: the file that `in_child` wrote.
        works: what `do` may name; called with the rest of the job.
    """
    job = json.loads(path.read_text(encoding="utf-8"))
    try:
        row = works[job.pop("do")](**job)
    except Exception as error:
        path.with_name(_ERROR).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        raise
    path.with_name(_ROW).write_text(json.dumps(row), encoding="utf-8")


def say_row(row: Row, out: Path | None) -> None:
    """Prints a row with machine, commit and time; adds it to a file of rows, if one is named."""
    row = row | {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": provenance.commit(),
        "time": provenance.now(),
    }
    print(json.dumps(row), flush=True)
    if out is not None:
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
