"""The figures of the README, measured: `make bench`, or `python -m nfbmr.benchmark.figures`.

Each row is one fit in a process of its own: a data set, a seed, the last step, nothing chosen on
test data. Rows are kept in `rows.jsonl` as they finish, and a finished one is not run again while
settings and commit are the same.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nfbmr.benchmark import solar_cells
from nfbmr.benchmark.child import Measured, Row, do_job, in_child
from nfbmr.data.layouts import read_data
from nfbmr.scoring.maps import Floats
from nfbmr.settings.changes import settings_hash, with_changes
from nfbmr.settings.presets import preset
from nfbmr.system import provenance

if TYPE_CHECKING:
    from nfbmr.inspection.inspector import Inspector

RATES = (0.01, 0.05)
FEW = 25
"""Good pictures where few are learnt from."""
_MODULE = "nfbmr.benchmark.figures"  # `__name__` is another where it runs as a program


def data_sets(shared: Path, out: Path) -> dict[str, Path]:
    """Returns name -> data of the sets that are here; tables are written to `out`."""
    found = {
        f"solar {kind}": solar_cells.write_table(kind, out / f"solar_{kind}.csv")
        for kind in ("mono", "poly")
    }
    for name in ("magnetic_tile", "kolektorsdd"):
        if (shared / name).is_dir():
            found[name] = shared / name
    if "kolektorsdd" in found:
        table = out / "kolektorsdd_shuffled.csv"
        found["kolektorsdd, good pictures shuffled"] = _shuffled(found["kolektorsdd"], table)
    return found


def few(data: Path, table: Path, seed: int) -> Path:
    """Writes a table of all test pictures and of `FEW` good ones, drawn by the seed."""
    from nfbmr.learning.learn import look_over

    found = read_data(data)
    good = look_over(found.name, found.train_good).paths
    drawn = np.random.default_rng(seed).choice(len(good), FEW, replace=False)
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "mask", "split"])
        for index in sorted(drawn):
            writer.writerow([good[index].resolve(), "good", "", "train"])
        for sample in found.test:
            mask = sample.mask.resolve() if sample.mask else ""
            writer.writerow([sample.path.resolve(), sample.defect, mask, "test"])
    return table


def _shuffled(data: Path, table: Path) -> Path:
    """Deals the good pictures of train and test anew, so that both are exchangeable."""
    found = read_data(data)
    good = [sample for sample in found.samples if not sample.is_defect]
    n_train = len(found.train_good)
    order = np.random.default_rng(0).permutation(len(good))
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "mask", "split"])
        for place, index in enumerate(order):
            split = "train" if place < n_train else "test"
            writer.writerow([good[index].path.resolve(), "good", "", split])
        for sample in found.samples:
            if sample.is_defect:
                writer.writerow([sample.path.resolve(), sample.defect, sample.mask, "test"])
    return table


def accuracy(data: str, seed: int, preset_name: str, folder: str) -> Row:
    """Fits and evaluates in this process; returns the metrics and the false alarms by rate."""
    from nfbmr.features.cache import FeatureCache
    from nfbmr.fitting import fit

    out = Path(folder)
    cache = FeatureCache(out / "cache")  # its own, so that every fit pays for its features
    inspector = fit(data, out / "model", preset=preset_name, seed=seed, cache=cache, export=False)
    cache.clear()
    return tested(inspector, data, out / "report")


def tested(inspector: Inspector, data: str, report: Path) -> Row:
    """Evaluates a model; returns the metrics and the false alarms by rate."""
    from nfbmr.evaluation.evaluate import evaluate

    done = evaluate(inspector, data, report)
    good = np.array([not sample.is_defect for sample in done.samples])
    alarms = {}
    for rate in RATES:
        at_rate = inspector.recalibrated(rate)
        # Scores are shown on the scale of the rate that the model was made for.
        raw = inspector.calibration.raw(done.scores[good])
        alarms[str(rate)] = _alarms(at_rate, at_rate.calibration.shown(raw))
    keys = (
        "image_auroc",
        "image_ap",
        "f1",
        "recall",
        "recall_with_look",
        "false_alarm_rate_observed",
        "good_with_look",
        "pixel_auroc",
        "aupro",
        "pointed_inside",
        "pointed",
        "touched",
        "fit_seconds",
        "inspect_ms",
    )
    return {key: done.metrics[key] for key in keys} | {"alarms": alarms}


def _alarms(inspector: Inspector, scores: Floats) -> Row:
    from nfbmr.evaluation.metrics import predictive_interval
    from nfbmr.scoring.intervals import share_interval

    calibration = inspector.calibration
    n = len(calibration.scores)
    count = int((scores > inspector.threshold).sum())
    low, high = predictive_interval(n, min(calibration.rank, n), len(scores))
    return {
        "count": count,
        "n_good": len(scores),
        "n_calibration": n,
        "extrapolated": calibration.extrapolated,
        "expected": [0 if calibration.extrapolated else low, high],
        "interval": share_interval(count, len(scores)),
    }


def memory(data: Path, folder: Path) -> Row:
    """Returns the peak memory of a fit of a third of the good pictures, and of all of them."""
    good = [sample.path.resolve() for sample in read_data(data).train_good]
    row: Row = {}
    for name, share in (("third", good[: len(good) // 3]), ("all", good)):
        table = folder / f"{name}.csv"
        table.write_text("path\n" + "\n".join(map(str, share)) + "\n", encoding="utf-8")
        job = {"do": "short_fit", "data": str(table), "folder": str(folder / name)}
        found = in_child(_MODULE, job)
        row[name] = {"images": len(share), "peak_mb": round(found.peak_mb)}
    row["ratio"] = row["all"]["peak_mb"] / row["third"]["peak_mb"]
    return row


def short_fit(data: str, folder: str) -> Row:
    """Fits in this process, for its memory alone."""
    from nfbmr.features.cache import FeatureCache
    from nfbmr.fitting import fit

    # Few steps: memory does not depend on them once every page has been read.
    changes = {"size": [320, 320], "stage_one": {"steps": 60}, "stage_two": {"steps": 60}}
    settings = with_changes(preset("fast"), changes)
    cache = FeatureCache(Path(folder) / "cache")
    fit(data, Path(folder) / "model", settings=settings, cache=cache, export=False)
    return {}


def kept_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a file, if there is one; a line that a kill cut short is none."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # the last line of a killed run
                continue


def measure(shared: Path, out: Path, preset_name: str, seeds: tuple[int, ...]) -> list[Row]:
    """Measures what is not measured yet; returns all rows of this commit and these settings."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "rows.jsonl"
    mark = {"settings_hash": settings_hash(preset(preset_name)), "commit": provenance.commit()}
    dirty = str(mark["commit"]).endswith("-dirty")  # one mark for many states: nothing to reuse
    known = {row["name"]: row for row in kept_rows(path) if row["mark"] == mark and not dirty}
    plan: dict[str, Callable[[], Measured]] = {}
    sets = data_sets(shared, out)
    small = {
        f"{name}, {FEW} good pictures": data
        for name, data in sets.items()
        if not name.endswith("shuffled")
    }
    for name, data, seed in [
        (name, data, seed)
        for group in (sets, small)
        for seed in seeds
        for name, data in group.items()
    ]:
        folder = out / f"{name}-{seed}".replace(" ", "_").replace(",", "")

        def run(
            data: Path = data, seed: int = seed, folder: Path = folder, drawn: bool = name in small
        ) -> Measured:
            table = few(data, folder.with_suffix(".csv"), seed) if drawn else data
            job = {"do": "accuracy", "data": str(table), "folder": str(folder)}
            return in_child(_MODULE, job | {"seed": seed, "preset_name": preset_name})

        plan[f"{name} | seed {seed}"] = run
    if "magnetic_tile" in sets:
        folder = out / "memory"
        folder.mkdir(exist_ok=True)
        plan["memory"] = lambda: Measured(
            row=memory(sets["magnetic_tile"], folder), peak_mb=0, seconds=0
        )
    for name, job in plan.items():
        if name in known:
            continue
        print(f"measuring {name} ...", flush=True)
        found = job()
        known[name] = {
            "name": name,
            "mark": mark,
            "row": found.row,
            "peak_mb": round(found.peak_mb),
            "seconds": round(found.seconds, 1),
        }
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(known[name]) + "\n")
    return [known[name] for name in plan]


def table(rows: list[Row]) -> str:
    """Returns the figures as Markdown: mean and standard deviation over the seeds."""
    sets: dict[str, list[Row]] = {}
    for row in rows:
        if " | seed " in row["name"]:
            sets.setdefault(row["name"].split(" | ")[0], []).append(row["row"])
    lines = [
        "| set | image AUROC | AUPRO | pixel AUROC | fit s | ms per picture | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in sets.items():
        cells = [_spread(found, key, 100) for key in ("image_auroc", "aupro", "pixel_auroc")]
        cells += [_median(found, "fit_seconds"), _median(found, "inspect_ms"), str(len(found))]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| set | asked | false alarms by seed | expected 95 % | inside |"]
    lines += ["|---|---|---|---|---|"]
    for name, found in sets.items():
        for rate in RATES:
            seen = [row["alarms"][str(rate)] for row in found]
            counts = ", ".join(f"{a['count']} of {a['n_good']}" for a in seen)
            low, high = seen[0]["expected"]
            inside = sum(a["expected"][0] <= a["count"] <= a["expected"][1] for a in seen)
            mark = " (extrapolated)" if seen[0]["extrapolated"] else ""
            cells = [f"{100 * rate:g} %{mark}", counts, f"{low} to {high}"]
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {inside} of {len(seen)} |")
    for row in rows:
        if row["name"] == "memory":
            third, everything = row["row"]["third"], row["row"]["all"]
            lines += [
                "",
                f"Peak memory of a fit: {third['peak_mb']} MB with {third['images']} pictures, "
                f"{everything['peak_mb']} MB with {everything['images']}: "
                f"ratio {row['row']['ratio']:.3f}.",
            ]
    return "\n".join(lines) + "\n"


def _spread(rows: list[Row], key: str, factor: float) -> str:
    values = [factor * row[key] for row in rows if row[key] is not None]
    if not values:
        return "-"
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.2f} ± {spread:.2f}"


def _median(rows: list[Row], key: str) -> str:
    return f"{np.median([row[key] for row in rows]):.0f}"


def main() -> None:
    """Parses the command line, measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="data sets")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--job", type=Path, help="measure one row, as a job of `child` says")
    arguments = parser.parse_args()
    if arguments.job is not None:
        do_job(arguments.job, {"accuracy": accuracy, "short_fit": short_fit})
        return
    seeds = tuple(int(seed) for seed in arguments.seeds.split(","))
    rows = measure(arguments.shared, arguments.out, arguments.preset, seeds)
    text = table(rows)
    (arguments.out / "figures.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
