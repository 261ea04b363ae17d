"""`doctor`: is this machine ready, is this data set sound, and how long will a fit take?"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from nfbmr import config, provenance
from nfbmr.config import Settings
from nfbmr.data.collections import DAGM_2007, compared, completeness, find_products
from nfbmr.data.layouts import read_data
from nfbmr.errors import NfbmrError
from nfbmr.features import FeatureCache

_SAMPLE = 8


def machine() -> list[str]:
    """Returns lines about versions, processor, backbone weights and cache."""
    import torch

    from nfbmr.devices import choose_device
    from nfbmr.networks.weights import EMBEDDED, embedded_file
    from nfbmr.optimisation import computes_in_bfloat16

    lines = [", ".join(f"{name} {version}" for name, version in provenance.versions().items())]
    device = choose_device("auto")
    precision = "bfloat16" if computes_in_bfloat16(device) else "float32"
    lines.append(
        f"device {device}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, "
        f"trains in {precision}"
    )
    for name in EMBEDDED:
        try:
            embedded_file(name)
        except NfbmrError as error:
            lines.append(f"embedded weights of {name}: MISSING: {error}")
        else:
            lines.append(f"embedded weights of {name}: here")
    cache = FeatureCache()
    lines.append(f"feature cache {cache.root}: {cache.size() / 1e6:.0f} MB used")
    return lines


def data_set(data: Path, preset: str) -> list[str]:
    """Returns lines about a data set and the fit that it would get.

    A folder of several products is compared with the official sets instead.

    Raises:
        NfbmrError: the data, or the preset's weights, cannot be used; the message says why.
    """
    from nfbmr.fitting import plan_fit

    products = find_products(data)
    if products and data not in products.values():
        one = next(iter(products.values()))
        option = "--dagm" if DAGM_2007.counts.keys() >= products.keys() else "--mvtec"
        return [
            *completeness(data),
            f"One of them, and the time that its fit will take: nfbmr doctor {one}",
            f"The paper's experiments on all of them: nfbmr paper {option} {data} -o RESULTS",
        ]
    found = read_data(data)
    official = compared(found)
    settings = config.preset(preset)
    plan = plan_fit(list(found.train_good), settings)
    seconds = _estimate(settings, plan.size, [s.path for s in found.train_good], plan.n_train)
    return [
        found.describe(),
        *([official.describe()] if official.expected else []),
        *(f"Warning: {warning}" for warning in found.warnings),
        *plan.describe(),
        f"A fit with preset {preset} will take about {_duration(seconds)} on this machine",
    ]


def _estimate(settings: Settings, size: tuple[int, int], paths: list[Path], n: int) -> float:
    """Times a few pictures and a few steps of each stage; the rest is multiplication."""
    import torch

    from nfbmr.data.images import load_image
    from nfbmr.fitting import source_network
    from nfbmr.networks.detector import Detector
    from nfbmr.networks.flow import negative_log_likelihood
    from nfbmr.optimisation import autocast, total_steps

    device = torch.device("cpu")
    network, _ = source_network(settings)
    few = paths[:_SAMPLE]
    started = time.perf_counter()
    with torch.inference_mode():
        y = network(torch.from_numpy(np.stack([load_image(path, size) for path in few])))
    features = (time.perf_counter() - started) / len(few) * len(paths)
    detector = Detector(network, settings)
    height, width = y.shape[-2:]
    how = settings.stage_one
    shape = (how.batch,) if how.batch_of == "positions" else (how.batch, height, width)
    flow_input = torch.randn(*shape, network.channels)
    map_input = torch.randn(settings.stage_two.batch, network.channels, height, width)

    def flow_step() -> None:
        z, log_det = detector.flow(flow_input)
        negative_log_likelihood(z, log_det).mean().backward()  # type: ignore[no-untyped-call]

    def mapping_step() -> None:
        assert detector.mapping is not None, "every preset maps"
        z_mt, y_ms = detector.mapping(map_input, map_input)
        (z_mt.square().mean() + y_ms.square().mean()).backward()

    total = features
    for step, stage in ((flow_step, settings.stage_one), (mapping_step, settings.stage_two)):
        with autocast(stage.precision, device):
            step()
            started = time.perf_counter()
            step()
            step()
        # Reading batches and the optimiser add about a quarter.
        total += 1.25 * (time.perf_counter() - started) / 2 * total_steps(stage, n, (height, width))
    return total


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
