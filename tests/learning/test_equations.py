"""The paper's equations, written once more in float64 numpy, against what trains and judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nfbmr.features.store import write_store
from nfbmr.learning.stages import _Run
from nfbmr.learning.training_data import TrainingData
from nfbmr.networks.detector import Detector
from nfbmr.networks.source import SourceNetwork
from nfbmr.scoring.maps import MAPS, chosen_maps
from nfbmr.settings.changes import with_changes
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import Settings

Floats = NDArray[np.float64]
WAYS = [
    {"standardise": standardise, "flow": {"loss": loss}, "mapping": {"ends": ends, "relu": relu}}
    for standardise, loss, ends, relu in (
        ("none", "position", 1, "branch"),
        ("none", "position", 3, "after"),
        ("channel", "channel", 1, "after"),
        ("none", "channel", 3, "branch"),
        ("channel", "position", 1, "branch"),
    )
]
"""Each new setting both ways."""


def settings_of(way: dict[str, Any]) -> Settings:
    small = {
        "size": [64, 96],
        "backbone": {"stages": [3], "name": "tf_efficientnet_lite0", "weights": "random"},
        "flow": {"hidden": 12, "blocks": 2} | way["flow"],
        "mapping": {"latent": 10, "inner": 6, "n": 1} | way["mapping"],
        "stage_one": {"epochs": 1, "batch": 2, "precision": "float32"},
        "stage_two": {"epochs": 1, "batch": 2, "precision": "float32"},
    }
    return with_changes(preset("paper"), small | {"standardise": way["standardise"]})


@pytest.fixture(params=range(len(WAYS)), ids=str)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> _Run:
    """A run with weights that are no longer those of the start, and y of four pictures."""
    settings = settings_of(WAYS[request.param])
    source = SourceNetwork.of(settings.backbone)
    detector = Detector(source, settings, (64, 96))
    generator = torch.Generator().manual_seed(1)
    for parameter in [*detector.flow.parameters(), *detector.mapping.parameters()]:  # type: ignore[union-attr]
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    y = 3 * torch.randn(4, *source.grid((64, 96)), source.outputs, generator=generator) + 1
    store = write_store(tmp_path / "y.f32", tuple(y.shape), [y.numpy()])  # type: ignore[arg-type]
    data = TrainingData(store=store, train=np.arange(4), held_out=np.arange(0))
    made = _Run(detector, data, settings, tmp_path / "work", torch.device("cpu"))
    made.prepare("flow", fresh=True)
    made.prepare("mapping", fresh=True)
    return made


# ---- the reference: positions are rows, a grid is (H, W, C)


def tensors(run: _Run, prefix: str) -> dict[str, Floats]:
    found = run.detector.state_dict()
    return {
        name.removeprefix(prefix): value.double().numpy()
        for name, value in found.items()
        if name.startswith(prefix)
    }


def standardised(run: _Run, y: Floats) -> Floats:
    """z-scores of each channel over all training positions, or y itself."""
    if run.settings.standardise == "none":
        return y
    every = run.data.store.read(np.arange(4)).astype(np.float64).reshape(-1, y.shape[-1])
    return np.asarray((y - every.mean(axis=0)) / every.std(axis=0))


def flow(run: _Run, y: Floats) -> tuple[Floats, Floats]:
    """Eq. 3 to 6, sequential; eq. 7's logarithm as the sum of both log-scales."""
    log_det = np.zeros(y.shape[:-1])
    for block in run.detector.flow.blocks:
        own: Any = block
        part = y[..., own.permutation.tolist()]
        half = part.shape[-1] // 2
        y1, y2 = part[..., :half], part[..., half:]
        s1, b1 = subnet(own.net1, y1)
        z2 = np.exp(s1) * y2 + b1
        s2, b2 = subnet(own.net2, z2)
        z1 = np.exp(s2) * y1 + b2
        y = np.concatenate([z1, z2], axis=-1)
        log_det = log_det + s1.sum(axis=-1) + s2.sum(axis=-1)
    return y, log_det


def subnet(net: Any, x: Floats) -> tuple[Floats, Floats]:
    """One hidden layer, the rest split into log-scale, softly clamped, and shift."""
    names = ("weight1", "bias1", "weight2", "bias2")
    weight1, bias1, weight2, bias2 = (
        getattr(net, name).detach().double().numpy() for name in names
    )
    assert len(bias1) == 12
    hidden = np.maximum(x @ weight1.T + bias1, 0)
    s, b = np.split(hidden @ weight2.T + bias2, 2, axis=-1)
    return 3.0 * 0.636 * np.arctan(s / 3.0), b


def conv(x: Floats, weight: Floats, bias: Floats) -> Floats:
    """A convolution of (H, W, C) with zeros outside."""
    k = weight.shape[-1] // 2
    padded = np.pad(x, ((k, k), (k, k), (0, 0)))
    out = np.zeros((*x.shape[:2], weight.shape[0]))
    for i in range(weight.shape[-2]):
        for j in range(weight.shape[-1]):
            out += padded[i : i + x.shape[0], j : j + x.shape[1]] @ weight[:, :, i, j].T
    return out + bias


def residual(run: _Run, x: Floats, at: str) -> Floats:
    t = tensors(run, f"mapping.{at}.body.")
    out = np.maximum(conv(x, t["0.weight"], t["0.bias"]), 0)
    out = np.maximum(conv(out, t["2.weight"], t["2.bias"]), 0)
    out = conv(out, t["4.weight"], t["4.bias"])
    if run.settings.mapping.relu == "branch":
        return np.asarray(x + np.maximum(out, 0))
    return np.maximum(x + out, 0)


def mapped(run: _Run, x: Floats, network: str) -> Floats:
    first, last = (tensors(run, f"mapping.{network}.{at}.") for at in ("before.0", "after.1"))
    assert first["weight"].shape[-1] == last["weight"].shape[-1] == run.settings.mapping.ends
    x = conv(x, first["weight"], first["bias"])
    for at in (f"{network}.before.1", "shared", f"{network}.after.0"):
        x = residual(run, x, at)
    return conv(x, last["weight"], last["bias"])


def test_the_loss_of_stage_one_is_eq_8(run: _Run) -> None:
    y, where, _ = run.flow_batch(0)
    found = float(run.flow_loss(y, where).detach())
    z, log_det = flow(run, y.double().numpy())
    expected = ((z**2).sum(axis=-1) / 2 - log_det).mean()
    if run.settings.flow.loss == "channel":
        expected /= z.shape[-1]
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_loss_of_stage_two_is_eq_13(run: _Run) -> None:
    y, z, _ = run.mapping_batch(0)
    found = float(run.mapping_loss(y, z).detach())
    pairs = zip(y.permute(0, 2, 3, 1).double().numpy(), z.permute(0, 2, 3, 1).double().numpy(),
                strict=True)  # fmt: skip
    expected = [
        ((mapped(run, one, "tmnn") - other) ** 2).mean()
        + ((mapped(run, other, "smnn") - one) ** 2).mean()
        for one, other in pairs
    ]
    assert found == pytest.approx(np.mean(expected), rel=1e-4)


def test_the_map_is_half_of_both_errors_eq_14(run: _Run) -> None:
    rows = run.data.store.read(np.arange(1))
    with torch.inference_mode():
        maps = run.detector.maps(torch.from_numpy(rows)).numpy()
    y = standardised(run, rows[0].astype(np.float64))
    z, log_det = flow(run, y)
    source = ((y - mapped(run, z, "smnn")) ** 2).sum(axis=-1)
    target = ((z - mapped(run, y, "tmnn")) ** 2).sum(axis=-1)
    likelihood = (z**2).sum(axis=-1) / 2 - log_det
    for name, expected in (("source", source), ("target", target), ("likelihood", likelihood)):
        np.testing.assert_allclose(maps[0, MAPS.index(name)], expected, rtol=1e-3, atol=1e-2)
    asm = chosen_maps(maps, ("asm",))[0, 0]
    np.testing.assert_allclose(asm, (source + target) / 2, rtol=1e-3, atol=1e-2)
