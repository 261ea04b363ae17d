"""What the figures show of a category: pictures with masks and maps, areas, vectors for t-SNE.

Kept as arrays of one `.npz` file, so that figures can be drawn again without a model. Pictures are
chosen by a rule, never by their looks: of every type of defect the picture with the median score.

Shapes: N = test pictures, k = pictures shown, H W = a mask, h w = a thumbnail, H' W' = grid,
n = areas, m = vectors, C = channels.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nfbmr.data.images import load_image, resize_image, resize_map
from nfbmr.data.layouts import Sample
from nfbmr.data.masks import read_masks
from nfbmr.errors import NfbmrError
from nfbmr.inspection.result import About, Inspection
from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.weights import load_weights
from nfbmr.paper.product import Learnt, Product
from nfbmr.paper.readings import COVERED
from nfbmr.paper.systems import OTHER
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.maps import MAPS
from nfbmr.settings.schema import DataSettings
from nfbmr.system.files import written_beside

_log = logging.getLogger(__name__)

_THUMBNAIL = 256
_TYPES = 5
_VECTORS = 60  # good ones, and as many defective ones
_AREAS = 20_000  # good ones, and as many defective ones


def write_exhibits(product: Product, learnt: Learnt, path: Path, weights: dict[str, str]) -> None:
    """Writes the exhibits of a category that a flow system has learnt.

    Args:
        product: the category.
        learnt: NF-BMR.
        path: the file.
        weights: network -> where its weights are, as for `make_system`.
    """
    other = _other_network(product, weights)
    arrays = _pictures(product, learnt, other) | _areas(product, learnt)
    arrays |= _vectors(product, learnt, other)
    arrays["other_name"] = np.array(OTHER[product.backbone][0])
    with written_beside(path) as beside, beside.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def _chosen(samples: list[Sample], scores: list[float]) -> list[int]:
    """Returns the median-scored picture of each of the first types of defect, and a good one."""
    by_type: dict[str, list[int]] = {}
    for number, sample in enumerate(samples):
        by_type.setdefault(sample.defect, []).append(number)
    types = sorted(by_type, key=lambda name: (name == "good", name))
    defects = [name for name in types if name != "good"][:_TYPES]
    medians = []
    for name in [*defects, *(name for name in types if name == "good")]:
        ranked = sorted(by_type[name], key=lambda number: scores[number])
        medians.append(ranked[len(ranked) // 2])
    return medians


def _other_network(product: Product, weights: dict[str, str]) -> SourceNetwork | None:
    """Returns the second pre-trained network; None where its weights cannot be had."""
    name, origin = OTHER[product.backbone]
    network = SourceNetwork(name, (6,))
    is_random = weights.get("") == "random"
    try:
        load_weights(network, weights.get(name, "random" if is_random else origin))
    except NfbmrError as error:
        _log.warning("Figs. 2b and 7 lack %s: %s", name, error)
        return None
    return network.ready(product.device)


def _pictures(product: Product, learnt: Learnt, other: SourceNetwork | None) -> dict[str, Any]:
    sizes = product.test_sizes
    pictures = [
        About(path=str(s.path), size=size) for s, size in zip(product.test, sizes, strict=True)
    ]
    results = learnt.inspector.judge(learnt.maps, pictures)
    scores = [result.score if isinstance(result, Inspection) else 0.0 for result in results]
    chosen = _chosen(list(product.test), scores)
    height, width = sizes[chosen[0]]
    share = min(1.0, _THUMBNAIL / max(height, width))
    size = max(1, round(height * share)), max(1, round(width * share))
    samples = [product.test[i] for i in chosen]
    shown = [results[i] for i in chosen]
    how = learnt.inspector.settings.data
    return {
        "images": np.stack([load_image(s.path, size, how) for s in samples]),
        "masks": np.stack([_mask(s, size) for s in samples]),
        "has_mask": np.array([s.mask is not None for s in samples]),
        "is_defect": np.array([s.is_defect for s in samples]),
        "names": np.array([s.path.name for s in samples]),
        "defects": np.array([s.defect for s in samples]),
        "heatmaps": np.stack([_heatmap(result, size) for result in shown]),
        "other": _responses(other, samples, learnt.inspector.facts.size, how),
        "tnf": learnt.maps[chosen, MAPS.index("norm")],
    }


def _responses(
    network: SourceNetwork | None, samples: list[Sample], size: tuple[int, int], how: DataSettings
) -> NDArray[np.float32]:
    """Returns |f|^2 / 2 of a network's features f, (k, H', W'); (k, 0, 0) without a network."""
    if network is None:
        return np.zeros((len(samples), 0, 0), np.float32)
    pixels = torch.from_numpy(np.stack([load_image(s.path, size, how) for s in samples]))
    with torch.inference_mode():
        features = network(pixels.to(network.mean.device))  # (k, C, H', W')
    return np.asarray((features.square().sum(dim=1) / 2).cpu().numpy())


def _mask(sample: Sample, size: tuple[int, int]) -> NDArray[np.bool_]:
    if sample.mask is None:
        return np.zeros(size, dtype=np.bool_)
    full = read_masks(sample.masks).astype(np.uint8) * 255
    return np.asarray(resize_image(np.repeat(full[..., None], 3, axis=2), size)[..., 0] > 0)


def _heatmap(result: object, size: tuple[int, int]) -> NDArray[np.float32]:
    assert isinstance(result, Inspection)
    return result.heatmap_at(size)


def _areas(product: Product, learnt: Learnt) -> dict[str, Any]:
    """Log-likelihoods (n,) that TNF gives to good and to defective areas, in nats.

    An area is a position of the grid; the constant of eq. 8 is left out. Good are all areas of
    good pictures, and those of defective ones that the mask does not touch; defective are those
    that it covers by `COVERED` or more. The others, at its edge, are left out; so is a defective
    picture without a mask, of whose areas nothing is known. Of each kind at most `_AREAS` are
    kept, drawn with a fixed seed.
    """
    runtime = learnt.inspector.runtime
    assert isinstance(runtime, TorchRuntime)
    k = runtime.detector.factor  # beside a finer grid the map is repeated
    maps = -learnt.maps[:, MAPS.index("likelihood"), ::k, ::k]  # (N, H', W')
    found: dict[str, list[NDArray[np.float32]]] = {"good": [], "defective": []}
    for sample, values in zip(product.test, maps, strict=True):
        if not sample.is_defect:
            found["good"].append(values.ravel())
        elif sample.mask is not None and (mask := read_masks(sample.masks)).any():
            cover = _cover(mask, (values.shape[0], values.shape[1]))
            found["good"].append(values[cover < 1e-6])
            found["defective"].append(values[cover >= COVERED])
    rng = np.random.default_rng(0)
    kept = {}
    for kind, parts in found.items():
        every = np.concatenate([np.zeros(0, np.float32), *parts])
        drawn = np.sort(rng.permutation(len(every))[:_AREAS])
        kept[f"areas_{kind}"] = every[drawn]
    return kept


def _cover(mask: NDArray[np.bool_], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Returns which share of each area (H', W') a mask (H, W) covers."""
    down, across = (_shares(*sides) for sides in zip(grid, mask.shape, strict=True))
    return np.asarray(down @ mask @ across.T)


def _shares(areas: int, pixels: int) -> NDArray[np.float64]:
    """Returns which share of each of so many equal areas in a row each pixel is."""
    edges = np.linspace(0, pixels, areas + 1)
    first = np.arange(pixels)
    ends = np.minimum(edges[1:, None], first + 1) - np.maximum(edges[:-1, None], first)
    return np.asarray(np.clip(ends, 0, None) * (areas / pixels))


def _vectors(product: Product, learnt: Learnt, other: SourceNetwork | None) -> dict[str, Any]:
    """One vector a picture: where the mask covers most, else at a random position.

    Without masks nobody knows where a defect is: then the mean over positions, for all pictures.
    """
    rng = np.random.default_rng(0)
    runtime = learnt.inspector.runtime
    assert isinstance(runtime, TorchRuntime)
    detector, size = runtime.detector, learnt.inspector.facts.size
    how = learnt.inspector.settings.data
    masked = any(sample.mask for sample in product.test)
    usable = [s for s in product.test if not (masked and s.is_defect and s.mask is None)]
    samples = []
    for is_defect in (False, True):
        kind = [sample for sample in usable if sample.is_defect == is_defect]
        order = rng.permutation(len(kind))[:_VECTORS]
        samples += [kind[i] for i in sorted(order)]
    rows: dict[str, list[NDArray[np.float32]]] = {"source": [], "other": [], "target": []}
    for sample in samples:
        pixels = torch.from_numpy(load_image(sample.path, size, how)[None]).to(runtime.device)
        with torch.inference_mode():
            features = detector.source(pixels).permute(0, 2, 3, 1)
            y, *_ = detector.standardised(features)
            z, _ = detector.flow(y, detector.where(y))
            grids = {"source": features[0, ..., : detector.source.channels], "target": z[0]}
            if other is not None:
                grids["other"] = other(pixels)[0].permute(1, 2, 0)
        place = rng.random(2)
        for key, grid in grids.items():
            rows[key].append(_vector(grid.cpu().numpy(), sample, masked, place))
    return {
        **{f"vectors_{key}": _stack(found, len(samples)) for key, found in rows.items()},
        "vectors_is_defect": np.array([sample.is_defect for sample in samples]),
    }


def _stack(rows: list[NDArray[np.float32]], n: int) -> NDArray[np.float32]:
    return np.stack(rows) if rows else np.zeros((n, 0), np.float32)


def _vector(
    grid: NDArray[np.float32], sample: Sample, masked: bool, place: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Returns one vector (C,) of a grid (H', W', C)."""
    if not masked:
        return np.asarray(grid.mean(axis=(0, 1)))
    height, width = grid.shape[:2]
    if sample.mask is None:
        row, column = int(place[0] * height), int(place[1] * width)
    else:
        cover = resize_map(read_masks(sample.masks).astype(np.float32), (height, width))
        row, column = divmod(int(cover.argmax()), width)
    return np.asarray(grid[row, column])
