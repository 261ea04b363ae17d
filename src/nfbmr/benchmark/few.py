"""Realised false alarms of few calibration pictures: `python -m nfbmr.benchmark.few -o OUT`.

Three questions, each a kind of row:

- `drawn`: statistics of a known law go through `calibrate`, new ones through `image_scores`. No
  picture is seen, so this says what the threshold itself can do;
- `calibrated`: one fit a set on all its good pictures but those held out, of which nothing is
  learnt (`calibration.everyone` is off); a few of these and of the test's good ones calibrate, the
  others of them are judged, over many draws. A good model, few to calibrate with;
- `learnt`: a fit of `FEW` good pictures a draw, as the preset does it: with
  `calibration.everyone` all of them calibrate. All that somebody with so few pictures has.

The last two ask for data sets. Rows are kept in `rows.jsonl` as they finish, and a finished one is
not computed again at the same commit.

Shapes: n = pictures that calibrate, N = those judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nfbmr.benchmark.child import Row, do_job, in_child
from nfbmr.benchmark.figures import few, kept_rows
from nfbmr.data.layouts import read_data
from nfbmr.errors import NfbmrError
from nfbmr.scoring.calibrate import calibrate
from nfbmr.scoring.calibration import LOOK_RATE, image_scores
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import ScoringSettings
from nfbmr.settings.text import parse_pairs
from nfbmr.system import provenance
from nfbmr.system.words import counted

RATE = 0.01
KINDS = ("drawn", "calibrated", "learnt")
COUNTS = (12, 20, 25, 29, 30, 31, 40, 50, 60, 100)
"""Drawn pictures that calibrate."""
CALIBRATE = (12, 25, 50, 100)
"""Real pictures that calibrate, where enough are left to be judged."""
LAWS = ("normal", "log-normal")
_SIX = ScoringSettings(
    maps=("source", "target", "likelihood", "norm", "distance", "residual"), statistics=("mean",)
)
HOW = {1: replace(_SIX, maps=("norm",)), 6: _SIX, 4: replace(preset("fast").scoring, rims=0)}
"""Statistics of a picture, all independent: as unlike one another as they can be, or one alone. 4
are the maps of `fast`, one a statistic, in its two judges."""
_NAMES = {1: "1 statistic", 6: "6 statistics", 4: "as `fast`"}
_MODULE = "nfbmr.benchmark.few"


def drawn(law: str, n: int, statistics: int, rounds: int, seed: int = 0) -> Row:
    """Calibrates with n drawn pictures, many times; returns how often new ones are called defects.

    Args:
        law: of every statistic, `normal` or `log-normal` (the exponential of a standard normal).
        n: pictures that calibrate.
        statistics: of each picture, one of `HOW`.
        rounds: draws, each with 200 new pictures.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    scoring = HOW[statistics]
    shares = [
        _alarms(_pictures(rng, law, n), _pictures(rng, law, 200), scoring) for _ in range(rounds)
    ]
    return {"law": law, "n": n, "statistics": statistics, **_both(shares)}


def _pictures(rng: np.random.Generator, law: str, count: int) -> Maps:
    """Raw maps of one position each, (count, K, 1, 1): every statistic of a map is its value."""
    values = rng.standard_normal((count, len(MAPS), 1, 1))
    return np.asarray(np.exp(values) if law == "log-normal" else values, np.float32)


def _alarms(known: Maps, new: Maps, scoring: ScoringSettings) -> tuple[float, float]:
    """The shares of new good pictures (N, K, H, W) above the thresholds from known ones.

    Those called defects, and these with those that are for a person.
    """
    calibration = calibrate(known, scoring, RATE)
    scores = image_scores(new, scoring, calibration)
    called, not_passed = scores > calibration.threshold, scores > calibration.look_threshold
    return float(called.mean()), float(not_passed.mean())


def _both(shares: Sequence[tuple[float, float]]) -> Row:
    """As `_summary` of the alarms, and what is not passed as good: mean and its error."""
    looks = _summary([share for _, share in shares])
    said = {"asked_look": LOOK_RATE, "looks": looks["alarms"], "looks_error": looks["error"]}
    return {**_summary([share for share, _ in shares]), **said}


def _summary(shares: list[float]) -> Row:
    """Mean, its standard error, and what one draw of ten exceeds at most."""
    found = np.array(shares)
    return {
        "asked": RATE,
        "alarms": float(found.mean()),
        "error": float(found.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else None,
        "worst_tenth": float(np.quantile(found, 0.9, method="higher")),
        "draws": len(found),
    }


def calibrated(data: str, counts: Sequence[int], draws: int, folder: str) -> Row:
    """Fits once on all good pictures; calibrates with few of those it did not train on, many times.

    Args:
        data: a set with good test pictures.
        counts: how many calibrate; counts that leave less than a quarter to be judged are left out.
        draws: of them, from the good pictures held out by the fit and those of the test.
        folder: for the model, and the features.

    Returns:
        What is found for each count, under `rows`.
    """
    from nfbmr.data.survey import survey
    from nfbmr.features.cache import FeatureCache
    from nfbmr.fitting import fit

    out = Path(folder)
    inspector = fit(
        data,
        out / "model",
        changes={"calibration": {"everyone": False}},
        cache=FeatureCache(out / "cache"),
        seed=0,
        export=False,
    )
    found = read_data(data)
    known = set(inspector.facts.held_out)
    seen = survey(found.name, found.train_good).pictures
    held_out = [one.picture for one in seen if one.fingerprint in known]
    maps = inspector.maps([*held_out, *(s.path for s in found.test if not s.is_defect)])
    about = {"trained": len(seen) - len(held_out), "good": len(maps)}
    rows = []
    for n in (n for n in counts if 4 * n <= 3 * len(maps)):
        rng = np.random.default_rng(0)
        shares = []
        for _ in range(draws):
            order = rng.permutation(len(maps))
            shares.append(_alarms(maps[order[:n]], maps[order[n:]], inspector.settings.scoring))
        rows.append({"n": n, **about, **_both(shares)})
    return {"rows": rows}


def learnt(data: str, seed: int, folder: str) -> Row:
    """Fits `FEW` good pictures, drawn by the seed; returns the false alarms among all others.

    Those of the test (`alarms` of `good`), and those that were not drawn (`left_alarms` of `left`):
    where the two part, the test's good pictures are not like those to learn from.

    Args:
        data: a set with good test pictures.
        seed: of the draw and of the fit.
        folder: for table, model and features.
    """
    from nfbmr.features.cache import FeatureCache
    from nfbmr.fitting import fit

    out = Path(folder)
    found = read_data(data)
    good = [sample.path for sample in found.test if not sample.is_defect]
    table = few(Path(data), out / "few.csv", seed)
    drawn_ones = {sample.path.resolve() for sample in read_data(table).train_good}
    left = [s.path for s in found.train_good if s.path.resolve() not in drawn_ones]
    cache = FeatureCache(out / "cache")
    one = fit(table, out / "model", cache=cache, seed=seed, export=False).recalibrated(RATE)
    scores = image_scores(one.maps([*good, *left]), one.settings.scoring, one.calibration)
    called = scores > one.threshold
    return {
        "n": len(one.calibration.scores),
        "trained": one.calibration.learnt or one.facts.n_train,
        "good": len(good),
        "seed": seed,
        "alarms": float(called[: len(good)].mean()),
        "left": len(left),
        "left_alarms": float(called[len(good) :].mean()) if left else None,
    }


def measure(
    sets: dict[str, Path],
    out: Path,
    rounds: int,
    draws: int,
    fits: int,
    kinds: Sequence[str] = KINDS,
) -> list[Row]:
    """Computes the rows that are missing and returns those of the kinds asked for.

    Args:
        sets: name -> data.
        out: the folder of `rows.jsonl`, and of work that is deleted.
        rounds: draws of statistics.
        draws: of the pictures that calibrate a model of all.
        fits: of `FEW` pictures, a row each.
        kinds: of `KINDS`.
    """
    plan: dict[tuple[str, ...], Row] = {
        ("drawn", law, str(n), str(m)): {"law": law, "n": n, "statistics": m, "rounds": rounds}
        for law in LAWS
        for m in HOW
        for n in COUNTS
    }
    for name, data in sets.items():
        plan["calibrated", name] = {"data": str(data), "counts": list(CALIBRATE), "draws": draws}
        for seed in range(fits):
            plan["learnt", name, str(seed)] = {"data": str(data), "seed": seed}
    out.mkdir(parents=True, exist_ok=True)
    path, commit = out / "rows.jsonl", provenance.commit()
    dirty = str(commit).endswith("-dirty")  # one name for many states: nothing to reuse
    rows = [row for row in kept_rows(path) if row["commit"] == commit and not dirty]
    there = {tuple(row["key"]) for row in rows}
    for key in [key for key in plan if key[0] in kinds and key not in there]:
        print(f"measuring {', '.join(key)} ...", file=sys.stderr, flush=True)
        about = {"key": list(key), "kind": key[0]}
        new = [about | row | {"commit": commit} for row in _rows(key, plan[key], out)]
        with path.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in new)
        rows += new
    return rows


def _rows(key: tuple[str, ...], job: Row, out: Path) -> list[Row]:
    if key[0] == "drawn":
        return [drawn(**job)]
    with tempfile.TemporaryDirectory(prefix=".work-", dir=out) as work:
        job = {"do": key[0], "folder": str(Path(work).absolute()), **job}
        found = in_child(_MODULE, job).row
    return [{"set": key[1], **row} for row in found.get("rows", [found])]


def table(rows: list[Row]) -> str:
    """Returns both tables as Markdown."""
    return f"{drawn_table(rows)}\n{sets_table(rows)}"


def drawn_table(rows: list[Row]) -> str:
    """Returns the shares of false alarms of drawn statistics, in percent, as Markdown.

    Rows that know it say, too, how many of the good ones are not passed.
    """
    found = {tuple(row["key"]): row for row in rows}
    lines = ["| pictures that calibrate | " + " | ".join(map(str, COUNTS)) + " |"]
    lines.append("|---" + "|---:" * len(COUNTS) + "|")
    for law in LAWS:
        for m in HOW:
            own = [found.get(("drawn", law, str(n), str(m))) for n in COUNTS]
            cells = [f"{100 * row['alarms']:.2f}" if row else "-" for row in own]
            name = f"{law}, {_NAMES[m]}"
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
            if looks := [row for row in own if row and "looks" in row]:
                told = {row["n"]: f"{100 * row['looks']:.2f}" for row in looks}
                cells = [told.get(n, "-") for n in COUNTS]
                lines.append(f"| ... not passed as good | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def sets_table(rows: list[Row]) -> str:
    """Returns the shares of false alarms on real sets, in percent, as Markdown."""
    head = (
        "| set | the model learnt from | calibrated with | draws | false alarms, % "
        "| of nine draws in ten at most, % "
        "| of those left over, % |"
    )
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|"]
    found = [(row, row) for row in rows if row["kind"] == "calibrated"]
    for name in dict.fromkeys(row["set"] for row in rows if row["kind"] == "learnt"):
        fits = [row for row in rows if row["kind"] == "learnt" and row["set"] == name]
        found.append((fits[0], _summary([row["alarms"] for row in fits])))
    for row, said in found:
        cells = [row["set"], str(row["trained"]), str(row["n"]), str(said["draws"])]
        cells += [_with_error(said), f"{100 * said['worst_tenth']:.1f}", _left_over(rows, row)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _with_error(said: Row) -> str:
    error = "" if said["error"] is None else f" ± {100 * said['error']:.1f}"
    return f"{100 * said['alarms']:.1f}{error}"


def _left_over(rows: list[Row], one: Row) -> str:
    """What fits of few say of the good pictures that were not drawn; older rows do not."""
    if one["kind"] != "learnt":
        return "-"
    own = [row for row in rows if row["kind"] == "learnt" and row["set"] == one["set"]]
    shares = [row["left_alarms"] for row in own if row.get("left_alarms") is not None]
    many = counted(len(shares), "draw")
    return f"{_with_error(_summary(shares))} ({many})" if shares else "-"


def main() -> None:
    """Parses the command line, measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/few"))
    parser.add_argument("--rounds", type=int, default=2000, help="draws of statistics")
    parser.add_argument("--draws", type=int, default=200, help="draws of calibrating pictures")
    parser.add_argument("--fits", type=int, default=10, help="fits of few pictures")
    parser.add_argument("--only", choices=KINDS, help="rows of one kind")
    parser.add_argument("--job", type=Path, help="measure one row, as a job of `child` says")
    arguments = parser.parse_args()
    if arguments.job is not None:
        do_job(arguments.job, {"calibrated": calibrated, "learnt": learnt})
        return
    try:
        sets = {name: Path(place) for name, place in parse_pairs("--data", arguments.data)}
    except NfbmrError as error:
        parser.error(str(error))
    counts = (arguments.rounds, arguments.draws, arguments.fits)
    kinds = [arguments.only] if arguments.only else KINDS
    text = table(measure(sets, arguments.out, *counts, kinds))
    (arguments.out / "few.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
