"""Which program computed a figure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nfbmr.system import provenance

_CHECKOUT = Path(provenance.__file__).resolve().parents[3]


@pytest.mark.skipif(not (_CHECKOUT / ".git").exists(), reason="nfbmr is not run from a checkout")
def test_a_checkout_names_its_commit() -> None:
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?", str(provenance.commit()))


def test_elsewhere_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lib" / "nfbmr" / "system" / "provenance.py"
    monkeypatch.setattr(provenance, "__file__", str(file))
    assert provenance.commit() is None


def test_versions_are_those_of_what_is_here() -> None:
    found = provenance.versions()
    assert {"python", "nfbmr", "numpy", "pillow"} <= found.keys()
