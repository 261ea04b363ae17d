"""The database: SQLite's file in WAL mode, or PostgreSQL; brought to the newest tables at a start.

Reading has connections of its own, many at once; writing has one, in the writer's thread.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from nfbmr.errors import MissingExtraError, StationError
from nfbmr.station.store.schema import FACTS
from nfbmr.station.store.writer import Writer, brief
from nfbmr.system.packages import how_to_install

Asked = ParamSpec("Asked")
Found = TypeVar("Found")

_MIGRATIONS = Path(__file__).with_name("migrations")
_CONNECT_SECONDS = 10  # until PostgreSQL answers
_STATEMENT_SECONDS = 30.0  # that PostgreSQL may take for one statement
_UPGRADING = 0x6E66626D72  # PostgreSQL's lock of whoever makes or changes the tables
_LOCKED_SECONDS = 10.0  # that a writer of another program may hold SQLite's file


class Reader:
    """An open database that is looked at, and never written."""

    def __init__(self, address: str) -> None:
        """Opens it.

        Args:
            address: `sqlite:///FILE`, or `postgresql://USER@HOST/NAME`.

        Raises:
            StationError: it is not there, not a station's, or of another version.
            MissingExtraError: what speaks PostgreSQL is not installed.
        """
        url = _url(address)
        self.shown = _shown(url)
        if _is_sqlite(url) and not Path(str(url.database)).is_file():
            raise StationError(
                f"{self.shown}: there is no such database; name that of the station with --database"
            )
        with _opening(self.shown):
            self._reading = _engine(_read_only(url), write=False)
            with self._reading.connect() as connection:
                _check_version(connection, self.shown)

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

    def close(self) -> None:
        """Closes all connections."""
        self._reading.dispose()


class Store(Reader):
    """An open database with its writer."""

    def __init__(self, address: str) -> None:
        """Opens it, and makes what is missing.

        Args:
            address: as for a `Reader`.

        Raises:
            StationError: it cannot be opened, is another program's, or newer than this program.
            MissingExtraError: what speaks PostgreSQL is not installed.
        """
        url = _url(address)
        self.shown = _shown(url)
        with _opening(self.shown):
            if _is_sqlite(url):
                _make_file(Path(str(url.database)))
            self._reading = _engine(url, write=False)
            writing = _engine(url, write=True)
            with writing.begin() as connection:
                _upgrade(connection)
                self.secret = bytes.fromhex(_drawn(connection, "secret", 32))
                self.id = _drawn(connection, "id", 16)
        self.writer = Writer(writing)

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


@contextmanager
def _opening(shown: str) -> Iterator[None]:
    """Says in the station's words what hinders the opening."""
    try:
        yield
    except ModuleNotFoundError as error:
        if "sqlite" in (error.name or ""):
            raise StationError(
                f"{shown}: this Python was built without SQLite; use another Python, or a "
                "PostgreSQL database"
            ) from None
        raise MissingExtraError(
            f"{error.name} is not installed, and PostgreSQL needs it; "
            f"{how_to_install('postgresql')}"
        ) from None
    except CommandError as error:
        raise _unknown(shown, str(error)) from None
    except SQLAlchemyError as error:
        raise StationError(
            f"{shown} cannot be used: {brief(error)}; check address, permissions and space"
        ) from None


def _unknown(shown: str, why: str) -> StationError:
    return StationError(
        f"{shown} has tables that this program does not know ({why}); update nfbmr, or name "
        "another database"
    )


def _shown(url: URL) -> str:
    """Returns an address as a user writes it, without its password."""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _read_only(url: URL) -> URL:
    """Returns the address by which SQLite opens its file for reading alone."""
    if not _is_sqlite(url):
        return url
    name = quote(Path(str(url.database)).absolute().as_posix())
    return url.set(database=f"file:{name}", query={"mode": "ro", "uri": "true"})


def _make_file(path: Path) -> None:
    """Makes SQLite's file, which only its owner may read; what is there stays as it is."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StationError(
            f"sqlite:///{path} cannot be used: unable to open it ({error.strerror}); check address "
            "and permissions"
        ) from None


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
    if not _is_sqlite(url):
        return create_engine(
            url,
            pool_pre_ping=True,
            pool_size=1 if write else 8,
            connect_args=_limits(url, write=write),
        )
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


def _limits(url: URL, *, write: bool) -> dict[str, Any]:
    """Returns how long PostgreSQL may take, where the address says nothing else."""
    options = f"-c statement_timeout={round(1000 * _STATEMENT_SECONDS)}"
    if not write:
        options += " -c default_transaction_read_only=on"
    said = url.query.get("options", "")
    own = said if isinstance(said, str) else " ".join(said)
    found: dict[str, Any] = {"options": f"{options} {own}".strip()}
    if "connect_timeout" not in url.query:
        found["connect_timeout"] = _CONNECT_SECONDS
    return found


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _check_version(connection: Connection, shown: str) -> None:
    """Refuses tables of another version than this program's."""
    found = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(_config())
    if found is None:
        raise StationError(f"{shown} is no station's database; name another")
    if found not in {script.revision for script in scripts.walk_revisions()}:
        raise _unknown(shown, f"version {found}")
    if found != scripts.get_current_head():
        raise StationError(f"{shown} was written by an older nfbmr; 'nfbmr serve' brings it up")


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # SQLite's file has one writer by itself
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADING})
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _drawn(connection: Connection, key: str, size: int) -> str:
    """Returns what was drawn for this database at its first start, bytes as hexadecimal digits.

    Its `secret` signs sessions, its `id` tells it from other databases.
    """
    fresh = text("INSERT INTO facts (key, value) VALUES (:key, :drawn) ON CONFLICT DO NOTHING")
    connection.execute(fresh, {"key": key, "drawn": secrets.token_hex(size)})
    found: str = connection.scalars(select(FACTS.c.value).where(FACTS.c.key == key)).one()
    return found
