"""A worker judges as `nfbmr inspect` does; what cannot be read is a row; no Ray is needed here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nfbmr.errors import FleetError
from nfbmr.fleet import reach
from nfbmr.fleet import scorer as scoring
from nfbmr.fleet.listing import Listing, write_listing
from nfbmr.fleet.results import part_file
from nfbmr.fleet.scorer import Job, Scorer, Task, Unreached, at_file
from nfbmr.inspection.heatmaps import Heatmaps
from nfbmr.inspection.inspector import Inspector
from nfbmr.model.calibrations import calibration_hash
from nfbmr.station.engine.pool import bundle_hash
from nfbmr.system import files

pytest.importorskip("pyarrow")


@pytest.fixture
def pictures(model: Path, tmp_path: Path) -> list[str]:
    good = sorted((model.parent / "widget" / "test" / "good").iterdir())
    bad = sorted((model.parent / "widget" / "test" / "blob").iterdir())
    (tmp_path / "broken.png").write_bytes(b"no picture")
    absent = tmp_path / "absent.png"
    return [str(p) for p in (good[0], tmp_path / "broken.png", bad[0], absent, *good[1:], *bad[1:])]


@pytest.fixture
def listing(pictures: list[str], tmp_path: Path) -> Listing:
    (tmp_path / "out" / "_nfbmr").mkdir(parents=True)
    file = tmp_path / "out" / "_nfbmr" / "listing.jsonl"
    return Listing(file, write_listing(file, pictures), 100)


@pytest.fixture
def job(model: Path, inspector: Inspector, listing: Listing, tmp_path: Path) -> Job:
    return Job(
        model=model,
        said="fitted",
        bundle=bundle_hash(inspector),
        calibration=calibration_hash(inspector.calibration),
        runtime="torch",
        device="cpu",
        threads=1,
        out=tmp_path / "out",
        run="run",
        listing=listing.file,
        folders=(),
        heatmaps=None,
    )


def judged(job: Job, task: Task) -> list[dict[str, Any]]:
    from pyarrow import parquet

    worker = Scorer(job)
    assert worker.ready() == "torch"
    counts = worker.score(task)
    assert not isinstance(counts, Unreached)
    found: list[dict[str, Any]] = parquet.read_table(part_file(job.out, 0)).to_pylist()
    assert counts.total() == len(found)
    return found


def test_rows_are_those_of_inspect_in_order(
    job: Job, listing: Listing, pictures: list[str], inspector: Inspector
) -> None:
    found = judged(job, Task(listing.part(0)))
    assert [row["path"] for row in found] == pictures
    assert [n for n, row in enumerate(found) if row["error"]] == [1, 3]
    expected = list(inspector.inspect_many(pictures))
    for row, one in zip(found, expected, strict=True):
        score = getattr(one, "score", None)
        assert row["score"] == (None if score is None else pytest.approx(score, rel=1e-4))
        assert row["verdict"] == getattr(one, "verdict", None)
    assert {row["bundle"] for row in found} == {job.bundle}


def test_judged_again_it_is_the_same(job: Job, listing: Listing) -> None:
    assert judged(job, Task(listing.part(0))) == judged(job, Task(listing.part(0)))


def test_heatmaps_are_drawn_of_defects_alone_and_are_on_the_disk(
    job: Job, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a part that is finished would have empty ones after a power loss."""
    flushed: list[int] = []
    flush = files.flush_file

    def seen(path: Path) -> None:
        flush(path)
        flushed.append(path.stat().st_size)

    monkeypatch.setattr(files, "flush_file", seen)
    found = judged(replace(job, heatmaps=job.out / "_heatmaps"), Task(listing.part(0)))
    drawn = sorted(path.name for path in (job.out / "_heatmaps" / "000000").iterdir())
    defects = [n for n, row in enumerate(found) if row["verdict"] == "defect"]
    assert defects
    assert [int(name[:6]) for name in drawn] == defects
    assert len(flushed) == len(defects) + 1, "the part's rows, too"
    assert min(flushed) > 0


def test_one_by_one_it_notes_where_it_is_and_passes_over_what_is_deadly(
    job: Job, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, noted = scoring._read, []

    def seen(picture: str) -> str | bytes:
        noted.append(int(at_file(job.out, 0).read_text("ascii")))
        return read(picture)

    monkeypatch.setattr(scoring, "_read", seen)
    found = judged(job, Task(listing.part(0), one_by_one=True, deadly=frozenset({2})))
    assert noted == [n for n in range(listing.pictures) if n != 2]
    assert "died" in found[2]["error"]
    assert [n for n, row in enumerate(found) if row["error"]] == [1, 2, 3]
    assert not at_file(job.out, 0).exists()


def test_files_of_a_store_that_cannot_be_read_are_rows(
    job: Job, listing: Listing, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are read ahead keep their order, whichever fail."""
    write_listing(listing.file, [f"s3://bucket/{number}.png" for number in range(len(pictures))])

    def stored(address: str) -> bytes:
        number = int(address.rpartition("/")[2].removesuffix(".png"))
        if number % 3 == 0:
            raise FileNotFoundError(address)
        return Path(pictures[number]).read_bytes()

    for module in (scoring, reach):
        monkeypatch.setattr(module, "read_stored", stored)
    found = judged(job, Task(Listing(listing.file, len(pictures), 100).part(0)))
    assert [n for n, row in enumerate(found) if row["error"]] == [0, 1, 3, 6, 9]
    assert [row["path"] for row in found] == [f"s3://bucket/{n}.png" for n in range(len(pictures))]
    assert found[2]["verdict"] == "defect"


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_part_of_which_nothing_can_be_opened_gets_no_rows(
    job: Job, listing: Listing, tmp_path: Path, *, one_by_one: bool
) -> None:
    """As after a mount is lost or a token expires: else its rows would hide that for good."""
    write_listing(listing.file, [f"{tmp_path}/mount/{number}.png" for number in range(5)])
    (tmp_path / "mount").mkdir()
    worker = Scorer(job)
    worker.ready()
    part = Listing(listing.file, 5, 100).part(0)
    found = worker.score(Task(part, one_by_one=one_by_one))
    assert isinstance(found, Unreached)
    assert f"{tmp_path}/mount/0.png" in found.why
    assert not part_file(job.out, 0).exists()
    assert not at_file(job.out, 0).exists()
    (tmp_path / "mount" / "other.png").touch()  # there, and these are gone from it
    assert worker.score(Task(part)) == {"unreadable": 5}


def test_a_store_that_raises_a_kind_of_its_own_ends_nothing(
    job: Job, listing: Listing, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_listing(listing.file, [f"odd://bucket/{number}.png" for number in range(4)])

    def stored(address: str) -> bytes:
        if address.endswith("1.png"):
            raise RuntimeError("the server hung up")
        if address.endswith("3.png"):
            raise MemoryError
        return Path(pictures[2]).read_bytes()

    for module in (scoring, reach):
        monkeypatch.setattr(module, "read_stored", stored)
    part = Listing(listing.file, 4, 100).part(0)
    for one_by_one in (False, True):
        found = judged(job, Task(part, one_by_one=one_by_one))
        assert [row["error"] for row in found] == [
            None,
            "odd://bucket/1.png cannot be read (the server hung up)",
            None,
            "odd://bucket/3.png cannot be read (MemoryError)",
        ]


@pytest.mark.parametrize("one_by_one", [False, True])
def test_an_address_of_an_unknown_kind_is_a_row_and_a_part_of_such_gets_none(
    job: Job, listing: Listing, pictures: list[str], *, one_by_one: bool
) -> None:
    """One line of a list may not end the run for all."""
    odd = "nosuch://bucket/x.png"
    write_listing(listing.file, [pictures[0], odd])
    part = Listing(listing.file, 2, 100).part(0)
    found = judged(job, Task(part, one_by_one=one_by_one))
    assert found[0]["error"] is None
    assert "nosuch:// is no store that is known here" in found[1]["error"]
    write_listing(listing.file, [odd, odd])
    worker = Scorer(job)
    worker.ready()
    said = worker.score(Task(Listing(listing.file, 2, 100).part(0), one_by_one=one_by_one))
    assert isinstance(said, Unreached)
    assert "nosuch://" in said.why


def test_a_picture_that_memory_is_too_little_for_is_a_row_and_has_no_heatmap(
    job: Job, listing: Listing, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = Inspector.inspect

    def huge(self: Inspector, image: Any) -> Any:
        if image.name == pictures[0]:
            raise MemoryError
        return inspect(self, image)

    def keep(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Inspector, "inspect", huge)
    monkeypatch.setattr(Heatmaps, "keep", keep)
    drawn = replace(job, heatmaps=job.out / "_heatmaps")
    found = judged(drawn, Task(listing.part(0), one_by_one=True))
    assert found[0]["error"] == "out of memory"
    assert found[2]["verdict"] == "defect"


def test_a_model_that_was_changed_meanwhile_is_refused(job: Job) -> None:
    with pytest.raises(FleetError, match="was changed"):
        Scorer(replace(job, calibration="other")).ready()
