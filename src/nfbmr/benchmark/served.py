"""A station as a process of its own, and its clients: for what measures it from outside.

It is started and asked as any user does, by `nfbmr serve` and by HTTP; nothing of it is imported.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

_LISTENING = "Listening on http://"
_SECONDS = 120.0  # for an answer; the station itself gives up long before
_PAGE = 500  # rows of the record in one answer


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    retry_after: float
    """Seconds; 0 where nothing is said."""

    def json(self) -> dict[str, Any]:
        """Returns its body."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Client:
    """One connection, opened again after it broke."""

    def __init__(self, port: int) -> None:
        """Takes the station's port on this machine."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Sends a request, and waits for its answer.

        Raises:
            OSError: there is no connection, or it broke.
            http.client.HTTPException: the answer broke off.
        """
        try:
            self._connection.request(method, path, body)
            answer = self._connection.getresponse()
            wait = float(answer.headers.get("Retry-After", "0"))
            return Answer(status=answer.status, body=answer.read(), retry_after=wait)
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def inspect(self, model: str, part_id: str, picture: bytes) -> Answer:
        """Has a picture judged."""
        query = urlencode({"part_id": part_id})
        return self.ask("POST", f"/v1/models/{model}/inspect?{query}", picture)

    def record(self) -> list[dict[str, Any]]:
        """Returns all rows of the record, the newest first."""
        self._connection.close()  # a station hangs up on who says nothing for seconds
        rows: list[dict[str, Any]] = []
        following: int | None = None
        while True:
            query = {"limit": _PAGE} | ({} if following is None else {"before": following})
            page = self.ask("GET", f"/v1/inspections?{urlencode(query)}").json()
            rows += page["inspections"]
            following = page["next"]
            if following is None:
                return rows

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


@dataclass(frozen=True, kw_only=True)
class Served:
    """A station that listens."""

    port: int
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """Ends it as a power cut would, by SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def resident_mb(self) -> float:
        """Returns the memory that it holds now, in MB of 10**6 bytes (Linux)."""
        status = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu_seconds(self) -> float:
        """Returns what all cores together have computed for it so far, in seconds (Linux)."""
        status = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = status.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(model: Path | None, *options: str) -> Iterator[Served]:
    """Starts `nfbmr serve MODEL` on a free port; ends it by SIGTERM, if it still runs.

    Args:
        model: a model directory; None: it begins without one.
        options: more words for the command.

    Raises:
        RuntimeError: it ended before it listened; the message holds what it said.
    """
    models = [] if model is None else [str(model)]
    command = [sys.executable, "-m", "nfbmr", "serve", *models, "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said: deque[str] = deque(maxlen=20)
        try:
            for line in process.stderr:
                said.append(line)
                if _LISTENING in line:
                    break
            else:
                raise RuntimeError(f"the station did not start: {''.join(said)}")
            port = int(said[-1].rpartition(":")[2])
            threading.Thread(target=said.extend, args=(process.stderr,), daemon=True).start()
            yield Served(port=port, process=process)
        finally:
            process.terminate()
            process.wait()
