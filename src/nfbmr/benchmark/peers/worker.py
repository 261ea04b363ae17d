"""One peer on one product, run by the Python of the peers' own environment.

`python worker.py JOB.json`: reads the job, trains, looks at every test picture once, and writes
`scores.npy`, `maps.f32` and, last, `facts.json` into the job's folder. Nothing of nfbmr is imported
here, and no label is read: whoever asked has the labels.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

LITE0 = "tf_efficientnet_lite0"


def main(path: Path) -> None:
    """Does the job in a file."""
    job = json.loads(path.read_text(encoding="utf-8"))
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    torch.manual_seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002 (some peers draw from it)
    torch.set_num_threads(job["threads"])
    weights = _serve_weights(job["weights"])
    started = time.monotonic()
    model, epochs = _trained(job)
    fit_seconds = time.monotonic() - started
    out = Path(job["out"])
    with (out / "maps.f32").open("wb") as stream:
        scores, shape, milliseconds = _inspect(model, job["test"], stream)
    np.save(out / "scores.npy", np.array(scores))
    facts = {
        "fit_seconds": fit_seconds,
        "inspect_ms": float(np.median(milliseconds[min(5, len(milliseconds) - 1) :])),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "model_mb": _megabytes(model),
        "map_size": shape,
        "epochs": epochs,
        "coreset": getattr(model, "coreset_sampling_ratio", None),
        "weights": sorted(weights),
        "versions": _versions(),
    }
    beside = out / "facts.json.part"
    beside.write_text(json.dumps(facts), encoding="utf-8")
    beside.replace(out / "facts.json")


def _serve_weights(file: str | None) -> set[str]:
    """Gives lite0 the weights in a file, others random ones; returns where they came from."""
    import timm
    import torch
    from safetensors.torch import load_file

    served: set[str] = set()
    create = timm.create_model

    def create_model(name: str, pretrained: bool = False, **options: Any) -> torch.nn.Module:
        options.pop("pretrained_cfg", None)
        model = create(name, pretrained=False, **options)
        if not pretrained:
            return model
        if name != LITE0 or file is None:
            served.add(f"random {name}")
            return model
        tensors = load_file(file)
        # A network for features alone lacks the head; all that it has must be there.
        missing, _ = model.load_state_dict(tensors, strict=False)
        if missing:
            raise RuntimeError(f"{file} lacks {missing[:3]}")
        served.add(name)
        return model

    timm.create_model = create_model  # type: ignore[assignment]
    _without_downloads(served)
    return served


def _without_downloads(served: set[str]) -> None:
    """Leaves random weights where CS-Flow and EfficientAD would download some."""
    import torchvision
    from anomalib.models import EfficientAd
    from anomalib.models.image.csflow import torch_model

    def efficientnet_b5(weights: object) -> Any:  # noqa: ARG001
        served.add("random efficientnet_b5")
        return torchvision.models.efficientnet_b5(weights=None)

    def keep_random_teacher(model: Any) -> None:  # noqa: ARG001
        served.add("random teacher")

    torch_model.efficientnet_b5 = efficientnet_b5
    EfficientAd.prepare_pretrained_model = keep_random_teacher


def _trained(job: dict[str, Any]) -> tuple[Any, int]:
    """Trains a peer with its own engine; returns it and the epochs that it had."""
    from anomalib.data import Folder
    from anomalib.engine import Engine

    root = Path(job["out"]) / "data"
    normal = root / "train"
    normal.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(job["train"]):
        link = normal / f"{number:06d}{Path(name).suffix}"
        if not link.is_symlink():
            link.symlink_to(name)
    model = _build(job)
    data = Folder(
        name="product",
        root=root,
        normal_dir="train",
        train_batch_size=job["batch"],
        eval_batch_size=8,
        num_workers=0,
        test_split_mode="none",
        val_split_mode="none",
        seed=job["seed"],
    )
    limits: dict[str, Any] = {}
    if job["epochs"] > 1:
        limits = {"max_epochs": job["epochs"], "max_time": {"seconds": job["seconds"]}}
    if job["fits_coreset"]:
        _limit_coreset(model, job["seconds"])
    engine = Engine(
        accelerator="cpu",
        devices=1,
        logger=False,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=Path(job["out"]) / "engine",
        **limits,
    )
    with contextlib.redirect_stdout(sys.stderr):
        engine.fit(model=model, datamodule=data)
    model.eval()
    return model, int(engine.trainer.current_epoch)


def _build(job: dict[str, Any]) -> Any:
    """Builds the peer with its documented defaults, and what the job says."""
    from anomalib import models

    options = dict(job["options"])
    pieces = {"evaluator": False, "visualizer": False, "post_processor": False}
    model_class = getattr(models, job["model"])
    size = tuple(job["size"])
    options["pre_processor"] = model_class.configure_pre_processor(image_size=size)
    if job["backbone"]:
        _normalise_as_trained(options["pre_processor"], job["backbone"])
    if job["model"] == "EfficientAd":
        options["imagenet_dir"] = _noise_pictures(Path(job["out"]) / "imagenet")
    if job["model"] == "Fastflow" and job["backbone"]:
        return _fastflow(model_class(pre_trained=False, **options, **pieces), size)
    if job["backbone"]:
        options["backbone"] = job["backbone"]
    return model_class(**options, **pieces)


def _normalise_as_trained(pre_processor: Any, backbone: str) -> None:
    """Gives a backbone the contrast that its weights were trained with; anomalib's is ResNet's."""
    import timm
    from torchvision.transforms.v2 import Normalize

    trained = timm.get_pretrained_cfg(backbone)
    assert trained is not None, backbone
    for compose in (pre_processor.transform, pre_processor.export_transform):
        for place, step in enumerate(compose.transforms):
            if isinstance(step, Normalize):
                compose.transforms[place] = Normalize(mean=trained.mean, std=trained.std)
        assert any(list(getattr(s, "mean", ())) == list(trained.mean) for s in compose.transforms)


def _noise_pictures(root: Path) -> Path:
    """Stands in for the pictures that EfficientAD would download; only its speed is measured."""
    from PIL import Image

    (root / "noise").mkdir(parents=True)
    draws = np.random.default_rng(0)
    for number in range(8):
        pixels = draws.integers(0, 256, (256, 256, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "noise" / f"{number}.png")
    return root


def _limit_coreset(model: Any, seconds: float) -> None:
    """Makes PatchCore keep the share of positions that it can choose in the time, 10 % at most."""
    import torch
    from anomalib.models.components import KCenterGreedy

    started, choose = time.monotonic(), model.fit

    def fit() -> None:
        embedding = torch.vstack(model.model.embedding_store)
        n, took = len(embedding), []
        for steps in (5, 25):
            before = time.monotonic()
            KCenterGreedy(embedding=embedding, sampling_ratio=(steps + 0.5) / n).sample_coreset()
            took.append(time.monotonic() - before)
        step = max(took[1] - took[0], 1e-6) / 20
        left = seconds - (time.monotonic() - started) - took[0]
        model.coreset_sampling_ratio = min(model.coreset_sampling_ratio, max(left / step, 25) / n)
        choose()

    model.fit = fit


def _fastflow(model: Any, size: tuple[int, int]) -> Any:
    """Puts lite0 below FastFlow, which knows four networks by name; the rest stays its own."""
    import timm
    from anomalib.models.image.fastflow.torch_model import create_fast_flow_block
    from torch import nn

    inner = model.model
    inner.feature_extractor = timm.create_model(
        LITE0, pretrained=True, features_only=True, out_indices=[1, 2, 3]
    )
    for parameter in inner.feature_extractor.parameters():
        parameter.requires_grad = False
    info = inner.feature_extractor.feature_info
    inner.norms, inner.fast_flow_blocks = nn.ModuleList(), nn.ModuleList()
    for channels, scale in zip(info.channels(), info.reduction(), strict=True):
        shape = [channels, size[0] // scale, size[1] // scale]
        inner.norms.append(nn.LayerNorm(shape, elementwise_affine=True))
        block: Callable[..., Any] = create_fast_flow_block
        inner.fast_flow_blocks.append(
            block(input_dimensions=shape, conv3x3_only=False, hidden_ratio=1.0, flow_steps=8)
        )
    return model


def _inspect(
    model: Any, paths: list[str], stream: IO[bytes]
) -> tuple[list[float], list[int] | None, list[float]]:
    """Looks at one picture at a time, from its file on; the peer's own decoding and resizing.

    The maps go to a file, so that they do not count as the peer's memory.
    """
    import torch
    from anomalib.data.utils import read_image

    scores, milliseconds = [], []
    shape: list[int] | None = None
    for path in paths:
        started = time.perf_counter()
        with torch.inference_mode():
            result = model(read_image(path, as_tensor=True)[None])
        milliseconds.append(1000 * (time.perf_counter() - started))
        scores.append(float(result.pred_score.reshape(-1)[0]))
        if result.anomaly_map is not None:
            shape = list(result.anomaly_map.shape[-2:])
            stream.write(result.anomaly_map.float().numpy().tobytes())
    return scores, shape, milliseconds


def _megabytes(model: Any) -> float:
    tensors = model.model.state_dict().values()
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors)) / 1e6


def _versions() -> dict[str, str]:
    import anomalib
    import timm
    import torch

    return {"anomalib": anomalib.__version__, "torch": torch.__version__, "timm": timm.__version__}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
