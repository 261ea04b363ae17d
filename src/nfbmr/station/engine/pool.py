"""The models that are on the line: loaded once each, and again when their directory changes."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from nfbmr.errors import NfbmrError, SettingsError
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.model.exports import PRECISIONS
from nfbmr.model.folder import MANIFEST, is_bundle, to_json
from nfbmr.scoring.calibration import Calibration, calibration_to_dict
from nfbmr.station.engine.batcher import Batcher

_log = logging.getLogger(__name__)

_EVERY = 2.0  # seconds between two looks at the directories
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Stamp = tuple[int, int, int]


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


def calibration_text(calibration: Calibration) -> str:
    """Returns a calibration as the text that is kept of it."""
    return to_json(calibration_to_dict(calibration))


def bundle_hash(inspector: Inspector) -> str:
    """Names a model by what it learnt: 64 hexadecimal digits."""
    said = json.dumps(asdict(inspector.identity), sort_keys=True)
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
    ) -> None:
        """Loads all models.

        Args:
            models: directories, each called by its name.
            folder: whose folders are models, too; new ones are found while the station runs.
            runtime: as for `load`.
            batch: pictures that pass a network at once, at most.
            heard: hears of each model that is loaded, before it judges.

        Raises:
            NfbmrError: one of `models` cannot be loaded, or two have one name.
            SettingsError: there is no such folder.
        """
        self._folder, self._runtime, self._batch, self._heard = folder, runtime, batch, heard
        self._named = {_name_of(path): path.resolve() for path in models}
        if len(self._named) < len(models):
            raise SettingsError("two models have the same folder's name; rename one of them")
        if folder is not None and not folder.is_dir():
            raise SettingsError(f"--models {folder}: there is no such folder")
        self._loaded: dict[str, Loaded] = {}
        self._troubles: dict[str, str] = {}
        self._failed: dict[str, Stamp] = {}
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
        return [self._loaded[name] for name in sorted(self._loaded)]

    @property
    def troubles(self) -> dict[str, str]:
        """Models that cannot be loaded, and why."""
        return dict(self._troubles)

    def put(self, loaded: Loaded, changed: Inspector) -> Loaded:
        """Gives a model on the line another calibration, which its directory has already.

        Returns:
            The model as it then is.
        """
        with self._lock:
            return self._place(loaded.name, loaded.path, changed, stamp_of(loaded.path))

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
        """Loads what is new or changed, and takes away what is gone from the folder."""
        there = dict(self._named)
        if self._folder is not None and self._folder.is_dir():
            for path in sorted(self._folder.iterdir()):
                if _NAME.fullmatch(path.name) and path.name not in there and is_bundle(path):
                    there[path.name] = path.resolve()
        for name, path in there.items():
            try:
                stamp = stamp_of(path)
            except OSError:
                continue  # being replaced
            known = self._loaded.get(name)
            if (known is None or known.stamp != stamp) and self._failed.get(name) != stamp:
                try:
                    self._load(name, path)
                except NfbmrError as error:
                    _log.warning("Model %s: %s", name, error)
                    self._troubles[name], self._failed[name] = str(error), stamp
        for name in set(self._loaded) - set(there):
            with self._lock:
                self._loaded.pop(name).batcher.close()
        for name in set(self._troubles) - set(there):
            self._troubles.pop(name)

    def _load(self, name: str, path: Path) -> None:
        with self._lock:
            try:
                stamp = stamp_of(path)
            except OSError:
                stamp = (0, 0, 0)  # what is missing is said by the loading
            known = self._loaded.get(name)
            if known is not None and known.stamp == stamp:
                return
            self._place(name, path, load(path, runtime=self._runtime), stamp)
            self._troubles.pop(name, None)
            self._failed.pop(name, None)

    def _place(self, name: str, path: Path, inspector: Inspector, stamp: Stamp) -> Loaded:
        text = calibration_text(inspector.calibration)
        new = Loaded(
            name=name,
            path=path,
            inspector=inspector,
            batcher=Batcher(inspector, self._batch),
            stamp=stamp,
            bundle=bundle_hash(inspector),
            calibration=hashlib.sha256(text.encode()).hexdigest(),
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


def _name_of(path: Path) -> str:
    name = path.resolve().name
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"{path}: a model on the line is called by its folder's name, of letters, digits and "
            ". _ - in ASCII; rename the folder"
        )
    return name
