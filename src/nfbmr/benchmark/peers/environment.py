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
from nfbmr.feature_cache import default_cache_root

_log = logging.getLogger(__name__)

ANOMALIB = "2.7.0"
_READY = ".ready"


def peers_python(root: Path | None = None) -> Path:
    """Returns the Python of the peers' environment; makes it where it is absent.

    Args:
        root: where environments lie; by default beside the feature cache.

    Raises:
        MissingExtraError: it cannot be made, as without a network.
    """
    folder = (root or default_cache_root() / "peers") / f"anomalib-{ANOMALIB}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (folder / _READY).is_file() and python.is_file():
        return python
    _log.info("installing anomalib %s into %s: gigabytes, so this takes minutes", ANOMALIB, folder)
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted installation left
    venv.create(folder, with_pip=True)
    words = [str(python), "-m", "pip", "install", "--quiet", f"anomalib=={ANOMALIB}"]
    done = subprocess.run(words, stdout=sys.stderr, check=False)
    if done.returncode:
        raise MissingExtraError(
            f"anomalib {ANOMALIB} could not be installed into {folder} (pip ended with "
            f"{done.returncode}, see above); the peers need it. --peers none races nfbmr alone"
        )
    (folder / _READY).touch()
    return python
