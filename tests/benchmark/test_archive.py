"""Pictures of an archive are made the same each time; a driver's own workers are found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nfbmr.benchmark.archive_runs import Bench, about, make_links, make_pictures
from nfbmr.benchmark.ray_nodes import workers_under
from nfbmr.data.folders import list_pictures
from nfbmr.data.images import image_size


def test_pictures_are_made_of_real_ones_and_the_same_each_time(
    good_folder: Path, tmp_path: Path
) -> None:
    made = [make_pictures(good_folder, tmp_path / name, 15, 40) for name in ("a", "b")]
    first, second = (list_pictures(folder, deep=True)[0] for folder in made)
    assert len(first) == 15
    contents = [path.read_bytes() for path in first]
    assert contents == [path.read_bytes() for path in second]
    assert len(set(contents)) == 15
    assert all(max(image_size(path)) == 40 for path in first)


def test_links_are_names_of_few_files(good_folder: Path, tmp_path: Path) -> None:
    found, _ = list_pictures(make_links(good_folder, tmp_path / "links", 1200, 16), deep=True)
    assert len(found) == 1200
    assert len({path.stat().st_ino for path in found}) == 2


def test_a_picture_of_an_archive_is_bytes_and_milliseconds(
    good_folder: Path, model: Path, tmp_path: Path
) -> None:
    made = make_pictures(good_folder, tmp_path / "made", 3, 40)
    row = about(made, model)
    sizes = [path.stat().st_size for path in list_pictures(made, deep=True)[0]]
    assert (row["pictures"], row["picture_bytes"]) == (3, round(sum(sizes) / 3))
    assert isinstance(row["decode_ms"], float)


def test_a_process_without_workers_has_none() -> None:
    assert workers_under(os.getpid()) == []


def test_a_listing_takes_from_the_lock_to_what_says_the_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "model", tmp_path / "runs", "torch")
    own = bench.results / "_nfbmr"
    own.mkdir(parents=True)
    for name, at in (("lock", 100_000_000_000), ("run.json", 102_500_000_000)):
        (own / name).touch()
        os.utime(own / name, ns=(at, at))
    assert bench.listing_seconds() == 2.5


def test_the_bytes_of_results_are_those_of_parts_alone(tmp_path: Path) -> None:
    """The listing is counted by itself."""
    bench = Bench(tmp_path / "model", tmp_path / "runs", "torch")
    (bench.results / "_nfbmr").mkdir(parents=True)
    (bench.results / "_nfbmr" / "listing.jsonl").write_bytes(b"x" * 5000)
    for number in range(2):
        (bench.results / f"part-00000{number}.parquet").write_bytes(b"x" * 300)
    assert bench.results_bytes(10) == 60


def test_what_is_missing_or_twice_is_counted(good_folder: Path, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    bench = Bench(tmp_path / "model", tmp_path / "runs", "torch")
    bench.results.mkdir()
    paths = [str(path) for path in sorted(good_folder.iterdir())]
    table = pa.table({"path": [*paths[:10], paths[0], "/elsewhere.png"]})
    parquet.write_table(table, bench.results / "part-000000.parquet")
    assert bench.counted(good_folder) == {"pictures": 12, "missing": 2, "twice": 1, "unknown": 1}
