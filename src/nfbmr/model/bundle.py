"""The model directory: written whole or not at all, checked part by part, and it cannot run code.

    MODEL/
      manifest.json       format, and the sha256 of each part
      config.json         settings, image size, names, figures of the fit
      model.safetensors   every tensor, the backbone's too
      calibration.json    scores of held-out good images, scales, threshold
      README.md           the model card
      examples.zip        small good pictures; only where the settings keep some
      pose.safetensors    how parts lie once they are turned; only where they lay turned
      ignore.png          what never counts, white; only where something is ignored
      model*.onnx         the graph for other runtimes than torch, and in
      exports.json        how each was proved; both only where it was exported
      calibration.*.json  of a graph for which the rest was learnt again

The hashes find damage and mix-ups. They are no signature: whoever can write the directory can
also write matching hashes, so take models from whom you trust with your verdicts. What a file
holds can never be executed: there is no pickle, only JSON and safetensors. No torch here.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from nfbmr.data.ignore import Ignored
from nfbmr.data.pose import Pose
from nfbmr.data.tiles import Tiling, fits
from nfbmr.errors import BundleError, BundleTamperedError, SettingsError
from nfbmr.model.calibrations import calibration_text
from nfbmr.model.card import model_card
from nfbmr.model.examples import examples_from_zip, examples_to_zip
from nfbmr.model.exports import (
    CALIBRATION,
    LEARNT_AGAIN,
    Export,
    exports_from_json,
    exports_to_json,
    with_stronger_proof,
)
from nfbmr.model.facts import Facts
from nfbmr.model.folder import (
    CARD,
    CONFIG,
    EXAMPLES,
    EXPORTS,
    IGNORE,
    MANIFEST,
    POSE,
    TENSORS,
    brief,
    check_parts,
    parts_said,
    read_json,
    refuse_to_replace_other_things,
    to_json,
    write_text,
)
from nfbmr.model.ignore import read_ignored, write_ignored
from nfbmr.model.note import with_note
from nfbmr.model.place import changed, put_back, put_together
from nfbmr.model.pose import read_pose, write_pose
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.calibration_json import calibration_from_dict, checked
from nfbmr.scoring.left_out import leaning_in_words
from nfbmr.scoring.maps import OLDER
from nfbmr.scoring.odd_words import odd_in_words
from nfbmr.scoring.order import order_in_words
from nfbmr.scoring.rims import rims_in_words
from nfbmr.settings.changes import from_dict, to_dict
from nfbmr.settings.schema import Settings
from nfbmr.system.files import sha256_of

_log = logging.getLogger(__name__)

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which fit and which of its graphs: two of them are the same where they are equal."""

    tensors: str = ""
    """sha256 of the tensors' file; empty of what was never read from one."""
    config: str = ""
    """sha256 of the file of settings and facts: other settings may be of the same tensors."""
    graph: str | None = None
    """sha256 of the graph that has a calibration of its own; None for `calibration.json`."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model directory in memory."""

    settings: Settings
    facts: Facts
    calibration: Calibration
    tensors: Tensors
    """Each finite; by the detector's own names. Empty where they were not asked for."""
    pose: Pose | None = None
    """What pictures are turned to before the network; None where they stay as they lie."""
    ignore: Ignored | None = None
    """What is painted over before the network; None where the whole picture counts."""
    exports: tuple[Export, ...] = ()
    """Graphs that lie beside."""
    examples: tuple[bytes, ...] = ()
    """Small good pictures, JPEGs of one size."""
    of: str = CALIBRATION
    """The file that `calibration` is in: some exports have their own."""
    identity: Identity = Identity()
    """Of what this was read from."""

    @property
    def tiling(self) -> Tiling | None:
        """How large pictures are cut; None where they are looked at as they are."""
        if self.facts.whole is None or self.settings.tiles is None:
            return None
        return Tiling(self.facts.whole, self.facts.size, self.settings.tiles.overlap)

    def card(self) -> str:
        """Returns the model card."""
        now = self.calibration
        threshold = [
            *now.describe(),
            "",
            *order_in_words(now),
            "",
            *odd_in_words(now, self.settings.scoring, markdown=True),
        ]
        pictures = now.pictures
        also = [one.describe() for one in (self.pose, self.ignore) if one is not None]
        also += [*rims_in_words(now.rims), *leaning_in_words(now.own)]
        count = len(self.examples)
        return model_card(self.facts, self.settings, threshold, self.exports, pictures, count, also)


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Writes a model directory beside `path`, then puts it in place of what was there.

    An existing model directory is replaced, but for what its user put beside the parts; anything
    else at `path` is left alone.

    Raises:
        BundleError: something other than a model directory is at `path`, or it cannot be written.
        BundleTamperedError: a tensor holds values that are not finite.
    """
    from safetensors import SafetensorError

    assert not bundle.exports, "graphs are added once the model stands: add_exports"
    refuse_to_replace_other_things(path)
    _check_finite(bundle.tensors, "the model to be written")
    try:
        with put_together(path) as folder:
            _write_parts(folder, bundle)
    except SafetensorError as error:
        raise BundleError(f"cannot write a model to {path}: {error}") from None


def _write_parts(folder: Path, bundle: Bundle) -> None:
    from safetensors.numpy import save_file

    write_text(folder / CONFIG, _config(bundle))
    save_file({k: np.ascontiguousarray(v) for k, v in bundle.tensors.items()}, folder / TENSORS)
    write_text(folder / CALIBRATION, calibration_text(bundle.calibration))
    if bundle.examples:
        (folder / EXAMPLES).write_bytes(examples_to_zip(bundle.examples))
    write_text(folder / CARD, bundle.card())
    if bundle.pose is not None:
        write_pose(folder / POSE, bundle.pose)
    if bundle.ignore is not None:
        write_ignored(folder / IGNORE, bundle.ignore)


def _config(bundle: Bundle) -> str:
    said = {"settings": to_dict(bundle.settings), "facts": bundle.facts.model_dump(mode="json")}
    return to_json(said)


def config_hash(bundle: Bundle) -> str:
    """Returns what `Identity.config` will be of a bundle once it is written."""
    return hashlib.sha256(_config(bundle).encode()).hexdigest()


def read_bundle(path: Path, *, tensors: bool = True, unopened: bool = True) -> Bundle:
    """Reads a model directory and checks every part of it. Runs no code from it.

    Args:
        path: the directory.
        tensors: whether torch's tensors are needed; a graph has its own.
        unopened: whether graphs, and tensors that are not needed, are checked as well. They are
            most of the directory; who opens a graph checks it then.

    Raises:
        BundleNotFoundError: there is no model directory at `path`.
        BundleVersionError: its format is newer than this program.
        BundleTamperedError: a part is missing, truncated, changed, or holds impossible values.
    """
    put_back(path)
    parts = check_parts(path, tensors=tensors or unopened, graphs=unopened)
    config = read_json(path / CONFIG)
    try:
        settings = from_dict(config["settings"])
        facts = Facts.model_validate(config["facts"])
    except (SettingsError, ValidationError, KeyError, TypeError) as error:
        raise BundleTamperedError(
            f"{path / CONFIG} holds values that this program did not write ({brief(error)}); "
            "restore the file or fit again"
        ) from None
    _check_tiles(path, settings, facts)
    return Bundle(
        settings=settings,
        facts=facts,
        calibration=_calibration(path / CALIBRATION, settings),
        tensors=_read_tensors(path / TENSORS) if tensors else {},
        pose=read_pose(path / POSE, facts.size) if POSE in parts else None,
        ignore=read_ignored(path / IGNORE, facts.size) if IGNORE in parts else None,
        exports=_read_exports(path, parts),
        examples=examples_from_zip(path / EXAMPLES) if EXAMPLES in parts else (),
        identity=Identity(tensors=parts[TENSORS], config=parts[CONFIG]),
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
    lame = [e for e in exports if e.calibration not in parts or not _probed(e)]
    for export in lame:  # the model itself is none the worse
        _log.warning("%s: %s is passed over, it is not complete; export again", path, export.name)
    return tuple(export for export in exports if export not in lame)


def _probed(export: Export) -> bool:
    return export.precision not in LEARNT_AGAIN or len(export.gate.probe) >= OLDER


def for_export(path: Path, bundle: Bundle, export: Export) -> Bundle:
    """Returns what was read from `path` with the calibration that goes with one of its exports.

    Raises:
        BundleTamperedError: it is missing, is another by now, or holds impossible values.
    """
    if export.calibration == CALIBRATION:
        return bundle
    parts = read_json(path / MANIFEST).get("parts", {})  # hashed once already: look for a swap
    found = Identity(
        tensors=parts.get(TENSORS), config=parts.get(CONFIG), graph=parts.get(export.file)
    )
    identity = replace(bundle.identity, graph=export.graph)
    own_hash = sha256_of(path / export.calibration)
    if found != identity or parts.get(export.calibration) != own_hash:
        raise BundleTamperedError(f"{path} was replaced while it was read; try again")
    own = _calibration(path / export.calibration, bundle.settings)
    return replace(bundle, calibration=own, of=export.calibration, identity=identity)


def _calibration(path: Path, settings: Settings) -> Calibration:
    try:
        return checked(calibration_from_dict(read_json(path), settings.scoring), settings.scoring)
    except BundleTamperedError as error:
        raise BundleTamperedError(f"{path}: {error}") from None


def identity_of(bundle: Bundle, calibration: str) -> Identity | None:
    """Returns the identity of what a calibration's file belongs to; None where there is none."""
    if calibration == CALIBRATION:
        return bundle.identity
    for export in bundle.exports:
        if export.calibration == calibration:
            return replace(bundle.identity, graph=export.graph)
    return None


def replace_calibration(path: Path, changed_one: Bundle) -> None:
    """Gives a model directory the calibration of `changed_one`, which was read from it.

    The directory is put together beside and renamed, so a reader sees the old or the new one.

    Raises:
        BundleError: as `read_bundle`; another model or graph is there by now; or it cannot be
            written.
        BundleTamperedError: the calibration does not fit the settings; nothing is written.
    """
    of = changed_one.of
    checked(changed_one.calibration, changed_one.settings.scoring)
    with changed(path) as folder:  # which hashes all that it copies
        bundle = read_bundle(path, tensors=False, unopened=False)
        if changed_one.identity != identity_of(bundle, of):
            raise BundleError(
                f"{path} holds another model or graph by now; its calibration was left alone. "
                "Load it again, then calibrate"
            )
        rewritten(path, folder, bundle, of, changed_one.calibration)


def rewritten(path: Path, folder: Path, bundle: Bundle, of: str, calibration: Calibration) -> None:
    """Writes another calibration into `folder`, a copy of the model at `path` that is `bundle`."""
    after = replace(bundle, calibration=calibration) if of == CALIBRATION else bundle
    write_text(folder / of, calibration_text(calibration))
    _write_card_again(path, folder, bundle, after)


def add_exports(
    path: Path,
    graphs: Mapping[str, Path],
    exports: tuple[Export, ...],
    identity: Identity,
    calibrations: Mapping[str, Calibration] | None = None,
) -> tuple[Export, ...]:
    """Gives a model directory graphs for other runtimes; those of the same name are replaced.

    What was proved on a file that is replaced by another is forgotten. Returns the exports as they
    are kept, each with the stronger proof where the graph is the one that was there.

    Args:
        path: the directory.
        graphs: name in the directory -> file to copy.
        exports: how each was proved.
        identity: of the bundle that the graphs were compared with.
        calibrations: name in the directory -> of a graph for which the rest was learnt again.

    Raises:
        BundleError: as `read_bundle`; another model is there by now; or it cannot be written.
    """
    hashes = {name: sha256_of(file) for name, file in graphs.items()}
    with changed(path) as folder:  # which hashes all that it copies
        bundle = read_bundle(path, tensors=False, unopened=False)
        if bundle.identity != identity:
            raise BundleError(f"{path} holds another model by now; nothing was kept. Export again")
        still = [e for e in bundle.exports if hashes.get(e.file, e.graph) == e.graph]
        exports = tuple(with_stronger_proof(export, still) for export in exports)
        kept = {export.name: export for export in (*still, *exports)}
        after = replace(bundle, exports=tuple(kept.values()))
        for name, file in graphs.items():
            shutil.copyfile(file, folder / name)
        for name, calibration in (calibrations or {}).items():
            write_text(folder / name, calibration_text(calibration))
        write_text(folder / EXPORTS, exports_to_json(after.exports))
        _write_card_again(path, folder, bundle, after)
    return exports


def _write_card_again(path: Path, folder: Path, before: Bundle, after: Bundle) -> None:
    """Writes the card of `after` into a copy of the model at `path`, with the notes in the old."""
    found = (folder / CARD).read_text(encoding="utf-8", errors="replace")
    as_written = sha256_of(folder / CARD) == parts_said(path)[CARD]
    card = with_note(found, before.card(), after.card(), as_written=as_written)
    write_text(folder / CARD, card)


def _read_tensors(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors: Tensors = load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise BundleTamperedError(f"{path} is not readable ({brief(error)})") from None
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
