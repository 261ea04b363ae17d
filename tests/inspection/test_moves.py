"""A picture is moved by its content: never over another file, never another picture."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from nfbmr.errors import DataError
from nfbmr.inspection import moves
from nfbmr.inspection.arrivals import Mark, mark_of
from nfbmr.inspection.moves import free_place, make_places, move


@pytest.fixture
def picture(tmp_path: Path) -> tuple[Path, Mark, str]:
    path = tmp_path / "a.png"
    path.write_bytes(b"picture")
    mark = mark_of(path)
    assert mark is not None
    return path, mark, hashlib.sha256(b"picture").hexdigest()


def test_it_is_moved_once_however_often_it_is_asked(picture: tuple[Path, Mark, str]) -> None:
    path, mark, sha256 = picture
    target = path.parent / "good" / "a.png"
    for _ in range(2):
        assert move(path, mark, sha256, target) == target
    assert (target.read_bytes(), path.exists()) == (b"picture", False)


def test_what_took_the_target_meanwhile_stays_there(picture: tuple[Path, Mark, str]) -> None:
    path, mark, sha256 = picture
    target = path.parent / "b.png"
    target.write_bytes(b"another")
    assert move(path, mark, sha256, target) == path.parent / "b-1.png"
    assert target.read_bytes() == b"another"


def test_another_picture_under_its_name_is_not_moved(picture: tuple[Path, Mark, str]) -> None:
    path, mark, sha256 = picture
    path.unlink()
    path.write_bytes(b"another, longer")
    assert move(path, mark, sha256, path.parent / "b.png") is None
    assert path.read_bytes() == b"another, longer"
    path.unlink()
    assert move(path, mark, sha256, path.parent / "b.png") is None


def test_what_took_its_name_in_the_moment_of_the_move_comes_back(
    picture: tuple[Path, Mark, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mark, sha256 = picture
    rename = Path.rename

    def overtaken(self: Path, target: Path) -> Path:
        if self == path and path.read_bytes() == b"picture":
            path.unlink()
            path.write_bytes(b"another, longer")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    assert move(path, mark, sha256, path.parent / "b.png") is None
    assert [one.name for one in path.parent.iterdir()] == ["a.png"]
    assert path.read_bytes() == b"another, longer"
    path.rename(path.parent / "b.png")  # as a kill before it came back leaves it
    assert move(path, mark, sha256, path.parent / "b.png") is None
    assert [one.name for one in path.parent.iterdir()] == ["a.png"]


def test_what_cannot_be_moved_stays_and_is_said(
    picture: tuple[Path, Mark, str], caplog: pytest.LogCaptureFixture
) -> None:
    path, mark, sha256 = picture
    (path.parent / "good").write_text("no folder")
    assert move(path, mark, sha256, path.parent / "good" / "a.png") == path
    assert "stays where it is" in caplog.text


def test_a_free_place_counts_up_in_few_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        place = free_place(tmp_path / "a.png")
        assert place.name == (f"a-{number}.png" if number else "a.png")
        place.touch()
    (tmp_path / "a-20.png").unlink()
    looks, exists = 0, Path.exists

    def counted(path: Path) -> bool:
        nonlocal looks
        looks += 1
        return exists(path)

    monkeypatch.setattr(Path, "exists", counted)
    assert not exists(free_place(tmp_path / "a.png"))
    assert looks < 16


@pytest.mark.parametrize("letter", ["a", "é", "零"])
def test_a_free_place_has_a_name_that_a_file_system_takes(tmp_path: Path, letter: str) -> None:
    stem = letter * (251 // len(letter.encode()))
    for _ in range(3):
        place = free_place(tmp_path / f"{stem}.png")
        assert place.suffix == ".png"
        place.touch(exist_ok=False)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "defect").write_text("no folder")
    with pytest.raises(
        DataError, match=r"defect: found a file; expected a folder.*rename the file"
    ):
        make_places(tmp_path)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links need rights here")
def test_a_link_that_leads_nowhere_from_another_folder_stays_and_is_said(
    picture: tuple[Path, Mark, str], caplog: pytest.LogCaptureFixture
) -> None:
    file, mark, sha256 = picture
    link, target = file.parent / "link.png", file.parent / "good" / "link.png"
    link.symlink_to("a.png")
    for _ in range(2):
        assert move(link, mark, sha256, target) == link
    assert link.readlink() == Path("a.png")
    assert caplog.text.count("it is a link that leads elsewhere from another folder") == 2
    link.rename(target)  # as a kill before it came back leaves it
    assert move(link, mark, sha256, target) == link
    assert not list(target.parent.iterdir())


def test_a_link_by_a_whole_path_is_moved(picture: tuple[Path, Mark, str]) -> None:
    file, mark, sha256 = picture
    link, target = file.parent / "link.png", file.parent / "good" / "link.png"
    link.symlink_to(file)
    assert move(link, mark, sha256, target) == target
    assert target.is_symlink()
    assert file.read_bytes() == b"picture"


def test_a_place_with_a_link_to_nothing_is_not_free(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("nowhere")
    assert free_place(tmp_path / "a.png") == tmp_path / "a-1.png"


def test_what_cannot_be_read_where_it_was_moved_is_not_brought_back_as_another(
    picture: tuple[Path, Mark, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, mark, sha256 = picture
    target, see = path.parent / "b.png", mark_of
    monkeypatch.setattr(moves, "mark_of", lambda one: None if one == target else see(one))
    assert move(path, mark, sha256, target) == path
    assert f"stays where it is: it could not be read at {target}" in caplog.text


def test_a_folder_that_leads_back_to_where_pictures_come_in_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    link = tmp_path / "good"
    link.symlink_to("sub")
    make_places(tmp_path)
    with pytest.raises(DataError, match="where pictures come in; expected a folder of its own"):
        make_places(tmp_path, deep=True)
    link.unlink()
    link.symlink_to(".")
    with pytest.raises(DataError, match="where pictures come in; expected a folder of its own"):
        make_places(tmp_path)
    link.unlink()
    link.symlink_to("look")
    make_places(tmp_path, deep=True)
