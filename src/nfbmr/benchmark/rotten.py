"""Defects among the good pictures: `python -m nfbmr.benchmark.rotten --data NAME=PATH ... -o OUT`.

Nobody's good pictures are all good. Defects of the test, of all types in turn, are put among the
good ones in a share of them, and no longer tested. The fit does not know. Told is what it costs,
against a fit of good ones alone that is asked about the same rest of the test, how many of the
rotten ones the fit names, and what its thresholds find once those named have no part in them, as
after `nfbmr calibrate --without`. Rows are kept in `rows.jsonl` as they
finish, and a finished one is not computed again at the same commit.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nfbmr.benchmark.child import Row, do_job, in_child
from nfbmr.benchmark.figures import kept_rows
from nfbmr.data.layouts import Sample, read_data
from nfbmr.errors import NfbmrError
from nfbmr.settings.text import parse_pairs
from nfbmr.system import provenance

if TYPE_CHECKING:
    from nfbmr.scoring.calibration import Calibration

SHARES = (0.0, 0.02, 0.05)
"""Of what is learnt from as good."""
_SHOWN = 20
"""Of the good pictures' scores, the highest: as many as somebody may look through."""
_MODULE = "nfbmr.benchmark.rotten"


def rotten_of(test: Sequence[Sample], n_good: int, share: float, seed: int) -> list[Sample]:
    """Draws the defects that make up a share of the good pictures, of all types in turn.

    Args:
        test: of a set.
        n_good: good pictures that are learnt from without them.
        share: of the defects among what is then learnt from, below 1.
        seed: of the draw.
    """
    rng = np.random.default_rng([seed, 1])
    types: dict[str, list[Sample]] = {}
    for sample in test:
        if sample.is_defect:
            types.setdefault(sample.defect, []).append(sample)
    drawn = [[own[place] for place in rng.permutation(len(own))] for own in types.values()]
    turns = [one for turn in zip_longest(*drawn) for one in turn if one is not None]
    return turns[: round(share * n_good / (1 - share))]


def learnt(data: str, share: float, seed: int, folder: str) -> Row:
    """Fits good pictures with a share of defects among them; returns what came of it.

    Args:
        data: a set with defects in its test.
        share: of the defects among what is learnt from.
        seed: of the draw and of the fit.
        folder: for table, model and features.

    Returns:
        `scores` of all test pictures that were not learnt from, name -> score, what is named, and
        `ranks` of the rotten ones among those that calibrate, 1 that of the highest score.
    """
    from nfbmr.data.survey import survey
    from nfbmr.features.cache import FeatureCache
    from nfbmr.fitting import fit
    from nfbmr.scoring.calibration import image_scores
    from nfbmr.scoring.odd import odd_ones
    from nfbmr.scoring.without import without

    out, found = Path(folder), read_data(data)
    rotten = rotten_of(found.test, len(found.train_good), share, seed)
    table = out / "good.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for sample in (*found.train_good, *rotten):
            writer.writerow([sample.path.resolve(), "good", "train"])
    cache = FeatureCache(out / "cache")
    one = fit(table, out / "model", cache=cache, seed=seed, export=False)
    asked = [sample for sample in found.test if sample not in rotten]
    maps, scoring = one.maps([sample.path for sample in asked]), one.settings.scoring
    bad = {seen.pixel_hash for seen in survey("rotten", rotten).pictures} if rotten else set()
    named = [odd.picture for odd in odd_ones(one.calibration, scoring)]
    highest_first = one.calibration.pictures[::-1]

    def judged(calibration: Calibration) -> Row:
        scores = image_scores(maps, scoring, calibration)
        return {
            "look_threshold": calibration.look_threshold,
            "threshold": calibration.threshold,
            "scores": {str(s.path): float(v) for s, v in zip(asked, scores, strict=True)},
        }

    return {
        "learnt_from": len(found.train_good) + len(rotten),
        "rotten": len(rotten),
        "named": len(named),
        "named_rotten": sum(picture in bad for picture in named),
        "ranks": [rank for rank, picture in enumerate(highest_first, 1) if picture in bad],
        **judged(one.calibration),
        "cured": judged(without(one.calibration, named, scoring)),
    }


def told(row: Row, test: Sequence[Sample], of: Sequence[str]) -> Row:
    """Returns the figures of a fit on those test pictures whose paths are in `of`."""
    from sklearn.metrics import roc_auc_score

    bad = {str(sample.path): sample.is_defect for sample in test}
    scores = np.array([row["scores"][path] for path in of])
    defect = np.array([bad[path] for path in of])
    look, threshold = row["look_threshold"], row["threshold"]
    return {
        "image_auroc": float(roc_auc_score(defect, scores)),
        "recall": float((scores[defect] > threshold).mean()),
        "recall_with_look": float((scores[defect] > look).mean()),
        "false_alarm_rate": float((scores[~defect] > threshold).mean()),
        "good_with_look": float((scores[~defect] > look).mean()),
    }


def measure(sets: dict[str, Path], out: Path, seeds: int) -> list[Row]:
    """Computes the rows that are missing and returns all.

    Args:
        sets: name -> data.
        out: the folder of `rows.jsonl`, and of work that is deleted.
        seeds: draws and fits of each.
    """
    out.mkdir(parents=True, exist_ok=True)
    path, commit = out / "rows.jsonl", provenance.commit()
    dirty = str(commit).endswith("-dirty")  # one name for many states: nothing to reuse
    rows = [row for row in kept_rows(path) if row["commit"] == commit and not dirty]
    for name, data in sets.items():
        for seed in range(seeds):
            there = {row["share"] for row in rows if (row["set"], row["seed"]) == (name, seed)}
            if there < set(SHARES):
                found = _of_seed(name, data, seed, out)
                new = [row | {"commit": commit} for row in found if row["share"] not in there]
                with path.open("a", encoding="utf-8") as stream:
                    stream.writelines(json.dumps(row) + "\n" for row in new)
                rows += new
    return rows


def _of_seed(name: str, data: Path, seed: int, out: Path) -> list[Row]:
    """Returns a row for each share, beside what the fit of good ones alone says of the same."""
    test, found = read_data(data).test, []
    for share in SHARES:
        print(f"measuring {name}, {share:.0%}, seed {seed} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix=".work-", dir=out) as work:
            job = {"do": "learnt", "data": str(data), "share": share, "seed": seed}
            found.append(in_child(_MODULE, job | {"folder": str(Path(work).absolute())}).row)
    rows = []
    for share, row in zip(SHARES, found, strict=True):
        of = list(row["scores"])
        rows.append(
            {"set": name, "share": share, "seed": seed}
            | {key: value for key, value in row.items() if key not in ("scores", "cured")}
            | {"test": told(row, test, of), "clean": told(found[0], test, of)}
            | {"cured": told(row["cured"], test, of)}
        )
    return rows


def table(rows: Sequence[Row]) -> str:
    """Returns the means over the seeds as Markdown, in percent; in brackets without rotten ones.

    The last columns are of thresholds in which those that the fit names have no part.
    """
    head = (
        "| set | rotten | image AUROC | called defects | not passed as good | good called | "
        "good not passed | named, of them rotten | rotten of the 20 highest | "
        "without the named: called defects | "
        "not passed as good | good not passed |"
    )
    lines = [head, "|---|---:" + "|---:" * 10 + "|"]
    keys = ("image_auroc", "recall", "recall_with_look", "false_alarm_rate", "good_with_look")
    for name, share in dict.fromkeys((row["set"], row["share"]) for row in rows):
        own = [row for row in rows if (row["set"], row["share"]) == (name, share)]
        cells = [f"{_mean(own, 'test', key):.1f} ({_mean(own, 'clean', key):.1f})" for key in keys]
        counts = [sum(row[key] for row in own) for key in ("rotten", "named", "named_rotten")]
        cured = ["-"] * 3  # rows from before that was asked
        if all("cured" in row for row in own):
            cured = [f"{_mean(own, 'cured', key):.1f}" for key in (*keys[1:3], keys[4])]
        shown = "-"
        if all("ranks" in row for row in own):
            shown = str(sum(rank <= _SHOWN for row in own for rank in row["ranks"]))
        cells = [name, f"{share:.0%}: {counts[0]}", *cells, f"{counts[1]}, {counts[2]}", shown]
        cells += cured
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _mean(rows: Sequence[Row], part: str, key: str) -> float:
    return 100 * float(np.mean([row[part][key] for row in rows]))


def main() -> None:
    """Parses the command line, measures, and prints the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/rotten"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--job", type=Path, help="measure one fit, as a job of `child` says")
    arguments = parser.parse_args()
    if arguments.job is not None:
        do_job(arguments.job, {"learnt": learnt})
        return
    try:
        sets = {name: Path(place) for name, place in parse_pairs("--data", arguments.data)}
    except NfbmrError as error:
        parser.error(str(error))
    text = table(measure(sets, arguments.out, arguments.seeds))
    (arguments.out / "rotten.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
