"""The database: made, changed by migrations, refused where it is not ours; one writer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, Connection, make_url, select, text

from nfbmr.errors import StationError
from nfbmr.station.audit import Change, verify
from nfbmr.station.store import queries
from nfbmr.station.store.database import Reader, Store, _engine, _limits, _url
from nfbmr.station.store.queries import Filter, Inspected
from nfbmr.station.store.schema import EVENTS, METADATA
from nfbmr.station.store.writer import StoreError


def inspected(**changes: Any) -> Inspected:
    usual: dict[str, Any] = {
        "time": "2026-01-02T03:04:05.000006+00:00",
        "model": "m",
        "product": "p",
        "part_id": "",
        "source": "rest",
        "actor": "local",
        "name": "",
        "picture": "a" * 64,
        "file": None,
        "bytes": 10,
        "height": 8,
        "width": 9,
        "bundle": "b" * 64,
        "calibration": "c" * 64,
        "runtime": "torch",
        "threshold": 1.0,
        "look_threshold": 0.75,
        "score": 0.1 + 0.2,
        "p_value": 1 / 3,
        "verdict": "good",
        "regions": [{"box": [1, 2, 3, 4], "p_value": 1e-3}],
        "milliseconds": 1.5,
    }
    return Inspected(**(usual | changes))


def test_migrations_make_the_tables_that_the_program_knows(store: Store) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"render_as_batch": True})
        return list(compare_metadata(context, METADATA))

    assert store.read(differences) == []


def test_what_is_written_is_read_to_the_last_bit_also_by_the_next_start(
    store: Store, address: str
) -> None:
    store.write(queries.keep_calibration, "c" * 64, "{}").result()
    row = store.write(queries.record, inspected(), b"png").result()
    store.close()
    again = Store(address)
    assert again.secret == store.secret
    assert again.read(queries.inspection, row.id) == row
    assert row.score == 0.1 + 0.2
    assert again.read(queries.heatmap, row.id) == b"png"
    again.close()


def test_a_change_that_fails_takes_back_itself_alone(store: Store) -> None:
    def both(connection: Connection) -> None:
        queries.append(connection, Change(kind="k", subject="lost", actor="a"))
        raise ValueError("of the caller")

    def wrong(connection: Connection) -> None:
        connection.execute(text("SELECT * FROM nowhere"))

    first = store.write(queries.append, Change(kind="k", subject="first", actor="a"))
    lost, bad = store.write(both), store.write(wrong)
    last = store.write(queries.append, Change(kind="k", subject="last", actor="a"))
    assert (first.result().number, last.result().number) == (1, 2)
    with pytest.raises(ValueError, match="of the caller"):
        lost.result()
    with pytest.raises(StoreError, match="nowhere"):
        bad.result()
    events = list(store.read(lambda c: list(queries.whole_chain(c))))
    assert [event.subject for event in events] == ["first", "last"]
    assert verify(events).trouble is None


def test_the_chain_shows_what_was_changed_behind_its_back(store: Store) -> None:
    for number in range(5):
        change = Change(kind="k", subject=str(number), actor="a", new={"x": 0.1 * number})
        store.write(queries.append, change).result()
    chain = store.read(lambda c: list(queries.whole_chain(c)))
    assert verify(chain).trouble is None
    assert (verify(chain, chain[2].hash).contains, verify(chain, "0" * 64).contains) == (
        True,
        False,
    )
    changed = EVENTS.update().where(EVENTS.c.number == 3).values(actor="b")
    store.write(lambda c: c.execute(changed)).result()
    found = verify(store.read(lambda c: list(queries.whole_chain(c))))
    assert found.events == 2
    assert "event 3 is not what was written" in (found.trouble or "")
    store.write(lambda c: c.execute(EVENTS.delete().where(EVENTS.c.number == 3))).result()
    found = verify(store.read(lambda c: list(queries.whole_chain(c))))
    assert "event 3 is missing" in (found.trouble or "")


def test_those_go_first_that_may(store: Store) -> None:
    store.write(queries.keep_calibration, "c" * 64, "{}").result()
    rows = [
        store.write(queries.record, inspected(verdict=verdict, file=f"{n}"), None).result()
        for n, verdict in enumerate(("defect", "look", "good", "good"))
    ]
    store.write(queries.label, rows[2].id, "good", "", "a").result()
    order = [file for file, _ in store.read(queries.files_to_drop)]
    assert order == ["3", "1", "0", "2"]
    assert store.read(queries.bytes_kept) == 40
    store.write(queries.forget_files, ["3", "1"], "too many").result()
    assert store.read(queries.bytes_kept) == 20
    assert store.read(queries.strangers, ["0", "1", "9"]) == ["1", "9"]
    assert store.read(queries.counts, Filter()) == {"good": 2, "look": 1, "defect": 1}
    assert store.read(queries.reviewed, Filter()) == {("good", "good"): 1}


def test_a_full_disk_is_said_and_once_there_is_space_writing_goes_on(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'station.db'}")
    long = Change(kind="k", subject="s", actor="a", reason="x" * 5000)
    store.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1")).result()
    errors = [store.write(queries.append, long).exception() for _ in range(100)]
    assert isinstance(errors[-1], StoreError)
    assert "is full" in str(errors[-1])
    assert "free space" in str(errors[-1])
    kept = store.read(lambda c: list(queries.whole_chain(c)))
    store.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1000000")).result()
    assert store.write(queries.append, long).result().number == len(kept) + 1
    assert len(kept) == errors.count(None)
    assert verify(store.read(lambda c: list(queries.whole_chain(c)))).trouble is None
    store.close()


def test_reading_cannot_write(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'station.db'}")
    with pytest.raises(StationError, match="readonly"):
        store.read(queries.append, Change(kind="k", subject="s", actor="a"))
    assert store.read(lambda c: c.execute(select(EVENTS)).all()) == []
    store.close()


def test_after_its_end_the_writer_takes_nothing(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'station.db'}")
    waiting = [
        store.write(queries.append, Change(kind="k", subject=str(n), actor="a")) for n in range(200)
    ]
    store.close()
    assert [future.result().number for future in waiting] == list(range(1, 201))
    with pytest.raises(StoreError, match="ending"):
        store.write(queries.newest)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://somebody:secret@host/name", "sqlite:///FILE or postgresql"),
        ("station.db", "sqlite:///FILE or postgresql"),
        ("sqlite://", "needs a file"),
        ("sqlite:////nowhere/at/all.db", "unable to open"),
    ],
)
def test_another_database_is_refused(address: str, said: str) -> None:
    with pytest.raises(StationError, match=said) as error:
        Store(address)
    assert "secret" not in str(error.value)


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'station.db'}"
    store = Store(address)
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    store.write(lambda c: c.execute(newer)).result()
    store.close()
    for opened in (Store, Reader):
        with pytest.raises(StationError, match="update nfbmr"):
            opened(address)
    store = Store(f"sqlite:///{tmp_path / 'other.db'}")
    store.write(lambda c: c.execute(text("DELETE FROM alembic_version"))).result()
    store.close()
    with pytest.raises(StationError, match="no station's database"):
        Reader(store.shown.replace("+pysqlite", ""))


def test_a_reader_reads_beside_the_station_and_writes_nothing(store: Store, address: str) -> None:
    change = Change(kind="k", subject="first", actor="a")
    store.write(queries.append, change).result()
    reader = Reader(address)
    assert [event.subject for event in reader.read(queries.events)] == ["first"]
    with pytest.raises(StationError, match=r"read-?only"):
        reader.read(lambda c: c.execute(EVENTS.delete()).rowcount)
    store.write(queries.append, change).result()
    assert reader.read(queries.state) == (0, 2)
    reader.close()


def test_a_reader_leaves_the_file_of_a_closed_station_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a ? b%20.db"
    path.touch()
    store = Store(str(URL.create("sqlite", database=str(path))))
    store.write(queries.append, Change(kind="k", subject="first", actor="a")).result()
    store.close()
    before = path.read_bytes()
    reader = Reader(str(URL.create("sqlite", database=str(path))))
    assert reader.read(queries.state) == (0, 1)
    reader.close()
    assert path.read_bytes() == before


def test_two_starts_at_once_agree_on_the_tables_and_the_secret(address: str) -> None:
    with ThreadPoolExecutor(4) as starts:
        stores = list(starts.map(Store, [address] * 4))
    assert len({store.secret for store in stores}) == 1
    for store in stores:
        store.close()


def test_postgresql_may_not_keep_anybody_waiting(postgresql: str) -> None:
    limits = _limits(make_url(postgresql), write=False)
    assert limits["connect_timeout"] == 10
    engine = _engine(_url(postgresql), write=False)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "30s"
        assert connection.scalar(text("SHOW default_transaction_read_only")) == "on"
    engine.dispose()
    own = make_url(postgresql).update_query_dict(
        {"connect_timeout": "3", "options": "-c statement_timeout=5000"}
    )
    assert "connect_timeout" not in _limits(own, write=True)
    assert _limits(own, write=True)["options"].endswith("-c statement_timeout=5000")
