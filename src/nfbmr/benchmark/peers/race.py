"""The race: every peer and nfbmr on the same pictures, each in a process of its own, one at a time.

Scores and maps come back as files; the figures are computed here, by the same code for all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from nfbmr.benchmark.peers import worker
from nfbmr.benchmark.peers.catalogue import AT_OUR_SIZE, LITE0, OURS, SIZES, peer
from nfbmr.benchmark.peers.environment import ANOMALIB, peers_python
from nfbmr.data.images import image_size, resize_map
from nfbmr.data.layouts import DataSet, Sample
from nfbmr.data.masks import read_masks
from nfbmr.evaluation.metrics import average_precision, image_auroc
from nfbmr.evaluation.pixel_metrics import PixelMetrics
from nfbmr.learning.learn import look_over
from nfbmr.learning.plan import plan_fit
from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.weights import load_weights
from nfbmr.paper.ledger import Key, Ledger, Row, alone_in, data_mark
from nfbmr.paper.plan import read_source
from nfbmr.settings.changes import settings_hash
from nfbmr.settings.presets import preset
from nfbmr.system import provenance
from nfbmr.system.cores import cores

_log = logging.getLogger(__name__)

_DATASET = "race"
_TIMED = 24  # pictures where only the time of one is asked for
_TAIL = 400  # characters of a failed peer's last words


@dataclass(frozen=True, kw_only=True)
class Race:
    """What is asked for."""

    data: tuple[tuple[str, Path], ...]
    """Name and path of each set."""
    peers: tuple[str, ...]
    """Keys of peers, besides nfbmr."""
    seeds: tuple[int, ...]
    seconds: float
    """That a peer may train; a peer's own documented epochs end it sooner."""
    preset: str = "fast"
    """Of nfbmr."""
    sizes: tuple[str, ...] = ("default",)
    """Of `SIZES`: at which sizes each peer looks at the pictures."""

    def rows(self) -> list[Key]:
        """Returns the rows in the order in which they run: nfbmr first, seed by seed.

        What is measured for its speed alone runs with the first seed and its own size alone.
        """
        systems = (OURS, *(one + SIZES[size] for one in self.peers for size in self.sizes))
        return [
            Key(_DATASET, name, system, seed)
            for seed in self.seeds
            for system in systems
            for name, _ in self.data
            if system == OURS
            or not peer(system).times_only
            or (seed == self.seeds[0] and not system.endswith(AT_OUR_SIZE))
        ]


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A row that could not be measured, and why."""

    key: Key
    reason: str


def run(race: Race, out: Path) -> tuple[list[Row], list[Lost]]:
    """Measures the rows that are not there; one that fails does not stop the others.

    Args:
        race: what is asked for.
        out: the results folder; `results.jsonl` in it is written row by row.

    Raises:
        LayoutError: a set cannot be read or has no good or no defective test pictures.
        MissingExtraError: the peers' environment cannot be made.
    """
    found = {name: read_source(_DATASET, name, path).found for name, path in race.data}
    with alone_in(out):
        return _run(race, found, Ledger(out / "results.jsonl"), out)


def _run(
    race: Race, found: dict[str, DataSet], ledger: Ledger, out: Path
) -> tuple[list[Row], list[Lost]]:
    keys, lost = race.rows(), []
    marks = {key: _mark(race, key, found[key.category]) for key in keys}
    todo = [key for key in keys if not ledger.has(key, marks[key])]
    _log.info("%d rows, %d of them are there already", len(keys), len(keys) - len(todo))
    for number, key in enumerate(todo, start=1):
        work = out / ".work" / f"{key.category}-{key.system}-{key.seed}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        name = f"{key.category}, {key.system}, seed {key.seed}"
        try:
            row = _measure(race, key, found[key.category], work)
        except _FailedError as error:
            lost.append(Lost(key=key, reason=str(error)))
            _log.warning("[%d of %d] %s failed: %s", number, len(todo), name, error)
            continue
        finally:
            shutil.rmtree(work, ignore_errors=True)
        ledger.add({**key._asdict(), "mark": marks[key]} | row)
        auroc = row["image_auroc"]
        accuracy = "speed alone" if auroc is None else f"AUROC {100 * auroc:.2f} %"
        _log.info(
            "[%d of %d] %s: %s, fit %.0f s, %.0f ms",
            *(number, len(todo), name, accuracy, row["fit_seconds"], row["inspect_ms"]),
        )
    return ledger.rows(keys), lost


class _FailedError(Exception):
    """A process of the race ended badly; never leaves this module."""


def _mark(race: Race, key: Key, data: DataSet) -> str:
    """Names what a row depends on: settings, time, pictures, and of a peer what runs it."""
    if key.system == OURS:
        how: Any = settings_hash(preset(race.preset))
    else:
        code = hashlib.sha256(Path(worker.__file__).read_bytes()).hexdigest()
        how = [asdict(peer(key.system)), _seconds(race, key), ANOMALIB, code]
        if key.system.endswith(AT_OUR_SIZE):
            how.append(preset(race.preset).pixel_budget)
    text = json.dumps([2, how, data_mark(data)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _seconds(race: Race, key: Key) -> float:
    return race.seconds * peer(key.system).patience


def _measure(race: Race, key: Key, data: DataSet, work: Path) -> Row:
    seen = look_over(data.name, data.train_good)
    good = seen.paths
    times_only = key.system != OURS and peer(key.system).times_only
    test = data.test[:_TIMED] if times_only else data.test
    job: dict[str, Any] = {
        "train": [str(path.resolve()) for path in good],
        "test": [str(sample.path.resolve()) for sample in test],
        "seed": key.seed,
        "threads": cores(),
        "out": str(work),
    }
    if key.system == OURS:
        command = [sys.executable, "-m", "nfbmr.benchmark.peers.ours"]
        job["options"] = {"preset": race.preset}
    else:
        command = [str(_python()), worker.__file__]
        job |= asdict(peer(key.system)) | {"seconds": _seconds(race, key)}
        if key.system.endswith(AT_OUR_SIZE):
            job["size"] = plan_fit(seen, preset(race.preset)).size
        job["weights"] = str(lite0_weights(work))
    file = work / "job.json"
    file.write_text(json.dumps(job), encoding="utf-8")
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)
    if done.returncode or not (work / "facts.json").is_file():
        raise _FailedError(f"ended with {done.returncode}: {done.stderr.strip()[-_TAIL:]}")
    facts: Row = json.loads((work / "facts.json").read_text(encoding="utf-8"))
    row: Row = dict.fromkeys(("image_auroc", "image_ap", "pixel_auroc", "aupro"))
    if not times_only:
        row = _figures(test, np.load(work / "scores.npy"), _maps(work, facts["map_size"]))
    row |= {"n_train": len(good), "n_test": len(test), "threads": job["threads"]}
    row |= {"size": None if "size" not in job else list(job["size"])}
    row |= {"seconds_allowed": job.get("seconds"), "commit": provenance.commit()}
    return row | facts | {"created": provenance.now()}


@cache
def _python() -> Path:
    return peers_python()


def lite0_weights(folder: Path) -> Path:
    """Writes the embedded weights in timm's names, for a process that lacks nfbmr."""
    network = SourceNetwork(LITE0, (7,))
    load_weights(network, "embedded")
    path = folder / "lite0.safetensors"
    save_file({k: v.contiguous() for k, v in network.trunk.state_dict().items()}, path)
    return path


def _maps(folder: Path, size: list[int] | None) -> Iterator[NDArray[np.float32]] | None:
    """Reads the maps (H, W) one at a time; None where the peer points at nothing."""
    if size is None:
        return None
    return _read_maps(folder / "maps.f32", (size[0], size[1]))


def _read_maps(path: Path, size: tuple[int, int]) -> Iterator[NDArray[np.float32]]:
    with path.open("rb") as stream:
        while block := stream.read(4 * size[0] * size[1]):
            yield np.frombuffer(block, np.float32).reshape(size)


def _figures(
    samples: Sequence[Sample],
    scores: NDArray[np.float64],
    maps: Iterator[NDArray[np.float32]] | None,
) -> Row:
    is_defect = np.array([sample.is_defect for sample in samples])
    if len(scores) != len(samples) or not np.isfinite(scores).all():
        raise _FailedError(f"{len(scores)} scores of {len(samples)} pictures, or not finite")
    pixels = PixelMetrics()
    if maps is not None and any(sample.mask for sample in samples):
        for sample, heat in zip(samples, maps, strict=True):
            if sample.mask is not None:
                mask = read_masks(sample.masks)
                pixels.update(resize_map(heat, mask.shape), mask)
            elif not sample.is_defect:
                pixels.update(resize_map(heat, image_size(sample.path)), None)
    pixel = pixels.compute()
    return {
        "image_auroc": image_auroc(scores, is_defect),
        "image_ap": average_precision(scores, is_defect),
        "pixel_auroc": pixel.pixel_auroc,
        "aupro": pixel.aupro,
    }
