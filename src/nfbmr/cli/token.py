"""The command `nfbmr token`: its words, and one call."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nfbmr.station.auth import Scope


class ScopeName(enum.StrEnum):
    """What a token may do; each includes those before."""

    inspect = "inspect"
    review = "review"
    admin = "admin"


def token(
    name: Annotated[str, typer.Argument(help="Whose it is: a person or a machine.")],
    token_file: Annotated[Path, typer.Option(metavar="FILE", help="Made where it is absent.")],
    scope: Annotated[ScopeName, typer.Option(help="What it allows.")] = ScopeName.inspect,
) -> None:
    """Make a token for the station, and print it once; the file keeps its hash alone."""
    from nfbmr.station.auth import new_token

    wanted: Scope = scope.value
    new_token(token_file, name, wanted, show=_print)


def _print(secret: str) -> None:
    """Shows a token now, or says that nobody would see it.

    Raises:
        StationError: standard output is closed, or its reader has left.
    """
    from nfbmr.cli.console import is_unread
    from nfbmr.errors import StationError

    print(secret, flush=True)
    if is_unread():
        raise StationError(
            "nobody reads standard output, where the token is printed this once, so none was made; "
            "run it again where somebody does"
        )
