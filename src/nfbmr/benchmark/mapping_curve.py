"""How long and how wide the mapping should train: AUROC of eq. 14 against steps and width.

z is a function of y, so a mapping that were perfect everywhere would have no error on defects
either: it detects because it has learnt good features only, and only so far. This measures how
far is best, and whether held-out good pictures, who know no defect, would have chosen it.

    python -m nfbmr.benchmark.mapping_curve --data magnetic_tile=DIR --data NAME=PATH -o OUT

One flow a set and seed; for each width one run at the paper's constant rate, looked at on its way.
A step's batch depends on the step alone: the point at 100 steps is where a run of 100 steps ends.

Shapes: K = raw maps.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nfbmr.data.layouts import DataSet
from nfbmr.data.same import fingerprint
from nfbmr.errors import NfbmrError
from nfbmr.evaluation.metrics import image_auroc
from nfbmr.features.cache import FeatureCache
from nfbmr.features.compute import build_features
from nfbmr.features.store import FeatureStore
from nfbmr.learning.learn import look_over, source_network
from nfbmr.learning.maps import feature_maps
from nfbmr.learning.plan import plan_fit
from nfbmr.learning.stages import split_held_out, train
from nfbmr.learning.training_data import TrainingData
from nfbmr.networks.detector import Detector
from nfbmr.networks.source import SourceNetwork
from nfbmr.paper.plan import read_source
from nfbmr.paper.systems import base_settings
from nfbmr.scoring.calibrate import calibrate
from nfbmr.scoring.calibration import image_scores
from nfbmr.scoring.maps import MAPS, Maps, statistics
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import ScoringSettings, Settings
from nfbmr.settings.text import parse_numbers, parse_pairs
from nfbmr.system.devices import choose_device
from nfbmr.system.files import written_beside

STEPS = (10, 30, 100, 300, 1000, 3000)
WIDTHS = (64, 128, 512)
_SCORES = {name: ScoringSettings(maps=(name,)) for name in ("asm", "source", "target")}
Row = dict[str, Any]


def curve(
    found: DataSet, seed: int, widths: tuple[int, ...], last: int, work: Path
) -> Iterator[Row]:
    """Yields a row for each width and number of steps up to `last`.

    Args:
        found: with good and defective test pictures.
        seed: of split, weights and batches.
        widths: latent channels; a residual block's inner width is a quarter.
        last: the most steps.
        work: a folder for features and checkpoints.
    """
    settings = with_changes(
        base_settings("fast"),
        {
            "seed": seed,
            "stage_two": {"steps": last, "schedule": "constant", "learning_rate": 3e-4},
        },
    )
    good = look_over(found.name, found.train_good)
    plan = plan_fit(good, settings)
    network, _ = source_network(settings)
    cache, device = FeatureCache(work / "cache"), choose_device("auto")
    seen = [(one.picture, one.fingerprint) for one in good.pictures]
    unseen = [(sample.path, fingerprint(sample.path)) for sample in found.test]
    stores = [
        build_features(pictures, network, plan.size, cache=cache, how=settings.data, device=device)
        for pictures in (seen, unseen)
    ]
    chosen, held_out = split_held_out(len(good.pictures), plan.n_held_out, seed)
    data = TrainingData(store=stores[0], train=chosen, held_out=held_out)
    is_defect = np.array([sample.is_defect for sample in found.test])
    for width in widths:
        mapping = replace(settings.mapping, latent=width, inner=width // 4)
        rows = _one_width(replace(settings, mapping=mapping), network, data, stores[1], work)
        for steps, held, test in rows:
            row = {"set": found.name, "seed": seed, "width": width, "steps": steps}
            yield row | _figures(held, test, is_defect, network.channels)


def _one_width(
    settings: Settings,
    network: SourceNetwork,
    data: TrainingData,
    test: FeatureStore,
    work: Path,
) -> list[tuple[int, Maps, Maps]]:
    """Trains one mapping; returns steps and the raw maps of held-out and test pictures."""
    device = choose_device("auto")
    detector = Detector(network, settings)
    seen = []

    def look(what: str, done: int, total: int, loss: float | None = None) -> None:  # noqa: ARG001
        if what == "mapping" and (done in STEPS or done == total):
            held = feature_maps(detector, data.store, data.held_out, device)
            seen.append((done, held, feature_maps(detector, test, np.arange(len(test)), device)))

    # Looking from within needs the run in one piece: only the flow goes on from its checkpoint.
    (work / f"{settings.seed}" / "mapping.safetensors").unlink(missing_ok=True)
    train(
        detector,
        data,
        settings,
        work=work / f"{settings.seed}",
        device=device,
        progress=look,
        checkpoint_seconds=float("inf"),
    )
    return seen


def _figures(held: Maps, test: Maps, is_defect: np.ndarray[Any, Any], channels: int) -> Row:
    """AUROC by map, and the error of both kinds of pictures per channel and direction."""
    row: Row = {}
    for name, how in _SCORES.items():
        calibration = calibrate(held, how, 0.05)
        row[f"auroc_{name}"] = image_auroc(image_scores(test, how, calibration), is_defect)
    for reduction in ("max", "top", "mean"):
        one = ScoringSettings(maps=("asm",), statistics=(reduction,))
        row[f"auroc_asm_{reduction}"] = image_auroc(statistics(test, one)[:, 0], is_defect)
    for name in ("source", "target"):
        place = MAPS.index(name)
        row[f"held_out_{name}"] = float(held[:, place].mean() / channels)
        row[f"defective_{name}"] = float(test[is_defect, place].mean() / channels)
    return row


def measure(
    sets: list[tuple[str, Path]],
    seeds: tuple[int, ...],
    widths: tuple[int, ...],
    last: int,
    out: Path,
) -> list[Row]:
    """Measures what is not measured yet; rows are kept in `curve.jsonl` as they come."""
    path = out / "curve.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    rows = _read_rows(path)
    there = {(row["set"], row["seed"], row["width"]) for row in rows if row["steps"] == last}
    for name, data in sets:
        for seed in seeds:
            for width in widths:
                if (name, seed, width) in there:
                    continue
                found = read_source("other", name, data).found
                for row in curve(found, seed, (width,), last, out / "work" / name):
                    rows.append(row | {"set": name})
                    with path.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(rows[-1]) + "\n")
                    print(rows[-1], flush=True)
    return rows


def _read_rows(path: Path) -> list[Row]:
    """Reads the rows; a last line that a kill cut short is dropped from the file, too."""
    if not path.is_file():
        return []
    whole, _, rest = path.read_text("utf-8").rpartition("\n")
    if rest:
        with written_beside(path) as beside:
            beside.write_text(f"{whole}\n" if whole else "", encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def table(rows: list[Row], key: str = "auroc_asm") -> str:
    """Returns AUROC, mean over seeds, as Markdown: rows are set and width, columns steps."""
    steps = sorted({row["steps"] for row in rows})
    lines = [
        "| set | width | " + " | ".join(map(str, steps)) + " |",
        "|---" * (2 + len(steps)) + "|",
    ]
    for name, width in sorted({(row["set"], row["width"]) for row in rows}):
        cells = []
        for step in steps:
            found = [
                row
                for row in rows
                if (row["set"], row["width"], row["steps"]) == (name, width, step)
            ]
            values = [100 * row[key] for row in found]
            cells.append(f"{np.mean(values):.1f}" if values else "-")
        lines.append(f"| {name} | {width} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def chosen_by_good(rows: list[Row]) -> str:
    """Compares the steps that held-out good pictures would choose with the best in hindsight.

    Held-out good pictures can only say where their own error is lowest.
    """
    lines = [
        "| set | width | lowest held-out error at | AUROC there | best AUROC | at |",
        "|---|---|---|---|---|---|",
    ]
    for name, width in sorted({(row["set"], row["width"]) for row in rows}):
        own = [row for row in rows if (row["set"], row["width"]) == (name, width)]
        by_steps = {
            steps: [row for row in own if row["steps"] == steps]
            for steps in sorted({row["steps"] for row in own})
        }
        errors = {
            steps: np.mean([row["held_out_source"] + row["held_out_target"] for row in found])
            for steps, found in by_steps.items()
        }
        aurocs = {
            steps: 100 * float(np.mean([row["auroc_asm"] for row in found]))
            for steps, found in by_steps.items()
        }
        chosen = min(errors, key=lambda steps: errors[steps])
        best = max(aurocs, key=lambda steps: aurocs[steps])
        lines.append(
            f"| {name} | {width} | {chosen} steps | {aurocs[chosen]:.1f} | {aurocs[best]:.1f} "
            f"| {best} steps |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parses the command line, measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/mapping_curve"))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--widths", default=",".join(map(str, WIDTHS)))
    parser.add_argument("--last", type=int, default=STEPS[-1], help="the most steps")
    arguments = parser.parse_args()
    try:
        _run(arguments)
    except NfbmrError as error:
        parser.error(str(error))


def _run(arguments: argparse.Namespace) -> None:
    sets = [(name, Path(path)) for name, path in parse_pairs("--data", arguments.data)]
    rows = measure(
        sets,
        parse_numbers("--seeds", arguments.seeds),
        parse_numbers("--widths", arguments.widths),
        arguments.last,
        arguments.out,
    )
    text = f"{table(rows)}\n{chosen_by_good(rows)}"
    with written_beside(arguments.out / "curve.md") as beside:
        beside.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
