"""The command `nfbmr audit`: its words, and one call."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from nfbmr.cli.serve import Database, missing_station
from nfbmr.system.files import printable
from nfbmr.system.words import counted

_Verify = Annotated[
    bool, typer.Option("--verify", help="Check the chain of the events, and name its last hash.")
]
_Contains = Annotated[
    str | None,
    typer.Option(metavar="HASH", help="With --verify: a hash that was written down before."),
]
_Limit = Annotated[int, typer.Option(min=1, help="How many of the newest events to show.")]


def audit(
    database: Database = "sqlite:///station.db",
    verify: _Verify = False,
    contains: _Contains = None,
    limit: _Limit = 20,
) -> None:
    """Show what was changed at the station, by whom and why, and check the chain of it."""
    try:
        from nfbmr.station.audit import verify as check
        from nfbmr.station.store import queries
        from nfbmr.station.store.database import Reader
    except ModuleNotFoundError as error:
        raise missing_station(error) from None
    store = Reader(database)
    try:
        if not verify and contains is None:
            for event in reversed(store.read(queries.events, limit=limit)):
                what = f"{event.kind} {event.subject}: {json.dumps(event.old)} -> "
                line = f"{event.number} {event.time} {event.actor} {what}{json.dumps(event.new)}"
                print(printable(f"{line}  {event.reason}".rstrip().replace("\n", " ")))
            return
        found = store.read(lambda connection: check(queries.whole_chain(connection), contains))
    finally:
        store.close()
    print(
        f"{counted(found.events, 'event forms', 'events form')} an unbroken chain; the hash of the "
        f"last is {found.newest}"
    )
    print(
        "Events deleted at the end, or a chain written anew, show only by a hash noted elsewhere: "
        "note this one, and ask for it later with --contains"
    )
    if found.trouble is not None:
        print(f"NOT SOUND: {found.trouble}")
    if not found.contains:
        print(f"NOT SOUND: no event has the hash {printable(str(contains))}")
    if found.trouble is not None or not found.contains:
        raise typer.Exit(1)
