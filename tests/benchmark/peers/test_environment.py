"""The peers' own environment: made once, added to once, and nothing half-made is taken for it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from nfbmr.benchmark.peers.environment import ANOMALIB, peers_python
from nfbmr.errors import MissingExtraError


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was installed, by a pip that fails while the list holds `stop`."""
    seen: list[str] = []

    def create(folder: Path, *, with_pip: bool) -> None:
        assert with_pip
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").touch()

    def pip(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        seen.append(words[-1])
        return subprocess.CompletedProcess(words, int("stop" in seen))

    monkeypatch.setattr("venv.create", create)
    monkeypatch.setattr(subprocess, "run", pip)
    return seen


def test_each_part_is_installed_once(tmp_path: Path, installed: list[str]) -> None:
    python = peers_python(tmp_path)
    assert python.is_file()
    assert peers_python(tmp_path, exports=True) == python
    assert peers_python(tmp_path, exports=True) == peers_python(tmp_path) == python
    assert installed == [f"anomalib=={ANOMALIB}", f"anomalib[openvino]=={ANOMALIB}"]


def test_what_failed_is_made_anew(tmp_path: Path, installed: list[str]) -> None:
    installed.append("stop")
    with pytest.raises(MissingExtraError, match="could not be installed"):
        peers_python(tmp_path)
    installed.clear()
    (tmp_path / f"anomalib-{ANOMALIB}" / "rubbish").touch()
    peers_python(tmp_path)
    assert not (tmp_path / f"anomalib-{ANOMALIB}" / "rubbish").exists()
    assert installed == [f"anomalib=={ANOMALIB}"]
