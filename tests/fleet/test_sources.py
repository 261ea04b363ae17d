"""Folders, globs and lists name pictures; what is not there, or twice, is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nfbmr.errors import DataError, MissingExtraError
from nfbmr.fleet.sources import folders_of, pictures_of, read_stored
from nfbmr.fleet.words import is_stored


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for name in (
        "b.png",
        "a.PNG",
        "notes.txt",
        "2024/x.jpg",
        "2024/05/y.jpg",
        "2025/z.jpg",
        ".c.png",
    ):
        path = tmp_path / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "archive"


def found(*sources: object, below: Path) -> list[str]:
    return [os.path.relpath(one, below) for one in pictures_of([str(one) for one in sources])]


def test_a_folder_gives_its_pictures_before_those_of_its_folders(archive: Path) -> None:
    everything = ["a.PNG", "b.png", "2024/x.jpg", "2024/05/y.jpg", "2025/z.jpg"]
    assert found(archive, below=archive) == everything


def test_what_was_made_of_pictures_is_left_out_of_folders_and_said(
    archive: Path, caplog: pytest.LogCaptureFixture
) -> None:
    everything = found(archive, below=archive)
    for name in ("b_overlay.png", "2024/05/y_heatmap.png"):
        (archive / name).touch()
    caplog.clear()
    assert found(archive, below=archive) == everything
    (said,) = caplog.messages
    assert said.endswith(f"left out: 2, the first {archive / 'b_overlay.png'}")
    assert found(archive / "*_overlay.png", below=archive) == ["b_overlay.png"]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.png", ["b.png"]),
        ("*/*.jpg", ["2024/x.jpg", "2025/z.jpg"]),
        ("**/*.jpg", ["2024/x.jpg", "2024/05/y.jpg", "2025/z.jpg"]),
        ("202[!5]/**", ["2024/x.jpg", "2024/05/y.jpg"]),
        ("2024/0?/y.jpg", ["2024/05/y.jpg"]),
    ],
)
def test_a_glob_gives_what_fits(archive: Path, glob: str, expected: list[str]) -> None:
    assert found(archive / glob, below=archive) == expected


def test_a_name_with_a_wildcard_that_is_there_is_itself(archive: Path) -> None:
    (archive / "part[1].png").touch()
    assert found(archive / "part[1].png", below=archive) == ["part[1].png"]


@pytest.mark.parametrize("ending", ["txt", "csv", "tsv", "parquet"])
def test_a_list_names_pictures_beside_it_or_anywhere(archive: Path, ending: str) -> None:
    named = ["2025/z.jpg", "/elsewhere/p.png", "s3://bucket/q.png", "2024/not there.jpg"]
    file = archive / f"list.{ending}"
    if ending == "parquet":
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pa.table({"Lot": [1, 2, 3, 4], "Path": named}), file)
    elif ending == "txt":
        file.write_text("\n".join([*named, "", ""]), encoding="utf-8")
    else:
        separator = "\t" if ending == "tsv" else ";"
        rows = [("lot", "path"), *(("1", name) for name in named)]
        file.write_text("\n".join(separator.join(row) for row in rows), encoding="utf-8")
    expected = [f"{archive}/2025/z.jpg", *named[1:3], f"{archive}/2024/not there.jpg"]
    assert list(pictures_of([str(file)])) == expected


def test_a_table_without_a_path_is_refused(archive: Path) -> None:
    (archive / "list.csv").write_text("file,label\na.png,good\n", encoding="utf-8")
    with pytest.raises(
        DataError, match="found the columns file, label; expected one called 'path'"
    ):
        list(pictures_of([str(archive / "list.csv")]))


@pytest.mark.parametrize("word", ["nowhere", "nowhere/*.png", "2024/*.bmp", "notes"])
def test_what_gives_no_picture_is_said(archive: Path, word: str) -> None:
    (archive / "notes").mkdir()
    with pytest.raises(DataError, match=r"does not exist|holds no pictures"):
        list(pictures_of([str(archive / word)]))


@pytest.mark.parametrize(
    "words", [("", ""), ("", "2024"), ("2024/05", "2024"), ("2024", "2024/x.jpg")]
)
def test_sources_that_lie_in_each_other_are_refused(archive: Path, words: tuple[str, str]) -> None:
    with pytest.raises(DataError, match="judged twice"):
        list(pictures_of([str(archive / word) for word in words]))
    assert found(archive / "2024", archive / "2025", below=archive)


def test_nodes_have_to_see_folders_and_the_base_of_globs(archive: Path) -> None:
    sources = [str(archive), f"{archive}/2024/*.jpg", f"{archive}/list.csv", "s3://bucket/x"]
    assert folders_of(sources) == [archive, archive / "2024"]


def test_a_store_that_nothing_knows_is_said() -> None:
    pytest.importorskip("pyarrow")
    assert is_stored("nosuch://bucket/x.png")
    with pytest.raises(MissingExtraError, match="nosuch"):
        list(pictures_of(["nosuch://bucket/x.png"]))


def test_a_store_of_fsspec_is_listed_and_read(archive: Path) -> None:
    """Of what pyarrow does not know itself; this one is in memory."""
    pytest.importorskip("pyarrow")
    memory = pytest.importorskip("fsspec").filesystem("memory")
    for name in ("line/b.png", "line/a.png", "line/night/c.jpg", "line/notes.txt"):
        memory.pipe(f"/bucket/{name}", name.encode())
    memory.pipe("/bucket/list.csv", b"path\nline/a.png\n")
    try:
        found = list(pictures_of(["memory://bucket/line"]))
        assert found == [
            f"memory://bucket/line/{name}" for name in ("a.png", "b.png", "night/c.jpg")
        ]
        assert list(pictures_of(["memory://bucket/line/*.png"])) == found[:2]
        assert list(pictures_of(["memory://bucket/list.csv"])) == found[:1]
        assert read_stored(found[2]) == b"line/night/c.jpg"
        with pytest.raises(FileNotFoundError):
            read_stored("memory://bucket/line/absent.png")
        with pytest.raises(DataError, match="does not exist"):
            list(pictures_of(["memory://bucket/absent"]))
    finally:
        memory.rm("/bucket", recursive=True)
