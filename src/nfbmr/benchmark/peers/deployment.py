"""Peers as they are deployed: exported to OpenVINO by anomalib, timed from file to verdict."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nfbmr.benchmark.peers import exported
from nfbmr.benchmark.peers.catalogue import peer
from nfbmr.benchmark.peers.environment import peers_python
from nfbmr.benchmark.peers.race import lite0_weights
from nfbmr.errors import ExportError
from nfbmr.system.cores import cores

_PRECISIONS = ("fp32", "bf16")  # as exported; as OpenVINO computes where the processor can
_TAIL = 400  # characters of a failed peer's last words


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What a picture takes with an exported peer."""

    title: str
    milliseconds: dict[str, float]
    """Precision -> median, from file to verdict."""
    megabytes: float
    coreset: float | None
    """PatchCore: the share of positions that it kept."""


def deployed(
    key: str,
    good: Sequence[Path],
    pictures: Sequence[Path],
    *,
    seconds: float,
    threads: int | None = None,
) -> Deployed:
    """Lets a peer learn, exports it and times it, in a process of its own.

    Args:
        key: of `PEERS`.
        good: pictures to learn from.
        pictures: to time, one at a time; the first three warm up.
        seconds: that it may learn.
        threads: by default as many as there are cores.

    Raises:
        MissingExtraError: the peers' environment cannot be made.
        ExportError: the peer cannot be learnt or exported.
    """
    python, chosen = peers_python(exports=True), peer(key)
    with tempfile.TemporaryDirectory(prefix="nfbmr-peer-") as made:
        work = Path(made)
        job = asdict(chosen) | {
            "train": [str(path.resolve()) for path in good],
            "test": [str(path.resolve()) for path in pictures],
            "seed": 0,
            "threads": threads or cores(),
            "out": str(work),
            "seconds": seconds * chosen.patience,
            "weights": str(lite0_weights(work)),
            "precisions": _PRECISIONS,
        }
        file = work / "job.json"
        file.write_text(json.dumps(job), encoding="utf-8")
        words = [str(python), exported.__file__, str(file)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode or not (work / "facts.json").is_file():
            said = done.stderr.strip()[-_TAIL:]
            raise ExportError(f"{chosen.title} ended with {done.returncode}: {said}")
        facts = json.loads((work / "facts.json").read_text(encoding="utf-8"))
    return Deployed(
        title=chosen.title,
        milliseconds=facts["milliseconds"],
        megabytes=facts["model_mb"],
        coreset=facts["coreset"],
    )
