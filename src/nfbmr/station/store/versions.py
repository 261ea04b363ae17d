"""Models that were on the line, kept whole: one directory for each, under the name of what it is.

FOLDER/BUNDLE/      a model directory; BUNDLE is the hash that names what the model learnt
FOLDER/.BUNDLE.*/   one that is being written, or was left by a kill

Of each calibration the database has the text, so another threshold takes no second copy.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Set
from pathlib import Path

from nfbmr.errors import NfbmrError, StationError
from nfbmr.model.bundle import Identity
from nfbmr.model.copies import copy_model, same_but_calibrated
from nfbmr.model.folder import MANIFEST, is_bundle
from nfbmr.model.place import sweep
from nfbmr.scoring.calibration import Calibration
from nfbmr.system.files import made_folder

VERSIONS = "versions"
"""The folder's name, in the station's folder of pictures."""

_log = logging.getLogger(__name__)

_BUNDLE = re.compile(r"[0-9a-f]{64}")
_LEFT = re.compile(r"\.([0-9a-f]{64})\.[0-9a-f]{32}(\.old)?")


class Versions:
    """The folder of kept models; one change at a time."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder, which is made when the first model is kept."""
        self.folder = folder
        self._lock = threading.Lock()

    def path(self, bundle: str) -> Path | None:
        """Returns the directory of a kept model; None where it is not kept."""
        found = self._path(bundle)
        return found if is_bundle(found) else None

    def keep(self, source: Path, bundle: str, identity: Identity) -> None:
        """Keeps a model that comes on the line, if it is not kept, and that it is in use now.

        Args:
            source: the model's directory.
            bundle: the hash that names it.
            identity: of the model that was loaded from there.

        Raises:
            StationError: it cannot be kept.
        """
        place = self._path(bundle)
        try:
            with self._lock:
                if not is_bundle(place) or not same_but_calibrated(source, place):
                    made_folder(self.folder, 0o700)
                    copy_model(source, place, identity)
                os.utime(place)
        except (NfbmrError, OSError) as error:
            raise StationError(f"the model in {source} is not kept as a version: {error}") from None

    def bring(self, bundle: str, path: Path, identity: Identity, calibration: Calibration) -> None:
        """Puts a kept model in the place of another, as `copy_model`.

        Args:
            bundle: the hash that names it.
            path: of the other.
            identity: of the kept one, as it was loaded.
            calibration: that it gets.

        Raises:
            BundleError: it is not kept any more, or as `copy_model`.
        """
        with self._lock:
            copy_model(self._path(bundle), path, identity, calibration)

    def prune(self, on_line: Set[str], most_bytes: int, told: Callable[[str], object]) -> list[str]:
        """Deletes kept models beyond so many bytes, those first that came on the line longest ago.

        Args:
            on_line: bundles that stay, and are not counted.
            most_bytes: of all others.
            told: hears of each before it goes.

        Returns:
            The bundles that were deleted.

        Raises:
            StationError: `told` fails; the rest stays.
        """
        with self._lock:
            self._sweep()
            others = [one for one in self._all() if one.name not in on_line]
            others.sort(key=lambda one: one.stat().st_mtime, reverse=True)
            total, going = 0, []
            for one in others:
                total += sum(file.stat().st_size for file in one.iterdir())
                if total > most_bytes:
                    going.append(one)
            for one in reversed(going):  # what ends this leaves the newer ones
                told(one.name)
                _delete(one)
            return [one.name for one in reversed(going)]

    def bundles(self) -> list[str]:
        """Returns the hashes that name the kept models."""
        return [one.name for one in self._all()]

    def _all(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [one for one in self.folder.iterdir() if _BUNDLE.fullmatch(one.name)]

    def _sweep(self) -> None:
        """Removes what kills left."""
        if not self.folder.is_dir():
            return
        for one in list(self.folder.iterdir()):
            if left := _LEFT.fullmatch(one.name):
                sweep(self.folder / left[1])
            elif _BUNDLE.fullmatch(one.name) and not (one / MANIFEST).exists():
                _delete(one)

    def _path(self, bundle: str) -> Path:
        if not _BUNDLE.fullmatch(bundle):
            raise StationError(f"{bundle!r} names no model: 64 hexadecimal digits were expected")
        return self.folder / bundle


def _delete(folder: Path) -> None:
    """Deletes a kept model, the manifest first: half of it is then no model."""
    try:
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder)
    except OSError as error:
        _log.warning("%s is not deleted: %s", folder, error.strerror)
