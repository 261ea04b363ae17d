"""What the terminal shows: bars with the time left, or a plain log where there is no terminal."""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from nfbmr.system.files import printable
from nfbmr.system.progress import TITLES, Progress

_LOG_EVERY_SECONDS = 10.0

_log = logging.getLogger("nfbmr")

stderr = Console(stderr=True)
"""For words to a person; standard output is for results alone."""


def show_any_letter() -> None:
    """Has standard output and error write letters that their encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class StandardOutput:
    """Standard output whose reader may leave: what is printed then goes nowhere."""

    unread = False
    """Whether the reader has left."""

    def write(self, text: str) -> int:
        """Prints, if anybody reads."""
        try:
            if sys.stdout is not None:
                sys.stdout.write(text)
        except BrokenPipeError:
            self._reader_left()
        return len(text)

    def flush(self) -> None:
        """Brings what was printed to the reader, if there is one."""
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            self._reader_left()

    def _reader_left(self) -> None:
        self.unread = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # for what the interpreter still flushes as it ends
        os.close(nowhere)


def on_a_terminal() -> bool:
    """Whether a person sees what is written now: colours may be forced into a pipe, too."""
    return stderr.is_terminal and stderr.file.isatty()


def title_of(what: str) -> str:
    """Says what is done, in plain words; with the paper's where the program is to say more."""
    plain, paper = TITLES.get(what, (what, ""))
    return f"{plain} ({paper})" if paper and _says_more() else plain


def _says_more() -> bool:
    return _log.isEnabledFor(logging.DEBUG)


def log_to_terminal(*, verbose: bool = False) -> None:
    """Shows what the package logs, in words, on standard error."""
    handler: logging.Handler = logging.StreamHandler()
    if on_a_terminal():
        handler = RichHandler(
            console=stderr, show_time=False, show_path=False, show_level=False, markup=False
        )
    handler.addFilter(_made_readable)
    logger = logging.getLogger("nfbmr")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)


def _made_readable(record: logging.LogRecord) -> bool:
    mark = "Warning: " if record.levelno >= logging.WARNING else ""
    record.msg, record.args = printable(f"{mark}{record.getMessage()}"), ()
    return True


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Gives a Progress: bars on a terminal, a line every ten seconds elsewhere."""
    if not on_a_terminal():
        yield _PlainLog()
        return
    bars = Bars(
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        console=stderr,
    )
    with bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}

    def __call__(self, what: str, done: int, total: int, loss: float | None = None) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(title_of(what), total=total, loss="")
        text = "" if loss is None or not _says_more() else f"loss {loss:.3f}"
        if done < self._done.get(what, 0):  # the same work, begun anew
            self._bars.reset(self._tasks[what], total=total)
        self._done[what] = done
        self._bars.update(self._tasks[what], completed=done, total=total, loss=text)


class _PlainLog:
    def __init__(self) -> None:
        self._log = logging.getLogger("nfbmr.system.progress")
        self._started: dict[str, tuple[float, int]] = {}
        self._last: dict[str, int] = {}
        self._said = time.monotonic()

    def __call__(self, what: str, done: int, total: int, loss: float | None = None) -> None:
        now = time.monotonic()
        if done < self._last.get(what, 0):  # the same work, begun anew
            del self._started[what]
        self._last[what] = done
        start, first = self._started.setdefault(what, (now, done - 1))
        if now - self._said < _LOG_EVERY_SECONDS and done < total:
            return
        self._said = now
        left = (now - start) / max(1, done - first) * (total - done)
        shown = "" if loss is None or not _says_more() else f", loss {loss:.4f}"
        rest = f", {left:.0f} s left" if start < now and done < total else ""
        self._log.info("%s: %d of %d%s%s", title_of(what), done, total, rest, shown)
