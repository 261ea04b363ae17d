"""Peers exported and timed: what they are asked, what comes back, and how they fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nfbmr.benchmark.peers import deployment
from nfbmr.benchmark.peers.deployment import Deployed, deployed
from nfbmr.errors import ExportError

# Stands in for a peer: checks its job, and takes a millisecond for each letter of a precision.
FAKE = """
import json, sys
from pathlib import Path
job = json.loads(Path(sys.argv[1]).read_text())
if job["model"] == "Dfm":
    sys.exit("this graph has no name in ONNX")
assert job["precisions"] == ["fp32", "bf16"] and job["threads"] == 3
assert Path(job["weights"]).is_file() and job["seconds"] == 12.0
facts = {"coreset": 0.01, "model_mb": float(len(job["train"])),
         "milliseconds": {name: float(len(job["test"])) for name in job["precisions"]}}
(Path(job["out"]) / "facts.json").write_text(json.dumps(facts))
"""


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "fake.py"
    script.write_text(FAKE, encoding="utf-8")
    monkeypatch.setattr("nfbmr.benchmark.peers.exported.__file__", str(script), raising=False)

    def python(*, exports: bool) -> Path:
        assert exports
        return Path(sys.executable)

    monkeypatch.setattr(deployment, "peers_python", python)


def test_a_peer_learns_and_is_timed(good_folder: Path) -> None:
    paths = sorted(good_folder.iterdir())
    found = deployed("patchcore", paths[:5], paths[:4], seconds=6.0, threads=3)
    assert found == Deployed(
        title="PatchCore",
        milliseconds={"fp32": 4.0, "bf16": 4.0},
        megabytes=5.0,
        coreset=0.01,
    )


def test_one_that_cannot_be_exported_says_so(good_folder: Path) -> None:
    paths = sorted(good_folder.iterdir())
    with pytest.raises(ExportError, match="DFM ended with 1: this graph has no name in ONNX"):
        deployed("dfm", paths, paths, seconds=6.0, threads=3)
