"""The model directory as files: which parts there may be, their hashes, and putting it in place.

What the parts say is for `nfbmr.model.bundle` to know.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nfbmr.errors import (
    BundleError,
    BundleNotFoundError,
    BundleTamperedError,
    BundleVersionError,
)
from nfbmr.model.exports import CALIBRATION, PRECISIONS, TARGETS, calibration_file, graph_file
from nfbmr.system.files import locked_folder, sha256_of, swap_into_place

_log = logging.getLogger(__name__)

FORMAT = 2
"""Version of the directory's format; a newer one is refused, an older one read.

2: `asm` is half the sum of both errors; each calibration's file says which it was made for.
"""

MANIFEST = "manifest.json"
CONFIG = "config.json"
TENSORS = "model.safetensors"
CARD = "README.md"
EXPORTS = "exports.json"
_PARTS = (CONFIG, TENSORS, CALIBRATION, CARD)
_MAYBE = {
    EXPORTS,
    *(name(t, p) for name in (graph_file, calibration_file) for t in TARGETS for p in PRECISIONS),
} - {CALIBRATION}
_JSON_LIMIT = 64 * 2**20
_FINAL_FILES = {MANIFEST, *_PARTS, *_MAYBE}


@contextmanager
def put_together(path: Path, instead_of: int | None = None) -> Iterator[Path]:
    """Gives a new folder beside `path`; what is in it in the end takes the place of `path`.

    Nothing of it is left, and `path` is as it was, where the body fails; or where `path` is no
    longer the folder whose inode is `instead_of`.
    """
    put_back(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise BundleError(f"cannot write a model to {path}: {error}") from None
    try:
        yield beside
        _write_manifest(beside)
        beside.chmod(0o755)
        swap_into_place(beside, path, instead_of)
    except OSError as error:
        raise BundleError(f"cannot write a model to {path}: {error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def changed(path: Path) -> Iterator[Path]:
    """Gives a copy of a sound model directory, to change; it then takes the place of `path`."""
    path = path.resolve()  # a link to a model stays one
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
                if sha256_of(folder / name) != sha256:
                    raise BundleError(f"{path} was changed by another program meanwhile; try again")
            yield folder


def _write_manifest(folder: Path) -> None:
    there = sorted(item.name for item in folder.iterdir())
    assert set(_PARTS) <= set(there) <= _FINAL_FILES - {MANIFEST}, there
    parts = {name: sha256_of(folder / name) for name in there}
    write_text(folder / MANIFEST, to_json({"format": FORMAT, "parts": parts}))
    for name in (MANIFEST, *there):
        (folder / name).chmod(0o644)  # safetensors writes for the owner alone
        with (folder / name).open("rb") as stream:
            os.fsync(stream.fileno())


def is_bundle(path: Path) -> bool:
    """Whether a model directory, sound or not, is at `path`: its manifest says so."""
    try:
        manifest = read_json(path / MANIFEST)
    except BundleTamperedError:
        return False
    return {"format", "parts"} <= set(manifest)


def refuse_to_replace_other_things(path: Path) -> None:
    """Checks that a model may be written to `path`, before the work that leads there.

    Raises:
        BundleError: something other than a model directory or an empty folder is there.
    """
    if not path.exists() and not path.is_symlink():
        return
    if path.is_symlink() or not path.is_dir():
        raise BundleError(f"{path} is not a folder; choose another place for the model")
    strangers = sorted(
        p.name for p in path.iterdir() if p.name not in _FINAL_FILES or not p.is_file()
    )
    if strangers or (not is_bundle(path) and any(path.iterdir())):
        found = ", ".join(strangers[:5]) or "files that are no complete model"
        raise BundleError(
            f"{path} holds other things ({found}); an empty folder or an nfbmr model was expected. "
            "Choose another place, or move them away"
        )


def check_parts(path: Path) -> dict[str, str]:
    """Checks the hash of each part; returns their names and hashes."""
    put_back(path)
    if not (path / MANIFEST).is_file():
        what = "holds no nfbmr model" if path.is_dir() else "does not exist"
        raise BundleNotFoundError(
            f"{path} {what}: a folder with {MANIFEST} was expected. Make one with 'nfbmr fit'"
        )
    manifest = read_json(path / MANIFEST)
    found = manifest.get("format")
    if isinstance(found, int) and found > FORMAT:
        raise BundleVersionError(
            f"{path} has format {found}, this program reads up to {FORMAT}; update nfbmr"
        )
    parts = manifest.get("parts")
    known = isinstance(found, int) and found >= 1
    if not known or not isinstance(parts, dict) or not _names_parts(set(parts)):
        raise BundleTamperedError(f"{path / MANIFEST} is not one that nfbmr wrote; restore it")
    for name in sorted(parts):
        part = path / name
        if not part.is_file():
            raise BundleTamperedError(f"{part} is missing; restore the model or fit again")
        if sha256_of(part) != parts[name]:
            raise BundleTamperedError(
                f"{part} is not the file that was written (its sha256 differs): it was changed "
                "or cut short; restore the model or fit again"
            )
    return parts


def put_back(path: Path) -> None:
    """Renames a model back to `path` that a kill left beside it, between two renames.

    Nothing happens where anything is at `path`, or where nothing was left.

    Raises:
        BundleNotFoundError: another program is replacing it now, or it cannot be renamed.
    """
    if path.exists():
        return
    path = path.resolve()  # a link to a model stays one
    left = [one for one in path.parent.glob(".*.old") if _is_left(one, path.name)]
    models = [folder for folder in left if is_bundle(folder)]
    if not models:
        return
    newest = models[0]
    try:
        newest = max(models, key=lambda folder: folder.stat().st_mtime)
        with locked_folder(newest) as free:
            if not free:
                raise BundleNotFoundError(f"{path} is being replaced right now; try again")
            newest.rename(path)
    except OSError as error:
        if path.exists():  # another program was first
            return
        raise BundleNotFoundError(
            f"{path} does not exist: a kill left it as {newest}, and it cannot be renamed "
            f"({error.strerror}); rename that back to {path.name}"
        ) from None
    _log.warning("%s: a kill had left it as %s; it was put back", path, newest.name)


def _is_left(folder: Path, name: str) -> bool:
    """Whether a folder has the name that `put_together` and a kill leave of the model `name`."""
    pattern = rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}\.old"
    return re.fullmatch(pattern, folder.name) is not None and not folder.is_symlink()


def _names_parts(names: set[str]) -> bool:
    return set(_PARTS) <= names <= {*_PARTS, *_MAYBE}


def read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _JSON_LIMIT:
            raise BundleTamperedError(f"{path} is larger than any that nfbmr writes")
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BundleTamperedError(f"{path} is not readable ({brief(error)})") from None
    if not isinstance(values, dict):
        raise BundleTamperedError(f"{path} is not one that nfbmr wrote; restore it")
    return values


def brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def to_json(values: object) -> str:
    return json.dumps(values, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
