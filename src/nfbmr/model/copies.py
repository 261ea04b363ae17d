"""A model directory copied to another place, whole or not at all, with a calibration of its past.

Files are copied, never linked: whoever writes over a model's file would change the copy, too.
"""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

from nfbmr.errors import BundleError
from nfbmr.model.bundle import Bundle, Identity, identity_of, read_bundle, rewritten
from nfbmr.model.exports import CALIBRATION
from nfbmr.model.folder import (
    CARD,
    CONFIG,
    TENSORS,
    check_parts,
    parts_said,
    refuse_to_replace_other_things,
)
from nfbmr.model.place import put_together
from nfbmr.scoring.calibration import Calibration
from nfbmr.system.files import sha256_of
from nfbmr.system.locks import locked_folder


def copy_model(
    source: Path,
    path: Path,
    identity: Identity,
    calibration: Calibration | None = None,
) -> None:
    """Copies a sound model directory; the copy takes the place of a model that is at `path`.

    A reader of `path` sees the old model or the new one, after a kill, too. What a user put beside
    the parts there stays.

    Args:
        source: the directory; it is only read.
        path: where the copy goes.
        identity: of the model that is to be copied, and of the graph that `calibration` is for.
        calibration: that the copy gets; by default it has the same.

    Raises:
        BundleError: `source` is damaged, or holds another model; something else is at `path`, or
            another program is changing it; or it cannot be written.
    """
    refuse_to_replace_other_things(path)
    parts = check_parts(source)
    if (parts[TENSORS], parts[CONFIG]) != (identity.tensors, identity.config):
        raise BundleError(f"{source} holds another model by now; nothing was copied")
    with locked_folder(path) if path.exists() else nullcontext(True) as free:
        if not free:
            raise BundleError(f"{path} is being changed by another program; try again after it")
        there = path.stat().st_ino if path.exists() else None
        with put_together(path, there) as folder:
            for name, sha256 in parts.items():
                shutil.copyfile(source / name, folder / name)
                if name != CARD and sha256_of(folder / name) != sha256:
                    raise BundleError(f"{source} was changed by another program; try again")
            if calibration is not None:
                bundle = read_bundle(source, tensors=False, unopened=False)
                rewritten(source, folder, bundle, _file_of(bundle, identity), calibration)


def _file_of(bundle: Bundle, identity: Identity) -> str:
    """Returns the file of the calibration that goes with one of a model's graphs."""
    for file in (CALIBRATION, *(export.calibration for export in bundle.exports)):
        if identity_of(bundle, file) == identity:
            return file
    raise BundleError(f"'{bundle.facts.name}' has another graph by now; nothing was copied")


def same_but_calibrated(one: Path, other: Path) -> bool:
    """Whether two model directories say that they have the same parts, calibration and card apart.

    Raises:
        BundleTamperedError: one has no manifest that can be read.
    """
    return _lasting(one) == _lasting(other)


def _lasting(path: Path) -> dict[str, str]:
    said = parts_said(path)
    return {name: said[name] for name in said if not name.startswith(("calibration.", CARD))}
