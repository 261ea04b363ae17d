"""The database: SQLite's file in WAL mode, or PostgreSQL; brought to the newest tables at a start.

Reading has connections of its own, many at once; writing has one, in the writer's thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, make_url, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from nfbmr.errors import MissingExtraError, StationError
from nfbmr.station.store.schema import FACTS
from nfbmr.station.store.writer import Writer, brief

Asked = ParamSpec("Asked")
Found = TypeVar("Found")

_MIGRATIONS = Path(__file__).with_name("migrations")
_LOCKED_SECONDS = 10.0  # that a writer of another program may hold SQLite's file


class Store:
    """An open database."""

    def __init__(self, address: str, *, upgrade: bool = True) -> None:
        """Opens it, and makes what is missing.

        Args:
            address: `sqlite:///FILE`, or `postgresql://USER@HOST/NAME`.
            upgrade: whether tables may be made and changed; else they are read as they are.

        Raises:
            StationError: it cannot be opened, is another program's, or newer than this program.
            MissingExtraError: what speaks PostgreSQL is not installed.
        """
        url = _url(address)
        self.shown = url.render_as_string(hide_password=True)
        is_file = url.get_backend_name() == "sqlite"
        if not upgrade and is_file and not Path(str(url.database)).is_file():
            raise StationError(f"{self.shown}: there is no such database")
        try:
            self._reading = _engine(url, write=False)
            writing = _engine(url, write=True)
            if upgrade:
                with writing.begin() as connection:
                    _upgrade(connection)
            with writing.begin() as connection:
                self.secret = _secret(connection)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"{error.name} is not installed, and PostgreSQL needs it: "
                "pip install 'nfbmr[postgresql]'"
            ) from None
        except CommandError as error:
            raise StationError(
                f"{self.shown} has tables that this program does not know ({error}); update nfbmr, "
                "or name another database"
            ) from None
        except SQLAlchemyError as error:
            raise StationError(
                f"{self.shown} cannot be used: {brief(error)}; check address, permissions and space"
            ) from None
        self.writer = Writer(writing)

    def read(
        self,
        question: Callable[Concatenate[Connection, Asked], Found],
        *args: Asked.args,
        **options: Asked.kwargs,
    ) -> Found:
        """Asks something of `queries`, in this thread.

        Raises:
            StationError: the database does not answer.
        """
        try:
            with self._reading.connect() as connection:
                return question(connection, *args, **options)
        except SQLAlchemyError as error:
            raise StationError(f"the database does not answer: {brief(error)}") from error

    def write(
        self,
        change: Callable[Concatenate[Connection, Asked], Found],
        *args: Asked.args,
        **options: Asked.kwargs,
    ) -> Future[Found]:
        """Has a change made by the writer; its result is there once it is on the disk."""
        return self.writer.submit(lambda connection: change(connection, *args, **options))

    def close(self) -> None:
        """Ends the writer after what was given to it, and closes all connections."""
        self.writer.close()
        self._reading.dispose()


def _url(address: str) -> URL:
    try:
        url = make_url(address)
        backend = url.get_backend_name()
    except ArgumentError:
        backend = ""
    if backend not in ("sqlite", "postgresql"):
        shown = address.rpartition("@")[2]  # a log is no place for a password
        raise StationError(
            f"database {shown}: sqlite:///FILE or postgresql://USER@HOST/NAME was expected"
        )
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise StationError("database: SQLite needs a file, such as sqlite:///station.db")
    return url.set(drivername="sqlite+pysqlite" if backend == "sqlite" else "postgresql+psycopg")


def _engine(url: URL, *, write: bool) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_size=1 if write else 8)
    engine = create_engine(
        url,
        connect_args={"timeout": _LOCKED_SECONDS, "check_same_thread": False},
        **({} if write else {"poolclass": NullPool}),
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin as said below, not by themselves
        connection.execute("PRAGMA foreign_keys=ON")
        if write:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        else:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _secret(connection: Connection) -> bytes:
    """Returns what this database's sessions are signed with; drawn at the first start."""
    found = connection.scalar(select(FACTS.c.value).where(FACTS.c.key == "secret"))
    if found is None:
        found = secrets.token_hex(32)
        connection.execute(insert(FACTS).values(key="secret", value=found))
    return bytes.fromhex(found)
