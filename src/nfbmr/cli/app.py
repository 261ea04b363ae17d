"""The command line: parse -> settings -> one call. What is heavy is imported in each command."""

from __future__ import annotations

import atexit
import errno
import gc
import signal
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from nfbmr.cli.audit import audit
from nfbmr.cli.bench import bench
from nfbmr.cli.cache import cache
from nfbmr.cli.calibrate import calibrate
from nfbmr.cli.doctor import doctor
from nfbmr.cli.drift import drift
from nfbmr.cli.evaluate import evaluate
from nfbmr.cli.export import export
from nfbmr.cli.fit import fit
from nfbmr.cli.fleet import fleet
from nfbmr.cli.info import info
from nfbmr.cli.inspect import inspect
from nfbmr.cli.paper import paper
from nfbmr.cli.reproduce import reproduce
from nfbmr.cli.serve import serve
from nfbmr.cli.token import token
from nfbmr.cli.watch import watch
from nfbmr.errors import NfbmrError, SettingsError
from nfbmr.system.files import in_words, printable
from nfbmr.system.packages import how_to_install

_LOOK = "check the path, its permissions and the free space"
_RIGHT = "give this user the right to it, or choose another path"
_ROOM = "make room there, or choose another path"
_FOLDER = "a file is where a folder is needed; choose another path"
_TO_DO: dict[int | None, str] = {
    errno.EACCES: _RIGHT,
    errno.EPERM: _RIGHT,
    errno.EROFS: _RIGHT,
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EEXIST: _FOLDER,
    errno.ENOTDIR: _FOLDER,
    errno.EISDIR: "a folder is where a file is needed; choose another path",
    errno.ENAMETOOLONG: "shorten the name",
}
"""What helps against what the system refused."""

_OWN_FAULT = 70
"""Of an error that nobody expected: none of the codes that say what was found. 70 is what
`sysexits.h` has for it."""

app = typer.Typer(
    name="nfbmr",
    help="Finds defects on products after seeing only good ones.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    fit,
    evaluate,
    inspect,
    calibrate,
    info,
    doctor,
    cache,
    export,
    watch,
    drift,
    paper,
):
    app.command()(command)
for of_the_station in (serve, token, audit, reproduce):
    app.command()(of_the_station)
app.add_typer(bench, name="bench")
app.add_typer(fleet, name="fleet")


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
) -> None:
    from nfbmr.cli.console import log_to_terminal

    log_to_terminal(verbose=verbose)
    if version:
        from nfbmr import __version__

        print(f"nfbmr {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; what the user can mend ends in one clear message and exit code 2.

    Any other error ends with its traceback, a message and 70: Python's own 1 would say that a
    defect was found.
    """
    from nfbmr.cli.console import open_outlets

    # At its end Python would look through all objects once more: seconds after a fit.
    atexit.register(gc.freeze)
    with open_outlets():
        try:
            _run()
        except Exception as error:
            _end_by_own_fault(error)


def _run() -> None:
    # A service manager's stop is an end like any other: what is half-made is cleared away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _call()
    except NfbmrError as error:
        _end(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "nfbmr").partition(".")[0] == "nfbmr":
            raise
        _end(f"{error.name} is not installed, and this needs it; {how_to_install('all')}")
    except MemoryError as error:
        _end(f"out of memory ({error}); use smaller pictures (--size) or a smaller batch")
    except OSError as error:  # a full disk, a folder without permission
        _end(f"{in_words(error)}; {_TO_DO.get(error.errno, _LOOK)}")
    except (KeyboardInterrupt, SystemExit) as end:  # typer turns Ctrl-C into an exit with 130
        if isinstance(end, SystemExit) and end.code != 130:
            raise
        _end(
            "interrupted; a fit, or a run on Ray, goes on when started again, all else begins anew",
            130,
        )


def _call() -> None:
    for word in sys.argv[1:]:  # a path of no letters would be the current folder
        if not word or (word.startswith("--") and word.endswith("=") and word.count("=") == 1):
            raise SettingsError(
                f"'{word}': found an argument without a value; expected a path or a word there. A "
                "variable of the shell may be unset"
            )
    try:
        app()
    except SystemExit as end:
        sys.stdout.flush()  # whatever it ended with, results that are lost are an error
        if (error := _unsaid(end)) is not None:
            raise error from None
        raise


def _unsaid(end: SystemExit) -> OSError | EOFError | None:
    """Returns the error of a broken pipe or a file's end, which typer turns into a mere 1."""
    error = end.__context__
    if isinstance(error, typer.Abort):
        error = error.__cause__
    return error if isinstance(error, OSError | EOFError) else None


def _end_by_own_fault(error: Exception) -> NoReturn:
    print(printable("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    _end(
        f"an error that nfbmr did not expect, {type(error).__name__}: {error}; it says nothing of "
        "any part, and what was not written yet is lost. Please report it with the lines above",
        _OWN_FAULT,
    )


def _end(message: str, status: int = 2) -> NoReturn:
    from nfbmr.cli.console import stderr

    text = printable(f"nfbmr: {' '.join(message.splitlines())}")
    # One line, whatever the width: a log or a script takes it as it is.
    stderr.print(text, style="bold red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(status)
