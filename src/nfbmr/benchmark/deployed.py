"""What each runtime and precision says of the test pictures, beside torch.

`python -m nfbmr.benchmark.deployed -o out/deployed`: a row for each set and seed. The model is
fitted, exported in single precision and in 8-bit integers, and all test pictures are inspected by
each. Rows are kept in `rows.jsonl` as they finish, and a finished one is not run again while
settings and commit are the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nfbmr.benchmark.figures import data_sets, kept_rows
from nfbmr.data.layouts import read_data
from nfbmr.deployment.export import export
from nfbmr.evaluation.metrics import image_auroc
from nfbmr.features.cache import FeatureCache
from nfbmr.fitting import fit
from nfbmr.inspection.inspector import load
from nfbmr.inspection.result import Inspection
from nfbmr.settings.changes import settings_hash
from nfbmr.settings.presets import preset
from nfbmr.system import provenance

Row = dict[str, Any]

SETS = ("magnetic_tile", "kolektorsdd", "solar mono", "solar poly")
RUNTIMES = ("torch", "onnx", "openvino", "openvino:int8")


def measure(data: Path, seed: int, preset_name: str, folder: Path, threads: int | None) -> Row:
    """Fits, exports and inspects; returns for each runtime its AUROC, and how it parts from torch.

    Args:
        data: a set with test pictures.
        seed: of the fit.
        preset_name: of the settings.
        folder: for model and cache.
        threads: for one picture.

    Raises:
        ExportError: a gate did not let a graph through.
    """
    model = folder / "model"
    cache = FeatureCache(folder / "cache")
    fit(data, model, preset=preset_name, seed=seed, cache=cache)
    cache.clear()
    export(model, to="openvino", precision="int8", calibrate_on=data, threads=threads)
    test = read_data(data).test
    is_defect = np.array([sample.is_defect for sample in test])
    said = {name: _inspected(model, [s.path for s in test], name, threads) for name in RUNTIMES}
    return {name: _beside(found, said["torch"], is_defect) for name, found in said.items()}


def _inspected(
    model: Path, paths: Sequence[Path], runtime: str, threads: int | None
) -> list[Inspection]:
    found = list(load(model, runtime=runtime, threads=threads).inspect_many(paths))
    return [one for one in found if isinstance(one, Inspection)]


def _beside(found: list[Inspection], torch: list[Inspection], is_defect: Any) -> Row:
    pairs = list(zip(found, torch, strict=True))
    return {
        "image_auroc": image_auroc(np.array([one.score for one in found]), is_defect),
        "scores_part": max(abs(f.score - t.score) / max(1, abs(t.score)) for f, t in pairs),
        "other_verdicts": sum(f.is_defect != t.is_defect for f, t in pairs),
        "pictures": len(found),
        "defects_found": sum(f.is_defect for f, bad in zip(found, is_defect, strict=True) if bad),
        "defects": int(is_defect.sum()),
        "false_alarms": sum(
            f.is_defect for f, bad in zip(found, is_defect, strict=True) if not bad
        ),
    }


def table(rows: list[Row]) -> str:
    """Returns the figures as Markdown: mean and standard deviation over the seeds."""
    lines = [
        "| set | runtime | image AUROC | from torch | largest difference of a score, relative | "
        "other verdicts | defects found, by seed | false alarms | seeds |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(row["set"] for row in rows):
        seeds = [row for row in rows if row["set"] == name]
        for runtime in RUNTIMES:
            found = [row["row"][runtime] for row in seeds]
            auroc = 100 * np.array([one["image_auroc"] for one in found])
            torch = 100 * np.array([row["row"]["torch"]["image_auroc"] for row in seeds])
            spread = auroc.std(ddof=1) if len(auroc) > 1 else 0.0
            others = sum(one["other_verdicts"] for one in found)
            cells = [
                f"{auroc.mean():.2f} ± {spread:.2f}",
                f"{(auroc - torch).mean():+.2f}",
                f"{max(one['scores_part'] for one in found):.1e}",
                f"{others} of {sum(one['pictures'] for one in found)}",
                ", ".join(f"{one['defects_found']} of {one['defects']}" for one in found),
                ", ".join(str(one["false_alarms"]) for one in found),
                str(len(found)),
            ]
            lines.append(f"| {name} | {runtime} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parses the command line, measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="data sets")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/deployed"))
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    sets = {k: v for k, v in data_sets(arguments.shared, out).items() if k in SETS}
    mark = {
        "settings_hash": settings_hash(preset(arguments.preset)),
        "commit": provenance.commit(),
    }
    file = out / "rows.jsonl"
    dirty = str(mark["commit"]).endswith("-dirty")  # one mark for many states: nothing to reuse
    rows = [row for row in kept_rows(file) if row["mark"] == mark and not dirty]
    for seed in map(int, arguments.seeds.split(",")):
        for name, data in sets.items():
            if any((row["set"], row["seed"]) == (name, seed) for row in rows):
                continue
            print(f"measuring {name}, seed {seed} ...", flush=True)
            folder = out / f"{name}-{seed}".replace(" ", "_")
            row = measure(data, seed, arguments.preset, folder, arguments.threads)
            rows.append({"set": name, "seed": seed, "mark": mark, "row": row})
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
    text = table(rows)
    (out / "deployed.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
