"""What pages ask is answered by an index, however long the record is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.queries import Filter
from nfbmr.station.store.queue import Place, place_of, undone_before, undone_first

ROWS = 100_000
FILL = f"""
INSERT INTO inspections
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
SELECT i, strftime('%Y-%m-%dT%H:%M:%f000+00:00', 1760000000 + 10 * i, 'unixepoch'),
  'm' || (i % 3), 'p', 'part-' || i, CASE WHEN i % 10 THEN 'rest' ELSE 'page' END, 'local', '',
  hex(randomblob(32)), 'file-' || i, 10, 8, 9, 'b', 'c', 'torch', 1, 0.75, 0.5, 0.3,
  CASE WHEN i % 50 = 0 THEN 'defect' WHEN i % 20 = 0 THEN 'look' ELSE 'good' END, '[]', 1.5,
  CASE WHEN i % 100 = 0 THEN 'defect' WHEN i % 101 = 0 THEN 'good' END, '', NULL, NULL,
  NULL, NULL, NULL
FROM n
"""
SOME = (
    {"model": "m1"},
    {"verdict": "defect"},
    {"label": "none"},
    {"label": "any"},
    {"label": "good"},
    {"part_id": "part-777"},
    {"source": "page"},
    {"since": "2025-10-20"},
    {"since": "2025-10-10", "until": "2025-10-11"},
    {"model": "m1", "verdict": "look", "label": "none", "part_id": "part-77"},
)
Question = Callable[[Connection, Filter], object]
QUESTIONS: dict[str, Question] = {
    "page": lambda c, which: queries.page(c, which),
    "following": lambda c, which: queries.following(c, which, 500),
    "counts": queries.counts,
    "reviewed": queries.reviewed,
    "queue": lambda c, which: undone_first(c, which, 25, Place(verdict="look", number=90_000)),
    "queue before": lambda c, which: undone_before(
        c, which, 25, Place(verdict="good", number=90_000)
    ),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A long record."""
    opened = Store(f"sqlite:///{tmp_path_factory.mktemp('long') / 'station.db'}")
    calibration = "INSERT INTO calibrations VALUES ('c', '2026', '{}')"
    opened.write(lambda c: c.execute(text(calibration))).result()
    opened.write(lambda c: c.execute(text(FILL))).result()
    yield opened
    opened.close()


def plans(store: Store, question: Callable[[Connection], object]) -> list[str]:
    """How SQLite answers all statements of a question."""
    asked: list[tuple[str, Any]] = []

    def noted(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    def explained(connection: Connection) -> list[str]:
        event.listen(connection, "before_cursor_execute", noted)
        question(connection)
        event.remove(connection, "before_cursor_execute", noted)
        found = []
        for statement, parameters in asked:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found += [row[3] for row in rows]
        return found

    lines = store.read(explained)
    assert asked
    return lines


def walks(lines: list[str]) -> list[str]:
    """Those steps that look at every row, or sort the rows of a table."""
    return [line for line in lines if line.startswith("SCAN")]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("said", SOME, ids=lambda said: ",".join(said))
def test_each_filter_uses_an_index(store: Store, question: str, said: dict[str, str]) -> None:
    lines = plans(store, lambda c: QUESTIONS[question](c, Filter(**said)))
    assert any("USING" in line for line in lines)
    assert walks(lines) == []


def test_the_queue_and_its_figures_use_indexes(store: Store) -> None:
    unfiltered = [
        lambda c: undone_first(c, Filter(), 25),
        lambda c: queries.reviewed(c, Filter()),
        lambda c: queries.state(c),
        lambda c: queries.of_request(c, "r"),
        lambda c: queries.bytes_kept(c),
        lambda c: queries.strangers(c, ["file-1"]),
    ]
    for question in unfiltered:
        assert walks(plans(store, question)) == []


def test_a_walk_would_be_noticed(store: Store) -> None:
    asked = "SELECT count(*) FROM inspections WHERE actor = 'ann'"
    assert walks(plans(store, lambda c: c.execute(text(asked)))) != []


def test_part_ids_are_found_by_their_beginning(store: Store) -> None:
    found = store.read(queries.page, Filter(part_id="part-9999"))
    expected = [n for n in range(ROWS, 0, -1) if f"part-{n}".startswith("part-9999")]
    assert [row.id for row in found] == expected
    assert store.read(queries.page, Filter(part_id="art-9999")) == []
    assert store.read(queries.page, Filter(part_id="part-%")) == []


def test_the_queue_is_in_order_over_its_pages(store: Store) -> None:
    which = Filter(verdict="", label="none", since="2025-10-20T16:00")
    rank = {"look": 0, "defect": 1, "good": 2}
    pages = [store.read(undone_first, which, 500)]
    while len(pages[-1]) == 500:
        pages.append(store.read(undone_first, which, 500, place_of(pages[-1][-1])))
    rows = [row for page in pages for row in page]
    expected = sorted(rows, key=lambda row: (rank[row.verdict], -row.id))
    assert rows == expected
    assert len({row.id for row in rows}) == sum(store.read(queries.counts, which).values())
    assert store.read(undone_before, which, 500, place_of(pages[2][0])) == pages[1]
    assert store.read(undone_before, which, 5000, place_of(rows[-1])) == rows[:-1]
    assert store.read(undone_before, which, 500, place_of(rows[0])) == []
