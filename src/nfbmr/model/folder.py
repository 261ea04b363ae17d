"""The model directory as files: which parts there may be, their hashes, what else may be there.

What the parts say is for `nfbmr.model.bundle` to know, how they come there for `nfbmr.model.place`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nfbmr.errors import (
    BundleError,
    BundleNotFoundError,
    BundleTamperedError,
    BundleVersionError,
)
from nfbmr.model.exports import CALIBRATION, PRECISIONS, TARGETS, calibration_file, graph_file
from nfbmr.system.files import flush_file, sha256_of

FORMAT = 4
"""Version of the directory's format; a newer one is refused, an older one read.

2: `asm` is half the sum of both errors; each calibration's file says which it was made for.
3: there may be a pose, which pictures are turned to, a mask of what is ignored, and `examples.zip`.
4: there may be a map `finest`, fusion `squares`, `judge_peaks`, `detail_factor` and `data.reading`,
   and names of good pictures.
"""

MANIFEST = "manifest.json"
CONFIG = "config.json"
TENSORS = "model.safetensors"
CARD = "README.md"
EXPORTS = "exports.json"
EXAMPLES = "examples.zip"
POSE = "pose.safetensors"
IGNORE = "ignore.png"
_PARTS = (CONFIG, TENSORS, CALIBRATION, CARD)
_MAYBE = {
    EXPORTS,
    EXAMPLES,
    POSE,
    IGNORE,
    *(name(t, p) for name in (graph_file, calibration_file) for t in TARGETS for p in PRECISIONS),
} - {CALIBRATION}
_GRAPH = ".onnx"
_JSON_LIMIT = 64 * 2**20
_FINAL_FILES = {MANIFEST, *_PARTS, *_MAYBE}


def write_manifest(folder: Path) -> None:
    """Writes down the hashes of the parts in a folder, and brings all to the disk."""
    there = sorted(item.name for item in folder.iterdir())
    assert set(_PARTS) <= set(there) <= _FINAL_FILES - {MANIFEST}, there
    parts = {name: sha256_of(folder / name) for name in there}
    write_text(folder / MANIFEST, to_json({"format": FORMAT, "parts": parts}))
    for name in (MANIFEST, *there):
        (folder / name).chmod(0o644)  # safetensors writes for the owner alone
        flush_file(folder / name)


def is_bundle(path: Path) -> bool:
    """Whether a model directory, sound or not, is at `path`: its manifest says so."""
    try:
        manifest = read_json(path / MANIFEST)
    except BundleTamperedError:
        return False
    return {"format", "parts"} <= set(manifest)


def is_part(item: Path) -> bool:
    """Whether a file of a model directory has the name of one that nfbmr writes."""
    return item.name in _FINAL_FILES


def parts_said(folder: Path) -> dict[str, str]:
    """Returns names and hashes of the parts, as the manifest of a model directory says."""
    parts: dict[str, str] = read_json(folder / MANIFEST)["parts"]
    return parts


def refuse_to_replace_other_things(path: Path) -> None:
    """Checks that a model may be written to `path`, before the work that leads there.

    Files that a user put beside the parts of a model are no hindrance: they stay.

    Raises:
        BundleError: something other than a model directory or an empty folder is there.
    """
    if not path.exists() and not path.is_symlink():
        return
    if path.is_symlink():
        raise BundleError(
            f"{path} is a link to {path.resolve()}; give that place itself, or choose another"
        )
    if not path.is_dir():
        raise BundleError(f"{path} is not a folder; choose another place for the model")
    items = sorted(path.iterdir())
    strangers = [item.name for item in items if not is_part(item)]
    in_the_way = [item.name for item in items if is_part(item) and not item.is_file()]
    if in_the_way or (items and not is_bundle(path)):
        found = ", ".join((in_the_way + strangers)[:5]) or "files that are no complete model"
        raise BundleError(
            f"{path} holds other things ({found}); an empty folder or an nfbmr model was expected. "
            "Choose another place, or move them away"
        )


def check_parts(path: Path, *, tensors: bool = True, graphs: bool = True) -> dict[str, str]:
    """Checks that each part is there, and its hash.

    Not that of the card, which is for people and may hold their notes.

    Args:
        path: the directory.
        tensors: whether those of torch are hashed, too: only who reads them needs that.
        graphs: likewise the graphs, which are hashed where they are opened.

    Returns:
        Names and hashes, as the manifest says.

    Raises:
        BundleNotFoundError: there is no model directory.
        BundleVersionError: its format is newer than this program.
        BundleTamperedError: a part is missing or not the one that was written.
    """
    if not (path / MANIFEST).is_file():
        if (path / CONFIG).is_file() and (path / TENSORS).is_file():
            raise BundleNotFoundError(
                f"{path} holds parts of a model, but no {MANIFEST}; restore it, such as by copying "
                "the whole folder again"
            )
        what = "is a file" if path.exists() else "does not exist"
        raise BundleNotFoundError(
            f"{path} {'holds no nfbmr model' if path.is_dir() else what}: a folder with {MANIFEST} "
            "was expected. Make one with 'nfbmr fit'"
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
        if (name == TENSORS and not tensors) or (name.endswith(_GRAPH) and not graphs):
            continue
        if name != CARD and sha256_of(part) != parts[name]:
            raise BundleTamperedError(
                f"{part} is not the file that was written (its sha256 differs): it was changed "
                "or cut short; restore the model or fit again"
            )
    return parts


def _names_parts(names: set[str]) -> bool:
    return set(_PARTS) <= names <= {*_PARTS, *_MAYBE}


def read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _JSON_LIMIT:
            raise BundleTamperedError(f"{path} is larger than any that nfbmr writes")
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BundleTamperedError(f"{path} is not readable ({brief(error)}); restore it") from None
    if not isinstance(values, dict):
        raise BundleTamperedError(f"{path} is not one that nfbmr wrote; restore it")
    return values


def brief(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # the message around it names the file
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def to_json(values: object) -> str:
    return json.dumps(values, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
