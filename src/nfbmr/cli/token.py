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
    print(new_token(token_file, name, wanted))
