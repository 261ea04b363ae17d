"""The models that are on the line: loaded once each, and again when their directory changes."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from nfbmr.errors import BundleError, SettingsError
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.model.bundle import Bundle, Identity
from nfbmr.model.calibrations import calibration_hash, calibration_text
from nfbmr.model.exports import PRECISIONS
from nfbmr.model.folder import MANIFEST, is_bundle, parts_said
from nfbmr.station.engine.batcher import Batcher, Judging

_log = logging.getLogger(__name__)

_EVERY = 2.0  # seconds between two looks at the directories
_AGAIN = 30.0  # seconds until what may have been a passing trouble is tried again
_LOOKS = 3  # in a row without a model, until it is gone and not only being replaced
NAME = r"[A-Za-z0-9][A-Za-z0-9._\-]{0,99}"
"""Of a model on the line."""

_NAME = re.compile(NAME)

Stamp = tuple[int, int, int]

_NO_STAMP: Stamp = (0, 0, 0)
"""Of no directory, so that the next look loads whatever is there."""


@dataclass(frozen=True)
class _Failed:
    """A directory that could not be loaded."""

    stamp: Stamp
    again: float
    """When it is tried again though nothing has changed, of `time.monotonic`."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model on the line, as it was from one moment to another."""

    name: str
    path: Path
    inspector: Inspector
    batcher: Batcher
    stamp: Stamp
    """Of its manifest, when it was read."""
    bundle: str
    """sha256 of its identity: which fit, and which graph where that has its own calibration."""
    calibration: str
    """sha256 of `calibration_text`."""

    @property
    def runtime(self) -> str:
        """The words to open it so again, such as `onnx` or `openvino:int8`."""
        name, _, detail = self.inspector.runtime.name.partition(", ")
        return f"{name}:{detail}" if detail in PRECISIONS else name

    @property
    def calibration_text(self) -> str:
        """The calibration in force as JSON."""
        return calibration_text(self.inspector.calibration)


Heard = Callable[[Loaded], object]
Judges = Callable[[Inspector], Judging]


def bundle_hash(model: Inspector | Bundle) -> str:
    """Names a model by what it learnt: 64 hexadecimal digits."""
    return hash_of(model.identity)


def hash_of(identity: Identity) -> str:
    """Names a model likewise, by its identity."""
    said = json.dumps(asdict(identity), sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def stamp_of(path: Path) -> Stamp:
    """Tells one state of a model directory from another.

    Raises:
        OSError: there is none.
    """
    found = (path / MANIFEST).stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


class Pool:
    """Models by name; a context manager that ends their threads."""

    def __init__(
        self,
        models: tuple[Path, ...],
        folder: Path | None,
        *,
        runtime: str = "auto",
        batch: int = 8,
        heard: Heard = lambda _: None,
        left: Heard = lambda _: None,
        judges: Judges | None = None,
    ) -> None:
        """Loads all models.

        Args:
            models: directories, each called by its name.
            folder: whose folders are models, too; new ones are found while the station runs.
            runtime: as for `load`.
            batch: pictures that pass a network at once, at most.
            heard: hears of each model that is loaded, before it judges.
            left: hears of each that is gone from the folder, before it leaves the line; what it
                raises keeps the model there until the next look.
            judges: gives what judges in a model's place; by default that does it itself.

        Raises:
            NfbmrError: one of `models` cannot be loaded, or two have one name.
            SettingsError: there is no such folder.
        """
        self._folder, self._batch, self._heard, self._left = folder, batch, heard, left
        self.runtime = runtime
        self._judges: Judges = judges or (lambda inspector: inspector)
        self._named = {_name_of(path): path.resolve() for path in models}
        if len(self._named) < len(models):
            raise SettingsError("two models have the same folder's name; rename one of them")
        if folder is not None and not folder.is_dir():
            raise SettingsError(f"--models {folder}: there is no such folder")
        self._loaded: dict[str, Loaded] = {}
        self._troubles: dict[str, str] = {}
        self._failed: dict[str, _Failed] = {}
        self._missed: dict[str, int] = {}  # looks in a row without it
        self._lock = threading.Lock()
        self._ending = threading.Event()
        for name, path in self._named.items():
            self._load(name, path)
        self._look()
        self._thread = threading.Thread(target=self._work, name="nfbmr-models", daemon=True)
        self._thread.start()

    def get(self, name: str) -> Loaded | None:
        """Returns a model by its name."""
        return self._loaded.get(name)

    def all(self) -> list[Loaded]:
        """Returns the models by their names' order."""
        return [one for _, one in sorted(self._loaded.copy().items())]

    @property
    def troubles(self) -> dict[str, str]:
        """Models that cannot be loaded, and why."""
        return self._troubles.copy()

    def was_given(self, name: str) -> bool:
        """Whether a model of this name was given at the start, and is none of the folder's."""
        return name in self._named

    def put(self, loaded: Loaded, changed: Inspector, stamp: Stamp | None) -> Loaded:
        """Gives a model on the line another calibration, which its directory has already.

        Args:
            loaded: the model as it is.
            changed: the same with the other calibration.
            stamp: of its directory, read after that was saved; None where there was none. Where
                somebody else wrote there meanwhile, it is loaded again at the next look.

        Returns:
            The model as it then is.
        """
        if stamp is None or not _holds(loaded.path, changed):
            stamp = _NO_STAMP
        with self._lock:
            return self._place(loaded.name, loaded.path, changed, stamp)

    def reload(self, name: str) -> Loaded:
        """Loads a model whose directory is new or was changed, now and not at the next look.

        Raises:
            NfbmrError: it cannot be loaded.
        """
        path = self._named.get(name)
        if path is None:
            assert self._folder is not None, "a model was given, or lies in the folder"
            path = (self._folder / name).resolve()
        self._load(name, path)
        return self._loaded[name]

    def close(self) -> None:
        """Ends the threads, once all that was given is judged."""
        self._ending.set()
        self._thread.join()
        for one in self._loaded.values():
            one.batcher.close()
        for one in self._loaded.values():
            one.batcher.join()

    def _work(self) -> None:
        while not self._ending.wait(_EVERY):
            try:
                self._look()
            except Exception:  # whatever one directory does, the line goes on
                _log.exception("The models' directories cannot be looked at")

    def _look(self) -> None:
        """Loads what is new or changed, and takes away what stays away from the folder."""
        there, readable = self._named, True
        try:
            there = self._in_folder() | there
        except OSError as error:
            _log.warning("The models' folder %s cannot be read: %s", self._folder, error.strerror)
            readable = False
        for name, path in there.items():
            self._missed.pop(name, None)
            self._look_at(name, path)
        if not readable:  # all stay, as nobody can say which are gone
            return
        for name in (set(self._loaded) | set(self._troubles)) - set(there):
            self._missed[name] = self._missed.get(name, 0) + 1
            if self._missed[name] >= _LOOKS:
                self._forget(name)

    def _in_folder(self) -> dict[str, Path]:
        return {} if self._folder is None else models_in(self._folder)

    def _look_at(self, name: str, path: Path) -> None:
        """Loads one directory if it is new or changed; its troubles are its own."""
        try:
            stamp = stamp_of(path)
        except OSError:
            return  # being replaced
        known, failed = self._loaded.get(name), self._failed.get(name)
        if known is not None and known.stamp == stamp:
            return
        if failed is not None and failed.stamp == stamp and time.monotonic() < failed.again:
            return
        try:
            self._load(name, path)
        except Exception as error:  # whatever one directory does, the others go on
            lasting = isinstance(error, BundleError | SettingsError)
            again = math.inf if lasting else time.monotonic() + _AGAIN
            _log.warning("Model %s: %s", name, error)
            self._troubles[name] = str(error) or type(error).__name__
            self._failed[name] = _Failed(stamp, again)

    def _forget(self, name: str) -> None:
        with self._lock:
            gone = self._loaded.get(name)
            if gone is not None:
                self._left(gone)
                del self._loaded[name]
                gone.batcher.close()
        for known in (self._missed, self._troubles, self._failed):
            known.pop(name, None)

    def _load(self, name: str, path: Path) -> None:
        with self._lock:
            try:
                stamp = stamp_of(path)
            except OSError:
                stamp = _NO_STAMP  # what is missing is said by the loading
            known = self._loaded.get(name)
            if known is not None and known.stamp == stamp:
                return
            self._place(name, path, load(path, runtime=self.runtime), stamp)
            self._troubles.pop(name, None)
            self._failed.pop(name, None)

    def _place(self, name: str, path: Path, inspector: Inspector, stamp: Stamp) -> Loaded:
        new = Loaded(
            name=name,
            path=path,
            inspector=inspector,
            batcher=Batcher(self._judges(inspector), self._batch),
            stamp=stamp,
            bundle=bundle_hash(inspector),
            calibration=calibration_hash(inspector.calibration),
        )
        try:
            self._heard(new)
        except BaseException:
            new.batcher.close()
            raise
        old = self._loaded.get(name)
        self._loaded[name] = new
        if old is not None:
            old.batcher.close()
        return new


def models_in(folder: Path) -> dict[str, Path]:
    """Returns the model directories in a folder, by their names on the line.

    Raises:
        OSError: it cannot be read.
    """
    return {
        path.name: path.resolve()
        for path in sorted(folder.iterdir())
        if _NAME.fullmatch(path.name) and is_bundle(path)
    }


def _holds(path: Path, inspector: Inspector) -> bool:
    """Whether a directory still has the calibration of a model."""
    try:
        return calibration_hash(inspector.calibration) in parts_said(path).values()
    except BundleError:  # being replaced
        return False


def _name_of(path: Path) -> str:
    name = path.resolve().name
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"{path}: a model on the line is called by its folder's name, of letters, digits and "
            ". _ - in ASCII; rename the folder"
        )
    return name
