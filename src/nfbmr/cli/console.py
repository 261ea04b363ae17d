"""What the terminal shows: bars with the time left, or a plain log where there is no terminal."""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

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


class _Descriptor(io.FileIO):
    """What is written to it goes nowhere, once nobody takes it."""

    def __init__(self, number: int, *, must: bool, unread: bool) -> None:
        super().__init__(number, "w", closefd=False)
        self.unread = unread
        self._must = must

    def write(self, data: Any, /) -> int:
        if not self.unread:
            try:
                return super().write(data)
            except OSError as error:
                self.unread = True
                if self._must and not isinstance(error, BrokenPipeError):
                    raise OSError(error.errno, error.strerror, "standard output") from None
        return len(data)


class Outlet(io.TextIOWrapper):
    """Standard output or error whose reader may leave, and whose encoding may lack letters."""

    def __init__(self, number: int, stream: io.TextIOWrapper | None, *, must: bool) -> None:
        """Takes the place of a stream.

        Args:
            number: of its descriptor.
            stream: as the interpreter made it; None where it was closed.
            must: whether a full disk is an error, which is raised once; a reader who left is none.
        """
        self._to = _Descriptor(number, must=must, unread=stream is None)
        super().__init__(
            io.BufferedWriter(self._to),
            encoding="utf-8" if stream is None else stream.encoding,
            errors="backslashreplace",
            line_buffering=stream is None or stream.line_buffering or stream.write_through,
        )

    @property
    def unread(self) -> bool:
        """Whether nobody takes what is written."""
        return self._to.unread


@contextmanager
def open_outlets() -> Iterator[None]:
    """Has standard output and error take any letter, and nobody be hurt by a reader who leaves.

    Where one of the two was closed, what is written to it goes nowhere, and no file that is opened
    later takes its number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    sys.stdout = _outlet(1, sys.stdout, must=True)
    sys.stderr = _outlet(2, sys.stderr, must=False)
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        sys.stdout, sys.stderr = before


def _outlet(number: int, stream: TextIO | None, *, must: bool) -> TextIO:
    if stream is None:
        return Outlet(number, None, must=must)
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
        stream.flush()
        return Outlet(stream.fileno(), stream, must=must)
    stream.reconfigure(errors="backslashreplace")  # in memory, or a console of Windows
    return stream


def is_unread() -> bool:
    """Whether nobody takes what is printed any more."""
    return isinstance(sys.stdout, Outlet) and sys.stdout.unread


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
