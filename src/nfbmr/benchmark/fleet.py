"""What a fleet gains: `python -m nfbmr.benchmark.fleet many|together|picture SET... -o rows.jsonl`.

`many`: small products cut from sets, as many of each set as it has quarters: the same part of each
of its pictures is a product's picture. They are learnt one after another by `nfbmr fit`, each with
all cores, and then by one `nfbmr fleet fit`; a row says both times, and how many were refused
(a quarter may hold nothing but background): in both ways the same ones, or there is no row.

`together`: each set is learnt by one worker and by several, through `--engine ray`, from the same
batches; a row says both times, and how alike the two models rank the pictures of the test.

`picture`, without sets: what one good picture more takes of the memory and the disk of a fit.

Programs are measured as their users start them, each with a feature cache of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

from nfbmr.benchmark.child import say_row
from nfbmr.data.images import read_image
from nfbmr.data.layouts import read_data
from nfbmr.data.sizes import choose_size
from nfbmr.data.survey import Surveyed
from nfbmr.inspection.inspector import load
from nfbmr.scoring.maps import MAPS
from nfbmr.settings.presets import preset
from nfbmr.settings.text import parse_changes

Row = dict[str, Any]

_QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def cut(sets: Sequence[Path], root: Path, *, products: int, pictures: int) -> list[Path]:
    """Makes small products of sets: quarters of their good pictures to learn from.

    Args:
        sets: data sets, of each of which four products can be cut.
        root: the folder of the products.
        products: how many.
        pictures: of each product at most.

    Returns:
        Their folders; the first quarters of all sets come first.
    """
    assert products <= len(_QUARTERS) * len(sets), "a set has four quarters"
    folders = []
    for number in range(products):
        quarter, data = number // len(sets), sets[number % len(sets)]
        folder = root / f"{data.stem}-{quarter}"
        folder.mkdir(parents=True)
        for place, sample in enumerate(read_data(data).to_learn_from()[:pictures]):
            pixels = read_image(sample.path)
            height, width = (side // 2 for side in pixels.shape[:2])
            down, across = _QUARTERS[quarter]
            part = pixels[down * height :, across * width :][:height, :width]
            Image.fromarray(part).save(folder / f"{place:04d}.png")
        folders.append(folder)
    return folders


def many(
    sets: Sequence[Path], work: Path, changes: dict[str, Any], *, products: int, pictures: int
) -> Row:
    """Measures a fleet against one product after another; returns a row.

    Args:
        sets: data sets that products are cut from.
        work: an empty folder.
        changes: of the settings of all.
        products: how many.
        pictures: of each at most.

    Raises:
        RuntimeError: one way learnt products that the other did not, or none was learnt.
    """
    folders = cut(sets, work / "data", products=products, pictures=pictures)
    refused = set()
    started = time.monotonic()
    for folder in folders:
        out = work / "one by one" / folder.name
        words = [f"--set={key}={json.dumps(value)}" for key, value in _flat(changes)]
        if not _run(["fit", str(folder), "-o", str(out), *words], work / "cache of one by one"):
            refused.add(folder.name)
    alone = time.monotonic() - started
    plan = work / "plan.toml"
    plan.write_text(plan_text({folder.name: folder for folder in folders}, changes), "utf-8")
    started = time.monotonic()
    _run(["fleet", "fit", str(plan), "-o", str(work / "fleet")], work / "cache of the fleet")
    fleet = time.monotonic() - started
    states = _states(work / "fleet")
    failed = {state["product"] for state in states if state["status"] != "done"}
    if failed != refused or len(states) != products or len(refused) == products:
        raise RuntimeError(f"refused one by one: {sorted(refused)}; by the fleet: {sorted(failed)}")
    return {
        "row": "many products",
        "products": products,
        "refused": len(refused),
        "pictures": pictures,
        "changes": changes,
        "one_after_another_seconds": round(alone, 1),
        "fleet_seconds": round(fleet, 1),
        "times_as_fast": round(alone / fleet, 2),
        "peak_mb": max(state["peak_mb"] for state in states),
    }


def together(data: Path, work: Path, changes: dict[str, Any], *, workers: int) -> Row:
    """Measures one product learnt by several workers against one; returns a row.

    Args:
        data: a data set with a test.
        work: an empty folder.
        changes: of the settings.
        workers: how many.
    """
    seconds, scores = [], []
    test = [sample.path for sample in read_data(data).test]
    for count in (1, workers):
        place = work / f"{count} workers"
        place.mkdir(parents=True)
        plan = place / "plan.toml"
        text = f"workers = {count}\n{plan_text({'product': data.absolute()}, changes)}"
        plan.write_text(text, "utf-8")
        started = time.monotonic()
        words = ["fleet", "fit", str(plan), "-o", str(place / "models"), "--engine", "ray"]
        if not _run([*words, "--cores", str(workers)], place / "cache"):
            raise RuntimeError(f"{data} could not be learnt; see {place / 'models'}")
        seconds.append(time.monotonic() - started)
        scores.append(load(place / "models" / "product").scores(test))
    return {
        "row": "one product by several workers",
        "set": data.stem,
        "workers": workers,
        "changes": changes,
        "pictures": len(read_data(data).to_learn_from()),
        "test_pictures": len(test),
        "one_worker_seconds": round(seconds[0], 1),
        "together_seconds": round(seconds[1], 1),
        "spearman": round(float(spearmanr(*scores).statistic), 5),
        "largest_difference": round(float(np.abs(scores[0] - scores[1]).max()), 4),
    }


def picture(count: int = 20_000) -> Row:
    """Returns a row of what one good picture more takes, from records of many that are not there.

    Args:
        count: records whose memory is taken.
    """
    from nfbmr.learning.learn import source_network

    tracemalloc.start()
    kept = [
        Surveyed(
            picture=(path := Path(f"/data/plant/product/train/good/{number:07d}.png")),
            name=path.name,
            path=path,
            size=(1024, 1024),
            fingerprint=f"{number:064x}",
            pixel_hash=f"{count + number:064x}",
            depth=8,
            highest=255.0,
            usual=255.0,
        )
        for number in range(count)
    ]
    survey_bytes = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    row: Row = {"row": "a picture", "survey_bytes": round(survey_bytes)}
    for name in ("fast", "accurate"):
        settings = preset(name)
        size = choose_size([(1, 1)], settings.pixel_budget)
        network, _ = source_network(settings)
        height, width = network.grid(size)
        factor = max(network.detail_factor, network.finest_factor)
        row[name] = {
            "size": list(size),
            "features_bytes": 4 * height * width * network.outputs,
            "maps_bytes": 4 * len(MAPS) * height * width * factor**2,
        }
    return row


def plan_text(products: dict[str, Path], changes: dict[str, Any]) -> str:
    """Returns a plan of products, by name, with changes that all share."""
    base = [f"{key} = {json.dumps(value)}" for key, value in _flat(changes)]
    named = [f"{json.dumps(name)} = {json.dumps(str(path))}" for name, path in products.items()]
    return "\n".join(["[base]", *base, "[products]", *named, ""])


def _flat(changes: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in changes.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _run(words: list[str], cache: Path) -> bool:
    """Runs nfbmr to its end; returns whether it refused nothing of what it was given.

    Raises:
        RuntimeError: it broke; the message is the end of what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", "nfbmr", *words],
        env=os.environ | {"NFBMR_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1, 2) or "Traceback" in done.stderr:
        raise RuntimeError(f"nfbmr {' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


def _states(models: Path) -> list[Row]:
    files = sorted(models.glob(".fleet/*/state.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def main() -> None:
    """Parses the command line, measures, and adds rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("many", "together", "picture"))
    parser.add_argument("sets", nargs="*", metavar="SET", type=Path, help="data sets")
    parser.add_argument("-o", "--out", type=Path, help="JSONL that rows are added to")
    parser.add_argument("--products", type=int, default=24)
    parser.add_argument("--pictures", type=int, default=60, help="of a product of `many` at most")
    parser.add_argument("--workers", type=int, default=2, help="of `together`")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--work", type=Path, help="where to work [default: a temporary folder]")
    arguments = parser.parse_args()
    changes = parse_changes(arguments.changes)
    if arguments.what == "picture":
        say_row(picture(), arguments.out)
        return
    if not arguments.sets:
        parser.error(f"{arguments.what} is measured on data sets; give some")
    if arguments.work is not None:
        arguments.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nfbmr-fleet-", dir=arguments.work) as made:
        if arguments.what == "many":
            row = many(
                arguments.sets,
                Path(made),
                changes,
                products=arguments.products,
                pictures=arguments.pictures,
            )
            say_row(row, arguments.out)
            return
        for data in arguments.sets:
            work = Path(made) / data.stem
            say_row(together(data, work, changes, workers=arguments.workers), arguments.out)
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
