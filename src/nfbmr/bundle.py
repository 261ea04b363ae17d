"""The model directory: written whole or not at all, checked part by part, and it cannot run code.

    MODEL/
      manifest.json       format, and the sha256 of each part
      config.json         settings, image size, names, figures of the fit
      model.safetensors   every tensor, the backbone's too
      calibration.json    scores of held-out good images, scales, threshold
      README.md           the model card
      model*.onnx         the graph for other runtimes than torch, and in
      exports.json        how each was proved; both only where it was exported

The hashes find damage and mix-ups. They are no signature: whoever can write the directory can
also write matching hashes, so take models from whom you trust with your verdicts. What a file
holds can never be executed: there is no pickle, only JSON and safetensors. No torch here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from nfbmr.config import Settings, from_dict, to_dict
from nfbmr.data.tiles import Tiling, fits
from nfbmr.errors import (
    BundleError,
    BundleNotFoundError,
    BundleTamperedError,
    BundleVersionError,
    SettingsError,
)
from nfbmr.exports import GRAPHS, Export, exports_from_json, exports_to_json
from nfbmr.facts import Facts, model_card
from nfbmr.scoring import Calibration, calibration_from_dict, calibration_to_dict

FORMAT = 1
"""Version of the directory's format; a newer one is refused."""

MANIFEST = "manifest.json"
CONFIG = "config.json"
TENSORS = "model.safetensors"
CALIBRATION = "calibration.json"
CARD = "README.md"
EXPORTS = "exports.json"
_PARTS = (CONFIG, TENSORS, CALIBRATION, CARD)
_MAYBE = {EXPORTS, *GRAPHS.values()}
_JSON_LIMIT = 64 * 2**20
_FINAL_FILES = {MANIFEST, *_PARTS, *_MAYBE}

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model directory in memory."""

    settings: Settings
    facts: Facts
    calibration: Calibration
    tensors: Tensors
    """Each finite; by the detector's own names. Empty where they were not asked for."""
    exports: tuple[Export, ...] = ()
    """Graphs that lie beside."""
    origin: str = ""
    """sha256 of the tensors' file that this was read from: which fit it is."""

    @property
    def tiling(self) -> Tiling | None:
        """How large pictures are cut; None where they are looked at as they are."""
        if self.facts.whole is None or self.settings.tiles is None:
            return None
        return Tiling(self.facts.whole, self.facts.size, self.settings.tiles.overlap)

    def card(self) -> str:
        """Returns the model card."""
        threshold = self.calibration.describe()
        return model_card(self.facts, self.settings, threshold, self.exports)


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Writes a model directory beside `path`, then puts it in place of what was there.

    An existing model directory is replaced; anything else at `path` is left alone.

    Raises:
        BundleError: something other than a model directory is at `path`, or it cannot be written.
        BundleTamperedError: a tensor holds values that are not finite.
    """
    from safetensors import SafetensorError

    assert not bundle.exports, "graphs are added once the model stands: add_exports"
    refuse_to_replace_other_things(path)
    _check_finite(bundle.tensors, "the model to be written")
    try:
        with _beside(path) as folder:
            _write_parts(folder, bundle)
    except SafetensorError as error:
        raise BundleError(f"cannot write a model to {path}: {error}") from None


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Gives a new folder beside `path`; what is in it in the end takes the place of `path`.

    Nothing of it is left, and `path` is as it was, where the body fails.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise BundleError(f"cannot write a model to {path}: {error}") from None
    try:
        yield beside
        _write_manifest(beside)
        beside.chmod(0o755)
        swap_into_place(beside, path)
    except OSError as error:
        raise BundleError(f"cannot write a model to {path}: {error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _changed(path: Path) -> Iterator[Path]:
    """Gives a copy of a sound model directory, to change; it then takes the place of `path`."""
    path = path.resolve()  # a link to a model stays one
    parts = _check_parts(path)
    refuse_to_replace_other_things(path)
    with _beside(path) as folder:
        for name, sha256 in parts.items():
            shutil.copy2(path / name, folder / name)
            if sha256_of(folder / name) != sha256:
                raise BundleError(f"{path} was changed by another program meanwhile; try again")
        yield folder


def _write_parts(folder: Path, bundle: Bundle) -> None:
    from safetensors.numpy import save_file

    config = {"settings": to_dict(bundle.settings), "facts": bundle.facts.model_dump(mode="json")}
    _write_text(folder / CONFIG, _json(config))
    save_file({k: np.ascontiguousarray(v) for k, v in bundle.tensors.items()}, folder / TENSORS)
    _write_text(folder / CALIBRATION, _json(calibration_to_dict(bundle.calibration)))
    _write_text(folder / CARD, bundle.card())


def _write_manifest(folder: Path) -> None:
    there = sorted(item.name for item in folder.iterdir())
    assert set(_PARTS) <= set(there) <= _FINAL_FILES - {MANIFEST}, there
    parts = {name: sha256_of(folder / name) for name in there}
    _write_text(folder / MANIFEST, _json({"format": FORMAT, "parts": parts}))
    for name in (MANIFEST, *there):
        (folder / name).chmod(0o644)  # safetensors writes for the owner alone
        with (folder / name).open("rb") as stream:
            os.fsync(stream.fileno())


def swap_into_place(beside: Path, path: Path) -> None:
    """Renames a finished folder to `path`; what was there goes once the new one stands."""
    old = beside.with_name(f"{beside.name}.old")
    try:
        if path.exists():
            path.rename(old)
        beside.rename(path)
    except BaseException:  # Ctrl-C between the two renames, too
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def read_bundle(path: Path, *, tensors: bool = True) -> Bundle:
    """Reads a model directory and checks every part of it. Runs no code from it.

    Args:
        path: the directory.
        tensors: whether torch's tensors are needed; a graph has its own.

    Raises:
        BundleNotFoundError: there is no model directory at `path`.
        BundleVersionError: its format is newer than this program.
        BundleTamperedError: a part is missing, truncated, changed, or holds impossible values.
    """
    parts = _check_parts(path)
    config = _read_json(path / CONFIG)
    try:
        settings = from_dict(config["settings"])
        facts = Facts.model_validate(config["facts"])
    except (SettingsError, ValidationError, KeyError, TypeError) as error:
        raise BundleTamperedError(
            f"{path / CONFIG} holds values that this program did not write ({_brief(error)}); "
            "restore the file or fit again"
        ) from None
    _check_tiles(path, settings, facts)
    return Bundle(
        settings=settings,
        facts=facts,
        calibration=calibration_from_dict(_read_json(path / CALIBRATION)),
        tensors=_read_tensors(path / TENSORS) if tensors else {},
        exports=_read_exports(path, parts),
        origin=parts[TENSORS],
    )


def _check_tiles(path: Path, settings: Settings, facts: Facts) -> None:
    if facts.whole is None and settings.tiles is None:
        return
    if facts.whole is None or settings.tiles is None or not fits(facts.whole, facts.size):
        raise BundleTamperedError(
            f"{path / CONFIG}: tiles of {facts.size} do not fit pictures of {facts.whole}; "
            "restore the file or fit again"
        )


def _read_exports(path: Path, parts: Mapping[str, str]) -> tuple[Export, ...]:
    if EXPORTS not in parts:
        return ()
    exports = exports_from_json((path / EXPORTS).read_bytes())
    if other := {export.file for export in exports if parts.get(export.file) != export.graph}:
        raise BundleTamperedError(
            f"{path / EXPORTS} names {', '.join(sorted(other))}, but the graph that was proved is "
            "not there; export again"
        )
    return exports


def replace_calibration(path: Path, calibration: Calibration) -> None:
    """Gives a model directory another calibration; the network's file is not touched.

    The directory is put together beside and renamed, so a reader sees the old or the new one.

    Raises:
        BundleError: as `read_bundle`, or it cannot be written.
    """
    bundle = replace(read_bundle(path, tensors=False), calibration=calibration)
    with _changed(path) as folder:
        _write_text(folder / CALIBRATION, _json(calibration_to_dict(calibration)))
        _write_text(folder / CARD, bundle.card())


def add_exports(
    path: Path, graphs: Mapping[str, Path], exports: tuple[Export, ...], origin: str
) -> None:
    """Gives a model directory graphs for other runtimes; those of the same name are replaced.

    What was proved on a file that is replaced by another is forgotten.

    Args:
        path: the directory.
        graphs: name in the directory -> file to copy.
        exports: how each was proved.
        origin: of the bundle that the graphs were compared with.

    Raises:
        BundleError: as `read_bundle`; another model is there by now; or it cannot be written.
    """
    bundle = read_bundle(path, tensors=False)
    if bundle.origin != origin:
        raise BundleError(f"{path} holds another model by now; nothing was kept. Export again")
    hashes = {name: sha256_of(file) for name, file in graphs.items()}
    still = [e for e in bundle.exports if hashes.get(e.file, e.graph) == e.graph]
    kept = {export.name: export for export in (*still, *exports)}
    bundle = replace(bundle, exports=tuple(kept.values()))
    with _changed(path) as folder:
        for name, file in graphs.items():
            shutil.copyfile(file, folder / name)
        _write_text(folder / EXPORTS, exports_to_json(bundle.exports))
        _write_text(folder / CARD, bundle.card())


def is_bundle(path: Path) -> bool:
    """Whether a model directory, sound or not, is at `path`: its manifest says so."""
    try:
        manifest = _read_json(path / MANIFEST)
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


def _check_parts(path: Path) -> dict[str, str]:
    """Checks the hash of each part; returns their names and hashes."""
    if not (path / MANIFEST).is_file():
        what = "holds no nfbmr model" if path.is_dir() else "does not exist"
        raise BundleNotFoundError(
            f"{path} {what}: a folder with {MANIFEST} was expected. Make one with 'nfbmr fit'"
        )
    manifest = _read_json(path / MANIFEST)
    found = manifest.get("format")
    if isinstance(found, int) and found > FORMAT:
        raise BundleVersionError(
            f"{path} has format {found}, this program reads up to {FORMAT}; update nfbmr"
        )
    parts = manifest.get("parts")
    if found != FORMAT or not isinstance(parts, dict) or not _names_parts(set(parts)):
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


def _names_parts(names: set[str]) -> bool:
    return set(_PARTS) <= names <= {*_PARTS, *_MAYBE}


def _read_tensors(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors: Tensors = load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise BundleTamperedError(f"{path} is not readable ({_brief(error)})") from None
    if strange := sorted({str(v.dtype) for v in tensors.values()} - {"float32", "int64"}):
        raise BundleTamperedError(
            f"{path} holds {', '.join(strange)}; float32 and int64 were expected"
        )
    _check_finite(tensors, str(path))
    return tensors


def _check_finite(tensors: Mapping[str, NDArray[Any]], where: str) -> None:
    for name, value in tensors.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise BundleTamperedError(
                f"{where}: tensor '{name}' holds values that are not finite; fit again"
            )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _JSON_LIMIT:
            raise BundleTamperedError(f"{path} is larger than any that nfbmr writes")
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BundleTamperedError(f"{path} is not readable ({_brief(error)})") from None
    if not isinstance(values, dict):
        raise BundleTamperedError(f"{path} is not one that nfbmr wrote; restore it")
    return values


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _json(values: object) -> str:
    return json.dumps(values, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Returns the hash of a file, 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
