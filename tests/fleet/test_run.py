"""A run's folder says what it is, is one process's at a time, and knows what is finished."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nfbmr.errors import DataError, FleetError
from nfbmr.fleet.results import part_file, read_counts, write_part
from nfbmr.fleet.run import Run, Wanted, opened, sweep

pytest.importorskip("pyarrow")


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").touch()
    return Wanted(
        bundle="b", calibration="c", runtime="auto", sources=(str(folder),), heatmaps=False
    )


def rows(run: Run, number: int) -> list[dict[str, Any]]:
    good = {"path": "x", "verdict": "good", "score": 0.5, "regions": [], "bundle": "b"}
    return [good] * (run.listing.part(number).pictures - 1) + [{"path": "y", "error": "damaged"}]


def test_what_is_finished_is_not_done_again(tmp_path: Path, wanted: Wanted) -> None:
    out = tmp_path / "out"
    with opened(out, wanted, 1, 2) as run:
        assert run.unfinished(Counter()) == [0, 1, 2]
        write_part(part_file(out, 1), run.name, rows(run, 1))
    (Path(wanted.sources[0]) / "new.png").touch()  # the listing was written before
    with opened(out, wanted, 7, 3) as run:
        counts: Counter[str] = Counter()
        assert run.unfinished(counts) == [0, 2]
        assert counts == {"good": 1, "unreadable": 1}
        assert run.listing.pictures == 5


def test_a_part_that_is_damaged_or_of_another_run_is_not_finished(
    tmp_path: Path, wanted: Wanted
) -> None:
    with opened(tmp_path / "out", wanted, 1, 2) as run:
        file = part_file(run.out, 0)
        write_part(file, "another", rows(run, 0))
        assert run.unfinished(Counter()) == [0, 1, 2]
        write_part(file, run.name, rows(run, 0)[:1])
        assert read_counts(file, run.name, 2) is None
        write_part(file, run.name, rows(run, 0))
        assert run.unfinished(Counter()) == [1, 2]
        file.write_bytes(file.read_bytes()[:-9])
        assert run.unfinished(Counter()) == [0, 1, 2]


def test_the_first_picture_of_each_source_is_noted(tmp_path: Path, wanted: Wanted) -> None:
    """Lists and globs name pictures that lie elsewhere, which nodes have to see, too."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"/elsewhere/{name}1.png\ns3://{name}/2.png\n")
    folder = wanted.sources[0]
    lists = (str(tmp_path / "a.txt"), str(tmp_path / "b.txt"))
    many = replace(wanted, sources=(folder, *lists))
    expected = (f"{folder}/0.png", "/elsewhere/a1.png", "/elsewhere/b1.png")
    for _ in range(2):
        with opened(tmp_path / "out", many, 1, 2) as run:
            assert run.firsts == expected
    file = tmp_path / "out" / "_nfbmr" / "run.json"
    said = json.loads(file.read_text())
    del said["firsts"]  # as an older program wrote it
    file.write_text(json.dumps(said))
    with opened(tmp_path / "out", many, 1, 2) as run:
        assert run.firsts == expected[:1]


def test_parts_that_lie_on_a_disk_of_a_node_are_said(tmp_path: Path, wanted: Wanted) -> None:
    with opened(tmp_path / "out", wanted, 1, 2) as run:
        write_part(part_file(run.out, 0), run.name, rows(run, 0))
        run.refuse_unseen([0])
        with pytest.raises(FleetError, match=r"2 parts .*part-000001\.parquet.*all nodes share"):
            run.refuse_unseen([0, 1, 2])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bundle": "x"}, "another model"),
        ({"calibration": "x"}, "other thresholds"),
        ({"runtime": "torch"}, "another runtime"),
        ({"sources": ("/elsewhere",)}, "other pictures"),
        ({"heatmaps": True}, "heatmaps"),
    ],
)
def test_another_run_in_the_same_place_is_refused(
    tmp_path: Path, wanted: Wanted, change: dict[str, Any], said: str
) -> None:
    with opened(tmp_path / "out", wanted, 1):
        pass
    with (
        pytest.raises(FleetError, match=f"{said}.*choose another folder"),
        opened(tmp_path / "out", replace(wanted, **change), 1),
    ):
        pass


def test_two_at_once_are_refused(tmp_path: Path, wanted: Wanted) -> None:
    with (
        opened(tmp_path / "out", wanted, 1),
        pytest.raises(FleetError, match="another run writes there"),
        opened(tmp_path / "out", wanted, 1),
    ):
        pass


def test_a_folder_with_other_things_is_refused(tmp_path: Path, wanted: Wanted) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").touch()
    with pytest.raises(FleetError, match="holds other things"), ExitStack() as stack:
        stack.enter_context(opened(tmp_path / "out", wanted, 1))


def test_a_listing_that_was_not_finished_is_begun_anew(tmp_path: Path, wanted: Wanted) -> None:
    missing = replace(wanted, sources=(*wanted.sources, str(tmp_path / "absent")))
    with pytest.raises(DataError, match="absent"), ExitStack() as stack:
        stack.enter_context(opened(tmp_path / "out", missing, 1))
    with opened(tmp_path / "out", wanted, 1) as run:
        assert run.listing.pictures == 5


def test_what_killed_workers_left_is_swept(tmp_path: Path, wanted: Wanted) -> None:
    with opened(tmp_path / "out", wanted, 1) as run:
        write_part(part_file(run.out, 0), run.name, rows(run, 0))
        (run.out / ".abc.part").touch()
        (run.out / "_heatmaps" / "000000").mkdir(parents=True)
        (run.out / "_heatmaps" / "000000" / ".abc.part").touch()
        sweep(run.out)
        assert not [one.name for one in run.out.rglob("*.part")]
        assert part_file(run.out, 0).exists()


def test_the_folder_is_read_as_one_table(tmp_path: Path, wanted: Wanted) -> None:
    from pyarrow import parquet

    with opened(tmp_path / "out", wanted, 1, 2) as run:
        for number in range(3):
            write_part(part_file(run.out, number), run.name, rows(run, number))
        (run.out / "_heatmaps").mkdir()
        (run.out / "_heatmaps" / "x.png").touch()
    table = parquet.read_table(tmp_path / "out")
    assert table.num_rows == 5
    assert table.column("error").to_pylist().count("damaged") == 3
