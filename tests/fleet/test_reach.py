"""Lost storage is told from pictures that are gone, kept from us or damaged."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from nfbmr.fleet import reach
from nfbmr.fleet.reach import why_unreached


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "mnt" / "archive"
    for name in ("may/a.png", "may/b.png", "june/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"no picture")
    return folder


def below(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.rglob("*.png"))]


def emptied(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def test_one_that_opens_speaks_for_all_whatever_is_in_it(archive: Path) -> None:
    assert why_unreached([str(archive / "may" / "gone.png"), *below(archive)], [archive]) is None
    assert why_unreached([], [archive]) is None


def test_a_mount_that_is_lost_leaves_its_folder_empty(archive: Path) -> None:
    pictures = below(archive)
    emptied(archive.parent)
    why = why_unreached(pictures, [archive])
    assert why is not None
    assert why.startswith(pictures[0])
    assert why_unreached(pictures, []) is not None, "of a list of paths no folder is known"


def test_a_folder_that_was_deleted_leaves_the_others(archive: Path) -> None:
    pictures = below(archive / "may")
    emptied(archive / "may")
    (archive / "may").rmdir()
    assert why_unreached(pictures, [archive]) is None
    assert why_unreached(pictures, [archive, archive / "may"]) is None


def test_one_that_may_not_be_read_is_one_where_its_folder_may(archive: Path) -> None:
    (archive / "may" / "a folder.png").mkdir()
    assert why_unreached([str(archive / "may" / "a folder.png")], [archive]) is None


def test_storage_that_answers_with_errors_is_not_reached(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(reach, "plain_file", stale)
    why = why_unreached(below(archive), [archive])
    assert why == f"{archive}/june/c.png: Stale file handle"


def test_of_a_store_a_name_that_it_lacks_is_one_and_all_else_is_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(address: str) -> bytes:
        raise FileNotFoundError(address) if "gone" in address else RuntimeError("token expired")

    monkeypatch.setattr(reach, "read_stored", read)
    assert why_unreached(["s3://b/1.png", "s3://b/2.png"], []) == "s3://b/1.png: token expired"
    assert why_unreached(["s3://b/1.png", "s3://b/gone.png"], []) is None
