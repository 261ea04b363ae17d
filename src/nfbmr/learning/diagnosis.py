"""`doctor`: are machine and data set sound, how long will a fit take, what was odd in one?"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nfbmr.data.collections import DAGM_2007, compared, completeness, find_products
from nfbmr.data.layouts import read_data
from nfbmr.data.survey import Survey, survey
from nfbmr.errors import DataError, NfbmrError
from nfbmr.features.cache import FeatureCache
from nfbmr.model.bundle import for_export, read_bundle
from nfbmr.scoring.odd_words import odd_in_words
from nfbmr.settings import presets
from nfbmr.settings.schema import Settings
from nfbmr.system import provenance
from nfbmr.system.packages import TO_LEARN, how_to_install, lacking
from nfbmr.system.progress import Progress, silent
from nfbmr.system.words import counted, quoted

if TYPE_CHECKING:
    from nfbmr.learning.plan import Plan

_SAMPLE = 8
_MOST_ODD, _LEAST_ODD = 50, 20  # good pictures of a list


def machine() -> list[str]:
    """Returns lines about versions, what learns and what inspects, backbone weights and cache."""
    lines = [", ".join(f"{name} {version}" for name, version in provenance.versions().items())]
    if without := lacking(*TO_LEARN):
        lines.append(
            f"{', '.join(without)}: not installed, so this machine does not learn; to learn here, "
            f"{how_to_install('train')}"
        )
    else:
        lines += _what_learns()
    here = [name for name in ("onnxruntime", "openvino", "torch") if not lacking(name)]
    lines.append(f"inspects with: {', '.join(here) or 'nothing that is installed here'}")
    return [*lines, _feature_cache()]


def _feature_cache() -> str:
    """Says what the cache holds, or why a fit cannot keep anything in it."""
    try:
        cache = FeatureCache()
        cache.refuse_unwritable()
    except DataError as error:
        return f"feature cache: MISSING: {error}"
    return f"feature cache {cache.root}: {cache.size() / 1e6:.0f} MB used"


def _what_learns() -> list[str]:
    """Returns lines about the device and the backbone weights."""
    import torch

    from nfbmr.learning.stage import computes_in_bfloat16
    from nfbmr.networks.weights import EMBEDDED, embedded_file
    from nfbmr.system.devices import choose_device

    device = choose_device("auto")
    precision = "bfloat16" if computes_in_bfloat16(device) else "float32"
    lines = [
        f"device {device}, {counted(torch.get_num_threads(), 'thread')} of "
        f"{counted(os.cpu_count() or 1, 'core')}, "
        f"trains in {precision}"
    ]
    for name in EMBEDDED:
        try:
            embedded_file(name)
        except NfbmrError as error:
            lines.append(f"embedded weights of {name}: MISSING: {error}")
        else:
            lines.append(f"embedded weights of {name}: here")
    return lines


def data_set(data: Path, preset: str, progress: Progress = silent) -> list[str]:
    """Returns lines about a data set, its good pictures, and the fit that they would get.

    A folder of several products is compared with the official sets instead.

    Raises:
        NfbmrError: the data, or the preset's weights, cannot be used; the message says why.
    """
    from nfbmr.learning.plan import plan_fit

    products = find_products(data)
    if products and data not in products.values():
        one = next(iter(products.values()))
        option = "--dagm" if DAGM_2007.counts.keys() >= products.keys() else "--mvtec"
        return [
            *completeness(data),
            f"One of them, and the time that its fit will take: nfbmr doctor {quoted(one)}",
            "The paper's experiments on all of them: "
            f"nfbmr paper {option} {quoted(data)} -o RESULTS",
        ]
    found = read_data(data)
    official = compared(found)
    settings = presets.preset(preset)
    good = survey(found.name, found.to_learn_from(), progress)
    plan = plan_fit(good, settings)
    return [
        found.describe(),
        *([official.describe()] if official.expected else []),
        *(f"Warning: {warning}" for warning in (*found.warnings, *good.warnings)),
        *good.describe(),
        *plan.describe(),
        _how_long(settings, plan, good),
    ]


def model(path: Path) -> list[str]:
    """Returns lines about the good pictures of a model that look least like the rest.

    Raises:
        BundleError: it cannot be read.
    """
    bundle = read_bundle(path, tensors=False)
    lines = [
        f"{path}: '{bundle.facts.name}', learnt from {counted(bundle.facts.n_train, 'picture')}, "
        f"{bundle.facts.n_held_out} held out. What else it is says: nfbmr info {quoted(path)}",
        *odd_in_words(bundle.calibration, bundle.settings.scoring, _MOST_ODD, _LEAST_ODD),
    ]
    for export in bundle.exports:
        if export.calibration != bundle.of:
            own = for_export(path, bundle, export).calibration
            lines += ["", f"{export.name}, whose calibration is its own:"]
            lines += odd_in_words(own, bundle.settings.scoring, _MOST_ODD, _LEAST_ODD)
    return lines


def _how_long(settings: Settings, plan: Plan, good: Survey) -> str:
    """Says how long a fit will take, or what it lacks."""
    if without := lacking(*TO_LEARN):
        return f"A fit needs {', '.join(without)}; {how_to_install('train')}"
    from nfbmr.learning.estimates import duration

    seconds = _estimate(settings, plan, good)
    return (
        f"A fit with preset {settings.preset} will take about {duration(seconds)} on this machine"
    )


def _estimate(settings: Settings, plan: Plan, good: Survey) -> float:
    """Times a few pictures' decoding and the parts of a fit; the rest is multiplication."""
    from nfbmr.data.images import load_image
    from nfbmr.learning.estimates import measure_parts
    from nfbmr.learning.learn import source_network

    few, n = good.pictures[:_SAMPLE], len(good.pictures)
    started = time.perf_counter()
    for one in few:
        load_image(one.picture, plan.size, settings.data)
    decoding = (time.perf_counter() - started) / len(few) * n
    network, _ = source_network(settings)
    parts = measure_parts(network, settings, plan.size)
    return good.seconds + decoding + parts.fit_seconds(settings, n, plan.n_train)
