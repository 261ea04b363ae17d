"""The peers' own virtual environment: anomalib never becomes a dependency of nfbmr."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from nfbmr.errors import MissingExtraError
from nfbmr.features.cache import default_cache_root

_log = logging.getLogger(__name__)

ANOMALIB = "2.7.0"
_READY, _EXPORTS_READY = ".ready", ".ready-exports"


def peers_python(root: Path | None = None, *, exports: bool = False) -> Path:
    """Returns the Python of the peers' environment; makes it where it is absent.

    Args:
        root: where environments lie; by default beside the feature cache.
        exports: with what anomalib needs to export to OpenVINO.

    Raises:
        MissingExtraError: it cannot be made, as without a network.
    """
    folder = (root or default_cache_root() / "peers") / f"anomalib-{ANOMALIB}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not ((folder / _READY).is_file() and python.is_file()):
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted installation left
        venv.create(folder, with_pip=True)
        _install(python, f"anomalib=={ANOMALIB}", folder / _READY)
    if exports and not (folder / _EXPORTS_READY).is_file():
        _install(python, f"anomalib[openvino]=={ANOMALIB}", folder / _EXPORTS_READY)
    return python


def _install(python: Path, what: str, ready: Path) -> None:
    _log.info("installing %s into %s: gigabytes, so this takes minutes", what, ready.parent)
    words = [str(python), "-m", "pip", "install", "--quiet", what]
    done = subprocess.run(words, stdout=sys.stderr, check=False)
    if done.returncode:
        raise MissingExtraError(
            f"{what} could not be installed into {ready.parent} (pip ended with "
            f"{done.returncode}, see above); the peers need it. --peers none races nfbmr alone"
        )
    ready.touch()
