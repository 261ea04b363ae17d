"""A listing is cut into parts that together hold every picture once, in order."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfbmr.fleet.listing import Listing, per_part, read_part, write_listing


@given(
    pictures=st.lists(st.text(min_size=1), min_size=1, max_size=40),
    size=st.integers(min_value=1, max_value=50),
)
def test_parts_hold_every_picture_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, pictures: list[str], size: int
) -> None:
    file = tmp_path_factory.mktemp("listing") / "listing.jsonl"
    assert write_listing(file, pictures) == len(pictures)
    listing = Listing(file, len(pictures), size)
    parts = [listing.part(number) for number in range(len(listing))]
    assert [name for part in parts for name in read_part(file, part)] == pictures
    assert all(part.pictures <= size for part in parts)


def test_a_name_that_is_no_utf8_comes_back(tmp_path: Path) -> None:
    name = b"/pictures/\xff\n.png".decode(errors="surrogateescape")
    write_listing(tmp_path / "listing.jsonl", [name])
    listing = Listing(tmp_path / "listing.jsonl", 1, 10)
    assert read_part(listing.file, listing.part(0)) == [name]


def test_trouble_while_listing_leaves_nothing(tmp_path: Path) -> None:
    def pictures() -> object:
        yield "a.png"
        raise OSError("the network folder is gone")

    with pytest.raises(OSError, match="gone"):
        write_listing(tmp_path / "listing.jsonl", pictures())  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pictures", "workers", "expected"),
    [(10, 2, 16), (320, 2, 20), (20_000, 2, 500), (10_000_000, 8, 1000), (10**9, 8, 10_000)],
)
def test_parts_are_small_where_there_are_few_pictures_and_few_where_there_are_many(
    pictures: int, workers: int, expected: int
) -> None:
    assert per_part(pictures, workers) == expected


def test_a_long_listing_takes_no_memory(tmp_path: Path) -> None:
    """Names pass through one by one; of a part its place alone is held."""
    count = 100_000
    file = tmp_path / "listing.jsonl"
    tracemalloc.start()
    try:
        write_listing(file, (f"/archive/{number:09d}.png" for number in range(count)))
        listing = Listing(file, count, 500)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(listing) == count // 500
    assert most < 2**18 < file.stat().st_size
