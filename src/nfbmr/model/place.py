"""A model directory comes to its place whole, and what a kill left on the way there is cleared up.

    PARENT/MODEL/               the model, or nothing yet
    PARENT/.MODEL.TOKEN/        a new one being written, or an old one that has just given way
    PARENT/.MODEL.TOKEN.old/    an old one between two renames, where names cannot be exchanged

A TOKEN is 32 random digits, so nobody else's folder has such a name. Whoever writes holds the lock
of the folder that it writes: one that nobody holds was left by a kill. Where there are no locks, as
on Windows, and where it is empty, it counts as left once nothing in it was changed for a day.

What is in MODEL besides the parts is its user's, and stays there.
"""

from __future__ import annotations

import errno
import logging
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from nfbmr.errors import BundleError, BundleNotFoundError
from nfbmr.model.folder import (
    CARD,
    MANIFEST,
    check_parts,
    is_bundle,
    is_part,
    parts_said,
    refuse_to_replace_other_things,
    write_manifest,
)
from nfbmr.system.files import flush_folder, sha256_of, swap_into_place
from nfbmr.system.locks import abandoned_folder, locked_folder

_log = logging.getLogger(__name__)

_LEFT_SECONDS = 24 * 3600.0
_PATIENCE = 60.0  # seconds that a writer waits for another program's change, which takes moments


@contextmanager
def put_together(path: Path, instead_of: int | None = None) -> Iterator[Path]:
    """Gives a new folder beside `path`; what is in it in the end takes the place of `path`.

    All of it is on the disk before the old model goes. Nothing of it is left, and `path` is as it
    was, where the body fails; or where `path` is no longer the folder whose inode is `instead_of`,
    whose lock the caller then holds.

    Raises:
        BundleError: it cannot be written there.
    """
    path = path.resolve()  # also of the current directory, which has no name of its own
    put_back(path)
    sweep(path)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.mkdir(mode=0o700)
        with locked_folder(beside):
            new = beside.stat().st_ino
            try:
                yield beside
                write_manifest(beside)
                beside.chmod(0o755)
                flush_folder(beside)
                _place(beside, path, instead_of)
            finally:
                if not beside.exists() or beside.stat().st_ino != new:
                    _discard(beside, path)
                elif not _is_half_moved(beside, path):
                    shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise BundleError(f"cannot write a model to {path}: {error.strerror or error}") from None


@contextmanager
def changed(path: Path) -> Iterator[Path]:
    """Gives a copy of a sound model directory, to change; it then takes the place of `path`."""
    path = path.resolve()  # a link to a model stays one
    put_back(path)
    check_parts(path)
    with locked_folder(path) as free:
        if not free:
            raise BundleError(f"{path} is being changed by another program; try again after it")
        parts = check_parts(path)
        refuse_to_replace_other_things(path)
        # Of another program that does not ask for the lock, such as a fit that ends now, the
        # model stays: what was read here is then not what would be replaced.
        with put_together(path, path.stat().st_ino) as folder:
            for name, sha256 in parts.items():
                shutil.copy2(path / name, folder / name)
                if name != CARD and sha256_of(folder / name) != sha256:
                    raise BundleError(f"{path} was changed by another program meanwhile; try again")
            yield folder


def refuse_unwritable(path: Path) -> None:
    """Says before the work that a model cannot be changed where it is.

    Raises:
        BundleError: no folder can be made beside it.
    """
    parent = path.resolve().parent
    try:
        with TemporaryDirectory(dir=parent, prefix="."):
            pass
    except OSError as error:
        raise BundleError(
            f"cannot write a model to {path}: {error.strerror or error} (it is put together beside "
            f"its place, in {parent}); give this user the right to it, or work on a copy"
        ) from None


def put_back(path: Path) -> None:
    """Finishes what a kill left beside `path` between two renames; mostly there is nothing.

    Where nothing is at `path`, an old model is renamed back; where a model was being put into the
    folder that is there, the rest of it follows.

    Raises:
        BundleNotFoundError: another program is replacing it now, or it cannot be renamed.
    """
    if (path / MANIFEST).exists():
        return
    path = path.resolve()  # a link to a model stays one
    try:
        if path.is_dir():
            _fill_up(path)
        elif not path.exists():
            _rename_back(path)
    except OSError as error:
        if (path / MANIFEST).exists():  # another program was first
            return
        raise BundleNotFoundError(
            f"{path} holds no model: a kill left it beside, as .{path.name}..., and it cannot be "
            f"renamed ({error.strerror}); give permission, then try again"
        ) from None


def sweep(path: Path) -> None:
    """Removes what kills left beside a model's place; call `put_back` first.

    A user's file in it comes to `path`; where there is another of this name, all stays.
    """
    for left in _left(path, "", ".old"):
        try:
            if not any(left.iterdir()) and time.time() - left.stat().st_mtime < _LEFT_SECONDS:
                continue  # just made, perhaps, by one who is about to lock it
            with abandoned_folder(left, _LEFT_SECONDS) as free:
                if free and (path.is_dir() or left.suffix != ".old"):
                    _discard(left, path)
        except OSError as error:  # gone by now
            _log.info("%s was not removed: %s", left, error)


def _left(path: Path, *endings: str) -> list[Path]:
    """Returns the folders beside a model that `put_together` made, now or before a kill."""
    ending = "|".join(re.escape(one) for one in endings)
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}({ending})")
    try:
        named = [one for one in path.parent.iterdir() if pattern.fullmatch(one.name)]
    except OSError:  # no such folder, or none that we may look into
        return []
    return [one for one in named if one.is_dir() and not one.is_symlink()]


def _place(beside: Path, path: Path, instead_of: int | None) -> None:
    if not _is_where_we_stand(path):
        swap_into_place(beside, path, instead_of)
        flush_folder(path.parent)
        return
    # Renamed away, it would leave whoever stands in it, such as the user's shell, in no folder.
    with nullcontext() if instead_of is not None else _waited_for(path):
        _fill(beside, path)


def _is_where_we_stand(path: Path) -> bool:
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was deleted
        return False
    return path in (here, *here.parents)


@contextmanager
def _waited_for(path: Path) -> Iterator[None]:
    """Takes the lock of a folder, once it is free."""
    end = time.monotonic() + _PATIENCE
    while True:
        with locked_folder(path) as free:
            if free:
                yield
                return
        if time.monotonic() > end:
            raise OSError(errno.EBUSY, "another program is changing what is there")
        time.sleep(0.05)


def _fill(beside: Path, path: Path) -> None:
    """Moves a model, of which a kill may have left a part only, into a folder: the manifest last.

    Meanwhile there is no model at `path`; after a kill, `_fill_up` goes on.
    """
    (path / MANIFEST).unlink(missing_ok=True)
    flush_folder(path)
    parts = parts_said(beside)
    for name in parts:
        if (beside / name).exists():
            (beside / name).replace(path / name)
    for old in path.iterdir():
        if is_part(old) and old.name not in parts:
            old.unlink()
    flush_folder(path)
    (beside / MANIFEST).replace(path / MANIFEST)
    flush_folder(path)


def _fill_up(path: Path) -> None:
    """Goes on where a kill ended `_fill`."""
    for left in _left(path, ""):
        if not _is_half_moved(left, path):
            continue
        with abandoned_folder(left, _LEFT_SECONDS) as free:
            said = parts_said(left)
            if free and all(_is_there(name, sha, left, path) for name, sha in said.items()):
                _fill(left, path)
                _log.warning("%s: a kill had left part of it in %s", path, left.name)
                left.rmdir()
                return


def _is_half_moved(beside: Path, path: Path) -> bool:
    if (path / MANIFEST).exists() or not path.is_dir() or not is_bundle(beside):
        return False
    return any(map(is_part, path.iterdir()))


def _is_there(name: str, sha256: str, left: Path, path: Path) -> bool:
    return any(
        (folder / name).is_file() and sha256_of(folder / name) == sha256 for folder in (left, path)
    )


def _rename_back(path: Path) -> None:
    models = [folder for folder in _left(path, ".old") if is_bundle(folder)]
    if not models:
        return
    newest = max(models, key=lambda folder: folder.stat().st_mtime)
    with locked_folder(newest) as free:
        if not free:
            raise BundleNotFoundError(f"{path} is being replaced right now; try again")
        newest.rename(path)
    _log.warning("%s: a kill had left it as %s; it was put back", path, newest.name)


def _discard(folder: Path, path: Path) -> None:
    """Deletes a model that gave way, or was never finished; a user's files in it come to `path`."""
    if not folder.is_dir():
        return
    try:
        for item in folder.iterdir():
            unfinished = item.name.startswith(".tmp") and not (folder / MANIFEST).exists()
            if is_part(item) or unfinished:  # a kill leaves such files of safetensors
                continue
            home = path / item.name
            if home.exists() or home.is_symlink():
                raise FileExistsError(errno.EEXIST, f"{path} has another")
            item.rename(home)
    except OSError as error:
        _log.warning("%s is kept, it holds a file that is not nfbmr's: %s", folder, error)
    else:
        shutil.rmtree(folder, ignore_errors=True)
