"""nfbmr's own part of the race, in a process of its own, timed and kept as the peers' are.

`python -m nfbmr.benchmark.peers.ours JOB.json`; the files are those of `worker`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from nfbmr.features.cache import FeatureCache
from nfbmr.fitting import fit
from nfbmr.system import provenance
from nfbmr.system.files import written_beside


def main(path: Path) -> None:
    """Does the job in a file."""
    import torch

    job: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    out = Path(job["out"])
    table = out / "good.csv"
    table.write_text("path,label\n" + "".join(f'"{name}",good\n' for name in job["train"]), "utf-8")
    started = time.monotonic()
    cache = FeatureCache(out / "cache")  # its own, so that the features are paid for
    preset, seed = job["options"]["preset"], job["seed"]
    # As the peers': in torch, before any export.
    inspector = fit(table, out / "model", preset=preset, seed=seed, cache=cache, export=False)
    fit_seconds = time.monotonic() - started
    size = inspector.facts.size
    scores, milliseconds = [], []
    with (out / "maps.f32").open("wb") as stream:
        for name in job["test"]:
            started = time.perf_counter()
            found = inspector.inspect(name)
            heat = found.heatmap_at(size)
            milliseconds.append(1000 * (time.perf_counter() - started))
            scores.append(found.score)
            stream.write(heat.astype(np.float32).tobytes())
    np.save(out / "scores.npy", np.array(scores))
    files = [file for file in (out / "model").rglob("*") if file.is_file()]
    facts = {
        "fit_seconds": fit_seconds,
        "inspect_ms": float(np.median(milliseconds[min(5, len(milliseconds) - 1) :])),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "model_mb": sum(file.stat().st_size for file in files) / 1e6,
        "map_size": list(size),
        "epochs": None,
        "coreset": None,
        "weights": [inspector.facts.weights],
        "versions": provenance.versions(),
    }
    with written_beside(out / "facts.json") as beside:
        beside.write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
