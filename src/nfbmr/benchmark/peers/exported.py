"""One peer, learnt, exported to OpenVINO by its own means, and timed from file to verdict.

`python exported.py JOB.json`, run by the Python of the peers' own environment; writes
`facts.json` into the job's folder. Nothing of nfbmr is imported here but its neighbour `worker`,
which trains the peer.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

_WARM_UP = 3


def main(path: Path) -> None:
    """Does the job in a file."""
    job = json.loads(path.read_text(encoding="utf-8"))
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from worker import _serve_weights, _trained  # type: ignore[import-not-found]

    torch.manual_seed(job["seed"])
    torch.set_num_threads(job["threads"])
    out = Path(job["out"])
    os.chdir(out)  # OpenVINO's cache goes where the process stands
    _serve_weights(job["weights"])
    _coreset_at_random()
    model, _ = _trained(job | {"fits_coreset": False})
    # For one picture of one size: the quickest, and some peers' graphs bear no other number.
    size = tuple(job["size"])
    graph = Path(
        model.to_openvino(out / "export", input_size=size, onnx_kwargs={"dynamic_axes": None})
    )
    facts = {
        "coreset": getattr(model, "coreset_sampling_ratio", None),
        "model_mb": sum(file.stat().st_size for file in graph.parent.iterdir()) / 1e6,
        "milliseconds": {
            precision: _timed(graph, job["test"], size, job["threads"], precision)
            for precision in job["precisions"]
        },
    }
    beside = out / "facts.json.part"
    beside.write_text(json.dumps(facts), encoding="utf-8")
    beside.replace(out / "facts.json")


def _coreset_at_random() -> None:
    """Gives PatchCore a coreset of its documented size at once: a time depends on nothing else.

    Choosing the positions one by one, as PatchCore does, takes hours on a processor.
    """
    import torch
    from anomalib.models.components import KCenterGreedy

    def sample_coreset(self: Any, selected_idxs: Any = None) -> Any:  # noqa: ARG001
        chosen = torch.randperm(len(self.embedding))[: self.coreset_size]
        return self.embedding[chosen]

    KCenterGreedy.sample_coreset = sample_coreset


def _timed(
    graph: Path, paths: list[str], size: tuple[int, ...], threads: int, precision: str
) -> float:
    """Returns the median of a picture's milliseconds, from its file to the verdict's score."""
    from anomalib.deploy import OpenVINOInferencer
    from PIL import Image

    hints: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
    }
    inferencer = OpenVINOInferencer(graph, device="CPU", config=hints)
    took = []
    for path in paths:
        started = time.perf_counter()
        with Image.open(path) as image:
            picture = image.convert("RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR)
        found = inferencer.predict(picture)
        took.append(1000 * (time.perf_counter() - started))
        if not np.isfinite(np.asarray(found.pred_score)).all():
            raise RuntimeError(f"the exported graph gave no score of {path}")
    return float(np.median(took[_WARM_UP:]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
