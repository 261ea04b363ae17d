"""The results of a part: a Parquet file, whole or not there, that says whose it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nfbmr.inspection.rows import Row, flat, parquet_schema
from nfbmr.system.files import flushed_beside

_RUN, _COUNTS = b"nfbmr.run", b"nfbmr.counts"

Counts = Counter[str]


def part_file(out: Path, number: int) -> Path:
    """Returns where the results of a part are."""
    return out / f"part-{number:06d}.parquet"


def write_part(file: Path, run: str, rows: Sequence[Row]) -> Counts:
    """Writes a part's results; once its file has its name, the part is finished.

    Args:
        file: of `part_file`.
        run: which run it belongs to.
        rows: of `to_row`, each with `bundle`.

    Returns:
        How many there are of `good`, `look`, `defect` and `unreadable`.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = Counter(row.get("verdict", "unreadable") for row in rows)
    said = {_RUN: run, _COUNTS: json.dumps(counts)}
    schema = parquet_schema("bundle").with_metadata(said)
    with flushed_beside(file) as beside:
        pq.write_table(pa.Table.from_pylist([flat(row) for row in rows], schema), beside)
    return counts


def read_counts(file: Path, run: str, pictures: int) -> Counts | None:
    """Returns what a finished part counts; None where it is not, or is another run's or damaged.

    Args:
        file: of `part_file`.
        run: which run it has to belong to.
        pictures: that it has to have.

    Raises:
        OSError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer: Any = pq.read_metadata(file)
        said = footer.metadata or {}
        if said.get(_RUN) != run.encode() or footer.num_rows != pictures:
            return None
        return Counter(json.loads(said[_COUNTS]))
    except FileNotFoundError:
        return None
    except (pa.ArrowInvalid, KeyError, ValueError):
        return None
