"""A PostgreSQL of one's own, for as long as it is needed: what measures the station on one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = Path("/usr/lib/postgresql")
"""Where Debian has them, a folder for each version."""

_NOBODY = 65534
_SECONDS = 60  # for each of its programs


def missing() -> str:
    """Says what is missing for one; empty where nothing is."""
    if not _tools():
        return f"no PostgreSQL under {PROGRAMS}"
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        return "setpriv, which gives up the rights of root, is not there"
    return ""


@contextmanager
def throw_away(*, durable: bool = True) -> Iterator[str]:
    """Makes a cluster, starts it on a socket alone, and deletes it afterwards.

    Args:
        durable: whether it waits for the disk, as it does for users.

    Yields:
        The address of its database.

    Raises:
        RuntimeError: something is `missing`.
        subprocess.CalledProcessError: it did not start.
    """
    if why := missing():
        raise RuntimeError(why)
    before: list[str] = []
    if os.getuid() == 0:  # it refuses to run as root
        before = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    folder = Path(tempfile.mkdtemp(prefix="nfbmr-"))  # short, as a socket's name has to be
    tools = _tools()[-1]

    def run(tool: str, *words: object) -> None:
        command = [*before, str(tools / tool), "-D", str(folder / "data"), *map(str, words)]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=_SECONDS)

    try:
        if before:
            os.chown(folder, _NOBODY, _NOBODY)
        run("initdb", "-U", "station", "--auth=trust", "--no-sync")
        listening = f"-k {folder} -c listen_addresses= -c fsync={'on' if durable else 'off'}"
        run("pg_ctl", "-w", "-l", folder / "log", "-o", listening, "start")
        try:
            yield f"postgresql://station@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _tools() -> list[Path]:
    return [path.parent for path in sorted(PROGRAMS.glob("*/bin/pg_ctl"))]
