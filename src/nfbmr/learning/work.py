"""The work folder of a fit, beside its model: checkpoints, and whether the model stands already.

    PARENT/.MODEL.fit/
      .lock                  held while a fit is at work
      *.safetensors, z.f32   checkpoints, see `nfbmr.learning.stages`
      finished.json          which fit ended in which model, whose graphs are still to come

It goes once all is done. The same fit started again after a kill goes on from what it finds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch

from nfbmr.data.ignore import Ignored
from nfbmr.data.survey import Survey
from nfbmr.errors import BundleError, NfbmrError
from nfbmr.learning.stage import computation
from nfbmr.model.bundle import Bundle, config_hash, read_bundle
from nfbmr.networks.weights import embedded_file
from nfbmr.settings.changes import to_dict
from nfbmr.settings.schema import Settings
from nfbmr.system import provenance
from nfbmr.system.files import flushed_beside, sha256_of
from nfbmr.system.locks import locked_file

_LOCK = ".lock"
_FINISHED = "finished.json"


def work_folder(out: Path) -> Path:
    """Returns where a fit keeps its checkpoints, beside the model that it makes."""
    return out.with_name(f".{out.name}.fit")


@contextmanager
def workplace(out: Path, *, fresh: bool) -> Iterator[Path]:
    """Gives a fit its work folder, for itself alone; a killed fit leaves no lock behind.

    Args:
        out: the model directory, resolved.
        fresh: forget what an interrupted fit left there.

    Raises:
        BundleError: another fit is at work there, the folder cannot be written, or it is a link.
    """
    work = work_folder(out)
    if work.is_symlink():
        raise BundleError(
            f"{work}: found a link; expected a folder of this program's own, for what is in it is "
            "deleted when the fit ends; remove the link"
        )
    with ExitStack() as held:
        try:
            free = held.enter_context(locked_file(work / _LOCK))
        except OSError as error:
            raise BundleError(f"cannot write a model to {out}: {error.strerror or error}") from None
        if not free:
            raise BundleError(
                f"{out}: another fit is writing it; wait for that one, or choose another place "
                "with -o"
            )
        if fresh:
            try:
                _forget_all_but_the_lock(work)
            except OSError as error:
                raise BundleError(f"{work} cannot be emptied: {error.strerror or error}") from None
        own = (work / _LOCK).stat()
        try:
            yield work
        finally:
            if _holds_nothing_but(work, own):
                forget(work)
    if os.name == "nt":  # an open file cannot be deleted there; nor can that of another fit
        with suppress(OSError):
            (work / _LOCK).unlink()
            work.rmdir()


def _holds_nothing_but(work: Path, lock: os.stat_result) -> bool:
    """Whether this lock is all that is in the folder: that of the next fit has another."""
    if {path.name for path in work.glob("*")} != {_LOCK}:
        return False
    try:
        return os.path.samestat(lock, (work / _LOCK).stat())
    except FileNotFoundError:
        return False


def forget(work: Path) -> None:
    """Deletes a fit's work folder."""
    shutil.rmtree(work, ignore_errors=True)


def _forget_all_but_the_lock(work: Path) -> None:
    for path in work.iterdir():
        if path.name == _LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def mark_of(
    good: Survey, settings: Settings, device: torch.device, ignore: Ignored | None = None
) -> str:
    """Names a fit: its pictures, what is ignored, settings, weights' file, what computes it."""
    weights = _weights_file(settings)
    parts = [
        good.name,
        [(one.fingerprint, one.pixel_hash) for one in good.pictures],
        None if ignore is None else ignore.key,
        to_dict(settings),
        sha256_of(weights) if weights is not None and weights.is_file() else None,
        [device.type, *computation(), provenance.versions(), provenance.commit()],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _weights_file(settings: Settings) -> Path | None:
    """Returns the file of SNN's weights; None where they come from a hub, or are random."""
    kind = settings.backbone.weights_kind
    if kind == "embedded":
        with suppress(NfbmrError):  # the fit says what is wrong with them
            return embedded_file(settings.backbone.name)
    return Path(settings.backbone.weights) if kind == "file" else None


def note_finished(work: Path, mark: str, bundle: Bundle) -> None:
    """Notes, before a model is written, that it is the one that a fit ends in.

    Raises:
        BundleError: the note cannot be written.
    """
    said = json.dumps({"fit": mark, "config": config_hash(bundle)})
    try:
        with flushed_beside(work / _FINISHED) as beside:
            beside.write_text(said, encoding="utf-8")
    except OSError as error:
        raise BundleError(f"{work} cannot be written: {error.strerror or error}") from None


def is_finished(work: Path, mark: str, out: Path) -> bool:
    """Whether the model at `out` is sound, and the one that this very fit ended in.

    Another threshold that it was given since is no hindrance: it stays.
    """
    try:
        said = json.loads((work / _FINISHED).read_bytes())
        if said["fit"] != mark:
            return False
        return read_bundle(out, tensors=False).identity.config == str(said["config"])
    except (OSError, ValueError, LookupError, TypeError, BundleError):
        return False
