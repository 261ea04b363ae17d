"""A folder of models: one model for each product, and beside them how far each product is.

MODELS/NAME/                    the model of a product
MODELS/.NAME.fit/               its work folder, while it is learnt
MODELS/.fleet/lock              held by the command that fits
MODELS/.fleet/NAME/state.json   how far the product is, written whole at each change
MODELS/.fleet/NAME/lock         held by the process that works on it, where that is this machine's
MODELS/.fleet/NAME/log.txt      what its fits said
MODELS/.fleet/NAME/features/    its features, while a cluster learns it
MODELS/.fleet/NAME/evaluation/  metrics.json, scores.csv and report.html of its test
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from nfbmr.errors import BundleError, DataError
from nfbmr.model.bundle import read_bundle
from nfbmr.system.files import escaped, in_words, written_beside

_log = logging.getLogger(__name__)

Status = Literal["waiting", "running", "stopped", "done", "failed"]

BEAT_SECONDS = 15.0
"""A product at work writes its state at least this often."""
SILENT_SECONDS = 8 * BEAT_SECONDS
"""One that has said nothing for so long was killed, with its machine perhaps."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What a model of a product rests on, to be compared the next time."""

    settings: dict[str, Any]
    """As JSON."""
    pictures: int
    """To learn from."""
    learnt: str
    """Names these pictures by path, size and time of change, and the mask of what is ignored."""
    tests: int
    """Pictures of the test."""
    tested: str
    """Names those."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="ignore"))
class State:
    """How far a product is."""

    product: str
    status: Status = "waiting"
    marks: Marks | None = None
    """None where its pictures could not be read."""
    attempts: int = 0
    """How often its fit was begun, since the last other settings or pictures."""
    where: str = ""
    """Machine and process that work on it, or last did."""
    what: str = ""
    """What is being done, as `Progress` calls it."""
    done: int = 0
    total: int = 0
    changed: float = 0.0
    """When this was written, in seconds since 1970."""
    seconds: float = 0.0
    """Spent on it, over all attempts."""
    peak_mb: int | None = None
    """Of the process that worked on it last."""
    fitted: str = ""
    """Names the model that stands, once it does."""
    figures: dict[str, Any] = field(default_factory=dict)
    """Of the fit, and of its test where there is one."""
    warnings: tuple[str, ...] = ()
    misfit: tuple[str, ...] = ()
    """What says that good pictures that were held out do not fit the calibration."""
    error: str = ""

    @property
    def is_silent(self) -> bool:
        """Whether it is said to be at work and nothing was heard of it for long."""
        return self.status == "running" and time.time() - self.changed > SILENT_SECONDS


_STATE = TypeAdapter(State)


class Place:
    """A folder of models."""

    def __init__(self, models: Path) -> None:
        """Names the folder; nothing is made."""
        self.models = models.absolute()
        self._own = self.models / ".fleet"
        self.lock = self._own / "lock"

    def model(self, name: str) -> Path:
        """Returns where the model of a product is."""
        return self.models / name

    def folder(self, name: str) -> Path:
        """Returns where the rest of a product is."""
        return self._own / name

    def evaluation(self, name: str) -> Path:
        """Returns where what its test says is."""
        return self.folder(name) / "evaluation"

    def read(self, name: str) -> State | None:
        """Returns how far a product is; None where nothing is known of it."""
        try:
            return _STATE.validate_json((self.folder(name) / "state.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, state: State) -> State:
        """Keeps how far a product is, with the time; returns it.

        Raises:
            OSError: the folder cannot be written.
        """
        now = replace(_as_utf8(state), changed=time.time())
        with written_beside(self.folder(state.product) / "state.json") as beside:
            beside.write_bytes(_STATE.dump_json(now))
        return now

    def fail(self, name: str, error: Exception | str) -> State:
        """Keeps why a product cannot be done, where that can be written; returns its state."""
        said = in_words(error) if isinstance(error, OSError) else str(error)
        state = self.read(name) or State(product=name)
        state = replace(state, status="failed", what="", error=said)
        try:
            return self.write(state)
        except OSError as unwritten:  # one product's folder does not stop the others
            _log.warning("the state of %s cannot be written: %s", name, in_words(unwritten))
            return replace(state, changed=time.time())

    def states(self) -> list[State]:
        """Returns how far all products are, by name.

        Raises:
            DataError: this is no folder of a fleet.
        """
        names = sorted(path.parent.name for path in self._own.glob("*/state.json"))
        found = [state for name in names if (state := self.read(name)) is not None]
        if not found:
            raise DataError(
                f"{self.models}: found no fleet there; expected the folder that was given to "
                "nfbmr fleet fit behind -o"
            )
        return found

    def fitted(self, name: str) -> str:
        """Names the model of a product that stands, by its settings and tensors; else empty."""
        try:
            return read_bundle(self.model(name), tensors=False, unopened=False).identity.config
        except BundleError:
            return ""


def _as_utf8(state: State) -> State:
    """Returns a state whose words name files as JSON can, also those whose names are no UTF-8."""
    return replace(
        state,
        what=escaped(state.what),
        warnings=tuple(map(escaped, state.warnings)),
        misfit=tuple(map(escaped, state.misfit)),
        error=escaped(state.error),
    )


def this_process() -> str:
    """Names this machine and process."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def differences(old: Marks, new: Marks) -> list[str]:
    """Says what a model no longer rests on: settings that changed, and pictures."""
    said = [
        f"{name} {json.dumps(before)} -> {json.dumps(after)}"
        for name, (before, after) in _changed(old.settings, new.settings).items()
    ]
    if old.learnt != new.learnt:
        said.append(f"other pictures to learn from ({old.pictures} then, {new.pictures} now)")
    if old.tested != new.tested:
        said.append(f"other pictures of the test ({old.tests} then, {new.tests} now)")
    return said


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    before, after = _flat(old), _flat(new)
    names = dict.fromkeys([*before, *after])
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
