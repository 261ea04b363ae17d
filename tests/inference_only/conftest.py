"""What another environment left: a model, pictures, and what torch said of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def left() -> Path:
    """The folder that `make_bundle.py` wrote, named by NFBMR_LEFT."""
    if "NFBMR_LEFT" not in os.environ:
        pytest.skip("these tests run in an environment without torch: make test-inference")
    return Path(os.environ["NFBMR_LEFT"])


@pytest.fixture(scope="session")
def said(left: Path) -> list[dict[str, Any]]:
    """What torch said: name, score, p_value, is_defect of each picture."""
    found: list[dict[str, Any]] = json.loads((left / "said.json").read_text())
    return found
